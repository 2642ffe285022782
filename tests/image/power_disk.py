"""A disk with a cache of its own, as a card or an SSD has one: what it was told to write may be gone after
a power cut, unless it was told to flush since.

The file always holds what was written last. What it held before the writes of which no flush has been heard
yet (the *open* writes) is kept apart, sector by sector, so that `cut` can take any of them back.
"""

from __future__ import annotations

import os
import random
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SECTOR = 512
"""What is written as a whole or not at all, in octets."""

ENTRY = struct.Struct(">cQI")
"""Of a log: what happened, where, and how many octets follow."""

WRITE, FLUSH, NOTE = b"w", b"f", b"n"


@dataclass(frozen=True)
class Entry:
    """`what` is WRITE, FLUSH or NOTE; a note is about what a client was told at this moment."""

    what: bytes
    offset: int = 0
    octets: bytes = b""


class Log:
    """Writes, flushes and notes in the order in which they happened, in a file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._lock = threading.Lock()

    def add(self, what: bytes, offset: int = 0, octets: bytes = b"") -> None:
        with self._lock:
            self._file.write(ENTRY.pack(what, offset, len(octets)) + octets)

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        while head := file.read(ENTRY.size):
            what, offset, length = ENTRY.unpack(head)
            yield Entry(what, offset, file.read(length))


@dataclass(frozen=True)
class Loss:
    """What a power cut did to the open writes: how many there were, were kept, and were kept in part."""

    kind: str
    open: int
    kept: int
    torn: int

    def __str__(self) -> str:
        return f"{self.kind}: of {self.open} open writes {self.kept} kept, {self.torn} of them in part"


@dataclass
class OpenWrites:
    """Writes of which no flush has been heard, in order, and what was there before them."""

    writes: list[tuple[int, bytes]]
    before: dict[int, bytes]
    """By number of sector."""

    def survivors(
        self, kind: Literal["none", "all", "some", "torn"], chance: random.Random
    ) -> tuple[list[tuple[int, bytes]], Loss]:
        """What of them reaches the disk, in the order in which to write it, and in short. A disk may write
        in any order: but of two writes to one sector the later one is either there, or it is not."""
        likelihood = {"none": 0.0, "all": 1.0}.get(kind, chance.uniform(0.05, 0.95))
        pieces: list[tuple[int, bytes]] = []
        kept = torn = 0
        for offset, octets in self.writes:
            if chance.random() >= likelihood:
                continue
            kept += 1
            if kind == "torn" and len(octets) > SECTOR and chance.random() < 0.5:
                torn += 1
                pieces += [
                    (offset + at, octets[at : at + SECTOR])
                    for at in range(0, len(octets), SECTOR)
                    if chance.random() < 0.5
                ]
            else:
                pieces.append((offset, octets))
        return pieces, Loss(kind, len(self.writes), kept, torn)


class VolatileDisk:
    """The disk; its methods may be called from several threads. `lies`: it says that it flushed, and did
    not."""

    def __init__(self, path: Path, lies: bool = False, log: Log | None = None) -> None:
        self.lies = lies
        self.log = log
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size
        self._lock = threading.Lock()
        self._open = OpenWrites([], {})
        self._on = True
        self._ends_at_flush = False
        self.ended = threading.Event()
        """Set when the power went at a flush."""

    def close(self) -> None:
        os.close(self._fd)

    def power(self, on: bool) -> None:
        """Without power it does nothing that it is told."""
        with self._lock:
            self._on = on
            self._ends_at_flush = False
            self.ended.clear()

    def end_at_flush(self) -> None:
        """Let the power go at the next flush after some write, in place of the flush: when most is open."""
        with self._lock:
            self._ends_at_flush = True

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, octets: bytes) -> bool:
        """Whether it was taken. Whole sectors only."""
        assert offset % SECTOR == len(octets) % SECTOR == 0, (offset, len(octets))
        with self._lock:
            if not self._on:
                return False
            self._keep(offset, len(octets))
            self._open.writes.append((offset, octets))
            os.pwrite(self._fd, octets, offset)
            if self.log is not None:
                self.log.add(WRITE, offset, octets)
            return True

    def flush(self) -> bool:
        """Whether it was done: nothing that was written before can be lost any more."""
        with self._lock:
            if self._ends_at_flush and self._open.writes:
                self._on = False
                self.ended.set()
            if not self._on:
                return False
            if not self.lies:
                self._open = OpenWrites([], {})
            if self.log is not None:
                self.log.add(FLUSH)
            return True

    def cut(self, chance: random.Random) -> Loss:
        """The power is gone, and with it what `chance` takes of the open writes. Nothing else may be using
        it."""
        with self._lock:
            for sector, octets in self._open.before.items():
                os.pwrite(self._fd, octets, sector * SECTOR)
            kind = chance.choices(("none", "all", "some", "torn"), (1, 1, 4, 4))[0]
            pieces, loss = self._open.survivors(kind, chance)  # type: ignore[arg-type]
            for offset, octets in pieces:
                os.pwrite(self._fd, octets, offset)
            self._open = OpenWrites([], {})
            return loss

    def _keep(self, offset: int, length: int) -> None:
        first, after = offset // SECTOR, (offset + length) // SECTOR
        if all(sector in self._open.before for sector in range(first, after)):
            return
        old = os.pread(self._fd, length, offset)
        for sector in range(first, after):
            at = sector * SECTOR - offset
            self._open.before.setdefault(sector, old[at : at + SECTOR])
