"""Before a newer version changes the tables they are kept; an older one that comes back has everything."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.site import Limits
from appliance.store import SchemaError, Store, StoreSettings, schema, snapshot, verify
from appliance.store.going_back import go_back
from tests.store import kit

OLD, NEW = schema.VERSION, schema.VERSION + 1


def prepare_newer(connection: sqlite3.Connection) -> None:
    """What a newer version may do to the tables: more columns, more tables."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == NEW:
        return
    connection.execute("ALTER TABLE member ADD COLUMN shoe_size INTEGER NOT NULL DEFAULT 42")
    connection.execute("CREATE TABLE shoe (member INTEGER, colour TEXT)")
    connection.execute(f"PRAGMA user_version = {NEW}")
    connection.commit()


@contextmanager
def newer_version() -> Iterator[None]:
    """While this lasts, it is the newer version that runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "VERSION", NEW)
        patch.setattr(schema, "prepare", prepare_newer)
        yield


def opened_copy(folder: Path) -> Store:
    return Store.open(
        folder, StoreSettings(**kit.SETTINGS), Limits(disk_octets_per_member=1 << 40), gaps=True
    )


async def back(folder: Path) -> bool:
    return await go_back(folder, opened_copy)


async def prove(folder: Path) -> None:
    snapshot.prove(folder)


class Told:
    """What devices were told is stored."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.fetched: list[int] = []


async def use(folder: Path, told: Told, spill: bool = False) -> None:
    """Members come and write; some of it is fetched, of before as well."""
    async with kit.running(folder) as store:
        ann, bob = await kit.members(store, 2)
        small = [(await ann.post([bob.uid], b"small %d" % n)).msgid for n in range(4)]
        large = [(await ann.post([bob.uid], os.urandom(kit.LARGE))).msgid for _ in range(2)]
        if spill:
            await kit.spill(store)
        await bob.acks(small[0], large[0])
        told.waiting += [*small[1:], large[1]]
        told.fetched += [small[0], large[0]]


async def fetch_first(folder: Path, told: Told) -> None:
    """Somebody fetches the first message that waits."""
    async with kit.running(folder) as store:
        msgid = told.waiting.pop(0)
        node = next(node for node, pending in store.queues.nodes.items() if pending.count)
        store.ack(node, msgid)
        await kit.flush(store)
        told.fetched.append(msgid)


async def waiting(folder: Path) -> list[int]:
    async with kit.running(folder) as store:
        return sorted([m for node in store.site.nodes for m in await kit.pending_ids(store, node)])


def whole(folder: Path) -> None:
    found = verify(folder)
    assert found["ok"], found["problems"]


@pytest.mark.parametrize("spill", [False, True])
def test_what_was_there_before_and_what_came_since_is_there_after_going_back(
    tmp_path: Path, spill: bool
) -> None:
    data, told = tmp_path / "data", Told()

    async def story() -> None:
        await use(data, told, spill)
        with newer_version():
            await use(data, told, spill)
            await fetch_first(data, told)
            assert kit.rows(data, "SELECT DISTINCT shoe_size FROM member") == [(42,)]
        await prove(data)
        assert await back(data)
        assert await waiting(data) == sorted(told.waiting)
        whole(data)
        await use(data, told, spill)
        assert await waiting(data) == sorted(told.waiting)
        assert not await back(data) and snapshot.about(data) is None
        with newer_version():  # and to the newer one again
            await use(data, told, spill)
            assert await waiting(data) == sorted(told.waiting)
        assert await back(data)
        assert await waiting(data) == sorted(told.waiting)
        whole(data)

    kit.run(story)
    assert len(kit.rows(data, "SELECT * FROM member")) == 8
    assert kit.rows(data, "PRAGMA user_version") == [(OLD,)]


def test_a_request_that_is_sent_again_after_going_back_is_one_message(tmp_path: Path) -> None:
    async def story() -> None:
        async with kit.running(tmp_path / "data") as store:
            ann, bob = await kit.members(store, 2)
        with newer_version():
            async with kit.running(tmp_path / "data") as store:
                ann.store = store
                ann.relink()
                first = await ann.post([bob.uid], b"once", id="the same")
        assert await back(tmp_path / "data")
        async with kit.running(tmp_path / "data") as store:
            ann.store = store
            ann.relink()
            again = await ann.post([bob.uid], b"once", id="the same")
            assert again.msgid == first.msgid
            assert await kit.pending_ids(store, bob.node) == [first.msgid]

    kit.run(story)


def test_going_back_that_is_cut_off_anywhere_is_done_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, told = tmp_path / "data", Told()

    class Cut(BaseException):
        pass

    async def prepare() -> None:
        await use(data, told)
        with newer_version():
            await use(data, told)

    kit.run(prepare)
    moments: list[str] = []
    for name in ("fsync", "replace", "unlink", "rename"):
        real = getattr(os, name)

        def step(*args: Any, real: Any = real, name: str = name, **more: Any) -> Any:
            if "update" in str(args[0]) or "pocket.db" in str(args[0]) or name == "fsync":
                moments.append(name)
                if len(moments) == limit:
                    raise Cut
            return real(*args, **more)

        monkeypatch.setattr(os, name, step)
    limit = 0
    shutil.copytree(data, tmp_path / "whole")
    data = tmp_path / "whole"
    kit.run(lambda: back(data))
    steps = len(moments)
    assert steps > 4
    for limit in range(1, steps + 1):
        data = tmp_path / f"cut-{limit}"
        shutil.copytree(tmp_path / "data", data)
        moments.clear()
        with pytest.raises((Cut, BaseExceptionGroup)):
            trio.run(back, data)
        limit = 0
        trio.run(back, data)
        assert trio.run(waiting, data) == sorted(told.waiting), f"step {limit}"
        shutil.rmtree(data)


def test_a_version_that_never_served_is_undone_also_if_its_tables_cannot_be_read(tmp_path: Path) -> None:
    data, told = tmp_path / "data", Told()

    async def story(proven: bool) -> None:
        with newer_version():
            async with kit.running(data):
                pass
        kit.change(data, "ALTER TABLE entry RENAME COLUMN body TO words")
        if proven:
            await prove(data)
            with pytest.raises(SchemaError, match="keep a copy of the data folder"):
                await back(data)
        else:
            assert await back(data)
            assert await waiting(data) == sorted(told.waiting)
            whole(data)

    async def both() -> None:
        await use(data, told)
        await story(False)
        await story(True)

    kit.run(both)


def test_without_a_snapshot_the_older_version_does_not_touch_the_data(tmp_path: Path) -> None:
    async def story() -> None:
        await use(tmp_path / "data", Told())
        with newer_version():
            async with kit.running(tmp_path / "data"):
                pass
        snapshot.drop(tmp_path / "data")
        about = snapshot.about(tmp_path / "data")
        assert about is not None and not about.kept and about.done
        assert not await back(tmp_path / "data")
        with pytest.raises(SchemaError, match="newer version"):
            kit.opened(tmp_path / "data")

    kit.run(story)
    assert kit.rows(tmp_path / "data", "PRAGMA user_version") == [(NEW,)]


def test_a_change_of_the_tables_that_was_cut_off_keeps_the_first_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, told = tmp_path / "data", Told()

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE IF NOT EXISTS half (done INTEGER)")
        connection.commit()
        raise sqlite3.OperationalError("the plug was pulled")

    async def story() -> None:
        await use(data, told)
        with newer_version():
            with monkeypatch.context() as patch, pytest.raises(OSError, match="the plug was pulled"):
                patch.setattr(schema, "prepare", half)
                kit.opened(data)
            before = snapshot.about(data)
            assert before is not None and not before.done
            async with kit.running(data):
                pass
            after = snapshot.about(data)
            assert after is not None and after.done and after.at == before.at
        assert await back(data)
        assert kit.rows(data, "SELECT name FROM sqlite_master WHERE name = 'half'") == []
        assert await waiting(data) == sorted(told.waiting)

    kit.run(story)


def test_where_the_snapshot_has_no_room_the_tables_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        await use(tmp_path / "data", Told())
        monkeypatch.setattr(snapshot, "SPARE_OCTETS", 1 << 60)
        with newer_version(), pytest.raises(SchemaError, match="no room to keep them"):
            kit.opened(tmp_path / "data")

    kit.run(story)
    assert kit.rows(tmp_path / "data", "PRAGMA user_version") == [(OLD,)]


def test_what_came_since_is_kept_in_the_journal_until_the_snapshot_goes(tmp_path: Path) -> None:
    async def story() -> None:
        data, told = tmp_path / "data", Told()
        await use(data, told)
        with newer_version():
            await use(data, told)
        about = snapshot.about(data)
        assert about is not None
        count, gap = snapshot.gained(data, about.heads)
        assert count >= 5 and gap is None
        place = kit.rows(data, "SELECT max(place) FROM entry")[0][0] - 256
        kit.change(data, "DELETE FROM entry WHERE place = ?", place)
        assert snapshot.gained(data, about.heads)[1] is not None

    kit.run(story)
