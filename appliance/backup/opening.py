"""Reading a backup: its key and state, its entries and attachments; and proving that they are whole.

All here blocks. Generators give after each piece, so that whoever reads can rest, show and stop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.backup import keys
from appliance.backup.errors import BackupError, Damaged, WrongKey
from appliance.backup.format import (
    Entries,
    Head,
    Opener,
    Record,
    Segment,
    State,
    Unpacker,
    decode_state,
    file_name,
    stream_octets,
)
from appliance.backup.stick import Folder, find
from appliance.site.facts import BoxAdded
from appliance.store import BadEntries
from appliance.store.journal import GENESIS
from appliance.store.taking import check

KEY_NAME = "key"
STATES = ("state-0", "state-1")
"""Written in turn: while one is written the other one is whole."""

PART_OCTETS = 1 << 30
"""Of an attachment in one file: FAT has no files of 4 GiB."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file with (a part of) an attachment of ``octets``."""

    name: str
    octets: int


def parts(key: bytes, sha: bytes, size: int) -> list[Part]:
    """The files that an attachment is in."""
    name, count = file_name(key, sha), max(1, -(-size // PART_OCTETS))
    return [
        Part(f"{name}.{at}" if at else name, min(PART_OCTETS, size - at * PART_OCTETS)) for at in range(count)
    ]


def open_stream(folder: Folder, key: bytes, name: str) -> Iterator[bytes]:
    """What is in a file, in pieces. Raises ``Damaged``, ``StickError``."""
    opener = Opener(key, name)
    for piece in folder.read(name):
        yield opener.feed(piece)
    opener.finish()


def read_states(folder: Folder, key: bytes) -> list[State]:
    """The states that are whole, the newest first. Raises ``StickError``."""
    found = []
    for name in STATES:
        if folder.size(name) is not None:
            try:
                found.append(decode_state(b"".join(open_stream(folder, key, name))))
            except Damaged as error:
                if "later version" in str(error):
                    raise
    return sorted(found, key=lambda state: -state.number)


class Backup:
    """A backup that was opened."""

    def __init__(self, folder: Folder, key: bytes, state: State) -> None:
        self.folder = folder
        self.key = key
        self.state = state

    @classmethod
    def open(cls, folder: Folder, secret: bytes) -> Backup:
        """Raises ``WrongKey``, ``Damaged``, ``StickError``."""
        about, sealed = folder.about(), folder.get(KEY_NAME)
        if sealed is None:
            raise BackupError(f"there is no backup in {folder.path}")
        if about is not None and about.key != keys.key_id(secret):
            raise WrongKey("this recovery key does not open this backup: it was made with another one")
        return cls.open_with(folder, keys.open_key(sealed, secret))

    @classmethod
    def open_with(cls, folder: Folder, key: bytes) -> Backup:
        """``key``: the backup's own. Raises ``Damaged``, ``StickError``."""
        folder.look()
        states = read_states(folder, key)
        if not states:
            raise Damaged(f"the backup in {folder.path} was never completed, or is damaged: use another one")
        return cls(folder, key, states[0])

    def records(self, segment: Segment) -> Iterator[Record]:
        """Raises ``Damaged``, ``StickError``."""
        unpacker = Unpacker()
        for octets in open_stream(self.folder, self.key, segment.name):
            yield from unpacker.feed(octets)
        unpacker.finish()

    def file(self, sha: bytes) -> Iterator[bytes]:
        """An attachment, in pieces. Raises ``Damaged``, ``StickError``."""
        for part in parts(self.key, sha, self.state.files[sha]):
            yield from open_stream(self.folder, self.key, part.name)

    def has_file(self, sha: bytes, size: int) -> bool:
        """Whether its files are there, as long as they should be. Raises ``StickError``."""
        return has_parts(self.folder, self.key, sha, size)

    def check(self) -> Iterator[int]:
        """Prove all of it; gives how many octets were read. Raises ``Damaged``, ``StickError``."""
        chain = Chain(dict.fromkeys(self.state.heads), {b: h.public for b, h in self.state.heads.items()})
        for segment in self.state.segments:
            yield from self.check_segment(segment, chain)
        chain.ends(self.state.heads)
        for sha, size in self.state.files.items():
            yield from check_file(self.folder, self.key, sha, size)

    def check_segment(self, segment: Segment, chain: Chain) -> Iterator[int]:
        """Raises ``Damaged``, ``StickError``."""
        if self.folder.size(segment.name) != segment.octets:
            raise Damaged(f"{segment.name} in the backup is not whole, or missing")
        for record in self.records(segment):
            chain.take(record)
            yield 0
        yield segment.octets


def has_parts(folder: Folder, key: bytes, sha: bytes, size: int) -> bool:
    return all(folder.size(part.name) == stream_octets(part.octets) for part in parts(key, sha, size))


def check_file(folder: Folder, key: bytes, sha: bytes, size: int) -> Iterator[int]:
    """Raises ``Damaged``, ``StickError``."""
    whole = hashlib.sha256()
    for part in parts(key, sha, size):
        for octets in open_stream(folder, key, part.name):
            whole.update(octets)
            yield len(octets)
    if whole.digest() != sha:
        raise Damaged("an attachment in the backup is not what was written")


@dataclass(slots=True)
class Chain:
    """Follows the journals: each entry is signed and continues the one before, or comes after a gap."""

    heads: Mapping[str, Head | None]
    publics: dict[str, bytes]
    _now: dict[str, Head] = field(default_factory=dict)
    _clocks: dict[str, int] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Raises ``Damaged``."""
        for arrival in record.arrivals if isinstance(record, Entries) else ():
            where = f"entry {arrival.seq} of box {arrival.box} in the backup"
            public = self.publics.get(arrival.box)
            if public is None:
                raise Damaged(f"{where} is of a box that is not of the site")
            try:
                checked = check(arrival, public)
            except BadEntries as error:
                raise Damaged(f"the backup is damaged: {error}") from None
            for fact in checked.facts:
                if isinstance(fact, BoxAdded):
                    self.publics.setdefault(fact.box, fact.public)
            before = self._now.get(arrival.box) or self.heads.get(arrival.box)
            seq, digest = (before.seq, before.digest) if before is not None else (0, GENESIS)
            follows = arrival.seq == seq + 1 and arrival.prev == digest
            if not follows and arrival.seq <= seq + 1:
                raise Damaged(f"{where} does not continue the one before")
            if arrival.clock <= self._clocks.get(arrival.box, 0):
                raise Damaged(f"{where} is out of order")
            self._now[arrival.box] = Head(public, arrival.seq, checked.digest)
            self._clocks[arrival.box] = arrival.clock

    def ends(self, heads: Mapping[str, Head]) -> None:
        """Raises ``Damaged`` if that is not where it ends."""
        have = {box: head for box, head in {**self.heads, **self._now}.items() if head is not None}
        if have != dict(heads):
            raise Damaged("the journals in the backup do not end where they should")


def choose(place: Path, secret: bytes) -> Backup:
    """The newest backup in a folder that the recovery key opens. Raises ``BackupError``."""
    found = find(place)
    if not found:
        raise BackupError(f"there is no backup in {place}: name the folder in which the stick is mounted")
    opened: list[Backup] = []
    problem: BackupError | None = None
    for folder in found:
        try:
            opened.append(Backup.open(folder, secret))
        except WrongKey as error:
            problem = problem or error
        except BackupError as error:
            problem = error
    if not opened:
        assert problem is not None
        raise problem
    return max(opened, key=lambda backup: backup.state.made)
