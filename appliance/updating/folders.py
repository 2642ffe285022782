"""Updates from a folder on a USB stick, or anywhere on this machine."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from appliance.backup.places import Sticks
from appliance.updating.errors import NoSource, UpdateError
from appliance.updating.incoming import Incoming
from appliance.updating.sums import SUMS

PIECE_OCTETS = 512 << 10
REST_SHARE = 1.0
"""Who copies rests for so many times as long as it took: clients go first."""

LISTED_MAX = 64
GONE = (errno.ENODEV, errno.EIO, errno.ENXIO, errno.ESTALE, errno.ENOTCONN)


class Folder:
    """A folder with a SHA256SUMS in it. Raises ``NoSource`` if it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._path = path

    async def small(self, name: str, most: int) -> bytes:
        """A file of at most ``most`` octets."""
        octets = await trio.to_thread.run_sync(self._read, name, 0, most + 1)
        if len(octets) > most:
            raise NoSource(f"{self._path / name} is larger than {most >> 10} KiB: that is no {name}")
        return octets

    async def fetch(self, name: str, sha: bytes, incoming: Incoming) -> None:
        """Go on with a file. Raises ``UpdateError`` as ``incoming`` does, too."""
        await incoming.expect(await trio.to_thread.run_sync(self._size, name))
        while True:
            began = trio.current_time()
            piece = await trio.to_thread.run_sync(self._read, name, incoming.size, PIECE_OCTETS)
            if not piece:
                return
            await incoming.write(piece)
            await trio.sleep((trio.current_time() - began) * REST_SHARE)

    def _size(self, name: str) -> int:
        with _telling(self._path / name):
            return (self._path / name).stat().st_size

    def _read(self, name: str, offset: int, octets: int) -> bytes:
        path = self._path / name
        with _telling(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise NoSource(f"{path} is no file")
                return os.pread(fd, octets, offset)
            finally:
                os.close(fd)


def on_sticks(search: Sequence[Path]) -> list[Folder]:
    """The folders with updates on sticks that are mounted: at the top, or one below. Blocks."""
    found: list[Folder] = []
    for stick in Sticks(search, None).mounted():
        with suppress(OSError):
            places = [stick, *sorted(path for path in stick.iterdir() if path.is_dir())[:LISTED_MAX]]
            found += [Folder(place) for place in places if (place / SUMS).is_file()]
    return found[:LISTED_MAX]


def named(path: Path) -> Folder:
    """The folder that somebody named. Blocks. Raises ``UpdateError``."""
    if not path.is_absolute():
        raise UpdateError(f"{path}: name the folder from the root, as in /media/stick")
    with _telling(path):
        path.stat()
        if not (path / SUMS).is_file():
            raise NoSource(f"there is no {SUMS} in {path}: name the folder with the files of the update")
    return Folder(path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoSource(_told(error, path)) from error


def _told(error: OSError, path: Path) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"there is no {path}: is the stick plugged in, and mounted there?"
        case errno.EACCES | errno.EPERM:
            return f"the box may not read {path}: give its user, pocket, the right to"
        case number if number in GONE:
            return f"the stick is gone, or broken ({error.strerror}): plug it in again, what came is kept"
        case _:
            return f"{path} cannot be read: {error.strerror or error}"
