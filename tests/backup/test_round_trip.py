"""What a box has goes to a stick and comes back on a blank one, whatever happens on the way."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance.backup import (
    BackupError,
    Damaged,
    StickError,
    WrongKey,
    format,
    opening,
    restoring,
    stick,
    writing,
)
from appliance.backup.opening import Backup, choose
from appliance.peering import folder as joining
from appliance.relay.sealing import SealingKey, seal
from appliance.site import Decision, facts, set_recovery
from appliance.store import BoxKey, verify
from tests.backup.kit import SECRET, House, forget_restored, house, new_box, restored
from tests.store import kit

LARGE = 200_000


def run(test: Callable[[], Any]) -> None:
    kit.run(test, limit_s=120)


async def the_same(folder: Path, home: House, changed: bool = False) -> None:
    """A blank box that is restored has what this one has."""
    forget_restored(folder)
    async with restored(folder) as store:
        assert store.key.box != home.store.key.box
        assert {u: m.aliases for u, m in _members(store)} == {u: m.aliases for u, m in _members(home.store)}
        for node in home.store.site.nodes:
            mine, theirs = await kit.pending(home.store, node), await kit.pending(store, node)
            assert [(m.msgid, m.head, m.data, m.blob) for m in theirs] == [
                (m.msgid, m.head, m.data, m.blob) for m in mine
            ]
        assert store.replica.lacking() == []
        old = store.site.boxes[home.store.key.box]
        own = store.site.boxes[store.key.box]
        assert old.cut == home.store.entries and own.cut is None and own.slot != old.slot
        assert store.site.identity == home.store.site.identity
        if changed:
            ann = await kit.member(store)
            last = max(home.store.scene.mint.last, 0)
            assert (await ann.post([ann.uid], b"new")).msgid > last
    assert verify(folder / "restored")["problems"] == []


def _members(store: Any) -> Any:
    return store.site.uids.items()


async def people(home: House) -> tuple[kit.Device, kit.Device]:
    ann, bob = await kit.members(home.store, 2)
    await ann.alias("ann smith")
    await ann.acks(*await kit.pending_ids(home.store, ann.node))
    return ann, bob


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


# what goes wrong


class Breaks:
    """Each thing that is done to the stick is counted; the one with that number fails, and all after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 30
        self.count = 0
        for cls, names in (
            (stick.Folder, ("make", "overwrite", "remove")),
            (stick.Writing, ("__init__", "write", "finish")),
        ):
            for name in names:
                monkeypatch.setattr(cls, name, self.counted(getattr(cls, name)))

    def counted(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any) -> Any:
            self.count += 1
            self.left -= 1
            if self.left < 0:
                if len(args) == 3 and self.left == -1:  # the state: some of it is written
                    do(*args[:2], args[2][: len(args[2]) // 2])
                raise StickError("pulled out")
            return do(*args)

        return counting

    def after(self, operations: int) -> None:
        self.left, self.count = operations, 0


def test_wherever_it_is_interrupted_the_last_whole_backup_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = Breaks(monkeypatch)
    monkeypatch.setattr(writing, "ANEW_OCTETS", 0)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], os.urandom(30_000))
            await home.back_up()
            operations, interrupted = 0, 0
            while True:
                await ann.post([bob.uid], os.urandom(random.choice([100, 30_000, LARGE])))
                await bob.acks((await kit.pending_ids(home.store, bob.node))[0])
                last = home.backup().state
                breaks.after(operations)
                try:
                    await home.back_up()
                except StickError:
                    interrupted += 1
                    breaks.after(1 << 30)
                    found = home.backup()
                    assert found.state.number in (last.number, last.number + 1)
                    assert sum(found.check()) > 0
                    operations += 1
                else:
                    break
            assert interrupted > 10
            breaks.after(1 << 30)
            await home.back_up()
            await the_same(tmp_path, home)

    run(main)


def test_attachments_that_an_interrupted_backup_wrote_are_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for _ in range(3):
                await ann.post([bob.uid], os.urandom(LARGE))
            writer = home.writer()
            monkeypatch.setattr(writer, "_prove", _fails)
            with pytest.raises(StickError):
                await writer.run()
            kept = {path: path.stat().st_mtime_ns for path in home.stick.rglob("files/*/*")}
            (spoiled, *whole) = kept
            spoiled.write_bytes(bytes(spoiled.stat().st_size))
            await home.back_up()
            assert len(kept) == 3 and all(path.stat().st_mtime_ns == kept[path] for path in whole)
            await the_same(tmp_path, home)

    async def _fails() -> None:
        raise StickError("pulled out")

    run(main)


def test_a_restore_that_is_cut_off_anywhere_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "READ_OCTETS", 5000)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for size in (3000, LARGE, 100, 20_000, LARGE, 10):
                await ann.post([bob.uid], os.urandom(size))
            await home.back_up()
            boxes = set()
            for delay in range(25):
                work = new_box(tmp_path)
                with trio.move_on_after(0.01 * delay):
                    await work.run()
                    break
            boxes.add(joining.prepare_copy(tmp_path / "restored").joinpath("box.key").read_bytes())
            assert len(boxes) == 1
            async with restored(tmp_path) as store:
                assert store.entries == 1
                assert await kit.pending_ids(store, bob.node) == await kit.pending_ids(home.store, bob.node)

    run(main)


@pytest.mark.parametrize("damaged", [False, True])
def test_an_attachment_of_which_some_is_there_goes_on_from_there(tmp_path: Path, damaged: bool) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], os.urandom(LARGE))
            await home.back_up()
            work = new_box(tmp_path)
            incoming = joining.prepare_copy(tmp_path / "restored") / "blobs" / "incoming"
            incoming.mkdir(parents=True)
            (path,) = (tmp_path / "data" / "blobs").glob("??/*")
            part = bytes(100_000) if damaged else path.read_bytes()[:100_000]
            (incoming / f"{path.name}.part").write_bytes(part)
            assert await work.run()
            assert work.octets == (LARGE - 100_000) + (LARGE if damaged else 0)
            assert (tmp_path / "restored" / "copy" / "blobs" / path.parent.name / path.name).exists()

    run(main)


def test_a_stick_that_was_pulled_out_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "RETRY_S", 0.02)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], b"text")
            await home.back_up()
            work = new_box(tmp_path)
            home.stick.rename(tmp_path / "pocket")
            async with trio.open_nursery() as nursery:
                done: list[bool] = []

                async def runs() -> None:
                    done.append(await work.run())

                nursery.start_soon(runs)
                await kit.until(lambda: work.problem is not None)
                assert "stick" in str(work.problem) and not done
                (tmp_path / "pocket").rename(home.stick)
            assert done == [True] and work.problem is None

    run(main)


def test_the_wrong_key_another_folder_and_another_stick_are_told_apart(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            await people(home)
            with pytest.raises(BackupError, match="there is no backup"):
                choose(home.stick, SECRET)
            await home.back_up()
            with pytest.raises(WrongKey, match="another one"):
                choose(home.stick, bytes(20))
            for place in (home.stick, home.stick / stick.TOP, home.writer().folder.path):
                assert choose(place, SECRET).state.number == 1
            with pytest.raises(StickError, match="plugged in"):
                await writing.Writer(home.store, home.data, SECRET, tmp_path / "nowhere").run()

    run(main)


@pytest.mark.parametrize("what", ["journal", "files", "state", "key"])
def test_what_is_damaged_on_the_stick_is_told_and_never_used(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], os.urandom(LARGE))
            await ann.post([bob.uid], b"text")
            await home.back_up()
            place = {"journal": "journal-000001", "files": "files/*/*", "state": "state-1", "key": "key"}[
                what
            ]
            (path,) = home.writer().folder.path.glob(place)
            octets = bytearray(path.read_bytes())
            octets[len(octets) // 2] ^= 1
            path.write_bytes(bytes(octets))
            if what in ("journal", "files"):
                with pytest.raises(Damaged):
                    list(home.backup().check())
            else:
                with pytest.raises((Damaged, WrongKey)):
                    home.backup()
            if what == "files":
                async with restored(tmp_path) as store:
                    waiting = await kit.pending(store, bob.node)
                    assert [m.data for m in waiting] == [b"text"]
                    assert len(store.replica.lacking()) == 1
            elif what == "journal":
                work = new_box(tmp_path)
                assert not await work.run()
                assert "damaged" in str(work.gave_up)

    run(main)


def test_another_attachment_under_the_right_name_is_not_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], os.urandom(LARGE))
            await home.back_up()
            backup = home.backup()
            (path,) = home.stick.rglob("files/*/*")
            sealer = format.Sealer(backup.key, str(path.relative_to(backup.folder.path)))
            path.write_bytes(sealer.begin() + sealer.seal(bytes(LARGE)) + sealer.finish())
            with pytest.raises(Damaged, match="not what was written"):
                list(backup.check())
            async with restored(tmp_path) as store:
                assert len(store.replica.lacking()) == 1

    run(main)


def test_a_backup_with_entries_of_another_history_is_not_whole(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], b"text")
            state = await home.back_up()
            backup = home.backup()
            for box, head in state.heads.items():
                for wrong in (
                    msgspec.structs.replace(head, seq=head.seq + 1),
                    msgspec.structs.replace(head, digest=bytes(32)),
                ):
                    other = msgspec.structs.replace(state, heads={box: wrong})
                    with pytest.raises(Damaged, match="end where they should"):
                        list(Backup(backup.folder, backup.key, other).check())
                other = msgspec.structs.replace(
                    state, heads={box: msgspec.structs.replace(head, public=bytes(32))}
                )
                with pytest.raises(Damaged, match="signature"):
                    list(Backup(backup.folder, backup.key, other).check())

    run(main)


def test_nothing_on_the_stick_says_who_is_a_member(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], b"a text that nobody is to read" * 3000)
            await home.back_up()
            text = b"".join(path.read_bytes() for path in home.stick.rglob("*") if path.is_file())
            for secret in (b"ann smith", ann.uid.encode(), b"nobody is to read", b"Home", b"PRIVATE KEY"):
                assert secret not in text
            assert home.writer().folder.about() is not None

    run(main)
