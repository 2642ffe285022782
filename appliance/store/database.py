"""The one SQLite connection. Everything here blocks; the owner task calls it in a worker thread, one call
at a time.

Write-ahead log with ``synchronous=FULL``: a commit is one sync of the log. The log is copied into the
database (two more syncs) when about ``CHECKPOINT_OCTETS`` have been written, and at the end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from appliance.site import TRAFFIC, Message, decode_facts, facts
from appliance.site.facts import LastingFact, TrafficFact
from appliance.store import keys
from appliance.store.errors import DiskFull, StoreBroken
from appliance.store.journal import Entry
from appliance.store.queues import DAY_MS, Done, Queues
from appliance.store.schema import prepare

PLACES = 16
"""place = seq * PLACES + box number."""

CHECKPOINT_OCTETS = 16 << 20
CACHE_KIB = 4096
PAGE = 4096


@dataclass(slots=True)
class Write:
    """What one commit makes durable."""

    entries: list[Entry] = field(default_factory=list)
    lasting: list[LastingFact] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    acks: list[tuple[int, int]] = field(default_factory=list)
    inherits: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Written:
    """How the table ``queue`` changed: node, messages, octets."""

    queues: list[tuple[int, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Spilled:
    """Sender and size of the messages that are gone, and the blobs that no message names any more."""

    removed: list[tuple[int, int]] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)


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
            self.connection = sqlite3.connect(path, check_same_thread=False, cached_statements=64)
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "wal_autocheckpoint=0",
                "secure_delete=OFF",  # on in Debian: it would write every page that becomes free
                f"cache_size=-{CACHE_KIB}",
                "temp_store=MEMORY",
            ):
                self.connection.execute("PRAGMA " + pragma)
            prepare(self.connection)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def close(self) -> None:
        try:
            self.checkpoint("TRUNCATE")
        finally:
            self.connection.close()

    # reading at start

    def boxes(self) -> dict[int, tuple[str, bytes]]:
        return {
            n: (i, bytes(k)) for n, i, k in self.connection.execute("SELECT number, id, public_key FROM box")
        }

    def add_box(self, number: int, box: str, public: bytes) -> None:
        with self.connection:
            self.connection.execute("INSERT INTO box VALUES (?, ?, ?)", (number, box, public))

    def meta(self, key: str, default: int = 0) -> int:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else default

    def lasting(self) -> Iterator[LastingFact]:
        """The accounts' tables, as the facts that they are derived from."""
        return read_lasting(self.connection)

    def last_entry(self) -> Entry | None:
        """The newest entry of this box."""
        row = self.connection.execute(
            "SELECT place, clock, kind, prev, body, signature FROM entry WHERE place % ? = ? ORDER BY place DESC LIMIT 1",
            (PLACES, self.box),
        ).fetchone()
        return _entry(row, self.boxes()) if row else None

    def load_queues(self, queues: Queues) -> int:
        """The queues' sizes from the tables, then the traffic since the last spill. Returns how many
        entries that was.
        """
        for node, count, octets in self.connection.execute(
            "SELECT node, count(*), sum(size) FROM queue GROUP BY node"
        ):
            queues.loaded(node, count, octets)
        queues.stored.update(self.connection.execute("SELECT member, octets FROM load"))
        return replay_tail(self.connection, queues)

    def keyed_nodes(self, since_day: int) -> set[int]:
        """Nodes with keys of requests in the table."""
        found: set[int] = set()
        for (day,) in self.connection.execute(
            "SELECT DISTINCT day FROM request WHERE day >= ?", (since_day,)
        ).fetchall():
            node = -1
            while row := self.connection.execute(
                "SELECT node FROM request WHERE day = ? AND node > ? ORDER BY node LIMIT 1", (day, node)
            ).fetchone():
                node = row[0]
                found.add(node)
        return found

    def sweep(self) -> Spilled:
        """Remove what a crash left behind: messages that nobody waits for."""
        rows = self.connection.execute(
            "SELECT msgid FROM message WHERE NOT EXISTS (SELECT 1 FROM queue WHERE queue.msgid = message.msgid)"
        )
        orphans = [msgid for (msgid,) in rows]
        with self.connection:
            spilled = self._remove(orphans, Spilled())
            self._note_loads({}, spilled)
        return spilled

    def blobs(self) -> set[bytes]:
        return {
            bytes(blob)
            for table in ("message", "fresh")
            for (blob,) in self.connection.execute(f"SELECT blob FROM {table} WHERE blob IS NOT NULL")
        }

    # the commit

    def commit(self, write: Write) -> Written:
        """Make it all durable, or nothing.

        Raises ``DiskFull`` (nothing has happened, go on), ``StoreBroken`` (stop: what is on the disk is not
        known), or ``sqlite3.Error`` for a row that breaks a constraint.
        """
        execute = self.connection.execute
        written = Written()
        try:
            execute("BEGIN IMMEDIATE")
            for fact in write.lasting:
                self._apply(fact, written)
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
            for node, source in write.inherits:
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
            execute("COMMIT")
        except sqlite3.Error as error:
            self._rollback()
            raise _translated(error) from error
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
                "INSERT INTO request VALUES (?, ?, ?, ?, ?)", keys.pack(queues.requests.items(), seq)
            )
            connection.execute("DELETE FROM request WHERE day < ?", (today - 1,))
            spilled = self._remove_finished(queues)
            self._remove(sorted(self._touched), spilled)
            self._note_loads(queues.added, spilled)
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('spilled', ?)", (seq,))
            if cut_clock is not None:
                self._cut(seq, cut_clock)
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
            if self.meta("probe") != stamp:
                raise StoreBroken("the database does not return what was written: the card may be dying")
        except sqlite3.Error as error:
            self._rollback()
            raise _translated(error) from error

    @property
    def checkpoint_due(self) -> bool:
        return self._wal_octets >= CHECKPOINT_OCTETS

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Copy the log into the database. Harmless to be without: errors are those of ``commit``."""
        try:
            self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except sqlite3.Error as error:
            raise _translated(error) from error
        self.syncs += 2
        self._wal_octets = 0

    # reading while serving

    def find_requests(self, today: int, wanted: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], Done]:
        """Those of the requests, by (node, key), that were carried out and are in the table."""
        found = {}
        for node, key in wanted:
            done = keys.find(self.connection, today, node, key)
            if done is not None:
                found[node, key] = done
        return found

    def queued(self, node: int, exclude: set[int], limit: int) -> list[tuple[int, int]]:
        """The first ``limit`` of the node's rows, less ``exclude``: rank, msgid."""
        rows = self.connection.execute(
            "SELECT rank, msgid FROM queue WHERE node = ? ORDER BY rank, msgid LIMIT ?",
            (node, limit + len(exclude)),
        )
        return [row for row in rows if row[1] not in exclude][:limit]

    def read_messages(self, msgids: Sequence[int], max_octets: int) -> list[Message]:
        """Messages by id, in the order asked for, until ``max_octets`` are full (at least one); those not
        there are left out.
        """
        found: list[Message] = []
        for msgid in msgids:
            row = self.connection.execute(
                "SELECT msgid, rank, head, size, data, blob, sender FROM fresh WHERE msgid = ?1 UNION ALL"
                " SELECT msgid, rank, head, size, data, blob, sender FROM message WHERE msgid = ?1",
                (msgid,),
            ).fetchone()
            if row:
                found.append(Message(*row, ()))
                max_octets -= len(row[2]) + len(row[4] or b"")
                if max_octets <= 0:
                    break
        return found

    def oldest(self, node: int | None = None) -> int:
        """The lowest id in the table ``queue``, of one node or of all; 0 if there is none."""
        if node is None:
            row = self.connection.execute("SELECT coalesce(min(msgid), 0) FROM queue").fetchone()
        else:
            row = self.connection.execute(
                "SELECT coalesce(min(msgid), 0) FROM queue WHERE node = ?", (node,)
            ).fetchone()
        return int(row[0])

    def entry_count(self) -> int:
        return self.connection.execute("SELECT count(*) FROM entry").fetchone()[0]  # type: ignore[no-any-return]

    # inside a transaction

    def _apply(self, fact: LastingFact, written: Written) -> None:
        execute = self.connection.execute
        match fact:
            case facts.MemberAdded():
                execute(
                    "INSERT INTO member (number, uid, at_ms) VALUES (?, ?, ?)",
                    (fact.member, fact.uid, fact.at_ms),
                )
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
            "INSERT INTO load VALUES (?1, max(0, ?2)) ON CONFLICT (member) DO UPDATE SET octets = max(0, octets + ?2)",
            [(member, change) for member, change in changes.items() if change],
        )

    def _cut(self, seq: int, clock: int) -> None:
        """Remove this box's traffic entries below the oldest message that is pending, but never the newest
        entry of all.
        """
        oldest = self.oldest()
        limit = min(clock, oldest) if oldest else clock
        self.connection.execute(
            "DELETE FROM entry WHERE kind = ? AND clock < ? AND place % ? = ? AND place <= ?"
            " AND place < (SELECT max(place) FROM entry)",
            (TRAFFIC, limit, PLACES, self.box, seq * PLACES + self.box),
        )

    def _rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def read_lasting(connection: sqlite3.Connection) -> Iterator[LastingFact]:
    """The accounts' tables as facts, in an order in which they can be applied."""
    for number, uid, at_ms, issuer, subject, audience in connection.execute(
        "SELECT * FROM member ORDER BY number"
    ):
        yield facts.MemberAdded(number, uid, at_ms)
        if issuer is not None:
            yield facts.SubjectBound(number, issuer, subject, audience)
    for row in connection.execute("SELECT number, member, label, secret, at_ms FROM node ORDER BY number"):
        yield facts.NodeAdded(*row)
    for row in connection.execute("SELECT alias, member FROM alias ORDER BY rowid"):
        yield facts.AliasAdded(*row)
    for (gid,) in connection.execute("SELECT gid FROM team ORDER BY rowid"):
        yield facts.GroupAdded(gid)
    for row in connection.execute("SELECT gid, member, alias, role FROM standing ORDER BY rowid"):
        yield facts.RoleSet(*row)


def read_entries(
    connection: sqlite3.Connection, boxes: dict[int, tuple[str, bytes]], above: int = 0
) -> Iterator[Entry]:
    """Entries in order of place, from the first with a place above ``above``."""
    rows = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry WHERE place > ? ORDER BY place", (above,)
    )
    for row in rows:
        yield _entry(row, boxes)


def replay_tail(connection: sqlite3.Connection, queues: Queues) -> int:
    """Apply the traffic since the last spill, less what went to nodes dropped since. Returns how many
    entries that was.
    """
    boxes = {n: (i, bytes(k)) for n, i, k in connection.execute("SELECT number, id, public_key FROM box")}
    row = connection.execute("SELECT value FROM meta WHERE key = 'spilled'").fetchone()
    spilled = int(row[0]) if row else 0
    count = 0
    for entry in read_entries(connection, boxes, spilled * PLACES + PLACES - 1):
        for fact in decode_facts(entry.body):
            if isinstance(fact, facts.NodeDropped):
                queues.node_dropped(fact.node)
            elif isinstance(fact, TrafficFact):
                queues.apply(fact)
        count += 1
    return count


def _entry(row: tuple[int, int, int, bytes, bytes, bytes], boxes: dict[int, tuple[str, bytes]]) -> Entry:
    place, clock, kind, prev, body, signature = row
    seq, box = divmod(place, PLACES)
    return Entry(boxes[box][0], seq, clock, kind, prev, body, signature)


def _translated(error: sqlite3.Error) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return DiskFull("the disk is full: make room, or let devices fetch what waits for them")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return error
    return StoreBroken(
        f"the database does not work ({error}): see whether the disk is there, writable and healthy"
    )


__all__ = [
    "DAY_MS",
    "PLACES",
    "Database",
    "Spilled",
    "Write",
    "Written",
    "read_entries",
    "read_lasting",
    "replay_tail",
]
