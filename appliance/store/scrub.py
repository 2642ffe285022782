"""Whether what is stored is still what was written, bit for bit: a scan of journals, messages and files.

Everything here blocks and changes nothing. A scan reads through a connection of its own, in short steps that
hold no transaction in between, so whoever calls decides how fast it goes. Files are read from the disk, not
from memory, where the system can be asked for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.site import TRAFFIC, content_digest, decode_facts
from appliance.site.facts import Sent
from appliance.store.blobs import Signature, signature_of
from appliance.store.database import DATABASE_NAME
from appliance.store.journal import GENESIS, Entry, is_signed
from appliance.store.reading import PLACES, boxes, read_entries

STEP_ENTRIES = 16
STEP_MESSAGES = 8
PIECE_OCTETS = 256 << 10
MISSING_MAX = 1000
"""Of entries that are gone in one place; more is no bit rot."""

DAMAGED_DATABASE = (
    "the database file itself is damaged ({}): if another box has everything, reset this one and let it join"
    " again; else copy the data folder away and restore a backup. The card may be dying"
)


@dataclass(slots=True)
class Found:
    """What a step read, in octets, and what was wrong with it: entries (box, seq), messages, files with how
    they looked then (None: not there at all), and what cannot be mended piece by piece.
    """

    octets: int = 0
    entries: list[tuple[str, int]] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    blobs: list[tuple[bytes, Signature | None]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Progress:
    """``octets`` of about ``total``; and how many things were looked at."""

    octets: int = 0
    total: int = 0
    entries: int = 0
    messages: int = 0
    blobs: int = 0


class Scan:
    """One scan of the store in ``folder``. ``step`` until it returns None, and ``close`` in any case."""

    def __init__(self, folder: Path) -> None:
        self.progress = Progress()
        self._folder = folder
        self._connection: sqlite3.Connection | None = None
        self._steps = self._walk()

    def step(self) -> Found | None:
        """Read the next bit; None at the end."""
        found = next(self._steps, None)
        if found is not None:
            self.progress.octets += found.octets
        return found

    def close(self) -> None:
        self._steps.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _walk(self) -> Generator[Found, None, None]:
        database = self._folder / DATABASE_NAME
        size = database.stat().st_size
        self.progress.total = size + sum(octets for _, octets in self._files())
        self._connection = open_beside(self._folder)
        for phase in (self._entries, self._messages):
            try:
                yield from phase(self._connection)
            except sqlite3.Error as error:
                yield Found(problems=[DAMAGED_DATABASE.format(error)])
        self.progress.octets = size
        for path, _ in self._files():
            yield from self._blob(path)

    # journals

    def _entries(self, connection: sqlite3.Connection) -> Iterator[Found]:
        for number, (box, public) in boxes(connection).items():
            seq, digest = 0, GENESIS
            while rows := _entries_after(connection, number, box, seq):
                found = Found()
                for entry in rows:
                    self.progress.entries += 1
                    found.octets += 200 + len(entry.body)
                    found.entries += [(box, gone) for gone in _missing(connection, number, seq, entry.seq)]
                    here = entry.digest()
                    if not is_signed(entry.signature, here, public):
                        found.entries.append((box, entry.seq))
                        here = b""
                    elif entry.seq == seq + 1 and digest and entry.prev != digest:
                        found.problems.append(
                            f"entry {entry.seq} of box {box} does not continue the one before, though both"
                            " are signed: run   pocket journal verify"
                        )
                    seq, digest = entry.seq, here
                yield found

    # messages

    def _messages(self, connection: sqlite3.Connection) -> Iterator[Found]:
        for table in ("message", "fresh"):
            last = -1
            while rows := connection.execute(
                f"SELECT msgid, size, blob, head, data, digest FROM {table}"
                " WHERE msgid > ? AND head <> x'' ORDER BY msgid LIMIT ?",
                (last, STEP_MESSAGES),
            ).fetchall():
                found = Found()
                for msgid, size, blob, head, data, digest in rows:
                    self.progress.messages += 1
                    found.octets += 100 + len(head) + len(data or b"")
                    if digest and not is_whole(size, blob, head, data, digest):
                        found.messages.append(msgid)
                    elif blob is not None and not self._path(blob).exists():
                        found.blobs.append((blob, None))
                    last = msgid
                yield found

    # files

    def _path(self, blob: bytes) -> Path:
        name = blob.hex()
        return self._folder / "blobs" / name[:2] / name

    def _files(self) -> Iterator[tuple[Path, int]]:
        """In an order that begins elsewhere each time: not every scan comes to its end."""
        folders = sorted((self._folder / "blobs").glob("??"))
        at = random.randrange(len(folders)) if folders else 0
        for folder in folders[at:] + folders[:at]:
            for path in sorted(folder.iterdir()):
                with contextlib.suppress(OSError, ValueError):
                    if len(bytes.fromhex(path.name)) == hashlib.sha256().digest_size:
                        yield path, path.stat().st_size

    def _blob(self, path: Path) -> Iterator[Found]:
        digest = bytes.fromhex(path.name)
        hashed = hashlib.sha256()
        signature = None
        try:
            with open(path, "rb", buffering=0) as file:
                signature = signature_of(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while piece := file.read(PIECE_OCTETS):
                    hashed.update(piece)
                    yield Found(octets=len(piece))
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except FileNotFoundError:
            return
        except OSError:
            hashed.update(b"unreadable")
        self.progress.blobs += 1
        if hashed.digest() != digest:
            yield Found(blobs=[(digest, signature)])


def open_beside(folder: Path) -> sqlite3.Connection:
    """A connection that only reads, for one thread at a time."""
    uri = f"{(folder / DATABASE_NAME).absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def is_whole(size: int, blob: bytes | None, head: bytes, data: bytes | None, digest: bytes) -> bool:
    """Whether a message is what was accepted, its file aside."""
    if blob is not None:
        return content_digest(head, blob) == digest
    octets = data or b""
    return len(octets) == size and content_digest(head, hashlib.sha256(octets).digest()) == digest


def find_sent(folder: Path, wanted: Iterable[int]) -> dict[int, Sent]:
    """What the journals say of these messages. Reads all of them: only for what was found damaged. Raises
    ``sqlite3.Error``.
    """
    wanted = set(wanted)
    found: dict[int, Sent] = {}
    with contextlib.closing(open_beside(folder)) as connection:
        known = boxes(connection)
        keys = dict(known.values())
        for entry in read_entries(connection, known):
            if entry.kind != TRAFFIC:
                continue
            try:
                facts = [f for f in decode_facts(entry.body) if isinstance(f, Sent) and f.msgid in wanted]
            except ValueError:
                continue
            if facts and is_signed(entry.signature, entry.digest(), keys.get(entry.box, b"")):
                for fact in facts:
                    found.setdefault(fact.msgid, fact)
    return found


def _entries_after(connection: sqlite3.Connection, number: int, box: str, seq: int) -> list[Entry]:
    rows = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry"
        " WHERE place > ? AND place % ? = ? ORDER BY place LIMIT ?",
        (seq * PLACES + number, PLACES, number, STEP_ENTRIES),
    ).fetchall()
    return [
        Entry(box, place // PLACES, clock, kind, prev, body, signature)
        for place, clock, kind, prev, body, signature in rows
    ]


def _missing(connection: sqlite3.Connection, number: int, before: int, seq: int) -> Iterable[int]:
    """Which entries between these two should be there: old traffic is cut, from its beginning on."""
    if seq <= before + 1 or seq - before > MISSING_MAX:
        return ()
    row = connection.execute(
        "SELECT 1 FROM entry WHERE place < ? AND place % ? = ? AND kind = ? LIMIT 1",
        (seq * PLACES + number, PLACES, number, TRAFFIC),
    ).fetchone()
    return range(before + 1, seq) if row else ()
