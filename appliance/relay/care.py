"""When a site is called again. Pure: times are seconds of any clock that does not go back, chance comes in.

    fresh --> calling --> linked --> waiting --> calling ...
                  \\---------------------^   \\--> halted (until somebody says ``resume``)

A pause doubles with each failure, less a part of it at random, so that boxes and memberships do not call
all at once. It starts anew only after a link has lasted: a site that lets us in and throws us out at once is
called no more often than one that is away. A refused login is tried ``REFUSALS_MAX`` times, because sites
make mistakes when they start; then a person has to look.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from appliance.relay.settings import RelaySettings

REFUSALS_MAX = 3
LASTING_S = 60.0
"""A link that lasted for so long was a good one."""

BUSY_S = 3.0
BUSY_LONGEST_S = 30.0
"""Sites find out within seconds to minutes that our last link is dead."""

NO_ROOM_S = 30.0
BROKE_S = 30.0
"""The shortest pause after a site broke the protocol: calling it soon helps nobody."""

SPREAD_S = 5.0
SPREAD_EACH_S = 0.1
"""At the start of the box, its memberships call over so long a time: the more there are the longer."""


class Why(Enum):
    """How a link, or the try to get one, ended."""

    LOST = "it broke, or nobody answered"
    BROKE = "the site broke the protocol"
    BUSY = "the site takes us for logged in"
    REFUSED = "the site does not let us in"
    CHANGED = "the certificate is another one"
    NO_ROOM = "what comes from there does not fit here"
    LEFT = "we left, to look in again later"
    AGAIN = "we left, to log in anew at once"
    ERROR = "an error in this program"


@dataclass(slots=True)
class Care:
    """``random`` gives a number from 0 to 1. ``next_at``: when to call, infinite while there is a link or it
    is ``halted``, which says why.
    """

    settings: RelaySettings
    random: Callable[[], float]
    next_at: float = 0.0
    halted: str = ""
    last_error: str = ""
    failing_since: float | None = None
    _linked_at: float | None = field(default=None)
    _failures: int = field(default=0)
    _refusals: int = field(default=0)

    def start(self, now: float, memberships: int = 1) -> None:
        """The membership is new, or the box, with so many of them, has just started."""
        self.next_at = now + min(SPREAD_S, SPREAD_EACH_S * memberships) * self.random()

    def calling(self) -> None:
        """It is being tried."""
        self.next_at = math.inf

    def linked(self, now: float) -> None:
        """The site let us in."""
        self.next_at = math.inf
        self._linked_at = now
        self._refusals = 0
        self.last_error = ""

    def ended(self, now: float, why: Why, text: str = "", metered_min: float = 0.0) -> None:
        """The link, or the try, is over. ``metered_min``: the minutes between two looks, 0 to stay."""
        lasted = self._linked_at is not None and now - self._linked_at >= LASTING_S
        if self._linked_at is not None:
            self.failing_since = None
        self._linked_at = None
        if lasted:
            self._failures = 0
        self.last_error = text
        if why is Why.LEFT:
            self._failures = 0
            self.next_at = now + 60.0 * metered_min * (0.9 + 0.2 * self.random())
            return
        if why is Why.AGAIN:
            self.next_at = now
            return
        if self.failing_since is None:
            self.failing_since = now
        if why is Why.CHANGED:
            self.halt(text)
            return
        if why is Why.REFUSED:
            self._refusals += 1
            if self._refusals >= REFUSALS_MAX:
                self.halt(text)
                return
        self.next_at = now + self._pause(now, why)

    def _pause(self, now: float, why: Why) -> float:
        settings = self.settings
        failures, self._failures = self._failures, self._failures + 1
        away = self.failing_since is not None and now - self.failing_since >= settings.absent_after_s
        longest = settings.absent_retry_s if away else settings.retry_longest_s
        pause = min(longest, settings.retry_s * 2.0 ** min(failures, 40))
        if why is Why.BUSY:
            pause = min(max(pause, BUSY_S), max(BUSY_LONGEST_S, settings.retry_s))
        elif why in (Why.BROKE, Why.ERROR):
            pause = max(pause, BROKE_S)
        elif why is Why.NO_ROOM:
            pause = max(pause, NO_ROOM_S)
        return pause * (0.5 + 0.5 * self.random())

    def halt(self, text: str) -> None:
        """Try no more until somebody says so."""
        self.halted = text or "it was stopped"
        self.next_at = math.inf

    def resume(self, now: float) -> None:
        """Somebody has looked: call at once, and start counting anew."""
        self.halted = ""
        self._refusals = self._failures = 0
        self.failing_since = None
        self.next_at = now

    def poke(self, now: float) -> None:
        """There is a reason to try now: the network is back, something was written."""
        if self.halted == "" and self.next_at != math.inf:
            self.next_at = min(self.next_at, now)
