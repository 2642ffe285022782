"""Files on a stick: written so that they are there whole or not at all, and read from the stick itself.

A stick has any file system, mostly FAT: no permissions, no files of 4 GiB, folders that cannot be synced; it
is full, write-protected, or pulled out in the middle. All here blocks; whatever
fails is a ``StickError`` that says what to do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from appliance.backup.errors import StickError

TOP = "pocket-backup"
KEY_FILE = "recovery-key.txt"
"""Beside ``TOP``: with it a blank box restores by itself."""

ABOUT = "about.json"
NEW = ".new"
PIECE_OCTETS = 1 << 20
SYNC_OCTETS = 8 << 20
"""A slow stick with much to write would keep other writers waiting."""

GONE = (errno.ENODEV, errno.EIO, errno.ENXIO, errno.ESTALE, errno.ENOTCONN)


class About(msgspec.Struct, frozen=True):
    """What anybody may read of a backup: no names, no key. ``made`` in seconds since the epoch."""

    format: int
    site: str
    box: str
    key: str
    made: float
    octets: int
    program: str = ""


class Folder:
    """One backup: a folder on a stick, and the files in it by their names (``files/ab/abcd``)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        with telling(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        """Raises ``StickError`` if it is not there."""
        with telling(self.path):
            self.path.stat()

    def create(self, name: str) -> Writing:
        """Begin a file; it has its name when it is ``finish``ed."""
        return Writing(self.path / name)

    def put(self, name: str, octets: bytes) -> None:
        """Write a small file."""
        writing = self.create(name)
        try:
            writing.write(octets)
            writing.finish()
        finally:
            writing.abort()

    def overwrite(self, name: str, octets: bytes) -> None:
        """Write a small file in its place: where renaming is not one step, another one has to be whole."""
        path = self.path / name
        with telling(path), open(path, "wb", buffering=0) as file:
            _write_all(file, octets)
            os.fsync(file.fileno())
        _sync_folder(path.parent)

    def read(self, name: str) -> Iterator[bytes]:
        """The octets of a file in pieces, from the stick and not from memory."""
        path = self.path / name
        with telling(path), open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := file.read(PIECE_OCTETS):
                yield piece

    def get(self, name: str) -> bytes | None:
        """A small file; None if it is not there."""
        path = self.path / name
        with telling(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def size(self, name: str) -> int | None:
        path = self.path / name
        with telling(path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def names(self) -> set[str]:
        """Of all files."""
        with telling(self.path):
            return {str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file()}

    def remove(self, name: str) -> None:
        with telling(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def about(self) -> About | None:
        """None if there is no backup, or it is none."""
        octets = self.get(ABOUT)
        try:
            return msgspec.json.decode(octets, type=About) if octets else None
        except msgspec.DecodeError:
            return None

    def free(self) -> int:
        """Octets."""
        with telling(self.path):
            stat = os.statvfs(self.path)
            return stat.f_bavail * stat.f_frsize


class Writing:
    """A file on its way to the stick. ``abort`` it in any case; after ``finish`` that does nothing."""

    def __init__(self, path: Path) -> None:
        self.octets = 0
        self._path = path
        self._new = path.with_name(path.name + NEW)
        self._unsynced = 0
        with telling(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO | None = open(self._new, "wb", buffering=0)  # noqa: SIM115

    def write(self, octets: bytes) -> None:
        assert self._file is not None
        with telling(self._path):
            _write_all(self._file, octets)
            self.octets += len(octets)
            self._unsynced += len(octets)
            if self._unsynced >= SYNC_OCTETS:
                self._unsynced = 0
                os.fdatasync(self._file.fileno())

    def finish(self) -> None:
        assert self._file is not None
        with telling(self._path):
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            self._new.rename(self._path)
        _sync_folder(self._path.parent)

    def abort(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
            with suppress(OSError):
                self._new.unlink()


def find(place: Path) -> list[Folder]:
    """The backups in a folder: it is a stick, or something in one, or a backup itself. The newest first."""
    with telling(place):
        if (place / ABOUT).is_file():
            known = [Folder(place)]
        else:
            known = [Folder(path.parent) for path in place.glob(f"{TOP}/*/*/{ABOUT}")]
            known += [Folder(path.parent) for path in place.glob(f"*/*/{ABOUT}") if place.name == TOP]
            known += [Folder(path.parent) for path in place.glob(f"*/{ABOUT}")]
        found = [(about.made, folder) for folder in known if (about := folder.about()) is not None]
    found.sort(key=lambda one: -one[0])
    return [folder for _, folder in found]


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn the errors of file operations into words."""
    try:
        yield
    except OSError as error:
        raise StickError(_told(error, path)) from error


def _told(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return (
                "there is no room left on the stick; what was backed up before is still there. Make room, or"
                " use a larger one"
            )
        case errno.EROFS:
            return (
                f"the stick cannot be written to ({path}): is it write-protected, or its file system damaged?"
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"the box may not use {path}: give its user, pocket, the right to (mount it with uid=pocket)"
            )
        case errno.ENOENT | errno.ENOTDIR:
            return f"there is no {path}: is the stick plugged in, and is that where it is mounted?"
        case number if number in GONE:
            return (
                f"the stick is gone, or broken ({error.strerror}); what was backed up before is still on it"
            )
        case _:
            return f"{path} cannot be used: {error.strerror or error}"


def _write_all(file: BinaryIO, octets: bytes) -> None:
    rest = memoryview(octets)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_folder(folder: Path) -> None:
    """Some file systems cannot; they write names with the files."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
