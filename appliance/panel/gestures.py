"""What somebody means with one button. Pure: contacts with their times go in, gestures come out.

A press lasts from the first contact to the first opening, however much both bounce; whatever opens or
closes for less than `debounce_s` is nothing. Its length decides, when it ends:

    below 5 s        open pairing
    5 s to 10 s      shut down
    10 s to 30 s     ask for a factory reset; a short press that begins within 10 s confirms it,
                     a longer one or none calls it off
    30 s and more    stuck: nothing, until it is released

Each span includes its beginning and not its end. A button that is already held when we begin to look means
nothing until it is released: we do not know for how long it was held.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from appliance.panel.settings import Button

EXACT = 6
"""Times are compared to this many decimals of a second."""


class Gesture(Enum):
    PAIR = "open pairing"
    SHUTDOWN = "shut down"
    ASK_RESET = "factory reset, if confirmed"
    RESET = "factory reset"
    CALLED_OFF = "no factory reset"
    STUCK = "stuck"
    FREED = "no longer stuck"


class Stage(Enum):
    """What would happen now, for the lights."""

    IDLE = "nothing"
    HELD = "released now: pairing"
    HELD_LONG = "released now: shutdown"
    HELD_LONGEST = "released now: asks for a factory reset"
    CONFIRM = "a short press confirms the factory reset"


class Gestures:
    """`pressed` is how the button is at `now`. All times are seconds of one clock that never goes back; an
    earlier time than the last one is taken as the last one.
    """

    def __init__(self, button: Button, pressed: bool, now: float) -> None:
        self._set = button
        self._now = now
        self._contact = pressed
        self._contact_at = now
        self._burst: float | None = None
        """When contacts began to change that have not been quiet since."""
        self._pressed_at: float | None = now if pressed else None
        self._void = pressed
        """The press that goes on means nothing."""
        self._stuck = False
        self._asked_at: float | None = None
        self._confirming = False

    @property
    def pressed(self) -> bool:
        """Whether it is held, as far as is known."""
        return self._pressed_at is not None or self._contact

    def feed(self, now: float, contact: bool) -> list[Gesture]:
        """The contact is closed (True) or open at `now`. Hearing the same twice does no harm."""
        found = self.tick(now)
        if contact != self._contact:
            self._contact, self._contact_at = contact, self._now
            if self._burst is None:
                self._burst = self._now
            found += self.tick(self._now)
        return found

    def tick(self, now: float) -> list[Gesture]:
        """Time has come to `now`."""
        self._now = now = max(now, self._now)
        if self._burst is None:
            return self._wait(now)
        began = self._burst
        found = self._wait(began)
        if _since(self._contact_at, now) < self._set.debounce_s:
            return found
        self._burst = None
        if self._contact != (self._pressed_at is not None):
            found += self._press(began) if self._contact else self._release(began)
        return found + self._wait(now)

    def next_look(self) -> float:
        """When `tick` is due, if nothing is fed before; infinity if never."""
        if self._burst is not None:
            return self._contact_at + self._set.debounce_s
        if self._pressed_at is not None:
            return inf if self._stuck else self._pressed_at + self._set.stuck_s
        return inf if self._asked_at is None else self._asked_at + self._set.confirm_s

    def stage(self, now: float) -> Stage:
        """What would happen if it was released now."""
        if self._stuck:
            return Stage.IDLE
        if self._asked_at is not None:
            return Stage.CONFIRM
        if self._pressed_at is None or self._void:
            return Stage.IDLE
        held = _since(self._pressed_at, now if self._burst is None else self._burst)
        if held < self._set.shutdown_s:
            return Stage.HELD
        return Stage.HELD_LONG if held < self._set.reset_s else Stage.HELD_LONGEST

    def _wait(self, now: float) -> list[Gesture]:
        """What comes of nothing having changed until `now`."""
        if self._pressed_at is not None:
            if self._stuck or _since(self._pressed_at, now) < self._set.stuck_s:
                return []
            self._stuck = True
            return [*self._call_off(), Gesture.STUCK]
        if self._asked_at is not None and _since(self._asked_at, now) >= self._set.confirm_s:
            return self._call_off()
        return []

    def _press(self, at: float) -> list[Gesture]:
        self._pressed_at, self._void, self._stuck = at, False, False
        self._confirming = self._asked_at is not None
        return []

    def _release(self, at: float) -> list[Gesture]:
        assert self._pressed_at is not None
        held = _since(self._pressed_at, at)
        self._pressed_at = None
        if self._stuck:
            self._stuck = False
            return [Gesture.FREED]
        if self._void:
            return []
        if self._confirming:
            if held >= self._set.shutdown_s:
                return self._call_off()
            self._asked_at, self._confirming = None, False
            return [Gesture.RESET]
        if held < self._set.shutdown_s:
            return [Gesture.PAIR]
        if held < self._set.reset_s:
            return [Gesture.SHUTDOWN]
        self._asked_at = at
        return [Gesture.ASK_RESET]

    def _call_off(self) -> list[Gesture]:
        asked, self._asked_at, self._confirming = self._asked_at, None, False
        return [] if asked is None else [Gesture.CALLED_OFF]


def _since(then: float, now: float) -> float:
    return round(now - then, EXACT)
