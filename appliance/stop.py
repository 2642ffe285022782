"""How the box is told from inside to end: by the button, or by a word. From outside it is a signal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from appliance import reset
from appliance.log import get_logger

log = get_logger(__name__)

Reason = Literal["signal", "shutdown", "reset", "restart"]

OFF_STATUS = 86
"""The exit status of a box that somebody shut down with the button: systemd is told not to start it again
(RestartPreventExitStatus).
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the box ended. ``gave_up``: why it is none of the site's that it was to join, and is blank
    again.
    """

    reason: Reason
    gave_up: str | None = None


class Stop:
    """``reason`` is what the first who asked wanted."""

    def __init__(self, folder: Path) -> None:
        self.reason: Reason = "signal"
        self._folder = folder
        self._asked = trio.Event()

    async def wait(self) -> None:
        """Return when somebody has asked."""
        await self._asked.wait()

    async def shutdown(self) -> None:
        """End as after SIGTERM, and stay off. Returns at once."""
        self._ask("shutdown")

    def restart(self) -> None:
        """End, and start anew in the same process: the data folder has something else to be run on."""
        self._ask("restart")

    async def reset(self) -> None:
        """End, and forget everything. Returns when that will happen whatever comes; raises ``OSError`` if it
        cannot.
        """
        await trio.to_thread.run_sync(reset.mark, self._folder)
        self._ask("reset")

    def _ask(self, reason: Reason) -> None:
        if not self._asked.is_set():
            log.info("asked to stop", reason=reason)
            self.reason = reason
            self._asked.set()
