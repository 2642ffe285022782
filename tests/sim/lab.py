"""What makes a schedule fast, and the same each time that it is run: a database that is not synced, work in
this thread in place of others, tasks in a fixed order, and for each box a clock that only the schedule moves.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.store import connection, disk

RAM = Path("/dev/shm")
START_NS = 1_800_000_000_000_000_000
DAY_S = 86_400.0


class Wall:
    """The true time, and what a box takes for it: ``skew_ns`` is the box's that runs in this context."""

    def __init__(self) -> None:
        self.ns = START_NS
        self.own: ContextVar[Callable[[], int]] = ContextVar("skew", default=lambda: 0)

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)

    @property
    def module(self) -> Any:
        """Stands in for the module ``time``."""
        return types.SimpleNamespace(
            time_ns=lambda: self.ns + self.own.get()(), monotonic=lambda: 1000.0 + (self.ns - START_NS) / 1e9
        )


async def _inline(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    await trio.lowlevel.checkpoint()
    result = function(*args)
    await trio.lowlevel.checkpoint()
    return result


class Lab:
    """A place for many schedules, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall = Wall()
        self._blank = folder / "blank.db"
        self._connect = connection.connect
        made = self._connect(self._blank)
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made.close()

    def connect(self, path: Path) -> sqlite3.Connection:
        if not path.exists():
            shutil.copyfile(self._blank, path)
        opened = self._connect(path)
        opened.execute("PRAGMA synchronous=OFF")
        return opened

    def begin(self, seed: int) -> None:
        """Whatever happened before has no influence on what comes, and nothing is left of it."""
        for left in self.folder.glob("s*"):
            shutil.rmtree(left)
        self.wall.ns = START_NS
        run: Any = trio._core._run
        run._ALLOW_DETERMINISTIC_SCHEDULING = True
        run._r.seed(seed)


@contextmanager
def lab() -> Iterator[Lab]:
    """Everything is as it was, and nothing is left, after it."""
    run: Any = trio._core._run
    before = run._ALLOW_DETERMINISTIC_SCHEDULING
    with (
        tempfile.TemporaryDirectory(prefix="pocket-sim", dir=RAM if RAM.is_dir() else None) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        found = Lab(Path(folder))
        patch.setattr("appliance.store.database.connect", found.connect)
        patch.setattr(trio.to_thread, "run_sync", _inline)
        patch.setattr(disk, "BALLAST_OCTETS", 0)
        for name, module in list(sys.modules.items()):
            if name.startswith("appliance.store.") and getattr(module, "time", None) is time:
                patch.setattr(module, "time", found.wall.module)
        try:
            yield found
        finally:
            run._ALLOW_DETERMINISTIC_SCHEDULING = before
            run._r.seed(random.SystemRandom().getrandbits(64))
