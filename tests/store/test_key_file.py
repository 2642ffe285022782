"""The box's key, in a file that is written whole, and believed only if it fits the journal."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.store.journal import BoxKey, write_synced
from tests.store import kit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of a store that was closed."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            await kit.members(store, 2)

    kit.run(main)
    return tmp_path


def test_a_key_file_is_private_and_the_same_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = BoxKey.load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert BoxKey.load_or_create(path).public == BoxKey.load(path).public == key.public
    with pytest.raises(ValueError, match="missing"):
        BoxKey.load(tmp_path / "none")


def test_a_small_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nearly full disk takes the first half, and then no more."""
    path, real, room = tmp_path / "file", os.write, 150
    write_synced(path, b"old" * 50)

    def write(fd: int, octets: Any) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(fd, octets[:room])
        room -= done
        return done

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        write_synced(path, b"new" * 100)
    assert path.read_bytes() == b"old" * 50
    room = 300
    write_synced(path, b"new" * 100)
    assert path.read_bytes() == b"new" * 100


def test_a_key_of_another_box_is_refused(folder: Path) -> None:
    (folder / "box.key").write_bytes(bytes(32))
    with pytest.raises(ValueError, match="different boxes"):
        kit.opened(folder)


def test_a_key_file_that_is_none_is_refused(folder: Path) -> None:
    (folder / "box.key").write_bytes(b"short")
    with pytest.raises(ValueError, match="no box key"):
        kit.opened(folder)


def test_a_lost_key_is_not_replaced_by_a_new_one(folder: Path) -> None:
    (folder / "box.key").unlink()
    with pytest.raises(ValueError, match="backup"):
        kit.opened(folder)
    assert not (folder / "box.key").exists()
