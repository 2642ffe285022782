"""Backups are made when they are due and one at a time, and what is wrong with them shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from datetime import time as TimeOfDay
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.backup import BackupError, keeper, keys
from appliance.backup.keeper import Keeper, Settings
from appliance.health import Health
from tests.backup.kit import House, house
from tests.store import kit


@dataclass
class Clock:
    """Stands in for the keeper's clock."""

    now: float

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Kept:
    home: House
    keeper: Keeper
    health: Health
    clock: Clock
    has: list[str | None] = field(default_factory=lambda: ["2 members"])
    restarts: int = 0

    def restart(self) -> None:
        self.restarts += 1

    async def done(self) -> dict[str, Any]:
        await kit.until(lambda: self.keeper.state()["running"] is None)
        return self.keeper.state()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(datetime(2026, 5, 4, 12, 0).timestamp())
    monkeypatch.setattr(keeper, "time", clock)
    monkeypatch.setattr(keeper, "LOOK_S", 0.01)

    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Now:
            return cls.fromtimestamp(clock.now)

    monkeypatch.setattr(keeper, "datetime", Now)
    monkeypatch.setattr("appliance.backup.writing.time", clock)
    return clock


@asynccontextmanager
async def kept(place: Path, clock: Clock, **changes: Any) -> AsyncIterator[Kept]:
    async with house(place) as home:
        health = Health()
        health.serving()
        settings = replace(Settings(home.data, home.stick, (), TimeOfDay(3, 0)), **changes)
        made: list[Kept] = []
        its = Keeper(home.store, health, settings, lambda: made[0].has[0], lambda: made[0].restart())
        made.append(Kept(home, its, health, clock))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(its.run)
            yield made[0]
            its.end()


def test_one_is_made_each_day_at_its_hour(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            await trio.sleep(0.05)
            assert it.keeper.notes.made == 0
            await it.keeper.set_automatic(True)
            await kit.until(lambda: it.keeper.notes.made == clock.now)
            first = clock.now
            clock.now += timedelta(hours=14, minutes=59).total_seconds()
            await trio.sleep(0.05)
            assert it.keeper.notes.made == first
            clock.now += 120
            await kit.until(lambda: it.keeper.notes.made == clock.now)
            await it.keeper.set_automatic(False)
            clock.now += 86400 * 2
            await trio.sleep(0.05)
            assert it.keeper.notes.made < clock.now

    kit.run(main)


def test_one_that_was_made_when_the_clock_was_ahead_does_not_stop_the_others(
    tmp_path: Path, clock: Clock
) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            right = clock.now
            clock.now += 14 * 365 * 86400
            await it.keeper.set_automatic(True)
            await kit.until(lambda: it.keeper.notes.made == clock.now)
            clock.now = right
            await kit.until(lambda: it.keeper.notes.made == right)
            await it.keeper.shown(keys.key_id(await it.keeper.secret()))
            assert it.health.reasons == []

    kit.run(main)


def test_one_that_failed_is_tried_again_and_three_days_without_one_are_told(
    tmp_path: Path, clock: Clock
) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            it.home.stick.rename(tmp_path / "pocket")
            await it.keeper.set_automatic(True)
            await kit.until(lambda: it.keeper.notes.problem != "")
            assert "plugged in" in it.keeper.notes.problem
            await it.keeper.shown(keys.key_id(await it.keeper.secret()))
            clock.now += 86400
            assert it.health.reasons == []
            clock.now += 2.5 * 86400
            await kit.until(lambda: len(it.health.reasons) == 1)
            assert "4 days" in it.health.reasons[0] and "plugged in" in it.health.reasons[0]
            (tmp_path / "pocket").rename(it.home.stick)
            clock.now += 601
            await kit.until(lambda: it.health.reasons == [])
            assert it.keeper.notes.made == clock.now and it.keeper.notes.problem == ""

    kit.run(main)


def test_a_recovery_key_that_nobody_has_seen_is_told(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            it.keeper.make(None)
            assert (await it.done())["problem"] is None
            await kit.until(lambda: "recovery-key show" in "".join(it.health.reasons))
            await it.keeper.shown(keys.key_id(await it.keeper.secret()))
            assert it.health.reasons == []
            await it.keeper.secret(renew=True)
            await kit.until(lambda: "recovery-key show" in "".join(it.health.reasons))

    kit.run(main)


def test_one_thing_is_done_at_a_time(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            it.keeper.make(None)
            with pytest.raises(BackupError, match="already"):
                it.keeper.verify(None, None)
            state = await it.done()
            assert state["result"]["anew"] and state["made"] == clock.now
            it.keeper.verify(it.home.stick, None)
            assert (await it.done())["result"]["members"] == 0
            it.keeper.verify(it.home.stick, bytes(20))
            assert "does not open" in str((await it.done())["problem"])

    kit.run(main)


def test_the_journals_keep_what_the_next_backup_needs(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            limits = it.home.store.upkeep._limits
            own = it.home.store.key.box
            it.keeper.make(None)
            await it.done()
            await kit.member(it.home.store)
            at, backed_up = it.home.store.entries, it.keeper.notes.heads[own]
            assert limits()[own] == at > backed_up
            await it.keeper.set_automatic(True)
            assert limits()[own] == backed_up
            clock.now += keeper.HOLD_S
            it.home.stick.rename(tmp_path / "pocket")
            assert limits()[own] == at

    kit.run(main)


def test_what_is_kept_of_backups_survives_a_restart(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            await it.keeper.set_automatic(True)
            await kit.until(lambda: it.keeper.notes.made > 0)
            before = it.keeper.notes
        async with kept(tmp_path, clock) as it:
            await kit.until(lambda: it.keeper.notes == before)

    kit.run(main)


def test_a_blank_box_restores_only_with_the_key_beside_the_backup(tmp_path: Path, clock: Clock) -> None:
    async def main() -> None:
        async with kept(tmp_path, clock) as it:
            it.keeper.make(None)
            await it.done()
            key = keys.shown(await it.keeper.secret())
            with pytest.raises(BackupError, match="2 members"):
                await it.keeper.restore(it.home.stick, keys.typed(key))
        async with kept(tmp_path / "other", clock, folder=it.home.stick) as blank:
            await trio.sleep(0.05)
            assert blank.restarts == 0 and blank.health.reasons == []
            blank.has[0] = None
            await kit.until(lambda: "pocket restore" in "".join(blank.health.reasons))
            (it.home.stick / "recovery-key.txt").write_text("no key at all\n")
            await trio.sleep(0.05)
            assert blank.restarts == 0
            (it.home.stick / "recovery-key.txt").write_text(key)
            await kit.until(lambda: blank.restarts == 1)
            await trio.sleep(0.05)
            assert blank.restarts == 1
            assert (blank.home.data / "joining" / "restore.json").exists()
            assert blank.keeper.notes.seen == keys.key_id(keys.typed(key))

    kit.run(main)
