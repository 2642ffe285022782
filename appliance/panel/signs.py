"""What is shown when: from the box's health to a sign, for each role. The first that holds wins.

A sign is a pattern with a meaning. A colour goes with it for LEDs that have one; it says nothing that the
pattern does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import time
from functools import lru_cache
from typing import Literal, NamedTuple, Protocol

from appliance.health import Comparison, Peer, Relay, State
from appliance.panel import patterns
from appliance.panel.patterns import Pattern
from appliance.panel.settings import Night, Role

Colour = tuple[float, float, float]
GREEN, AMBER, RED, BLUE, WHITE = (0, 1, 0), (1, 0.4, 0), (1, 0, 0), (0, 0.2, 1), (1, 1, 1)


class Condition(Protocol):
    """What of ``Health`` is shown."""

    @property
    def state(self) -> State: ...
    @property
    def reasons(self) -> list[str]: ...
    @property
    def copies(self) -> int: ...
    @property
    def mail_waiting(self) -> int: ...
    @property
    def peer(self) -> Peer: ...
    @property
    def relay(self) -> Relay: ...
    @property
    def pairing(self) -> bool: ...
    @property
    def comparison(self) -> Comparison | None: ...
    @property
    def identifying(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Sign:
    """`words` say what it means, to somebody who sees it blink."""

    key: str
    pattern: Pattern
    words: str
    colour: Colour = GREEN
    night: Literal["dim", "alarm", "shown"] = "dim"
    """dim: it may rest at night. alarm: it rests if alarms may. shown: it answers somebody who is there."""


IDENTIFY = Sign("identify", patterns.FLICKER, "here I am", WHITE, "shown")
HELD = Sign("held", patterns.ONE_FLASH, "button held: release to open pairing", WHITE, "shown")
HELD_5 = Sign("held 5 s", patterns.TWO_FLASHES, "button held: release to shut down", WHITE, "shown")
HELD_10 = Sign(
    "held 10 s", patterns.THREE_FLASHES, "button held: release to ask for a factory reset", WHITE, "shown"
)
CONFIRM = Sign(
    "confirm", patterns.THREE_FLASHES, "press briefly to confirm, or wait to call it off", WHITE, "shown"
)
REFUSED = Sign("refused", patterns.FAST_BLINK, "the button's wish was refused, see the log", RED, "shown")
COMPARE = Sign(
    "compare", patterns.EXAMPLE, "same on the other box? Press both twice, if not once", BLUE, "shown"
)

STOPPED = Sign("stopped", patterns.DARK, "stopped: safe to unplug", night="shown")
STARTING = Sign("starting", patterns.WINK, "starting", WHITE, "shown")
STOPPING = Sign("stopping", patterns.WINK, "stopping: do not unplug yet", WHITE, "shown")
ENDED = Sign("ended", patterns.FAST_BLINK, "the box ended without an orderly stop", RED, "shown")
ERROR = Sign("error", patterns.FAST_BLINK, "error, not serving", RED, "alarm")
PAIRING = Sign("pairing", patterns.FADE, "pairing is open", BLUE, "shown")
WARNING = Sign("warning", patterns.SLOW_BLINK, "warning, look at status", AMBER, "alarm")
ONE_COPY = Sign("one copy", patterns.DOUBLE_PULSE, "serving, one copy")
TWO_COPIES = Sign("two copies", patterns.SOLID, "serving, everything on two copies")

NOTHING = Sign("nothing", patterns.DARK, "nothing to tell")
MAIL = Sign("mail", patterns.SOLID, "mail is waiting", BLUE)
RELAY_ONLINE = Sign("relay online", patterns.SOLID, "relay online")
RELAY_OFFLINE = Sign("relay offline", patterns.SLOW_BLINK, "relay offline", AMBER)
PEER_IN_SYNC = Sign("peer in sync", patterns.SOLID, "peer in sync")
PEER_BEHIND = Sign("peer behind", patterns.SLOW_BLINK, "peer is catching up", AMBER)
PEER_AWAY = Sign("peer away", patterns.DOUBLE_PULSE, "peer is away", AMBER)

Rule = tuple[Callable[[Condition], bool], Sign]


def _always(_: Condition) -> bool:
    return True


# What everybody must see on every LED, whatever its role.
FIRST: Sequence[Rule] = ((lambda c: c.state == "stopped", STOPPED),)

RULES: dict[Role, Sequence[Rule]] = {
    "status": (
        (lambda c: c.state == "starting", STARTING),
        (lambda c: c.state == "stopping", STOPPING),
        (lambda c: c.state == "error", ERROR),
        (lambda c: c.pairing, PAIRING),
        (lambda c: c.state == "warning", WARNING),
        (lambda c: c.copies < 2, ONE_COPY),
        (_always, TWO_COPIES),
    ),
    "alarm": (
        (lambda c: c.state == "error", ERROR),
        (lambda c: c.state == "warning", WARNING),
        (_always, NOTHING),
    ),
    "mail": ((lambda c: c.mail_waiting > 0, MAIL), (_always, NOTHING)),
    "relay": (
        (lambda c: c.relay == "online", RELAY_ONLINE),
        (lambda c: c.relay == "offline", RELAY_OFFLINE),
        (_always, NOTHING),
    ),
    "peer": (
        (lambda c: c.peer == "in sync", PEER_IN_SYNC),
        (lambda c: c.peer == "behind", PEER_BEHIND),
        (lambda c: c.peer == "away", PEER_AWAY),
        (_always, NOTHING),
    ),
}

WALK: tuple[Sign, ...] = (
    TWO_COPIES,
    ONE_COPY,
    WARNING,
    ERROR,
    PAIRING,
    COMPARE,
    IDENTIFY,
    STARTING,
    HELD,
    HELD_5,
    HELD_10,
    STOPPED,
)
"""What a test of the panel goes through: every pattern, with what it means."""


ALIVE: tuple[State, ...] = ("serving", "warning", "error")


@lru_cache(maxsize=4)
def compare(number: int) -> Sign:
    """COMPARE with this number."""
    return replace(COMPARE, pattern=patterns.beats(number))


def choose(role: Role, condition: Condition, override: Sign | None = None, held: Sign | None = None) -> Sign:
    """What an LED of `role` shows. `override` is a test or an answer, `held` the button's feedback; both go
    to every LED, in this order with identify: override, identify, held, then (the status LED) a number that
    is compared, then the rules of the role.
    """
    if override is not None:
        return override
    if condition.identifying:
        return IDENTIFY
    if held is not None:
        return held
    if role == "status" and condition.comparison is not None and condition.state in ALIVE:
        return compare(condition.comparison.number)
    return next(sign for holds, sign in (*FIRST, *RULES[role]) if holds(condition))


def dimming(sign: Sign, night: Night | None, now: time) -> float:
    """By what the brightness of `sign` is multiplied at `now`, local time."""
    if night is None or sign.night == "shown" or not night.covers(now):
        return 1.0
    return 1.0 if sign.night == "alarm" and night.alarms else night.brightness


class Shown(NamedTuple):
    """What a light is to show in this moment."""

    sign: Sign
    level: float
    """Of the pattern, 0 to 1."""
    dim: float = 1.0
    """At night less than 1."""
    note: str = ""
    """For those that can show text: why."""

    @property
    def lit(self) -> bool:
        """For a light that is either on or off."""
        return self.level >= 0.5 and self.dim >= 0.5

    @property
    def brightness(self) -> float:
        return self.level * self.dim
