"""The index, used by tasks: one at a time, in a worker thread, and made anew when it is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.mail.errors import MailError
from appliance.mail.file import Damaged
from appliance.mail.index import Index

T = TypeVar("T")

RENEWED = "the index of the archives was damaged and is being made anew: try again in a minute"

log = get_logger(__name__)


class Shelf:
    """Whoever uses it waits for who came before. Cancelled, a call runs to its end all the same, before the
    next one begins.
    """

    def __init__(self, folder: Path, box: str) -> None:
        self.index = Index(folder, box)
        self.renewed = 0
        """How many times it was empty when it was opened, or thrown away because of damage."""
        self._open = False
        self._lock = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)

    async def use(self, function: Callable[..., T], *args: object) -> T:
        """Call a method of ``index``. Raises ``MailError`` if the index does not work now, also where it was
        damaged and is empty from now on.
        """
        async with self._lock:
            return await trio.to_thread.run_sync(self._use, function, args, limiter=self._limiter)

    async def close(self) -> None:
        """Nobody uses it any more."""
        with trio.CancelScope(shield=True):
            async with self._lock:
                self._open = False
                await trio.to_thread.run_sync(self.index.close, limiter=self._limiter)

    def _use(self, function: Callable[..., T], args: tuple[object, ...]) -> T:
        try:
            if not self._open:
                self.renewed += not self.index.open()
                self._open = True
            return function(*args)
        except Damaged as error:
            self._renew(error)
            raise MailError(RENEWED) from error
        except (sqlite3.Error, OSError) as error:
            self.index.close()
            self._open = False
            raise MailError(
                f"the index of the archives does not work ({error}): is the disk full? What is kept is safe"
            ) from error

    def _renew(self, error: Damaged) -> None:
        """Thrown away now, and made anew when somebody uses it."""
        log.warning("index of the archives damaged, made anew", error=str(error))
        self.renewed += 1
        self._open = False
        try:
            self.index.discard()
        except OSError as failed:
            log.error("the damaged index cannot be removed", error=str(failed))
