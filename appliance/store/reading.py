"""What is read from the tables, at start and while serving. Everything here blocks and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from appliance.site import TRAFFIC, Message, decode_facts, facts
from appliance.site.facts import LastingFact, TrafficFact
from appliance.store import keys
from appliance.store.journal import Entry
from appliance.store.queues import Done, Queues

PLACES = 16
"""place = seq * PLACES + box number."""

Boxes = dict[int, tuple[str, bytes]]
"""Box id and public key by number."""
NOBODY = ("", b"")
"""A box that is not known."""


def boxes(connection: sqlite3.Connection) -> Boxes:
    return {n: (i, bytes(k)) for n, i, k in connection.execute("SELECT number, id, public_key FROM box")}


def meta(connection: sqlite3.Connection, key: str, default: int = 0) -> int:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return int(row[0]) if row else default


def last_entry(connection: sqlite3.Connection, box: int) -> Entry | None:
    """The newest entry of the box with that number."""
    row = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry WHERE place % ? = ?"
        " ORDER BY place DESC LIMIT 1",
        (PLACES, box),
    ).fetchone()
    return _entry(row, boxes(connection)) if row else None


def load_queues(connection: sqlite3.Connection, queues: Queues) -> int:
    """The queues' sizes from the tables, then the traffic since the last spill. Returns how many
    entries that was.
    """
    for node, count, octets in connection.execute(
        "SELECT node, count(*), sum(size) FROM queue GROUP BY node"
    ):
        queues.loaded(node, count, octets)
    queues.stored.update(connection.execute("SELECT member, octets FROM load"))
    return replay_tail(connection, queues)


def keyed_nodes(connection: sqlite3.Connection, since_day: int) -> set[int]:
    """Nodes with keys of requests in the table."""
    found: set[int] = set()
    for (day,) in connection.execute(
        "SELECT DISTINCT day FROM request WHERE day >= ?", (since_day,)
    ).fetchall():
        node = -1
        while row := connection.execute(
            "SELECT node FROM request WHERE day = ? AND node > ? ORDER BY node LIMIT 1", (day, node)
        ).fetchone():
            node = row[0]
            found.add(node)
    return found


def blobs(connection: sqlite3.Connection) -> set[bytes]:
    return {
        bytes(blob)
        for table in ("message", "fresh")
        for (blob,) in connection.execute(f"SELECT blob FROM {table} WHERE blob IS NOT NULL")
    }


def unnamed(connection: sqlite3.Connection, digests: Iterable[bytes]) -> list[bytes]:
    """Those of the blobs that no row of the table ``message`` names."""
    sql = "SELECT 1 FROM message WHERE blob = ? LIMIT 1"
    return [digest for digest in digests if connection.execute(sql, (digest,)).fetchone() is None]


def find_requests(
    connection: sqlite3.Connection, today: int, wanted: Sequence[tuple[int, bytes]]
) -> dict[tuple[int, bytes], Done]:
    """Those of the requests, by (node, key), that were carried out and are in the table."""
    found = {}
    for node, key in wanted:
        done = keys.find(connection, today, node, key)
        if done is not None:
            found[node, key] = done
    return found


def queued(connection: sqlite3.Connection, node: int, exclude: set[int], limit: int) -> list[tuple[int, int]]:
    """The first ``limit`` of the node's rows, less ``exclude``: rank, msgid."""
    rows = connection.execute(
        "SELECT rank, msgid FROM queue WHERE node = ? ORDER BY rank, msgid LIMIT ?",
        (node, limit + len(exclude)),
    )
    return [row for row in rows if row[1] not in exclude][:limit]


def read_messages(connection: sqlite3.Connection, msgids: Sequence[int], max_octets: int) -> list[Message]:
    """Messages by id, in the order asked for, until ``max_octets`` are full (at least one); those not
    there are left out.
    """
    found: list[Message] = []
    for msgid in msgids:
        row = connection.execute(
            "SELECT msgid, rank, head, size, data, blob, sender FROM fresh WHERE msgid = ?1 UNION ALL"
            " SELECT msgid, rank, head, size, data, blob, sender FROM message WHERE msgid = ?1",
            (msgid,),
        ).fetchone()
        if row:
            msgid, rank, head, size, data, blob, sender = row
            found.append(Message(msgid, rank, head, size, data, blob, sender, nodes=()))
            max_octets -= len(head) + len(data or b"")
            if max_octets <= 0:
                break
    return found


def old_traffic(connection: sqlite3.Connection, box: int, clock: int, max_octets: int) -> list[Entry]:
    """The first traffic entries of a box below ``clock`` that the tables are up to, until their bodies have
    ``max_octets``.
    """
    rows = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry"
        " WHERE kind = ? AND place % ? = ? AND place <= ? ORDER BY place",
        (TRAFFIC, PLACES, box, meta(connection, "spilled") * PLACES + box),
    )
    known = boxes(connection)
    found: list[Entry] = []
    for row in rows:
        entry = _entry(row, known)
        max_octets -= len(entry.body)
        if entry.clock >= clock or (max_octets < 0 and found):
            break
        found.append(entry)
    return found


def waiting_nodes(connection: sqlite3.Connection, msgids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Which nodes have yet to acknowledge each of the messages, by the table ``queue``."""
    found = {}
    for msgid in msgids:
        rows = connection.execute("SELECT node FROM queue WHERE msgid = ? ORDER BY node", (msgid,)).fetchall()
        if rows:
            found[msgid] = tuple(node for (node,) in rows)
    return found


def oldest(connection: sqlite3.Connection, node: int | None = None) -> int:
    """The lowest id in the table ``queue``, of one node or of all; 0 if there is none."""
    if node is None:
        row = connection.execute("SELECT coalesce(min(msgid), 0) FROM queue").fetchone()
    else:
        row = connection.execute(
            "SELECT coalesce(min(msgid), 0) FROM queue WHERE node = ?", (node,)
        ).fetchone()
    return int(row[0])


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
    if owner := meta(connection, "owner"):
        yield facts.OwnerSet(owner)


def read_entries(connection: sqlite3.Connection, known: Boxes, above: int = 0) -> Iterator[Entry]:
    """Entries in order of place, from the first with a place above ``above``."""
    rows = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry WHERE place > ? ORDER BY place", (above,)
    )
    for row in rows:
        yield _entry(row, known)


def replay_tail(connection: sqlite3.Connection, queues: Queues) -> int:
    """Apply the traffic since the last spill, less what went to nodes dropped since. Returns how many
    entries that was.
    """
    spilled = meta(connection, "spilled")
    count = 0
    for entry in read_entries(connection, boxes(connection), spilled * PLACES + PLACES - 1):
        for fact in decode_facts(entry.body):
            if isinstance(fact, facts.NodeDropped):
                queues.node_dropped(fact.node)
            elif isinstance(fact, TrafficFact):
                queues.apply(fact)
        count += 1
    return count


def _entry(row: tuple[int, int, int, bytes, bytes, bytes], known: Boxes) -> Entry:
    place, clock, kind, prev, body, signature = row
    seq, box = divmod(place, PLACES)
    return Entry(known.get(box, NOBODY)[0], seq, clock, kind, prev, body, signature)
