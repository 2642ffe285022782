"""Files that come from another box: taken in piece by piece, kept over breaks and restarts, proven at the
end.

What has come so far is in ``blobs/incoming`` under the hash of the whole. Whether the octets are right is
only known when all are there: then the file is synced and gets its place among the blobs, or goes.

Bounds. ``PARTS_MAX`` unfinished files; beyond that the one that was left alone for longest goes. Each one
writes what it is given at once, and syncs after ``SYNC_OCTETS``, because a disk that has much to sync keeps
everybody's commits waiting.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import trio

from appliance.store.blobs import PARTIAL, Blobs
from appliance.store.disk import full_if_no_space
from appliance.store.errors import DiskFull, StoreError

PARTS_MAX = 64
SYNC_OCTETS = 4 << 20
READ_OCTETS = 1 << 20


class WrongBlob(StoreError):
    """What came is not the file that was wanted; it is gone."""


class Partials:
    """The unfinished files beside ``blobs``."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self._folder = blobs.folder / "incoming"
        self._open: set[bytes] = set()

    async def open(self, digest: bytes, size: int) -> Partial:
        """Begin with a file of ``size`` octets, or go on with it. Whoever calls has to ``close`` it. Only one
        at a time for each ``digest``. Raises ``DiskFull`` if there is no room for the rest, ``StoreBroken``.
        """
        assert digest not in self._open
        path = self._folder / (digest.hex() + PARTIAL)
        self._open.add(digest)
        partial = Partial(self, digest, size, path)
        try:
            await trio.to_thread.run_sync(self._begin, partial)
        except BaseException:
            partial.close()
            raise
        return partial

    async def read(self, digest: bytes, offset: int, octets: int) -> bytes | None:
        """So many octets of a blob, fewer at its end; None if it is not here, or cannot be read."""
        return await trio.to_thread.run_sync(_read, self.blobs.path(digest), offset, octets)

    async def tidy(self, wanted: set[bytes]) -> None:
        """Let go of unfinished files that nobody wants any more."""
        names = {digest.hex() + PARTIAL for digest in wanted | self._open}
        await trio.to_thread.run_sync(self._remove, names)

    def closed(self, digest: bytes) -> None:
        """Nobody takes the file in any more."""
        self._open.discard(digest)

    def _begin(self, partial: Partial) -> None:
        self._bound()
        partial.begin()

    def _bound(self) -> None:
        """Make room for one more file."""
        files = sorted(
            (path for path in self._folder.glob("*" + PARTIAL) if bytes.fromhex(path.stem) not in self._open),
            key=lambda path: path.stat().st_mtime,
        )
        for path in files[: max(0, len(files) + len(self._open) - PARTS_MAX)]:
            path.unlink(missing_ok=True)

    def _remove(self, but: set[str]) -> None:
        for path in self._folder.glob("*" + PARTIAL):
            if path.name not in but:
                path.unlink(missing_ok=True)


class Partial:
    """A file that is coming. One task uses it."""

    def __init__(self, partials: Partials, digest: bytes, size: int, path: Path) -> None:
        self._partials = partials
        self._digest = digest
        self._path = path
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._unsynced = 0
        self.total = size
        self.size = 0
        """Octets that are here: the next ones are those from there on."""

    def begin(self) -> None:
        """Blocks."""
        with full_if_no_space():
            self._file = open(self._path, "ab+", buffering=0)  # noqa: SIM115
            if os.fstat(self._file.fileno()).st_size > self.total:
                self._file.truncate(0)
            self._file.seek(0)
            while piece := self._file.read(READ_OCTETS):
                self._hash.update(piece)
                self.size += len(piece)
        self._check_room()

    async def write(self, piece: bytes) -> None:
        """The next octets. Raises ``DiskFull`` (what came is kept), ``StoreBroken``, and ``WrongBlob`` if
        they are more than the file has.
        """
        await trio.to_thread.run_sync(self._write, piece)

    async def finish(self) -> None:
        """All has come: prove it, sync it and give it its place. The blob is pinned: call ``Blobs.unpin``
        when those who want it know. Raises ``WrongBlob``, ``DiskFull``, ``StoreBroken``.
        """
        await trio.to_thread.run_sync(self._finish)
        blobs = self._partials.blobs
        blobs.syncs += 1
        await blobs.keep(self._path, self._digest)

    def close(self) -> None:
        """Leave it. What came stays, to go on with. Call it in any case; more than once does no harm."""
        self._partials.closed(self._digest)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _check_room(self) -> None:
        if problem := self._partials.blobs.disk.problem(self.total - self.size):
            raise DiskFull(problem)

    def _write(self, piece: bytes) -> None:
        assert self._file is not None
        if self.size + len(piece) > self.total:
            self._path.unlink(missing_ok=True)
            raise WrongBlob(f"more came than the {self.total} octets that an attachment has")
        self._check_room()
        with full_if_no_space():
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

    def _finish(self) -> None:
        assert self._file is not None
        if self.size != self.total or self._hash.digest() != self._digest:
            self._path.unlink(missing_ok=True)
            raise WrongBlob(f"an attachment of {self.total} octets came with other octets in it")
        with full_if_no_space():
            os.fsync(self._file.fileno())


def _read(path: Path, offset: int, octets: int) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), octets, offset)
    except OSError:
        return None
