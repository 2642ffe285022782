"""Reads everything that is stored, again and again and slowly, and has mended what is damaged.

A round begins a while after the start, and a day after the last one began. It takes a bounded share of the
time and reads a bounded number of octets a minute. ``hurry`` has a round at once, with half of the time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance.log import get_logger
from appliance.store.errors import StoreError
from appliance.store.scrub import Found, Progress, Scan
from appliance.store.store import Store

log = get_logger(__name__)

FIRST_S = 60.0
ROUND_S = 86400.0
LOOK_S = 1.0
ASK_EVERY_S = 10.0
HURRY_SHARE = 0.5
MEND_S = 30.0
"""How long a round in a hurry waits for what other boxes bring."""
PROBLEMS_MAX = 100


@dataclass(slots=True)
class Round:
    """A scan and what came of it, for who asks."""

    hurry: bool
    running: bool = True
    progress: Progress = field(default_factory=Progress)
    found: int = 0
    problems: list[str] = field(default_factory=list)


class Scrubber:
    """``run`` in a task. ``percent`` of the time (0: never by itself) and ``octets_per_minute`` are bounds
    for what happens by itself; ``warn`` is told what is wrong, or None.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        percent: float,
        octets_per_minute: int,
        warn: Callable[[str | None], None],
    ) -> None:
        self._folder = folder
        self._store = store
        self._share = percent / 100
        self._octets_per_s = octets_per_minute / 60
        self._warn = warn
        self._round: Round | None = None
        self._wanted = trio.Event()
        self._repaired_before = 0

    def hurry(self) -> None:
        """Have a round now, from the beginning, if none is in a hurry already."""
        if self._round is None or not (self._round.hurry and self._round.running):
            self._round = None
            self._wanted.set()

    def state(self) -> dict[str, Any]:
        """Of the round that is under way, or of the last one, as JSON."""
        healing, current = self._store.healing, self._round
        if current is None:
            current = Round(False, running=self._wanted.is_set())
        done = current.progress
        return {
            "running": current.running,
            "octets": done.octets,
            "total": done.total,
            "entries": done.entries,
            "messages": done.messages,
            "attachments": done.blobs,
            "found": current.found,
            "repaired": max(0, current.found - healing.open),
            "open": healing.open,
            "problems": ([healing.reason] if healing.reason and not healing.problems else [])
            + current.problems,
        }

    async def run(self) -> None:
        """Until cancelled. Raises nothing: what cannot be read is told."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._mend)
            idle_s = FIRST_S
            while True:
                with trio.move_on_after(idle_s):
                    await self._wanted.wait()
                hurry = self._wanted.is_set()
                self._wanted = trio.Event()
                began = trio.current_time()
                if hurry or self._share > 0:
                    await self._go(hurry)
                idle_s = 0.0 if self._wanted.is_set() else max(0.0, ROUND_S - trio.current_time() + began)

    async def _go(self, hurry: bool) -> None:
        current = self._round = Round(hurry)
        before = self._store.healing.found
        scan = Scan(self._folder)
        current.progress = scan.progress
        try:
            while not self._wanted.is_set():
                began = trio.current_time()
                found = await trio.to_thread.run_sync(scan.step)
                if found is None:
                    break
                await self._take(found, current)
                current.found = self._store.healing.found - before
                await self._rest(trio.current_time() - began, found.octets, hurry)
            else:
                return
            self._store.healing.problems = current.problems[:]
            if hurry:
                with trio.move_on_after(MEND_S):
                    await self._mended()
        except (StoreError, OSError, sqlite3.Error) as error:
            current.problems.append(f"the scan could not go on: {error}")
            log.error("scrubbing stopped", error=str(error))
        finally:
            current.running = False
            scan.close()
        log.info(
            "scrubbed",
            entries=current.progress.entries,
            messages=current.progress.messages,
            attachments=current.progress.blobs,
            found=current.found,
            open=self._store.healing.open,
        )

    async def _mended(self) -> None:
        healing = self._store.healing
        while healing.open and healing.in_reach():  # noqa: ASYNC110
            await trio.sleep(LOOK_S / 4)

    async def _take(self, found: Found, current: Round) -> None:
        healing = self._store.healing
        current.problems += found.problems[: max(0, PROBLEMS_MAX - len(current.problems))]
        for problem in found.problems:
            log.error("damaged on the disk", what="database", error=problem)
        healing.entries_damaged(found.entries)
        if found.messages:
            await healing.messages_damaged(found.messages)
        for sha, seen in found.blobs:
            await healing.blob_damaged(sha, seen, "other octets than were written")

    async def _rest(self, took_s: float, octets: int, hurry: bool) -> None:
        """So that it stays within its share, and its octets."""
        if hurry:
            await trio.sleep(took_s * (1 / HURRY_SHARE - 1))
            return
        with trio.move_on_after(max(took_s * (1 / self._share - 1), octets / self._octets_per_s)):
            await self._wanted.wait()

    async def _mend(self) -> None:
        """Ask other boxes for what is wanted, and say how it goes."""
        asked = -ASK_EVERY_S
        while True:
            healing = self._store.healing
            if healing.open:
                healing.look()
            if healing.entries and trio.current_time() - asked >= ASK_EVERY_S:
                asked = trio.current_time()
                healing.ask(list(healing.entries))
            self._warn(healing.reason)
            await trio.sleep(LOOK_S)
