"""How the box is, for whoever shows it: status, metrics, panel. A leaf: anybody may read it or tell it
something.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

State = Literal["starting", "serving", "warning", "error", "stopping", "stopped"]
Peer = Literal["none", "in sync", "behind", "away"]
Relay = Literal["none", "online", "offline"]

IDENTIFY_S = 3.0
BEATS = 20
BEAT_S, PAUSE_S = 0.8, 2.0
ROUND_S = BEATS * BEAT_S + PAUSE_S
"""In which a light shows the whole of a number that is compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ``number`` (below 2 ** ``BEATS``) that this box and another one show since ``began``, on the loop's
    clock, so that a person sees whether they are the same. ``yes``: here somebody has said so.
    """

    number: int
    began: float
    yes: bool = False

    @property
    def digits(self) -> str:
        """As people read it."""
        return f"{self.number // 1000:03} {self.number % 1000:03}"

    @property
    def words(self) -> str:
        """What a person is to do who cannot see the lights."""
        if self.yes:
            return f"{self.digits} - yes was said here; now say it on the other box"
        return f"{self.digits} - does the other box show the same? Press twice for yes, once for no"

    @property
    def facts(self) -> dict[str, object]:
        """For those who ask."""
        return {"digits": self.digits, "yes": self.yes, "words": self.words}


class Health:
    """``serving`` unless somebody said otherwise. Reasons are kept by topic, so that each can be taken
    back.
    """

    def __init__(self) -> None:
        self.started = time.time()
        self._started_monotonic = time.monotonic()
        self._phase: Literal["starting", "serving", "stopping", "stopped"] = "starting"
        self.copies = 1
        """On how many boxes what is acknowledged is on stable storage."""
        self.mail_waiting = 0
        """Messages that some device has yet to fetch."""
        self.peer: Peer = "none"
        self.relay: Relay = "none"
        self.comparison: Comparison | None = None
        """What this box and another one show, which want to be boxes of one site."""
        self._pairing_until = self._identify_until = float("-inf")
        self._warnings: dict[str, str] = {}
        self._errors: dict[str, str] = {}

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started_monotonic

    @property
    def state(self) -> State:
        if self._phase != "serving":
            return self._phase
        if self._errors:
            return "error"
        return "warning" if self._warnings else "serving"

    @property
    def reasons(self) -> list[str]:
        """What is wrong and what to do, the worst first."""
        return [*self._errors.values(), *self._warnings.values()]

    @property
    def pairing(self) -> bool:
        """Whether a new member or device can be let in now."""
        return time.monotonic() < self._pairing_until

    @property
    def identifying(self) -> bool:
        """Whether somebody looks for this box among others."""
        return time.monotonic() < self._identify_until

    def serving(self) -> None:
        self._phase = "serving"

    def stopping(self) -> None:
        self._phase = "stopping"

    def stopped(self) -> None:
        """Everything is on stable storage and nothing runs: the box may be unplugged."""
        self._phase = "stopped"

    def pair_for(self, seconds: float) -> None:
        """Pairing is open for so long; 0 closes it."""
        self._pairing_until = time.monotonic() + seconds

    def identify(self, seconds: float = IDENTIFY_S) -> None:
        """Somebody wants to see which box this is."""
        self._identify_until = time.monotonic() + seconds

    def warn(self, topic: str, reason: str | None) -> None:
        """Something needs a look; None takes it back."""
        _set(self._warnings, topic, reason)

    def fail(self, topic: str, reason: str | None) -> None:
        """The box cannot do its work; None takes it back."""
        _set(self._errors, topic, reason)


def _set(reasons: dict[str, str], topic: str, reason: str | None) -> None:
    if reason is None:
        reasons.pop(topic, None)
    else:
        reasons[topic] = reason
