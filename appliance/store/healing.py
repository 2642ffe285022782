"""What becomes of what was found damaged: it is absent until another box brings it again.

A message whose octets or whose file are not what was accepted is left out of its queues, which go on without
it; replication fetches what is absent. A damaged entry of a journal is wanted from other boxes, and replaced
by one that fits: signed, and in the chain. What other boxes do not have either is lost, and that is told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.site.facts import Sent
from appliance.store import reading
from appliance.store.arrivals import Arrival, BadEntries, Octets
from appliance.store.blobs import Blobs, Signature
from appliance.store.cache import Cache
from appliance.store.connection import translated
from appliance.store.errors import DiskFull, StoreBroken
from appliance.store.journal import is_signed
from appliance.store.ledger import Ledger
from appliance.store.queues import Absent
from appliance.store.replica import Replica
from appliance.store.scrub import find_sent, is_whole
from appliance.store.taking import check

log = get_logger(__name__)
T = TypeVar("T")
Entries = Iterable[tuple[str, int]]

ENTRIES_MAX = 1000


class Healing:
    """``entries``, ``messages``, ``blobs``: what was found damaged and is not whole again. ``found`` and
    ``repaired`` count since the start.
    """

    def __init__(self, folder: Path, ledger: Ledger, blobs: Blobs, cache: Cache, replica: Replica) -> None:
        self.entries: dict[tuple[str, int], None] = {}
        self.messages: set[int] = set()
        self.blobs: set[bytes] = set()
        self.hopeless: set[int] = set()
        """Messages of which nobody can say what they were."""
        self.problems: list[str] = []
        """What cannot be mended piece by piece, as of the last scan."""
        self.found = 0
        self.repaired = 0
        self.ask: Callable[[Sequence[tuple[str, int]]], None] = lambda entries: None
        """Ask other boxes for entries: they are brought by ``mend``."""
        self.in_reach: Callable[[], bool] = lambda: False
        """Whether there is another box to fetch from."""
        self._folder = folder
        self._ledger = ledger
        self._files = blobs
        self._cache = cache
        self._replica = replica

    # what was found

    def entries_damaged(self, entries: Entries) -> None:
        for box, seq in entries:
            if (box, seq) not in self.entries and len(self.entries) < ENTRIES_MAX:
                self.entries[box, seq] = None
                self.found += 1
                log.error("damaged on the disk", what="journal entry", box=box, seq=seq)

    async def blob_damaged(self, sha: bytes, seen: Signature | None = None, why: str = "") -> None:
        """A file is not there, cannot be read, or is not what its name says. Raises ``StoreError``."""
        ledger = self._ledger
        async with ledger.lock:
            if not await ledger.thread(self._set_aside, sha, seen):
                return
            named = await ledger.read(_naming, sha)
            for msgid, absent, recent in named:
                self._gone(msgid, absent, recent)
            wanted = any(a.blob == sha and a.nodes for a in ledger.queues.absent.values())
        if wanted and sha not in self.blobs:
            self.blobs.add(sha)
            self.found += 1
        log.error("damaged on the disk", what="attachment", sha256=sha.hex(), wanted=wanted, error=why)

    async def messages_damaged(self, msgids: Sequence[int]) -> None:
        """Octets of messages, or what goes with them, are not what was accepted, or not there at all. Raises
        ``StoreError``.
        """
        facts = await trio.to_thread.run_sync(self._find_sent, msgids)
        ledger = self._ledger
        async with ledger.lock:
            changed = await self._change(_damaged, msgids, facts)
            for msgid, absent, recent in changed:
                self._gone(msgid, absent, recent)
        for msgid in set(msgids) - facts.keys():
            log.error("damaged on the disk, and no entry says what it was", msgid=f"{msgid:016x}")
        for msgid, absent, _ in changed:
            known = msgid in ledger.queues.absent
            if known and msgid not in self.messages | self.hopeless:
                (self.messages if absent.digest else self.hopeless).add(msgid)
                self.found += 1
            log.error("damaged on the disk", what="message", msgid=f"{msgid:016x}", wanted=known)
            cached = self._cache.get(msgid)
            if known and cached is not None:
                await self._restore(Octets(msgid, cached.head, cached.data))

    async def missing(self, node: int, msgids: Sequence[int]) -> bool:
        """None of these can be found, though they are in a queue: see why. Whether they are absent now.
        Raises ``StoreError``.
        """
        async with self._ledger.lock:
            gone = await self._ledger.read(_without_row, node, msgids)
        if gone:
            await self.messages_damaged(gone)
        return bool(gone) and all(msgid in self._ledger.queues.absent for msgid in gone)

    def _gone(self, msgid: int, absent: Absent, recent: bool) -> None:
        queues = self._ledger.queues
        if msgid in queues.absent:
            queues.absent[msgid].head = absent.head
        elif recent:
            queues.lost(msgid, absent)
        else:
            queues.absent_loaded(msgid, absent)
        if msgid in queues.absent and not queues.absent[msgid].nodes:
            del queues.absent[msgid]

    async def _restore(self, octets: Octets) -> None:
        """From memory, where they are still whole."""
        try:
            await self._replica.give_octets([octets])
        except (BadEntries, DiskFull) as error:
            log.warning("octets in memory could not be used", error=str(error))

    def _set_aside(self, sha: bytes, seen: Signature | None) -> bool:
        try:
            return self._files.set_aside(sha, seen)
        except StoreBroken as error:
            log.error("a damaged attachment could not be set aside", error=str(error))
            return True

    def _find_sent(self, msgids: Sequence[int]) -> dict[int, Sent]:
        try:
            return find_sent(self._folder, msgids)
        except sqlite3.Error as error:
            log.error("the journal cannot be read", error=str(error))
            return {}

    # what other boxes bring, and get

    async def entry(self, box: str, seq: int) -> Arrival | None:
        """An entry for another box, whose own is damaged; None if it is not here, or damaged here, too."""
        number, public = self._number_of(box)
        if number is None:
            return None
        async with self._ledger.lock:
            entry = await self._ledger.read(reading.entry_at, number, seq)
        if entry is None or not is_signed(entry.signature, entry.digest(), public):
            return None
        return Arrival.of(entry)

    async def mend(self, arrival: Arrival) -> bool:
        """Put an entry in the place of the damaged one; False if that is not wanted. Raises ``BadEntries`` if
        it does not fit, or another ``StoreError``.
        """
        key = arrival.box, arrival.seq
        number, public = self._number_of(arrival.box)
        if key not in self.entries or number is None:
            return False
        check(arrival, public)
        entry, digest, ledger = arrival.entry, arrival.entry.digest(), self._ledger
        async with ledger.lock:
            head = ledger.heads[arrival.box]
            before = await ledger.read(reading.entry_at, number, entry.seq - 1)
            after = await ledger.read(reading.entry_at, number, entry.seq + 1)
            if before is not None and not is_signed(before.signature, before.digest(), public):
                before = None
            if after is not None and not is_signed(after.signature, after.digest(), public):
                after = None
            if (
                (after is not None and after.prev != digest)
                or (before is not None and before.digest() != entry.prev)
                or (entry.seq == head.seq and digest != head.digest)
            ):
                raise BadEntries(f"entry {entry.seq} of box {entry.box} does not fit between its neighbours")
            await self._change(_replace, number, arrival)
        del self.entries[key]
        self.repaired += 1
        log.info("repaired", what="journal entry", box=arrival.box, seq=arrival.seq)
        return True

    def _number_of(self, box: str) -> tuple[int | None, bytes]:
        known = self._ledger.site.boxes.get(box)
        public = known.public if known is not None else b""
        if box == self._ledger.key.box:
            public = self._ledger.key.public
        return self._ledger.numbers.get(box), public

    # how it goes

    def look(self) -> None:
        """See what has become whole again."""
        absent = self._ledger.queues.absent
        blobs = {a.blob for a in absent.values() if a.nodes}
        for msgid in [m for m in self.messages if m not in absent or absent[m].head]:
            self.messages.discard(msgid)
            self.repaired += 1
            log.info("repaired", what="message", msgid=f"{msgid:016x}")
        self.hopeless &= absent.keys()
        for sha in [sha for sha in self.blobs if sha not in blobs]:
            self.blobs.discard(sha)
            self.repaired += 1
            log.info("repaired", what="attachment", sha256=sha.hex())

    @property
    def open(self) -> int:
        """How many things are damaged and not repaired."""
        return len(self.entries) + len(self.messages) + len(self.blobs) + len(self.hopeless)

    @property
    def reason(self) -> str | None:
        """What is wrong, and what to do, for who looks at the box; None if nothing is."""
        if self.problems:
            return self.problems[0]
        kinds = (
            ("attachment", self.blobs),
            ("message", self.messages | self.hopeless),
            ("journal entry", self.entries),
        )
        shown = ", ".join(_count(len(things), kind) for kind, things in kinds if things)
        if not shown:
            return None
        if self.in_reach():
            return f"damaged on this disk: {shown}; being fetched from another box. The card may be dying"
        return (
            f"damaged on this disk: {shown}; no other box is in reach that may have it: connect one that has,"
            " or have it sent again, and replace the card"
        )

    async def _change(self, function: Callable[..., T], *args: object) -> T:
        """In a transaction. Raises ``DiskFull``, ``StoreBroken``."""
        database = self._ledger.database

        def change() -> T:
            try:
                with database.connection:
                    return function(database.connection, *args)
            except sqlite3.Error as error:
                raise translated(error) from error

        database.syncs += 1
        return await self._ledger.thread(change)


def _count(number: int, kind: str) -> str:
    plural = kind.removesuffix("y") + "ies" if kind.endswith("y") else kind + "s"
    return f"{number} {kind if number == 1 else plural}"


def _nodes(connection: sqlite3.Connection, msgid: int) -> set[int]:
    return {node for (node,) in connection.execute("SELECT node FROM queue WHERE msgid = ?", (msgid,))}


def _without_row(connection: sqlite3.Connection, node: int, msgids: Sequence[int]) -> list[int]:
    queued = reading.in_queues(connection, [(node, msgid) for msgid in msgids])
    here = reading.stored(connection, msgids)
    return [msgid for _, msgid in sorted(queued) if msgid not in here]


def _naming(connection: sqlite3.Connection, sha: bytes) -> list[tuple[int, Absent, bool]]:
    """Messages that name a file; whether they are of the recent part."""
    found = []
    for table in ("fresh", "message"):
        for msgid, rank, size, digest in connection.execute(
            f"SELECT msgid, rank, size, digest FROM {table} WHERE blob = ? AND head <> x''", (sha,)
        ).fetchall():
            nodes = _nodes(connection, msgid) if table == "message" else set()
            found.append((msgid, Absent(rank, size, sha, digest, True, nodes), table == "fresh"))
    return found


def _damaged(
    connection: sqlite3.Connection, msgids: Sequence[int], facts: dict[int, Sent]
) -> list[tuple[int, Absent, bool]]:
    """Of these messages, those whose octets have to come anew: their rows say so now. What only says wrong
    things about its octets is put right.
    """
    lost = []
    for msgid in msgids:
        table, row = _row(connection, msgid)
        fact = facts.get(msgid)
        if fact is None:
            nodes = _nodes(connection, msgid)
            if row is None and nodes:  # nobody knows what it was
                lost.append((msgid, Absent(1, 0, None, b"", True, nodes), False))
            continue
        nodes = set() if table == "fresh" else _nodes(connection, msgid)
        head, data = row if row is not None else (b"", None)
        if row is None and not nodes:
            continue
        if not head or not is_whole(fact.size, fact.blob, head, data, fact.digest):
            head, data = b"", None
            absent = Absent(fact.rank, fact.size, fact.blob, fact.digest, False, nodes)
            lost.append((msgid, absent, table == "fresh"))
        connection.execute(
            f"INSERT OR REPLACE INTO {table} (msgid, rank, sender, size, blob, head, data, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (msgid, fact.rank, fact.sender, fact.size, fact.blob, head, data, fact.digest),
        )
    return lost


def _row(connection: sqlite3.Connection, msgid: int) -> tuple[str, tuple[bytes, bytes | None] | None]:
    """Which table has it, or is to have it; head and data."""
    for table in ("fresh", "message"):
        row = connection.execute(f"SELECT head, data FROM {table} WHERE msgid = ?", (msgid,)).fetchone()
        if row is not None:
            return table, row
    return "message", None


def _replace(connection: sqlite3.Connection, number: int, arrival: Arrival) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?)",
        (
            arrival.seq * reading.PLACES + number,
            arrival.clock,
            arrival.kind,
            arrival.prev,
            arrival.signature,
            arrival.body,
        ),
    )
