"""The one SQLite connection. Everything here blocks; the owner task calls it in a worker thread, one call
at a time.

Write-ahead log with ``synchronous=FULL``: a commit is one sync of the log. The log is copied into the
database (two more syncs) when about ``CHECKPOINT_OCTETS`` have been written, and at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from appliance.site import TRAFFIC, Change, Message
from appliance.site.facts import LastingFact, RelayFact, TrafficFact
from appliance.store import accounts, keys, relay
from appliance.store.arrivals import Octets
from appliance.store.connection import connect, translated
from appliance.store.errors import StoreBroken
from appliance.store.journal import Entry
from appliance.store.queues import Effect, Queues
from appliance.store.reading import PLACES, meta

T = TypeVar("T")

CHECKPOINT_OCTETS = 16 << 20
CHECKPOINT_LOW_OCTETS = 1 << 20

PAGE = 4096
DATABASE_NAME = "pocket.db"

FreshRow = tuple[int, int, int, int, bytes | None, bytes, bytes | None, bytes]
"""msgid, rank, sender, size, blob, head, data, digest; the head is empty while the octets are not here."""


@dataclass(slots=True)
class Write:
    """What one commit makes durable.

    ``lasting`` and ``traffic`` are what this box says; ``entries`` the journal entries, by the number of
    the box, its own and others'. The rest is what comes of them all: ``boxes`` are new ones (number, id,
    key), ``changes`` of the accounts, ``fresh`` rows, ``queued`` rows of the table ``queue`` (node, rank,
    msgid, size), ``acks`` (node, msgid) of messages in that table; ``quiet_`` ones are about absent
    messages, which are not counted. ``cuts``: traffic entries of a box (number) up to a seq go; ``sent``:
    ids of the messages by the seq of this box's entry; ``relay`` are facts about memberships, of this box
    and others, at ``clock``; ``effects`` change the queues in memory after the commit, in that order;
    ``messages`` of this box, and ``dropped_nodes``, are told about.
    """

    entries: list[tuple[int, Entry]] = field(default_factory=list)
    boxes: list[tuple[int, str, bytes]] = field(default_factory=list)
    lasting: list[LastingFact] = field(default_factory=list)
    traffic: list[TrafficFact] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    fresh: list[FreshRow] = field(default_factory=list)
    queued: list[tuple[int, int, int, int]] = field(default_factory=list)
    acks: list[tuple[int, int]] = field(default_factory=list)
    quietly_queued: list[tuple[int, int, int, int]] = field(default_factory=list)
    quiet_acks: list[tuple[int, int]] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    sent: dict[int, list[int]] = field(default_factory=dict)
    dropped_nodes: list[int] = field(default_factory=list)
    relay: list[RelayFact] = field(default_factory=list)
    clock: int = 0

    @property
    def empty(self) -> bool:
        return not (self.entries or self.cuts)


@dataclass(slots=True)
class Written:
    """How the table ``queue`` changed: node, messages, octets."""

    queues: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Spilled:
    """Sender and size of the messages that are gone, and the blobs that no message names any more."""

    removed: list[tuple[int, int]] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)


def create(folder: Path) -> None:
    """Make the database in ``folder``. Raises as ``Database``."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    Database(folder / DATABASE_NAME).close()


class Database:
    def __init__(self, path: Path) -> None:
        """Open, and make or upgrade the tables. Raises ``StoreBroken`` if that cannot be done,
        ``SchemaError`` for newer data.
        """
        self.syncs = 0
        self._wal_octets = 0
        self._touched: set[int] = set()
        try:
            self.connection = connect(path)
        except sqlite3.Error as error:
            raise translated(error) from error

    def close(self) -> None:
        try:
            self.checkpoint("TRUNCATE")
        finally:
            self.connection.close()

    # reading at start; what needs no more than a connection is in reading.py

    def add_box(self, number: int, box: str, public: bytes) -> None:
        """The first one: this box's own."""
        with self.connection:
            self.connection.execute(
                "INSERT INTO box (number, id, public_key) VALUES (?, ?, ?)", (number, box, public)
            )

    def sweep(self) -> Spilled:
        """Remove what a crash left behind: messages that nobody waits for."""
        rows = self.connection.execute(
            "SELECT msgid FROM message"
            " WHERE NOT EXISTS (SELECT 1 FROM queue WHERE queue.msgid = message.msgid)"
        )
        orphans = [msgid for (msgid,) in rows]
        try:
            with self.connection:
                spilled = self._remove(orphans, Spilled())
                self._note_loads({}, spilled)
        except sqlite3.OperationalError:
            self._touched.update(orphans)  # perhaps the disk is full: the next spill tries again
            return Spilled()
        return spilled

    def read(self, function: Callable[..., T], *args: object) -> T:
        """Call ``function`` with the connection. Raises ``StoreBroken``."""
        try:
            return function(self.connection, *args)
        except sqlite3.Error as error:
            raise translated(error) from error

    # the commit

    def commit(self, write: Write) -> Written:
        """Make it all durable, or nothing.

        Raises ``DiskFull`` (nothing has happened, go on), ``StoreBroken`` (stop: what is on the disk is not
        known), or another error for a row that cannot be (nothing has happened).
        """
        execute, many = self.connection.execute, self.connection.executemany
        written = Written()
        try:
            execute("BEGIN IMMEDIATE")
            many("INSERT INTO box (number, id, public_key) VALUES (?, ?, ?)", write.boxes)
            for change in write.changes:
                self._touched.update(accounts.write(execute, change))
            many("INSERT OR IGNORE INTO fresh VALUES (?, ?, ?, ?, ?, ?, ?, ?)", write.fresh)
            self._change_queues(write, written)
            relay.write(execute, write.relay, write.clock)
            many(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (e.seq * PLACES + number, e.clock, e.kind, e.prev, e.signature, e.body)
                    for number, e in write.entries
                ],
            )
            for number, seq in write.cuts:
                self._cut_entries(number, seq * PLACES + number)
            execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise translated(error) from error
        except BaseException:
            self._rollback()
            raise
        self.syncs += 1
        self._wal_octets += sum(len(row[5]) + 232 + len(row[6] or b"") for row in write.fresh)
        self._wal_octets += sum(len(e.body) for _, e in write.entries) + PAGE * (
            3 + len(write.changes) + (len(write.acks) + len(write.relay)) // 20
        )
        return written

    def _change_queues(self, write: Write, written: Written) -> None:
        execute = self.connection.execute
        remove = "DELETE FROM queue WHERE node = ? AND rank IN (0, 1) AND msgid = ? RETURNING size"
        for row in write.queued:
            if execute("INSERT OR IGNORE INTO queue VALUES (?, ?, ?, ?)", row).rowcount > 0:
                written.queues.append((row[0], 1, row[3]))
        for node, msgid in write.acks:
            for (size,) in execute(remove, (node, msgid)).fetchall():
                written.queues.append((node, -1, -size))
                self._touched.add(msgid)
        self.connection.executemany("INSERT OR IGNORE INTO queue VALUES (?, ?, ?, ?)", write.quietly_queued)
        for node, msgid in write.quiet_acks:
            if execute(remove, (node, msgid)).fetchall():
                self._touched.add(msgid)

    def spill(
        self,
        queues: Queues,
        heads: Mapping[int, int],
        clock: int,
        today: int,
        since: int,
    ) -> Spilled:
        """Bring the recent part of the queues into the tables, as of ``heads`` (seq by number of the box) and
        ``clock``; remove messages that every node has, and keys of requests of the days before ``since``.
        Raises as ``commit``.
        """
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO queue VALUES (?, ?, ?, ?)", queues.rows())
            connection.executemany(
                "INSERT INTO request VALUES (?, ?, ?, ?, ?, ?)",
                keys.pack(queues.requests.items(), clock, today),
            )
            connection.execute("DELETE FROM request WHERE day < ?", (since,))
            spilled = self._remove_finished(queues)
            self._remove(sorted(self._touched), spilled)
            self._note_loads(queues.added, spilled)
            connection.executemany(
                "UPDATE box SET spilled = ? WHERE number = ?",
                [(seq, number) for number, seq in heads.items()],
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise translated(error) from error
        self.syncs += 1
        self._touched.clear()
        self._wal_octets += 64 * len(queues.requests) + 1400 * len(queues.waiting()) + 32 * PAGE
        return spilled

    def fill(self, given: Sequence[Octets]) -> None:
        """Octets of messages that were absent. Raises as ``commit``."""
        try:
            with self.connection:
                for table in ("fresh", "message"):
                    self.connection.executemany(
                        f"UPDATE {table} SET head = ?2, data = ?3 WHERE msgid = ?1 AND head = x''",
                        [(octets.msgid, octets.head, octets.data) for octets in given],
                    )
        except sqlite3.Error as error:
            self._rollback()
            raise translated(error) from error
        self.syncs += 1
        self._wal_octets += sum(len(o.head) + len(o.data or b"") + PAGE for o in given)

    def probe(self, stamp: int) -> None:
        """Write, sync, read back: raises if the store does not work."""
        try:
            with self.connection:
                self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (stamp,))
            self.syncs += 1
            self._wal_octets += PAGE
            if meta(self.connection, "probe") != stamp:
                raise StoreBroken("the database does not return what was written: the card may be dying")
        except sqlite3.Error as error:
            self._rollback()
            raise translated(error) from error

    @property
    def touched(self) -> int:
        """How many messages of the table may have no queue left since the last spill."""
        return len(self._touched)

    def checkpoint_due(self, low: bool) -> bool:
        """``low``: the disk is nearly full, so the log must not grow."""
        return self._wal_octets >= (CHECKPOINT_LOW_OCTETS if low else CHECKPOINT_OCTETS)

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Copy the log into the database. Harmless to be without: errors are those of ``commit``."""
        try:
            self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error
        self.syncs += 2
        self._wal_octets = 0

    # inside a transaction

    def _remove_finished(self, queues: Queues) -> Spilled:
        """Keep of the fresh messages those that somebody waits for."""
        self.connection.executemany(
            "INSERT INTO message SELECT * FROM fresh WHERE msgid = ?",
            [(msgid,) for msgid in queues.waiting()],
        )
        self.connection.execute("DELETE FROM fresh")
        finished = queues.finished()
        spilled = Spilled([(sender, size) for _, sender, size, _ in finished])
        for *_, blob in finished:
            self._note_blob(blob, spilled)
        return spilled

    def _note_blob(self, blob: bytes | None, spilled: Spilled) -> None:
        if (
            blob is not None
            and not self.connection.execute(
                "SELECT 1 FROM message WHERE blob = ? LIMIT 1", (blob,)
            ).fetchone()
        ):
            spilled.blobs.append(bytes(blob))

    def _remove(self, msgids: Sequence[int], spilled: Spilled) -> Spilled:
        execute = self.connection.execute
        for msgid in msgids:
            if execute("SELECT 1 FROM queue WHERE msgid = ? LIMIT 1", (msgid,)).fetchone():
                continue
            row = execute(
                "DELETE FROM message WHERE msgid = ? RETURNING sender, size, blob", (msgid,)
            ).fetchone()
            if row is None:
                continue
            spilled.removed.append((row[0], row[1]))
            self._note_blob(row[2], spilled)
        return spilled

    def _note_loads(self, added: dict[int, int], spilled: Spilled) -> None:
        changes = dict(added)
        for sender, size in spilled.removed:
            changes[sender] = changes.get(sender, 0) - size
        self.connection.executemany(
            "INSERT INTO load VALUES (?1, max(0, ?2))"
            " ON CONFLICT (member) DO UPDATE SET octets = max(0, octets + ?2)",
            [(member, change) for member, change in changes.items() if change],
        )

    def _cut_entries(self, number: int, place: int) -> None:
        """A box's traffic up to a place goes, but never its newest entry."""
        self.connection.execute(
            "DELETE FROM entry WHERE place <= ?1 AND kind = ?2 AND place % ?3 = ?4 AND place <"
            " (SELECT place FROM entry WHERE place % ?3 = ?4 ORDER BY place DESC LIMIT 1)",
            (place, TRAFFIC, PLACES, number),
        )

    def _rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
