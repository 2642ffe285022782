"""What is on a disk after a power cut: anything that was not synced may be there, in part, or not at all.

Reads the record that faults.c makes. A file's content is what was there at its last sync, plus any of the
writes since, the last one perhaps torn; a folder's entries are those at its last sync, plus the first few
changes since.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from struct import Struct
from typing import Any

HEAD = Struct("<cHQI")
SECTOR = 512
NEVER = ("-shm", "/ballast", "/lock")
"""Of no meaning after a power cut."""


@dataclass(frozen=True, slots=True)
class Record:
    type: str
    path: str
    offset: int
    data: bytes


def read_records(path: Path) -> Iterator[Record]:
    octets = memoryview(path.read_bytes())
    at = 0
    while at < len(octets):
        kind, path_length, offset, length = HEAD.unpack_from(octets, at)
        at += HEAD.size
        name = bytes(octets[at : at + path_length]).decode()
        at += path_length
        yield Record(kind.decode(), name, offset, bytes(octets[at : at + length]))
        at += length


@dataclass(slots=True)
class File:
    """``writes`` since the last sync: offset and octets, None for a change of the length."""

    content: bytearray = field(default_factory=bytearray)
    writes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, octets in self.writes:
            _write(self.content, offset, octets)
        self.writes.clear()

    def after_cut(self, rng: Random) -> bytes:
        content = bytearray(self.content)
        luck = rng.choice(("all", "none", "first", "any"))
        first = rng.randint(0, len(self.writes))
        for at, (offset, octets) in enumerate(self.writes):
            if luck == "none" or (luck == "first" and at > first) or (luck == "any" and rng.random() < 0.5):
                continue
            if octets is not None and luck == "first" and at == first:
                octets = octets[: rng.randint(0, len(octets) // SECTOR) * SECTOR]
            _write(content, offset, octets)
        return bytes(content)


def _write(content: bytearray, offset: int, octets: bytes | None) -> None:
    if octets is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
    elif octets:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(octets)] = octets


FOLDER = File()
Names = dict[str, File]


class Disk:
    """``names`` as the process sees them; ``lasting`` as they were at their folders' last syncs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marks: list[Any] = []
        self._names: Names = {}
        self._lasting: Names = {}
        self._changes: dict[str, list[tuple[str, File | None]]] = {}

    def take(self, record: Record) -> None:
        path, data = record.path, record.data
        if path.endswith(NEVER):
            return
        match record.type:
            case "m":
                self.marks.append(json.loads(data))
            case "c":
                self._enter(path, File())
            case "d":
                self._enter(path, FOLDER)
            case "r":
                self._enter(data.decode(), self._names[path])
                self._enter(path, None)
            case "u":
                self._enter(path, None)
            case "w":
                self._names[path].writes.append((record.offset, data))
            case "t":
                self._names[path].writes.append((record.offset, None))
            case "s" if path == str(self.root) or self._names.get(path) is FOLDER:
                for name, file in self._changes.pop(path, ()):
                    _enter(self._lasting, name, file)
            case "s":
                self._names[path].sync()

    def after_cut(self, folder: Path, rng: Random) -> None:
        """Make in ``folder`` what a power cut now might leave."""
        names = dict(self._lasting)
        for changes in self._changes.values():
            for name, file in changes[: rng.randint(0, len(changes))]:
                _enter(names, name, file)
        folder.mkdir()
        for name, file in sorted(names.items()):
            path = folder / Path(name).relative_to(self.root)
            if not path.parent.is_dir():
                continue
            if file is FOLDER:
                path.mkdir()
            else:
                path.write_bytes(file.after_cut(rng))

    def _enter(self, path: str, file: File | None) -> None:
        _enter(self._names, path, file)
        self._changes.setdefault(str(Path(path).parent), []).append((path, file))


def _enter(names: Names, path: str, file: File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file
