"""What a machine would find on its disk, had the power gone at any other moment of a run that was recorded.

A run is recorded once, in QEMU: every write and flush of its disk (power_disk.Log). Here the power goes at
hundreds of moments of it, some of what was not flushed is lost, and what is left is judged as the machine's
firmware would: is there something to start, and is it whole?
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from . import cards
from .power_disk import FLUSH, NOTE, SECTOR, WRITE, Entry, OpenWrites, read_log

KINDS = ("none", "all", "some", "torn")


class View:
    """The disk at one moment: sliced like the octets that are on it."""

    def __init__(self, file: int, octets: int) -> None:
        self._file, self._octets = file, octets
        self._over: dict[int, bytes] = {}

    def write(self, offset: int, octets: bytes) -> None:
        for at in range(0, len(octets), SECTOR):
            self._over[(offset + at) // SECTOR] = octets[at : at + SECTOR]

    def __len__(self) -> int:
        return self._octets

    def __getitem__(self, span: slice) -> bytes:
        start, stop, _ = span.indices(self._octets)
        first, last = start // SECTOR, -(-stop // SECTOR)
        octets = bytearray(os.pread(self._file, (last - first) * SECTOR, first * SECTOR))
        for sector in self._over.keys() & range(first, last):
            octets[(sector - first) * SECTOR : (sector - first + 1) * SECTOR] = self._over[sector]
        return bytes(octets[start - first * SECTOR : stop - first * SECTOR])


class Fat:
    """The files of a FAT32 partition, as firmware reads them: by the first of the two tables."""

    def __init__(self, disk: View | bytes, start: int) -> None:
        self._disk = disk
        boot = disk[start : start + SECTOR]
        self._cluster = boot[13] * SECTOR
        reserved, copies, sectors = *struct.unpack_from("<HB", boot, 14), *struct.unpack_from("<I", boot, 36)
        table = start + reserved * SECTOR
        self._data = table + copies * sectors * SECTOR
        self._next = struct.unpack(f"<{sectors * SECTOR // 4}I", disk[table : table + sectors * SECTOR])
        self._root = struct.unpack_from("<I", boot, 44)[0]

    def _chain(self, cluster: int) -> bytes:
        pieces, seen = [], set()
        while 2 <= cluster < 0x0FFFFFF8 and cluster not in seen and cluster < len(self._next):
            seen.add(cluster)
            at = self._data + (cluster - 2) * self._cluster
            pieces.append(self._disk[at : at + self._cluster])
            cluster = self._next[cluster] & 0x0FFFFFFF
        return b"".join(pieces)

    def _entries(self, cluster: int) -> Iterator[tuple[str, int, int, bool]]:
        """Name, first cluster, octets, and whether it is a folder."""
        long = ""
        octets = self._chain(cluster)
        for at in range(0, len(octets), 32):
            entry = octets[at : at + 32]
            if entry[0] == 0:
                return
            if entry[0] == 0xE5:
                long = ""
            elif entry[11] & 0x3F == 0x0F:
                piece = (entry[1:11] + entry[14:26] + entry[28:32]).decode("utf-16-le", errors="replace")
                long = piece.split("\0")[0] + ("" if entry[0] & 0x40 else long)
            elif not entry[11] & 8:
                short, kind = entry[:8].decode("latin-1").rstrip(), entry[8:11].decode("latin-1").rstrip()
                short = short.lower() if entry[12] & 8 else short
                kind = kind.lower() if entry[12] & 16 else kind
                short = f"{short}.{kind}" if kind else short
                high, low, size = struct.unpack("<H", entry[20:22])[0], *struct.unpack("<HI", entry[26:32])
                yield long or short, high << 16 | low, size, bool(entry[11] & 0x10)
                long = ""

    def files(self, folder: str) -> dict[str, bytes]:
        """Path and content of the files in that folder."""
        cluster = self._root
        for part in folder.split("/"):
            found = [
                first for name, first, _, is_folder in self._entries(cluster) if name == part and is_folder
            ]
            if not found:
                return {}
            cluster = found[0]
        return {
            f"{folder}/{name}": self._chain(first)[:size].ljust(size, b"\0")
            for name, first, size, is_folder in self._entries(cluster)
            if not is_folder
        }


@dataclass
class Judge:
    """What the versions are, that may be started."""

    scheme: str
    roots: dict[str, tuple[int, str]]
    """Octets and SHA-256 of each version's system."""
    kernels: dict[str, str]
    """SHA-256 of each version's kernel file."""
    repaired: Callable[[View, int], Fat] | None = None
    """What the file system's repair makes of the boot partition, which begins there. It must not spoil what
    is started."""
    whole: dict[str, int] = field(default_factory=dict)
    """How often each version would have been started."""

    read: dict[tuple[int, int], str] = field(default_factory=dict)
    """SHA-256 of slots that were read before, by place and age."""

    def judge(self, disk: View, age: Callable[[int], int | None] = lambda _: None) -> str:
        """The version that is started from this disk. AssertionError if none is, or one that is not whole
        could be. `age`: how often the slot there had been written to; None for one that has to be read."""
        slots = cards.table(disk, len(disk) // SECTOR)
        start = slots["pocket-boot"]
        folder = self._kernels(disk, Fat(disk, start), slots)
        if self.repaired is not None:
            self._kernels(disk, self.repaired(disk, start), slots)
        for name, at in slots.items():
            version = name.removeprefix("pocket_")
            if version in self.roots:
                octets, digest = self.roots[version]
                key = (at, -1 if (told := age(at)) is None else told)
                if told is None or key not in self.read:
                    self.read[key] = sha256(disk, at, octets)
                assert self.read[key] == digest, f"half a system in {name}"
        if self.scheme == "systemd-boot":
            path = cards.start_systemd_boot(folder)
        else:
            state = cards.read_state(disk, len(disk) // SECTOR)
            tried = state.get("pocket_try") if state["pocket_left"] != "0" else None
            path = f"EFI/pocket/pocket_{tried or state['pocket_version']}.efi"
        version = version_of(path)
        self.whole[version] = self.whole.get(version, 0) + 1
        return version

    def _kernels(self, disk: View, fat: Fat, slots: dict[str, int]) -> SimpleNamespace:
        """The files that may be started are whole, and have a system."""
        kernels = fat.files("EFI/pocket")
        folder = SimpleNamespace(card=fat.files("loader/entries") | kernels)
        can_start = cards.startable(self.scheme, SimpleNamespace(card=disk), folder)
        assert can_start, "nothing can be started"
        for path in can_start:
            assert path in kernels, f"{path} can be started, and is not there"
            digest = hashlib.sha256(kernels[path]).hexdigest()
            assert digest == self.kernels[version_of(path)], f"half of {path}"
            assert f"pocket_{version_of(path)}" in slots, f"{path} has no system"
        return folder


def version_of(path: str) -> str:
    """Of a kernel file."""
    return path.removeprefix("EFI/pocket/pocket_").removesuffix(".efi")


def sha256(disk: View, at: int, octets: int) -> str:
    digest = hashlib.sha256()
    for start in range(at, at + octets, 1 << 22):
        digest.update(disk[start : min(start + (1 << 22), at + octets)])
    return digest.hexdigest()


def unpacked(path: Path) -> tuple[int, str]:
    """Octets and SHA-256 of a packed file."""
    digest, octets = hashlib.sha256(), 0
    with subprocess.Popen(["zstd", "-dcq", str(path)], stdout=subprocess.PIPE) as unpack:
        assert unpack.stdout is not None
        while piece := unpack.stdout.read(1 << 20):
            digest.update(piece)
            octets += len(piece)
    assert unpack.returncode == 0, path
    return octets, digest.hexdigest()


def moments(log: Path, slots: range, count: int, chance: random.Random) -> set[int]:
    """Numbers of entries after the note, half of them among those beside the systems: there are few, and
    they matter."""
    all_of_them, beside, noted = [], [], False
    for number, entry in enumerate(read_log(log)):
        noted = noted or entry.what == NOTE
        if noted:
            all_of_them.append(number)
            if entry.what == FLUSH or entry.offset not in slots:
                beside.append(number)
    return {*chance.choices(all_of_them, k=count // 2), *chance.choices(beside, k=count - count // 2)}


def replay(disk: Path, log: Path, slots: range, judge: Judge, wanted: set[int], chance: random.Random) -> int:
    """Let the power go at those entries of the log, `disk` being what it was before the first one (and is
    changed), with the two slots in `slots`. How often it went. AssertionError with the moment, if something
    would not have started."""
    size = len(slots) // 2
    counts = [0, 0]

    def age(at: int) -> int | None:
        is_open = any(at <= offset < at + size for offset, _ in opened)
        return None if is_open else counts[(at - slots.start) // size]

    file = os.open(disk, os.O_RDWR)
    octets, done = os.fstat(file).st_size, 0
    opened: list[tuple[int, bytes]] = []
    try:
        for number, entry in enumerate(read_log(log)):
            if number in wanted:
                view = View(file, octets)
                kind = chance.choice(KINDS)
                pieces, loss = OpenWrites(opened, {}).survivors(kind, chance)  # type: ignore[arg-type]
                for offset, written in pieces:
                    view.write(offset, written)
                try:
                    judge.judge(view, age)
                except (AssertionError, LookupError, ValueError) as problem:
                    raise AssertionError(f"at {number} ({loss}): {problem!r}") from problem
                done += 1
            if entry.what == WRITE and entry.offset in slots:
                counts[(entry.offset - slots.start) // size] += 1
            opened = after(file, opened, entry)
    finally:
        os.close(file)
    return done


def after(file: int, opened: list[tuple[int, bytes]], entry: Entry) -> list[tuple[int, bytes]]:
    """What is open after that entry; what was flushed is in the file."""
    if entry.what == WRITE:
        opened.append((entry.offset, entry.octets))
    elif entry.what == FLUSH:
        for offset, octets in opened:
            os.pwrite(file, octets, offset)
        return []
    return opened
