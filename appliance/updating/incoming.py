"""A file of an update on its way to the disk: it is kept over breaks and restarts, and proven at the end.

What has come so far lies under the hash of the whole, so it is gone on with wherever the rest comes from.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import trio

from appliance.store.journal import sync_folder
from appliance.updating.errors import NoRoom, NoSource, Untrusted, UpdateError

PART = ".part"
READ_OCTETS = 1 << 20
SYNC_OCTETS = 4 << 20
"""A disk that has much to sync keeps everybody's commits waiting."""

NO_ROOM = "the disk is too full for an update ({need} MiB more are needed, beside the reserve): make room"


class Incoming:
    """``room`` says how many octets the disk can still take. ``open`` it first, ``close`` it in any case."""

    def __init__(self, folder: Path, sha: bytes, most: int, room: Callable[[], int]) -> None:
        self.size = 0
        """Octets that are here: the next ones are those from there on."""
        self.total: int | None = None
        """Of the whole file, as its source says; None before."""
        self._folder = folder
        self._sha = sha
        self._most = most
        self._room = room
        self._path = folder / (sha.hex() + PART)
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._unsynced = 0

    async def open(self) -> None:
        """Raises ``UpdateError``."""
        await trio.to_thread.run_sync(self._told, self._open)

    async def write(self, piece: bytes) -> None:
        """The next octets. Raises ``UpdateError``; what came before is kept, but for more than it may be."""
        await trio.to_thread.run_sync(self._told, lambda: self._write(piece))

    async def expect(self, total: int) -> None:
        """The whole file has so many octets. Raises ``NoRoom``, ``Untrusted``."""
        if total > self._most:
            raise Untrusted(f"a file of {total >> 20} MiB is larger than any update can be: it was not taken")
        if self.size > total:
            await self.again()
        self.total = total
        self._check_room(total - self.size)

    async def again(self) -> None:
        """From the beginning."""
        await trio.to_thread.run_sync(self._told, self._truncate)

    async def finish(self, place: Path) -> None:
        """All has come: prove it, sync it, and move it to ``place``. Raises ``Untrusted`` (it is gone then),
        ``NoSource`` (the source gave too little; it is kept), ``UpdateError``.
        """
        await trio.to_thread.run_sync(self._told, lambda: self._finish(place))

    def close(self) -> None:
        """Leave it. What came stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = open(self._path, "ab+", buffering=0)  # noqa: SIM115
        self._file.seek(0)
        while piece := self._file.read(READ_OCTETS):
            self._hash.update(piece)
            self.size += len(piece)
        if self.size > self._most:
            self._truncate()

    def _truncate(self) -> None:
        assert self._file is not None
        self._file.truncate(0)
        self._hash = hashlib.sha256()
        self.size = 0

    def _write(self, piece: bytes) -> None:
        assert self._file is not None
        if self.size + len(piece) > (self._most if self.total is None else self.total):
            self._truncate()
            raise Untrusted("more came than the file has: it was not taken")
        self._check_room(len(piece))
        view = memoryview(piece)
        while view:
            written = self._file.write(view)
            self._hash.update(view[:written])
            self.size += written
            self._unsynced += written
            view = view[written:]
        if self._unsynced >= SYNC_OCTETS:
            self._unsynced = 0
            os.fdatasync(self._file.fileno())

    def _finish(self, place: Path) -> None:
        assert self._file is not None
        if self.total is not None and self.size < self.total:
            raise NoSource("the file ended too early; what came is kept, try again")
        if self._hash.digest() != self._sha:
            self._path.unlink(missing_ok=True)
            raise Untrusted("a file is not what was signed: it was thrown away. Try again, or elsewhere")
        os.fsync(self._file.fileno())
        place.parent.mkdir(parents=True, exist_ok=True)
        self._path.rename(place)
        sync_folder(place.parent)
        sync_folder(self._folder)

    def _check_room(self, octets: int) -> None:
        if octets > (room := self._room()):
            raise NoRoom(NO_ROOM.format(need=max(1, (octets - room) >> 20)))

    def _told(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoRoom(NO_ROOM.format(need=1)) from error
            raise UpdateError(f"an update cannot be kept in {self._folder}: {error.strerror}") from error
