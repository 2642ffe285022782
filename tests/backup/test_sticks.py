"""Sticks as they are: mounted somewhere or not at all, too small, write-protected."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.backup import StickError, writing
from appliance.backup.places import Sticks
from appliance.backup.stick import Folder
from tests.backup.kit import House, house, restored
from tests.store import kit

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
Mount = Callable[..., Path]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a stick at this path."""
    made: list[Path] = []

    def mount(at: Path, mib: int = 8, *options: str) -> Path:
        at.mkdir(parents=True, exist_ok=True)
        said = ",".join([f"size={mib}m", *options])
        subprocess.run(["mount", "-t", "tmpfs", "-o", said, "pocket-test", at], check=True)
        made.append(at)
        return at

    yield mount
    for at in made:
        subprocess.run(["umount", "--lazy", at], check=True)


@pytest.mark.root
@root
def test_the_stick_is_found_where_it_is_mounted_and_an_empty_folder_is_none(
    tmp_path: Path, mounted: Mount
) -> None:
    media = tmp_path / "media"
    sticks = Sticks((media, tmp_path / "missing"), None)
    with pytest.raises(StickError, match="plug one in"):
        sticks.to_write_to(None)
    one = mounted(media / "one")
    (media / "pulled-out").mkdir()
    assert sticks.to_write_to(None) == one
    (one / "deeper").mkdir()
    assert sticks.to_write_to(one / "deeper") == one / "deeper"
    with pytest.raises(StickError, match="plugged in"):
        sticks.to_write_to(media / "pulled-out")
    with pytest.raises(StickError, match="plugged in"):
        Sticks((media,), media / "pulled-out").to_write_to(None)
    two = mounted(media / "ann" / "two")
    with pytest.raises(StickError, match="say which"):
        sticks.to_write_to(None)
    (two / "pocket-backup").mkdir()
    assert sticks.to_write_to(None) == two
    with pytest.raises(StickError, match="from the root"):
        sticks.to_write_to(Path("stick"))


@pytest.mark.root
@root
def test_a_stick_that_is_full_says_so_and_keeps_the_backup_before(tmp_path: Path, mounted: Mount) -> None:
    async def main() -> None:
        mounted(tmp_path / "stick", 2)
        async with house(tmp_path) as home:
            ann, bob = await kit.members(home.store, 2)
            await ann.post([bob.uid], b"fits")
            first = await home.back_up()
            await ann.post([bob.uid], os.urandom(3 << 20))
            with pytest.raises(StickError, match="no room left"):
                await home.back_up()
            assert home.backup().state == first
            assert sum(home.backup().check()) > 0
            await bob.acks(*await kit.pending_ids(home.store, bob.node))
            await kit.spill(home.store)
            await ann.post([bob.uid], b"fits again")
            second = await home.back_up()
            assert second.files == {} and second.number == 2
            async with restored(tmp_path) as store:
                assert [m.data for m in await kit.pending(store, bob.node)] == [b"fits again"]

    kit.run(main)


@pytest.mark.root
@root
def test_a_stick_that_is_write_protected_says_so(tmp_path: Path, mounted: Mount) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            mounted(tmp_path / "locked", 2, "ro")
            locked = House(home.store, tmp_path, tmp_path / "locked")
            with pytest.raises(StickError, match="write-protected"):
                await locked.back_up()

    kit.run(main)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "backup")
    folder.make()
    writing_it = folder.create("files/ab/abcd")
    writing_it.write(b"some")
    assert folder.size("files/ab/abcd") is None
    writing_it.abort()
    assert folder.names() == set()
    folder.put("files/ab/abcd", b"all of it")
    assert b"".join(folder.read("files/ab/abcd")) == b"all of it"
    assert folder.names() == {"files/ab/abcd"}


def test_the_folder_says_which_site_which_box_and_which_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            one = writing.folder_of(home.store, home.stick, bytes(20)).path
            other = writing.folder_of(home.store, home.stick, bytes(19) + b"1").path
            assert one.parent == other.parent and one != other
            for name in (one.name, one.parent.name):
                assert name.replace("-", "").isalnum()  # FAT takes it

    kit.run(main)
