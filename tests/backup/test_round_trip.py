"""What a box has goes to a stick and comes back on a blank one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance.backup import (
    format,
    opening,
    stick,
    writing,
)
from appliance.backup.opening import choose
from appliance.peering import folder as joining
from appliance.relay.sealing import SealingKey, seal
from appliance.site import Decision, facts, set_recovery
from appliance.store import BoxKey
from tests.backup.kit import (
    LARGE,
    SECRET,
    House,
    forget_restored,
    house,
    new_box,
    people,
    restored,
    run,
    the_same,
)
from tests.store import kit


def test_a_blank_box_gets_everything_and_serves_as_a_new_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await home.store.perform(lambda scene: set_recovery(scene, SECRET))
            for size in (0, 10, 60_000, LARGE, 3 << 20):
                await ann.post([bob.uid], os.urandom(size))
            got = (await bob.post([ann.uid], b"got it")).msgid
            await ann.acks(got)
            await kit.spill(home.store)
            await ann.post([bob.uid], b"after the spill")
            state = await home.back_up()
            assert (state.members, state.devices, len(state.files)) == (2, 2, 2)
            assert await kit.pending_ids(home.store, ann.node) == []
            await the_same(tmp_path, home, changed=True)

    run(main)


def test_what_is_new_is_added_and_nothing_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reads = stick.Folder.read

    def reading(folder: stick.Folder, name: str) -> Any:
        read.append(name)
        return reads(folder, name)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for _ in range(4):
                await ann.post([bob.uid], os.urandom(LARGE))
            await ann.post([bob.uid], os.urandom(50_000))
            first = await home.back_up()
            kept = {
                p: p.stat().st_mtime_ns
                for p in home.stick.rglob("*")
                if "files" in p.parts or "journal" in p.name
            }
            before = home.octets()
            await ann.post([bob.uid], b"one more")
            with monkeypatch.context() as patch:
                patch.setattr(stick.Folder, "read", reading)
                second = await home.back_up()
            assert read and not [name for name in read if name.startswith("files/")]
            assert second.segments[:-1] == first.segments and second.files == first.files
            assert home.octets() - before < 5000
            assert all(p.stat().st_mtime_ns == at for p, at in kept.items())
            third = await home.back_up()
            assert third.segments == second.segments and third.number == 3
            await the_same(tmp_path, home)
            await bob.acks(*await kit.pending_ids(home.store, bob.node))
            fourth = await home.back_up()
            await kit.spill(home.store)
            fifth = await home.back_up()
            assert len(fourth.files) in (0, 4) and fifth.files == {}
            assert not [p for p in home.stick.rglob("files/*/*")]
            await the_same(tmp_path, home)

    run(main)


def test_what_was_acknowledged_does_not_come_again_though_its_entry_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.store.cutting.CUT_AFTER_NS", 0)
    monkeypatch.setattr("appliance.store.upkeep.CUT_EVERY_S", 0.0)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], b"acknowledged")
            first = await home.back_up()
            await bob.acks(*await kit.pending_ids(home.store, bob.node))
            for turn in range(3):
                await bob.acks((await ann.post([bob.uid], b"%d" % turn)).msgid)
            await kit.spill(home.store)
            await ann.post([bob.uid], b"waits")
            second = await home.back_up()
            assert not {s.name for s in first.segments} & {s.name for s in second.segments}
            await the_same(tmp_path, home)

    run(main)


def test_what_came_on_top_is_written_anew_when_it_is_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ANEW_OCTETS", 0)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            states = []
            for _ in range(4):
                await ann.post([bob.uid], os.urandom(30_000))
                states.append(await home.back_up())
            assert [len(state.segments) for state in states] == [1, 2, 3, 1]
            assert {p.name for p in home.stick.rglob("journal-*")} == {s.name for s in states[-1].segments}
            await the_same(tmp_path, home)

    run(main)


def test_a_restored_box_backs_up_the_journals_of_both(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], b"from the old one")
            await home.back_up()
        async with restored(tmp_path) as store:
            again = House(store, tmp_path, home.stick)
            await kit.Device(store, ann.node).post([bob.uid], b"from the new one")
            state = await writing.Writer(store, tmp_path / "restored", SECRET, home.stick).run()
            assert len(state.heads) == 2
            (tmp_path / "restored").rename(tmp_path / "second")
            await the_same(tmp_path, again)

    run(main)


def test_segments_and_attachments_are_cut_into_files_of_a_size_that_any_stick_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format, "FRAME_OCTETS", 4096)
    monkeypatch.setattr(writing, "SEGMENT_OCTETS", 20_000)
    monkeypatch.setattr(writing, "READ_OCTETS", 10_000)
    monkeypatch.setattr(opening, "PART_OCTETS", 65_536)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for _ in range(6):
                await ann.post([bob.uid], os.urandom(20_000))
            await ann.post([bob.uid], os.urandom(3 * 65_536))
            await ann.post([bob.uid], os.urandom(3 * 65_536 + 1))
            state = await home.back_up()
            assert len(state.segments) > 3
            assert len([p for p in home.stick.rglob("files/*/*")]) == 7
            await the_same(tmp_path, home)

    run(main)


def test_octets_that_came_after_their_entry_are_added(tmp_path: Path) -> None:
    """A box has an entry, and its message's octets later, from another box."""

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            msgid = (await ann.post([bob.uid], b"late")).msgid
            (octets,) = await home.store.replica.octets([msgid])
            entry = (await home.store.replica.read({}, 1 << 30))[-1]
            assert entry.octets
            await home.back_up()
        async with restored(tmp_path) as store:
            assert [m.msgid for m in await kit.pending(store, bob.node)] == [msgid]
        forget_restored(tmp_path)
        (tmp_path / "other").mkdir()
        work = new_box(tmp_path)
        copy = joining.prepare_copy(tmp_path / "restored")
        lacking = work._open_copy(copy)
        lacking.replica.trusted.update({home.store.key.box: home.store.key.public})
        arrivals = [msgspec.structs.replace(a, octets=()) for a in await _entries(home, tmp_path)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lacking.run)
            await lacking.replica.absorb(arrivals, lacking.replica.own)
            assert msgid in lacking.replica.absent_messages()
            writer = writing.Writer(lacking, copy, SECRET, tmp_path / "other")
            first = await writer.run()
            assert msgid in first.absent
            await lacking.replica.give_octets([octets])
            second = await writing.Writer(lacking, copy, SECRET, tmp_path / "other").run()
            assert (
                set(second.absent) == set(first.absent) - {msgid} and second.segments[:-1] == first.segments
            )
            lacking.close()
        forget_restored(tmp_path)
        (tmp_path / "stick").rename(tmp_path / "old stick")
        (tmp_path / "other").rename(tmp_path / "stick")
        async with restored(tmp_path) as store:
            assert [m.data for m in await kit.pending(store, bob.node)] == [b"late"]

    async def _entries(home: House, folder: Path) -> list[Any]:
        backup = choose(folder / "stick", SECRET)
        return [a for s in backup.state.segments for r in backup.records(s) for a in r.arrivals]  # type: ignore[union-attr]

    run(main)


def test_secrets_for_other_sites_are_sealed_for_the_new_box(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, _ = await people(home)
            own, key = home.store.key, SealingKey(home.store.key)
            said: list[facts.LastingFact] = [
                facts.MembershipAdded(48, ann.member, "Club", 1),
                facts.BoxSealing(own.box, key.public, 2),
                facts.CredentialSet(48, own.box, seal("sesame", key.public, 48, own.box), 3),
                facts.MembershipAdded(64, ann.member, "School", 4),
                facts.CredentialSet(64, own.box, b"junk", 5),
            ]
            await home.store.perform(lambda scene: Decision(lasting=said))
            await home.back_up()
        async with restored(tmp_path) as store:
            box = store.key.box
            club, school = store.site.memberships[48], store.site.memberships[64]
            assert SealingKey(store.key).open(club.credentials[box], 48, box) == "sesame"
            assert box not in school.credentials
            assert store.site.sealing[box][0] == SealingKey(store.key).public

    run(main)


def test_a_site_that_has_had_all_its_boxes_can_be_restored(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for slot in range(1, 16):
                box = BoxKey.load_or_create(tmp_path / str(slot))
                said = [facts.BoxAdded(box.box, box.public, slot, "gone", slot), facts.BoxRevoked(box.box, 0)]
                await home.store.perform(lambda scene, said=said: Decision(lasting=said))  # type: ignore[misc]
            await ann.post([bob.uid], b"text")
            await home.back_up()
        async with restored(tmp_path) as store:
            own = store.site.boxes[store.key.box]
            assert own.slot in range(1, 16) and own.cut is None
            assert [m.data for m in await kit.pending(store, bob.node)] == [b"text"]

    run(main)
