"""A device in a drawer keeps its messages, and not the journal since it was last seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.store import Store, verify

from . import kit

START_NS = 1_790_000_000_000_000_000
DAY_S = 86_400


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> kit.Clock:
    clock = kit.Clock(START_NS)
    clock.drive(monkeypatch)
    return clock


async def traffic(store: Store, ann: kit.Device, bob: kit.Device, count: int) -> None:
    """Messages that are fetched at once."""
    for number in range(count):
        message = await ann.post([bob.uid], b"%d" % number)
        store.ack(bob.node, message.msgid)
    await kit.flush(store)


async def days(store: Store, clock: kit.Clock, ann: kit.Device, bob: kit.Device, count: int) -> None:
    for _ in range(count):
        clock.advance(DAY_S)
        await traffic(store, ann, bob, 5)
        for _ in range(3):
            clock.advance(700)
            store.queues.weight += 1
            await kit.spill(store)


def entries(folder: Path) -> int:
    (count,) = kit.rows(folder, "SELECT count(*) FROM entry WHERE kind = 2")[0]
    return int(count)


def test_the_journal_stays_short_though_a_device_is_away_for_months(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob, drawer = await kit.members(store, 3)
            waiting = [(await ann.post([drawer.uid], b"%d" % n)).msgid for n in range(3)]
            waiting.append((await ann.post([drawer.uid, bob.uid], b"both")).msgid)
            store.ack(bob.node, waiting[-1])
            await days(store, clock, ann, bob, 12)
            after_12_days = entries(tmp_path)
            await days(store, clock, ann, bob, 30)
            assert entries(tmp_path) <= after_12_days + 5
            assert await kit.pending_ids(store, drawer.node) == waiting
            assert verify(tmp_path)["problems"] == []
        assert verify(tmp_path)["problems"] == []
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, drawer.node) == waiting
            for msgid in waiting:
                store.ack(drawer.node, msgid)
            await days(store, clock, kit.Device(store, ann.node), kit.Device(store, bob.node), 9)
            assert kit.rows(tmp_path, "SELECT count(*) FROM message") == [(0,)]
            assert await kit.pending_ids(store, drawer.node) == []
            assert verify(tmp_path)["problems"] == []

    kit.run(main)


def test_what_is_carried_is_still_found_when_it_was_changed(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob, drawer = await kit.members(store, 3)
            await ann.post([drawer.uid], b"the same")
            await days(store, clock, ann, bob, 10)

    kit.run(main)
    assert verify(tmp_path)["problems"] == []
    assert kit.change(tmp_path, "UPDATE message SET data = ?", b"another!") == 1
    assert "octets are not what was accepted" in verify(tmp_path)["problems"][0]


def test_a_power_cut_after_carrying_brings_nothing_back(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "data") as store:
            ann, bob, drawer = await kit.members(store, 3)
            waiting = [(await ann.post([drawer.uid], b"old")).msgid]
            await days(store, clock, ann, bob, 10)
            copy = kit.power_cut(tmp_path / "data", tmp_path / "cut")
        async with kit.running(copy) as store:
            assert await kit.pending_ids(store, drawer.node) == waiting
            assert await kit.pending_ids(store, bob.node) == []
            assert store.queues.nodes[drawer.node].count == 1
        assert verify(copy)["problems"] == []

    kit.run(main)
