"""The journal is cut: traffic goes a day after the last node has it; what is needed stays."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from appliance.site import LASTING, TRAFFIC
from appliance.store import Store, verify
from tests.store import kit
from tests.store.model import START_NS

DAY_S = 86400.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> kit.Clock:
    clock = kit.Clock(START_NS)
    clock.drive(monkeypatch)
    return clock


def seqs(folder: Path, kind: int) -> list[int]:
    return [
        place // 256
        for (place,) in kit.rows(folder, "SELECT place FROM entry WHERE kind = ? ORDER BY 1", kind)
    ]


async def cut(store: Store, ann: kit.Device) -> None:
    """Something happens, and with the spill that follows the journal is cut."""
    await ann.alias(f"a-new-name-{store.entries}")
    await kit.spill(store)


def test_traffic_goes_after_a_day_and_the_rest_stays(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for data in (b"one", bytes(kit.LARGE)):
                await bob.acks((await ann.post([bob.uid], data)).msgid)
            await kit.spill(store)
            lasting, old = seqs(tmp_path, LASTING), store.entries
            clock.advance(0.9 * DAY_S)
            await cut(store, ann)
            assert [seq for seq in seqs(tmp_path, TRAFFIC) if seq <= old], "a day has not passed"
            clock.advance(0.2 * DAY_S)
            await cut(store, ann)
            assert not [seq for seq in seqs(tmp_path, TRAFFIC) if seq <= old]
            assert seqs(tmp_path, LASTING)[: len(lasting)] == lasting
            queue = await kit.pending_ids(store, ann.node)
            assert verify(tmp_path)["problems"] == []
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, ann.node) == queue
            assert verify(tmp_path)["problems"] == []

    kit.run(main)


def test_the_newest_entry_stays(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid])).msgid
            await kit.spill(store)
            await bob.acks(msgid)
            clock.advance(3 * DAY_S)
            await kit.spill(store)
            newest = store.entries
            assert seqs(tmp_path, TRAFFIC) == [newest]
        assert seqs(tmp_path, TRAFFIC) == [newest]
        async with kit.running(tmp_path) as store:
            assert store.entries == newest
            await kit.member(store)
            assert store.entries == newest + 1
        assert verify(tmp_path)["problems"] == []

    kit.run(main)


def test_much_is_cut_a_bit_at_a_time(
    tmp_path: Path, clock: kit.Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.store.cutting.CUT_ENTRIES", 5)

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for _ in range(10):
                await bob.acks((await ann.post([bob.uid])).msgid)
            old = store.entries
            clock.advance(2 * DAY_S)
            left = [len([seq for seq in seqs(tmp_path, TRAFFIC) if seq <= old])]
            while left[-1]:
                clock.advance(1)  # no need to wait until the next cut is due
                await cut(store, ann)
                left.append(len([seq for seq in seqs(tmp_path, TRAFFIC) if seq <= old]))
                assert verify(tmp_path)["problems"] == []
            assert all(0 < before - after <= 6 for before, after in pairwise(left))
            assert len(left) > 3

    kit.run(main)


def test_a_message_that_waits_keeps_its_entry_and_all_after_it(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for _ in range(3):
                await bob.acks((await ann.post([bob.uid])).msgid)
            before = store.entries
            waiting = (await ann.post([bob.uid], b"for a device that is off")).msgid
            its_entry = store.entries
            for _ in range(3):
                await bob.acks((await ann.post([bob.uid])).msgid)
            clock.advance(5 * DAY_S)
            await cut(store, ann)
            after = seqs(tmp_path, TRAFFIC)
            assert not [seq for seq in after if seq <= before]
            assert after[0] == its_entry
            assert after[: store.entries - its_entry + 1] == [
                seq for seq in range(its_entry, store.entries + 1) if seq not in seqs(tmp_path, LASTING)
            ]
            assert verify(tmp_path)["problems"] == []
        async with kit.running(tmp_path) as store:
            ann, bob = kit.Device(store, ann.node), kit.Device(store, bob.node)
            assert await kit.pending_ids(store, bob.node) == [waiting]
            await bob.acks(waiting)
            await ann.acks(*await kit.pending_ids(store, ann.node))
            clock.advance(2 * DAY_S)
            await cut(store, ann)
            assert not [seq for seq in seqs(tmp_path, TRAFFIC) if seq <= its_entry]
            assert verify(tmp_path)["problems"] == []

    kit.run(main)


def test_what_a_new_device_inherited_keeps_its_entries(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            waiting = (await ann.post([bob.uid])).msgid
            heir = await bob.newnode()
            await bob.acks(*await kit.pending_ids(store, bob.node))
            clock.advance(5 * DAY_S)
            await cut(store, ann)
            assert verify(tmp_path)["problems"] == []
            assert await kit.pending_ids(store, heir.node) == [waiting]

    kit.run(main)


def test_a_removed_entry_is_missed_although_the_journal_was_cut(tmp_path: Path, clock: kit.Clock) -> None:
    """A gap is as it should be only where traffic has been cut."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for _ in range(3):
                await bob.acks((await ann.post([bob.uid])).msgid)
            clock.advance(5 * DAY_S)
            await cut(store, ann)
            for _ in range(3):
                await bob.acks((await ann.post([bob.uid])).msgid)

    kit.run(main)
    assert verify(tmp_path)["problems"] == []
    for seq in seqs(tmp_path, TRAFFIC)[1:-1]:
        folder = kit.power_cut(tmp_path, tmp_path.with_name(f"without-{seq}"))
        kit.change(folder, "DELETE FROM entry WHERE place / 256 = ?", seq)
        assert any("missing" in problem for problem in verify(folder)["problems"])


def test_a_day_is_counted_from_the_last_start_too(tmp_path: Path, clock: kit.Clock) -> None:
    """A box that is on for some minutes a day cuts its journal as well."""

    async def main() -> None:
        for _ in range(4):
            async with kit.running(tmp_path) as store:
                if not store.site.members:
                    await kit.members(store, 2)
                ann, bob = (kit.Device(store, number) for number in store.site.nodes)
                await bob.acks((await ann.post([bob.uid])).msgid)
            clock.advance(DAY_S + 60)
        assert len(seqs(tmp_path, TRAFFIC)) <= 4
        assert verify(tmp_path)["problems"] == []

    kit.run(main)
