"""Data above 64 KiB: files named by the SHA-256 of their octets, on stable storage before a commit names
them.

The same octets are stored once. A file goes when no message names it and nobody is about to (*pins*). A blob
whose last pin is gone is *loose*: a message names it now, or the request was refused or given up; whoever
knows the messages looks which. A file that is not what its name says is *set aside*: it keeps its octets
under another name until there is a good one, or nobody wants it any more.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

import trio

from appliance.site import Payload
from appliance.store.disk import Disk, full_if_no_space
from appliance.store.errors import DiskFull, FileDamaged, StoreBroken
from appliance.store.journal import sync_folder

PARTIAL = ".part"
"""Ends the names of files that go on where they were, after a restart: see partial.py."""

ASIDE = ".damaged"
Signature = tuple[int, int, int]
"""Of a file, by which it is known to be the same as before: inode, size, time of its last change."""

PIECE_OCTETS = 512 << 10
PIECE_OCTETS_MIN = 32 << 10
PIECES_OCTETS = 16 << 20
"""What an upload gathers before it is written, and what a download reads at once: the first with few of them,
the second with many. An upload has at most three pieces in memory, a download one: 48 MiB in all with up to
512 of them, and 96 KiB for each one more.
"""


class Blobs:
    def __init__(self, folder: Path, disk: Disk, on_loose: Callable[[], None]) -> None:
        self.folder = folder
        self._on_loose = on_loose
        self._loose: set[bytes] = set()
        self.disk = disk
        self.syncs = 0
        self._incoming = folder / "incoming"
        self._lasting: set[Path] = set()
        self._pins: Counter[bytes] = Counter()
        self._lock = trio.Lock()
        self._serial = 0
        self._streams = 0

    @property
    def piece_octets(self) -> int:
        """How large the pieces of uploads and downloads should be now: the more there are, the smaller, so
        that all of them together stay near ``PIECES_OCTETS``.
        """
        return max(PIECE_OCTETS_MIN, min(PIECE_OCTETS, PIECES_OCTETS // max(1, self._streams)))

    def prepare(self, named: set[bytes]) -> None:
        """At start (blocking): make the folders; remove unfinished uploads and files nobody names."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        sync_folder(self.folder.parent)
        sync_folder(self.folder)
        self._lasting = set(self.folder.iterdir())
        for path in self._incoming.iterdir():
            if path.suffix != PARTIAL:
                path.unlink()
        for path in self.folder.glob("??/*"):
            try:
                digest = bytes.fromhex(path.name.removesuffix(ASIDE))
            except ValueError:
                continue
            if digest not in named or (path.suffix == ASIDE and self.has(digest)):
                path.unlink()

    def has(self, digest: bytes) -> bool:
        """Whether the file is in its place."""
        return self.path(digest).exists()

    def path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self.folder / name[:2] / name

    def upload(self) -> Upload:
        """Begin to take data in. Whoever calls has to call ``finish`` or ``abort``."""
        self._serial += 1
        self._streams += 1
        return Upload(self, self._incoming / str(self._serial))

    def ended(self) -> None:
        """An upload is over."""
        self._streams -= 1

    async def keep(self, temporary: Path, digest: bytes) -> None:
        """Give a synced file its name, and pin it until ``unpin``."""
        final = self.path(digest)
        async with self._lock:
            self._pins[digest] += 1
            try:
                self.syncs += await trio.to_thread.run_sync(self._rename, temporary, final)
            except BaseException:
                self.unpin(digest)
                raise

    def _rename(self, temporary: Path, final: Path) -> int:
        """Returns how many syncs that took."""
        folder = final.parent
        fresh = folder not in self._lasting
        with full_if_no_space():
            if fresh:
                folder.mkdir(exist_ok=True)
                sync_folder(self.folder)
                self._lasting.add(folder)
            temporary.rename(final)
            final.with_name(final.name + ASIDE).unlink(missing_ok=True)
            sync_folder(folder)
        return 1 + fresh

    def set_aside(self, digest: bytes, seen: Signature | None) -> bool:
        """The file is not what its name says; ``seen`` is how it looked then, None if that is just now.
        Blocks. False if it is another by now. Raises ``StoreBroken``.
        """
        path = self.path(digest)
        if digest in self._pins:
            return False  # somebody has just brought it anew
        with full_if_no_space():
            try:
                if seen is not None and signature_of(path) != seen:
                    return False
                path.rename(path.with_name(path.name + ASIDE))
            except FileNotFoundError:
                pass
        return True

    def unpin(self, digest: bytes) -> None:
        """The commit that names the blob has happened, or will not."""
        self._pins[digest] -= 1
        if self._pins[digest] <= 0:
            del self._pins[digest]
            self._loose.add(digest)
            self._on_loose()

    @property
    def has_loose(self) -> bool:
        return bool(self._loose)

    def take_loose(self) -> set[bytes]:
        """The blobs that became loose since the last call. Those that no message names are to be removed."""
        loose, self._loose = self._loose, set()
        return loose

    async def remove(self, digests: Iterable[bytes]) -> None:
        """Delete files that no message names any more, less those that are pinned."""
        async with self._lock:
            paths = [self.path(d) for d in digests if d not in self._pins]
            if paths:
                await trio.to_thread.run_sync(_unlink, paths)

    @asynccontextmanager
    async def download(self, digest: bytes, size: int) -> AsyncIterator[Download]:
        """A blob's octets, to be read piece by piece. Raises ``FileDamaged`` if it has not ``size`` octets (a
        client would take what comes next for the rest) or cannot be opened, ``StoreBroken`` if only now.
        """
        with readable():
            file = await trio.to_thread.run_sync(open, self.path(digest), "rb", 0)
        self._streams += 1
        try:
            octets = os.fstat(file.fileno()).st_size
            if octets != size:
                raise FileDamaged(
                    f"an attachment has {octets} octets instead of {size}: the card may be dying"
                )
            yield Download(self, file)
        finally:
            self._streams -= 1
            file.close()


class Download:
    def __init__(self, blobs: Blobs, file: RawIOBase) -> None:
        self._blobs = blobs
        self._file = file

    async def read(self) -> bytes:
        """The next octets, ``b""`` at the end. Raises ``FileDamaged`` if they cannot be read."""
        with readable():
            return await trio.to_thread.run_sync(self._file.read, self._blobs.piece_octets) or b""


class Upload:
    """Data on its way to a file. One task uses it."""

    def __init__(self, blobs: Blobs, path: Path) -> None:
        self._blobs = blobs
        self._path = path
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self.size = 0

    async def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write some pieces, best ``piece_octets`` together. Raises ``DiskFull`` or ``StoreBroken``; then
        ``abort`` it.
        """
        await trio.to_thread.run_sync(self._write, pieces)

    async def finish(self) -> Payload:
        """Sync, and give the file its name. The blob is pinned: call ``Blobs.unpin`` when its message is
        committed or refused.
        """
        digest = await trio.to_thread.run_sync(self._finish)
        self._blobs.syncs += 1
        await self._blobs.keep(self._path, digest)
        return Payload(self.size, digest, None)

    def abort(self) -> None:
        """Forget it, if it is not finished. Call it in any case, once."""
        self._blobs.ended()
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        if problem := self._blobs.disk.problem(0):
            raise DiskFull(problem)
        with full_if_no_space():
            if self._file is None:
                self._file = open(self._path, "wb", buffering=0)  # noqa: SIM115
            for piece in pieces:
                self._hash.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[self._file.write(view) :]
                self.size += len(piece)

    def _finish(self) -> bytes:
        assert self._file is not None
        with full_if_no_space():
            os.fsync(self._file.fileno())
            self._file.close()
        self._file = None
        return self._hash.digest()


@contextmanager
def readable() -> Iterator[None]:
    """Turn the errors of reading into the store's."""
    try:
        yield
    except OSError as error:
        passing = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR)
        kind = StoreBroken if passing else FileDamaged
        raise kind(f"an attachment cannot be read ({error}): the card may be dying") from error


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
        path.with_name(path.name + ASIDE).unlink(missing_ok=True)


def signature_of(path: Path | int) -> Signature:
    stat = os.stat(path)
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
