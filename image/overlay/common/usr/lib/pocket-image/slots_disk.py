"""The disk with its partition table, and the boot partition's files: what an update changes, each change on
the card before the next one is begun.

The partition table has two copies, each with a sum. The one that is read (the first one that is whole) stays
as it is until the other one has been written and synced: one is whole at any instant. The kernel is started
with the word `gpt`, without which Linux does not look for the second one.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
PIECE = 4 << 20
"""Octets that are written, or read, at a time."""
EMPTY = "_empty"
"""The name of a slot that has no version."""
VERSION = r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}"
SLOT = re.compile(f"{EMPTY}|pocket_({VERSION})")
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


class DiskError(Exception):
    """What the disk has that it should not have, or has not."""


class Refused(Exception):
    """What is wrong with an update, and what to do."""


class Disk:
    """A whole disk (or a file as one), by octets."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.octets = os.lseek(self._file, 0, os.SEEK_END)

    def read(self, at: int, count: int) -> bytes:
        """DiskError if there is less."""
        octets = b""
        while len(octets) < count:
            piece = os.pread(self._file, count - len(octets), at + len(octets))
            if not piece:
                raise DiskError(f"the disk ends at {at + len(octets)}")
            octets += piece
        return octets

    def write(self, at: int, octets: bytes) -> None:
        view = memoryview(octets)
        while view:
            done = os.pwrite(self._file, view, at)
            at, view = at + done, view[done:]

    def sync(self) -> None:
        """All that was written is on the card, and what is read from now on comes from there."""
        os.fsync(self._file)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        os.close(self._file)


class Folder:
    """The boot partition. Its files are written at once under their own name: nothing starts one before an
    entry or the state says so (see slots_start.py)."""

    def __init__(self, path: Path, device: Path | None = None) -> None:
        self._path, self._device = path, device

    def names(self, folder: str) -> list[str]:
        """The files in a folder, sorted; none if it is not there."""
        try:
            return sorted(os.listdir(self._path / folder))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> Iterator[bytes]:
        """The file's octets, from the card when it was synced before."""
        with (self._path / name).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := file.read(PIECE):
                yield piece

    def octets(self, name: str) -> int:
        return (self._path / name).stat().st_size

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """The whole file is on the card when this returns."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        self.sync()

    def remove(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def free(self) -> int:
        """Octets."""
        told = os.statvfs(self._path)
        return told.f_bavail * told.f_frsize

    def sync(self) -> None:
        """FAT keeps its tables and names in blocks of the device: syncing that is what writes them."""
        file = os.open(self._device or self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


@dataclass(frozen=True)
class Partition:
    number: int
    name: str
    start: int
    """In octets, as `octets`."""
    octets: int

    @property
    def version(self) -> str | None:
        """Of the system in a slot; None for a slot without one. DiskError if it is no slot."""
        told = SLOT.fullmatch(self.name)
        if told is None:
            raise DiskError(f"partition {self.number} is called {self.name}: it is no slot")
        return told[1]


@dataclass
class _Copy:
    """One copy of the table: its header's fields, and the entries."""

    fields: list[int | bytes]
    entries: bytes

    @property
    def lba(self) -> int:
        return int(self.fields[5])

    @property
    def other(self) -> int:
        return int(self.fields[6])

    def octets(self) -> bytes:
        """The header, with its sums."""
        self.fields[3], self.fields[13] = 0, zlib.crc32(self.entries)
        bare = HEADER.pack(*self.fields)
        self.fields[3] = zlib.crc32(bare)
        return HEADER.pack(*self.fields).ljust(SECTOR, b"\0")


class Table:
    """The partition table of a disk (GPT)."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._last = disk.octets // SECTOR - 1

    def partitions(self) -> list[Partition]:
        """DiskError if no copy is whole."""
        copy = self._read()[0]
        return [part for part in self._parse(copy.entries)]

    @staticmethod
    def _parse(entries: bytes) -> Iterator[Partition]:
        for number in range(1, len(entries) // 128 + 1):
            kind, _, first, last, _, name = struct.unpack_from("<16s16sQQQ72s", entries, (number - 1) * 128)
            if kind != bytes(16):
                text = name.decode("utf-16-le", errors="replace").split("\0")[0]
                yield Partition(number, text, first * SECTOR, (last - first + 1) * SECTOR)

    def slots(self) -> list[Partition]:
        """The two. DiskError if there are not two."""
        found = [part for part in self.partitions() if SLOT.fullmatch(part.name)]
        if len(found) != 2 or found[0].octets != found[1].octets:
            raise DiskError(f"this disk has {len(found)} slots of one size for systems, not 2")
        return found

    def named(self, name: str) -> Partition | None:
        return next((part for part in self.partitions() if part.name == name), None)

    def rename(self, number: int, name: str) -> None:
        """On the card when this returns; at any instant before, the table has the old name or the new."""
        counts, _ = self._read()
        encoded = name.encode("utf-16-le").ljust(72, b"\0")
        if len(encoded) > 72:
            raise DiskError(f"the name {name} is too long for a partition")
        at = (number - 1) * 128 + 56
        entries = counts.entries[:at] + encoded + counts.entries[at + 72 :]
        self._write(counts, entries)

    def mend(self) -> bool:
        """After a power cut: make both copies the one that counts. Whether there was something to do."""
        counts, same = self._read()
        if not same:
            self._write(counts, counts.entries)
        return not same

    def _read(self) -> tuple[_Copy, bool]:
        """The copy that counts, and whether the other one says the same."""
        first = self._copy(1)
        second = self._copy(first.other if first else self._last)
        counts = first or second
        if counts is None:
            raise DiskError("the disk has no partition table that is whole")
        same = first is not None and second is not None and first.entries == second.entries
        return counts, same

    def _copy(self, lba: int) -> _Copy | None:
        if not 0 < lba <= self._last:
            return None
        sector = self._disk.read(lba * SECTOR, SECTOR)
        fields: list[int | bytes] = list(HEADER.unpack_from(sector))
        bare = bytearray(sector[: HEADER.size])
        bare[16:20] = bytes(4)
        at, count, size = int(fields[10]), int(fields[11]), int(fields[12])
        if (
            fields[0] != b"EFI PART"
            or fields[2] != HEADER.size
            or fields[3] != zlib.crc32(bare)
            or fields[5] != lba
            or size != 128
            or count > 128
        ):
            return None
        entries = self._disk.read(at * SECTOR, count * size)
        return _Copy(fields, entries) if fields[13] == zlib.crc32(entries) else None

    def _write(self, counts: _Copy, entries: bytes) -> None:
        """First the copy that does not count, then the one that does."""
        for lba in (counts.other, counts.lba):
            fields = list(counts.fields)
            sectors = -(-len(entries) // SECTOR)
            array = 2 if lba == 1 else lba - sectors
            fields[5], fields[6], fields[10] = lba, counts.lba + counts.other - lba, array
            copy = _Copy(fields, entries)
            self._disk.write(array * SECTOR, entries.ljust(sectors * SECTOR, b"\0"))
            self._disk.write(lba * SECTOR, copy.octets())
            self._disk.sync()


class State:
    """The partition pocket-state: variables of U-Boot in two copies (see boot/u-boot.cmd)."""

    BLOCK = 4096
    PLACES = (0, 64 << 10)

    def __init__(self, disk: Disk, start: int) -> None:
        self._disk, self._start = disk, start

    def read(self) -> dict[str, str]:
        """DiskError if no copy is whole."""
        return self._read()[0]

    def write(self, variables: dict[str, str]) -> None:
        """On the card when this returns; before, the old variables count or the new."""
        _, counts = self._read()
        octets = self.block(variables)
        for place in (1 - counts, counts):
            self._disk.write(self._start + self.PLACES[place], octets)
            self._disk.sync()

    def mend(self) -> None:
        """After a power cut: make both copies the one that counts."""
        variables, counts = self._read()
        other = self._disk.read(self._start + self.PLACES[1 - counts], self.BLOCK)
        if self.parse(other) != variables:
            self._disk.write(self._start + self.PLACES[1 - counts], self.block(variables))
            self._disk.sync()

    def _read(self) -> tuple[dict[str, str], int]:
        for place, at in enumerate(self.PLACES):
            variables = self.parse(self._disk.read(self._start + at, self.BLOCK))
            if variables is not None:
                return variables, place
        raise DiskError("pocket-state has no copy that is whole: write the image anew (make flash)")

    @classmethod
    def block(cls, variables: dict[str, str]) -> bytes:
        """As U-Boot's `env export -c` writes them: a CRC-32, then name=value texts."""
        texts = b"".join(f"{name}={value}".encode() + b"\0" for name, value in sorted(variables.items()))
        body = (texts + b"\0").ljust(cls.BLOCK - 4, b"\0")
        return zlib.crc32(body).to_bytes(4, "little") + body

    @staticmethod
    def parse(block: bytes) -> dict[str, str] | None:
        """None if the sum is not right."""
        if zlib.crc32(block[4:]) != int.from_bytes(block[:4], "little"):
            return None
        texts = block[4:].split(b"\0\0")[0].decode(errors="replace").split("\0")
        return dict(text.split("=", 1) for text in texts if "=" in text)


def ignore(_: int) -> None:
    """Nobody wants to know how far it is."""


def write_slot(
    disk: Disk, slot: Partition, pieces: Iterable[bytes], said: Callable[[int], None] = ignore
) -> int:
    """A system into a slot; how many octets it has. It is on the card when this returns. DiskError if there
    is no room."""
    done = 0
    for piece in pieces:
        if done + len(piece) > slot.octets:
            raise DiskError(f"the system is larger than the slot, {slot.octets >> 20} MiB")
        disk.write(slot.start + done, piece)
        done += len(piece)
        said(done)
        if done // (8 * PIECE) != (done - len(piece)) // (8 * PIECE):
            disk.sync()
    disk.sync()
    return done


def read_slot(disk: Disk, slot: Partition, octets: int) -> Iterator[bytes]:
    """What is on the card."""
    for at in range(0, octets, PIECE):
        yield disk.read(slot.start + at, min(PIECE, octets - at))
