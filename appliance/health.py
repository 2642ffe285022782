"""How the box is, for whoever shows it: status, metrics, panel. A leaf: anybody may read it or tell it
something.
"""

from __future__ import annotations

import time
from typing import Literal

State = Literal["starting", "serving", "warning", "error", "stopping"]


class Health:
    """``serving`` unless somebody said otherwise. Reasons are kept by topic, so that each can be taken
    back.
    """

    def __init__(self) -> None:
        self.started = time.time()
        self._started_monotonic = time.monotonic()
        self._phase: Literal["starting", "serving", "stopping"] = "starting"
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

    def serving(self) -> None:
        self._phase = "serving"

    def stopping(self) -> None:
        self._phase = "stopping"

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
