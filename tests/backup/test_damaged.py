"""What is on a stick is not what was written, or not what is asked for: told, and never used."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from appliance.backup import (
    BackupError,
    Damaged,
    StickError,
    WrongKey,
    format,
    stick,
    writing,
)
from appliance.backup.opening import Backup, choose
from tests.backup.kit import (
    LARGE,
    SECRET,
    house,
    new_box,
    people,
    restored,
    run,
)
from tests.store import kit


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
