"""The index of what is in the archives: which messages there are, what they are about, and their words.

A file of its own, DATA/mail.db, and not tables of the store's database. The store is the only SQLite of the
truth; this is none of it: it is made from the archives, can be thrown away at any time, and is then made
anew. So it has no part in the journal's commits and their syncs, it may lose what a power cut takes from it,
and damage to it is damage to nothing else. One that is damaged, or of another version, is thrown away.

Everything here blocks. There is one connection; ``Shelf`` lets one caller at a time use it, in a worker
thread. Write-ahead log with ``synchronous=NORMAL``: a commit does not sync, only a checkpoint does.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from appliance.mail.content import Content
from appliance.mail.file import Damaged, IndexFile, Row
from appliance.mail.query import Query
from appliance.mail.text import plain

SYNC: Final = "nodesync"
"""In place of the op of what devices tell each other: it is in no place, so that nobody finds it."""
PER_SECOND: Final = 256
"""Numbers a second has; where more messages are of one second, they take those of the next ones, after what
is there of these 16, 256, ... seconds."""
DAY_S: Final = 86400
COLUMNS: Final = (
    "number, node, msgid, upid, posted_ms, op, uid, alias, subject, thread, size, kept, files,"
    " files_octets, body_octets, names, body"
)
TIERS: Final = ("subject", "{sender names}")
"""What comes first when the best are wanted: all words in the subject, all in names, the rest."""
BEST_OF: Final = 200

Order = Literal["newest", "best"]
Part = Literal["files", "body", "all"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A message of an archive, to be found by its words."""

    node: int
    msgid: int
    content: Content


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that was found; ``text`` is the plain text of its body, ``place`` where the next page
    begins."""

    place: str
    node: int
    msgid: int
    upid: int
    posted_ms: int
    op: str
    uid: str
    alias: str
    subject: str
    thread: str
    size: int
    files: int
    text: str


@dataclass(frozen=True, slots=True)
class Weight:
    """What a message has that can be done without, in octets; ``number`` is its place in the order of
    time."""

    number: int
    node: int
    msgid: int
    kept: int
    files_octets: int
    body_octets: int


class Index(IndexFile):
    """Raises as ``IndexFile``."""

    # what is in it

    def marks(self, node: int) -> dict[int, int]:
        """By slot, how far the archive has been read."""
        return dict(self.all("SELECT slot, msgid FROM done WHERE node = ?", node))

    def nodes(self) -> set[int]:
        """Archives of which there is anything."""
        return {node for (node,) in self.all("SELECT DISTINCT node FROM done")}

    def count(self, node: int) -> int:
        """Messages of an archive."""
        ((count,),) = self.all("SELECT count(*) FROM message WHERE node = ?", node)
        return int(count)

    def ids(self, node: int, after: int, limit: int) -> list[int]:
        """The ids of an archive's messages above ``after``, in order."""
        sql = "SELECT msgid FROM message WHERE node = ? AND msgid > ? ORDER BY msgid LIMIT ?"
        return [msgid for (msgid,) in self.all(sql, node, after, limit)]

    def of(self, nodes: Sequence[int], number: int) -> tuple[int, int] | None:
        """Archive and id of the message that has ``number`` for its id here, or at its site."""
        for node in nodes:
            for name in ("msgid", "upid"):
                rows = self.all(
                    f"SELECT node, msgid FROM message WHERE node = ? AND {name} = ?", node, number
                )
                if rows:
                    return rows[0]
        return None

    def oldest_ms(self, nodes: Sequence[int]) -> int:
        """When the first message of the archives was posted, in ms since the epoch; 0 if there is none."""
        found = [
            self.all("SELECT posted_ms FROM message WHERE node = ? AND posted_ms > 0"
                      " ORDER BY number LIMIT 1", node)
            for node in nodes
        ]  # fmt: skip
        return min((rows[0][0] for rows in found if rows), default=0)

    def oldest(self, nodes: Sequence[int], part: Part, after: int, limit: int) -> list[Weight]:
        """The oldest messages with attachments, with a body, or of all, above the place ``after``."""
        where = {"files": "files_octets > 0", "body": "body_octets > 0", "all": "1"}[part]
        rows: list[Row] = []
        for node in nodes:
            rows += self.all(
                "SELECT number, node, msgid, kept, files_octets, body_octets FROM message"
                f" WHERE node = ? AND number > ? AND {where} ORDER BY number LIMIT ?",
                node,
                after,
                limit,
            )
        return [Weight(*row) for row in sorted(rows)[:limit]]

    def twice(self, node: int) -> list[int]:
        """Which messages of an archive there is another copy of, with as much or more of it."""
        ids = self.all(
            "SELECT upid FROM message WHERE node = ? AND upid <> 0 GROUP BY upid HAVING count(*) > 1", node
        )
        found = []
        for (upid,) in ids:
            rows = self.all(
                "SELECT msgid FROM message WHERE node = ? AND upid = ?"
                " ORDER BY files_octets DESC, body_octets DESC, msgid",
                node,
                upid,
            )
            found += [msgid for (msgid,) in rows[1:]]
        return found

    # changes

    def add(self, entries: Iterable[Entry], marks: Mapping[tuple[int, int], int] | None = None) -> int:
        """Take messages in, those that are not there, and how far (node, slot) that is. Returns how many were
        new.
        """
        new = 0
        with self.transaction() as connection:
            for entry in entries:
                new += _add(connection, entry)
                connection.execute("INSERT OR IGNORE INTO done VALUES (?, 0, 0)", (entry.node,))
            connection.executemany(
                "INSERT INTO done VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET msgid = max(msgid, excluded.msgid)",
                [(node, slot, msgid) for (node, slot), msgid in (marks or {}).items()],
            )
        return new

    def remove(self, node: int, msgids: Sequence[int]) -> None:
        """Forget messages of an archive."""
        with self.transaction() as connection:
            for msgid in msgids:
                row = connection.execute(
                    f"SELECT {COLUMNS} FROM message WHERE node = ? AND msgid = ?", (node, msgid)
                ).fetchone()
                if row is not None:
                    connection.execute(
                        "INSERT INTO words (words, rowid, place, subject, sender, names, body)"
                        " VALUES ('delete', ?, ?, ?, ?, ?, ?)",
                        (row[0], *_words(row)),
                    )
                    connection.execute("DELETE FROM message WHERE number = ?", (row[0],))

    def forget(self, node: int) -> None:
        """There is no such archive any more, and nothing of it is left."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM done WHERE node = ?", (node,))

    # looking for something

    def search(self, query: Query, nodes: Sequence[int], order: Order, after: str, limit: int) -> list[Hit]:
        """At most ``limit`` messages of these archives, from the place ``after`` on. Where the best are
        wanted, they are those of the newest ``BEST_OF`` that have all words in the subject, then those that
        have them in names, then the others; among equals the newest.
        """
        if not nodes:
            return []
        tier, _, number = after.partition(".")
        begin = (int(tier), int(number)) if _is_number(tier) and _is_number(number) else None
        if order == "best" and query.free:
            return self._best(query, nodes, begin, limit)
        numbers = self._newest(query, query.match(nodes), begin[1] if begin else None, limit)
        return [hit for number in numbers for hit in self._hits(0, number)]

    def _best(
        self, query: Query, nodes: Sequence[int], begin: tuple[int, int] | None, limit: int
    ) -> list[Hit]:
        newest = self._newest(query, query.match(nodes), None, BEST_OF)
        tiers: dict[int, int] = dict.fromkeys(newest, len(TIERS))
        for tier, within in reversed(list(enumerate(TIERS))):
            found = self._newest(query, query.match(nodes, within), None, BEST_OF, newest[-1:])
            tiers.update((number, tier) for number in found if number in tiers)
        ranked = sorted((tier, -number) for number, tier in tiers.items())
        if begin is not None:
            ranked = [place for place in ranked if place > (begin[0], -begin[1])]
        return [hit for tier, number in ranked[:limit] for hit in self._hits(tier, -number)]

    def _newest(
        self, query: Query, match: str, below: int | None, limit: int, least: Sequence[int] = ()
    ) -> list[int]:
        """The highest numbers that match, below one, and not below another."""
        first = max([(query.since_s or 0) * PER_SECOND, *least])
        last = (query.until_s * PER_SECOND if query.until_s is not None else 1 << 62) - 1
        if below is not None:
            last = min(last, below - 1)
        rows = self.all(
            "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ?"
            " ORDER BY rowid DESC LIMIT ?",
            match,
            first,
            last,
            limit,
        )
        return [number for (number,) in rows]

    def _hits(self, tier: int, number: int) -> list[Hit]:
        return [
            _hit(tier, row) for row in self.all(f"SELECT {COLUMNS} FROM message WHERE number = ?", number)
        ]


def _unpacked(body: bytes) -> str:
    try:
        return zlib.decompress(body).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise Damaged(f"a text cannot be read: {error}") from error


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _add(connection: sqlite3.Connection, entry: Entry) -> bool:
    content = entry.content
    place = entry.node, entry.msgid
    if connection.execute("SELECT 1 FROM message WHERE node = ? AND msgid = ?", place).fetchone():
        return False
    number = _number(connection, _second(content.posted_ms, entry.msgid))
    text = plain(content.body)
    row = (
        number,
        entry.node,
        entry.msgid,
        # the database knows no higher numbers
        content.id if content.id < 1 << 63 else 0,
        content.posted_ms,
        SYNC if content.sync else content.op,
        content.sender,
        content.alias,
        content.subject,
        content.thread,
        content.size,
        content.kept,
        len(content.attachments),
        content.files_kept,
        content.body_kept,
        "\n".join(content.names),
        zlib.compress(text.encode(), 6),
    )
    connection.execute(f"INSERT INTO message ({COLUMNS}) VALUES ({', '.join('?' * len(row))})", row)
    connection.execute(
        "INSERT INTO words (rowid, place, subject, sender, names, body) VALUES (?, ?, ?, ?, ?, ?)",
        (number, *_words(row)),
    )
    return True


def _words(row: Row) -> tuple[str, str, str, str, str]:
    """The texts of which the index has the words: the same when it is removed as when it was added."""
    _, node, _, _, _, op, uid, alias, subject, _, _, _, files, _, _, names, body = row
    place = f"n{node} files" if files else f"n{node}"
    if op == SYNC:
        place = ""
    return place, subject, f"{alias}\n{uid}", names, _unpacked(body)


def _hit(tier: int, row: Row) -> Hit:
    number, node, msgid, upid, posted_ms, op, uid, alias, subject, thread, size, _, files, *_, body = row
    text = _unpacked(body)
    return Hit(
        f"{tier}.{number}", node, msgid, upid, posted_ms, op, uid, alias, subject, thread, size, files, text
    )


def _second(posted_ms: int, msgid: int) -> int:
    """When it was posted, in s since the epoch; where its site says a time that cannot be, when it came:
    ids are made from the time.
    """
    came = msgid // 1_000_000_000
    posted = posted_ms // 1000
    return posted if 0 < posted <= came + DAY_S else came


def _number(connection: sqlite3.Connection, second: int) -> int:
    """The next free number of that time."""
    first = second * PER_SECOND
    sql = "SELECT max(number) FROM message WHERE number BETWEEN ? AND ?"
    for span in (PER_SECOND * 16**step for step in range(6)):
        (last,) = connection.execute(sql, (first, first + span - 1)).fetchone()
        if last is None:
            return first
        if last < first + span - 1:
            return int(last) + 1
    (last,) = connection.execute("SELECT max(number) FROM message").fetchone()
    return int(last) + 1
