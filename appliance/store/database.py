"""The one SQLite connection. Everything here blocks; the owner task calls it in a worker thread, one call
at a time.

Write-ahead log with ``synchronous=FULL``: a commit is one sync of the log. The log is copied into the
database (two more syncs) when about ``CHECKPOINT_OCTETS`` have been written, and at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from appliance.site import TRAFFIC, Message, facts
from appliance.site.facts import LastingFact, TrafficFact
from appliance.store import keys
from appliance.store.errors import DiskFull, StoreBroken, StoreDamaged
from appliance.store.journal import Entry
from appliance.store.queues import Queues
from appliance.store.reading import PLACES, meta, oldest
from appliance.store.schema import prepare

T = TypeVar("T")

CHECKPOINT_OCTETS = 16 << 20
CHECKPOINT_LOW_OCTETS = 1 << 20
LOG_OCTETS = 64 << 20
"""What the log keeps of its room when it begins anew; it grows beyond while somebody reads for long."""

CUT_ENTRIES = 20_000
"""So that others do not wait for long: some 8 MiB of the log."""

CACHE_KIB = 4096
PAGE = 4096
DATABASE_NAME = "pocket.db"


@dataclass(slots=True)
class Write:
    """What one commit makes durable. ``acks`` are those of messages in the table ``queue``: node,
    msgid. ``cut``: this box's traffic entries up to this place go.
    """

    entries: list[Entry] = field(default_factory=list)
    lasting: list[LastingFact] = field(default_factory=list)
    traffic: list[TrafficFact] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    acks: list[tuple[int, int]] = field(default_factory=list)
    cut: int = 0


@dataclass(slots=True)
class Written:
    """How the table ``queue`` changed: node, messages, octets."""

    queues: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Spilled:
    """Sender and size of the messages that are gone, the blobs that no message names any more, and whether
    there is more to cut.
    """

    removed: list[tuple[int, int]] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    uncut: bool = False


def create(folder: Path) -> None:
    """Make the database in ``folder``. Raises as ``Database``."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    Database(folder / DATABASE_NAME, box=0).close()


class Database:
    def __init__(self, path: Path, box: int) -> None:
        """Open, and make or upgrade the tables. Raises ``StoreBroken`` if that cannot be done,
        ``SchemaError`` for newer data.
        """
        self.box = box
        self.syncs = 0
        self._wal_octets = 0
        self._touched: set[int] = set()
        try:
            self.connection = _connect(path)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def close(self) -> None:
        try:
            self.checkpoint("TRUNCATE")
        finally:
            self.connection.close()

    # reading at start; what needs no more than a connection is in reading.py

    def add_box(self, number: int, box: str, public: bytes) -> None:
        with self.connection:
            self.connection.execute("INSERT INTO box VALUES (?, ?, ?)", (number, box, public))

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
            raise _translated(error) from error

    # the commit

    def commit(self, write: Write) -> Written:
        """Make it all durable, or nothing.

        Raises ``DiskFull`` (nothing has happened, go on), ``StoreBroken`` (stop: what is on the disk is not
        known), or another error for a row that cannot be (nothing has happened).
        """
        execute = self.connection.execute
        written = Written()
        try:
            execute("BEGIN IMMEDIATE")
            for fact in write.lasting:
                self._apply(fact)
            self.connection.executemany(
                "INSERT INTO fresh VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(m.msgid, m.rank, m.sender, m.size, m.blob, m.head, m.data) for m in write.messages],
            )
            for node, msgid in write.acks:
                rows = execute(
                    "DELETE FROM queue WHERE node = ? AND rank IN (0, 1) AND msgid = ? RETURNING size",
                    (node, msgid),
                ).fetchall()
                if rows:
                    written.queues.append((node, -1, -rows[0][0]))
                    self._touched.add(msgid)
            for node, source in [(f.node, f.source) for f in write.traffic if isinstance(f, facts.Inherited)]:
                execute(
                    "INSERT INTO queue SELECT ?, rank, msgid, size FROM queue WHERE node = ?", (node, source)
                )
                count, octets = execute(
                    "SELECT count(*), coalesce(sum(size), 0) FROM queue WHERE node = ?", (node,)
                ).fetchone()
                written.queues.append((node, count, octets))
            self.connection.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (e.seq * PLACES + self.box, e.clock, e.kind, e.prev, e.signature, e.body)
                    for e in write.entries
                ],
            )
            if write.cut:
                self._cut_entries(write.cut)
            execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise _translated(error) from error
        except BaseException:
            self._rollback()
            raise
        self.syncs += 1
        self._wal_octets += sum(len(m.head) + 200 + (len(m.data) if m.data else 0) for m in write.messages)
        self._wal_octets += sum(len(e.body) for e in write.entries) + PAGE * (
            3 + len(write.lasting) + len(write.acks) // 20
        )
        return written

    def spill(self, queues: Queues, seq: int, today: int, cut_clock: int | None) -> Spilled:
        """Bring the recent part of the queues, as of entry ``seq``, into the tables; remove messages that
        every node has.

        ``cut_clock``: also remove traffic entries up to this clock that nothing needs any more. Raises as
        ``commit``.
        """
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO queue VALUES (?, ?, ?, ?)", queues.rows())
            connection.executemany(
                "INSERT INTO request VALUES (?, ?, ?, ?, ?)", keys.pack(queues.requests.items(), seq, today)
            )
            connection.execute("DELETE FROM request WHERE day < ?", (today - 1,))
            spilled = self._remove_finished(queues)
            self._remove(sorted(self._touched), spilled)
            self._note_loads(queues.added, spilled)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('spilled', ?)", (seq,))
            if cut_clock is not None:
                spilled.uncut = self._cut(seq, cut_clock)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise _translated(error) from error
        self.syncs += 1
        self._touched.clear()
        self._wal_octets += 64 * len(queues.requests) + 1400 * len(queues.waiting()) + 32 * PAGE
        return spilled

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
            raise _translated(error) from error

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
            raise _translated(error) from error
        self.syncs += 2
        self._wal_octets = 0

    # inside a transaction

    def _apply(self, fact: LastingFact) -> None:
        execute = self.connection.execute
        match fact:
            case facts.MemberAdded():
                execute(
                    "INSERT INTO member (number, uid, at_ms) VALUES (?, ?, ?)",
                    (fact.member, fact.uid, fact.at_ms),
                )
                execute("INSERT OR REPLACE INTO meta VALUES ('last_number', ?)", (fact.member,))
            case facts.NodeAdded():
                execute(
                    "INSERT INTO node VALUES (?, ?, ?, ?, ?)",
                    (fact.node, fact.member, fact.label, fact.secret, fact.at_ms),
                )
                execute("INSERT OR REPLACE INTO meta VALUES ('last_number', ?)", (fact.node,))
            case facts.NodeDropped():
                execute("DELETE FROM node WHERE number = ?", (fact.node,))
                for (msgid,) in execute(
                    "DELETE FROM queue WHERE node = ? RETURNING msgid", (fact.node,)
                ).fetchall():
                    self._touched.add(msgid)
            case facts.AliasAdded():
                execute("INSERT INTO alias VALUES (?, ?)", (fact.alias, fact.member))
            case facts.GroupAdded():
                execute("INSERT INTO team VALUES (?)", (fact.gid,))
            case facts.RoleSet():
                execute(
                    "INSERT INTO standing VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (gid, member) DO UPDATE SET alias = excluded.alias, role = excluded.role",
                    (fact.gid, fact.member, fact.alias, fact.role),
                )
            case facts.SubjectBound():
                execute(
                    "UPDATE member SET issuer = ?, subject = ?, audience = ? WHERE number = ?",
                    (fact.issuer, fact.subject, fact.audience, fact.member),
                )
            case facts.OwnerSet():
                execute("INSERT OR REPLACE INTO meta VALUES ('owner', ?)", (fact.member,))

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

    def _cut(self, seq: int, clock: int) -> bool:
        """Remove this box's traffic entries below the oldest message that is pending, but never the newest
        entry of all. About ``CUT_ENTRIES`` at a time: returns whether there are more.
        """
        first = self.connection.execute(
            "SELECT place FROM entry WHERE kind = ? AND place % ? = ? ORDER BY place LIMIT 1",
            (TRAFFIC, PLACES, self.box),
        ).fetchone()
        if first is None:
            return False
        pending = oldest(self.connection)
        limit = min(clock, pending) if pending else clock
        row = self.connection.execute(  # the clock rises with the place: no need to read the whole table
            "SELECT place FROM entry WHERE clock >= ? AND place % ? = ? ORDER BY place LIMIT 1",
            (limit, PLACES, self.box),
        ).fetchone()
        spilled = seq * PLACES + self.box
        wanted = min(spilled, row[0] - 1) if row else spilled
        place = min(wanted, first[0] + CUT_ENTRIES * PLACES)
        self._cut_entries(place)
        return bool(place < wanted)

    def _cut_entries(self, place: int) -> None:
        self.connection.execute(
            "DELETE FROM entry WHERE place <= ? AND kind = ? AND place % ? = ?"
            " AND place < (SELECT max(place) FROM entry)",
            (place, TRAFFIC, PLACES, self.box),
        )

    def _rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, cached_statements=64)
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            f"journal_size_limit={LOG_OCTETS}",
            "secure_delete=OFF",  # on in Debian: it would write every page that becomes free
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
        ):
            connection.execute("PRAGMA " + pragma)
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _translated(error: sqlite3.Error) -> Exception:
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return DiskFull("the disk is full: make room, or let devices fetch what waits for them")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return error
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"the database is damaged ({error}): copy the data folder away, see whether the card is dying,"
            " and restore a backup"
        )
    return StoreBroken(
        f"the database does not work ({error}): see whether the disk is there, writable and healthy"
    )
