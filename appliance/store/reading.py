"""What is read from the tables, at start and while serving. Everything here blocks and changes nothing."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter

import msgspec

from appliance.site import LASTING, TRAFFIC, Message, content_digest, decode_facts, facts
from appliance.site.facts import Acked, BoxAdded, Carried, Inherited, Requested, Sent
from appliance.store import keys
from appliance.store.arrivals import Octets
from appliance.store.journal import Entry
from appliance.store.queues import Absent, AbsentSent, Done, Queues

KINDS = (LASTING, TRAFFIC)
"""Kinds of entries that this version understands."""

PLACES = 256
"""place = seq * PLACES + box number."""

Boxes = dict[int, tuple[str, bytes]]
"""Box id and public key by number."""
DATALEN = re.compile(rb'"datalen":([0-9]+)', re.IGNORECASE)
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


def load_queues(
    connection: sqlite3.Connection,
    queues: Queues,
    files: Callable[[bytes], bool],
    acked: set[tuple[int, int]] | None = None,
) -> int:
    """The queues' sizes from the tables, then the traffic since the last spill; ``files`` says whether a blob
    is here, ``acked`` is as in ``Taking``. Returns how many entries that was.
    """
    for node, count, octets in connection.execute(
        "SELECT node, count(*), sum(size) FROM queue GROUP BY node"
    ):
        queues.loaded(node, count, octets)
    queues.stored.update(connection.execute("SELECT member, octets FROM load"))
    for msgid, rank, size, blob, head, digest in connection.execute(
        "SELECT msgid, rank, size, blob, head, digest FROM message WHERE head = x'' OR blob IS NOT NULL"
    ):
        if not head or not files(blob):
            nodes = {n for (n,) in connection.execute("SELECT node FROM queue WHERE msgid = ?", (msgid,))}
            queues.absent_loaded(msgid, Absent(rank, size, blob, digest, bool(head), nodes))
    return replay_tail(connection, queues, files, acked)


def keyed_nodes(connection: sqlite3.Connection, since_day: int) -> set[int]:
    """Nodes with keys of requests in the table."""
    found: set[int] = set()
    for day in keys.days(connection, since_day):
        node = -1
        while row := connection.execute(
            "SELECT node FROM request WHERE day = ? AND node > ? ORDER BY node LIMIT 1", (day, node)
        ).fetchone():
            node = row[0]
            found.add(node)
    return found


def last_keys(connection: sqlite3.Connection) -> int:
    """The clock of the newest row of keys."""
    (clock,) = connection.execute("SELECT coalesce(max(seq), 0) FROM request").fetchone()
    return int(clock)


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
    connection: sqlite3.Connection, since_day: int, wanted: Sequence[tuple[int, bytes]]
) -> dict[tuple[int, bytes], Done]:
    """Those of the requests, by (node, key), that were carried out and are in the table."""
    found = {}
    for node, key in wanted:
        done = keys.find(connection, since_day, node, key)
        if done is not None:
            found[node, key] = done
    return found


def queued(
    connection: sqlite3.Connection, node: int, exclude: Container[int], limit: int
) -> list[tuple[int, int]]:
    """The first ``limit`` of the node's rows, less ``exclude``: rank, msgid."""
    rows = connection.execute("SELECT rank, msgid FROM queue WHERE node = ? ORDER BY rank, msgid", (node,))
    return list(islice((row for row in rows if row[1] not in exclude), limit))


def in_queues(connection: sqlite3.Connection, wanted: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of the pairs of node and msgid that the table ``queue`` has. One statement: each one more would
    wait for its turn among the box's threads, a millisecond where a client floods it.
    """
    rows = connection.execute(
        "SELECT queue.node, queue.msgid FROM json_each(?) AS asked CROSS JOIN queue"
        " ON queue.node = asked.value ->> 0 AND queue.rank IN (0, 1) AND queue.msgid = asked.value ->> 1",
        (json.dumps(list(wanted)),),
    )
    return set(rows.fetchall())


def read_messages(connection: sqlite3.Connection, msgids: Sequence[int], max_octets: int) -> list[Message]:
    """Messages by id, in the order asked for, until ``max_octets`` are full (at least one); those not
    there are left out.
    """
    found: list[Message] = []
    for msgid in msgids:
        row = connection.execute(
            "SELECT msgid, rank, head, size, data, blob, sender FROM fresh"
            " WHERE msgid = ?1 AND head <> x'' UNION ALL"
            " SELECT msgid, rank, head, size, data, blob, sender FROM message"
            " WHERE msgid = ?1 AND head <> x''",
            (msgid,),
        ).fetchone()
        if row:
            msgid, rank, head, size, data, blob, sender = row
            found.append(Message(msgid, rank, head, size, data, blob, sender, nodes=()))
            max_octets -= len(head) + len(data or b"")
            if max_octets <= 0:
                break
    return found


def waiting_nodes(connection: sqlite3.Connection, msgids: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Which nodes have yet to acknowledge each of the messages, by the table ``queue``."""
    found = {}
    for msgid in msgids:
        rows = connection.execute("SELECT node FROM queue WHERE msgid = ? ORDER BY node", (msgid,)).fetchall()
        if rows:
            found[msgid] = tuple(node for (node,) in rows)
    return found


def oldest(connection: sqlite3.Connection) -> int:
    """The lowest id in the table ``queue``; 0 if there is none."""
    return int(connection.execute("SELECT coalesce(min(msgid), 0) FROM queue").fetchone()[0])


def oldest_of(connection: sqlite3.Connection, nodes: Iterable[int]) -> int:
    """The lowest id in the table ``queue`` of these nodes; 0 if there is none."""
    sql = "SELECT min(msgid) FROM queue WHERE node = ? AND rank = ?"
    rows = (connection.execute(sql, (node, rank)).fetchone() for node in nodes for rank in (0, 1))
    return min((int(msgid) for (msgid,) in rows if msgid is not None), default=0)


def read_entries(
    connection: sqlite3.Connection,
    known: Boxes,
    after: Mapping[int, int] | None = None,
) -> Iterator[Entry]:
    """Entries in order of their clocks, so that none comes before one that its maker knew; of each box
    (number) those ``after`` a seq.
    """
    of_boxes = [_of_box(connection, known, number, (after or {}).get(number, 0)) for number in known]
    return heapq.merge(*of_boxes, key=attrgetter("clock", "seq"))


def _of_box(connection: sqlite3.Connection, known: Boxes, number: int, seq: int) -> Iterator[Entry]:
    rows = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry"
        " WHERE place > ? AND place % ? = ? ORDER BY place",
        (seq * PLACES + number, PLACES, number),
    )
    for row in rows:
        yield _entry(row, known)


def introductions(connection: sqlite3.Connection) -> dict[str, Entry]:
    """By box, the first entry that takes it into the site."""
    known = boxes(connection)
    found: dict[str, Entry] = {}
    rows = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry WHERE kind = ? ORDER BY clock",
        (LASTING,),
    )
    for row in rows:
        entry = _entry(row, known)
        for fact in decode_facts(entry.body):
            if isinstance(fact, BoxAdded):
                found.setdefault(fact.box, entry)
    return found


def spilled(connection: sqlite3.Connection) -> dict[int, int]:
    """By number of the box: the seq up to which its traffic is in the tables."""
    return dict(connection.execute("SELECT number, spilled FROM box").fetchall())


def acked(connection: sqlite3.Connection) -> set[tuple[int, int]]:
    """All that nodes have acknowledged (node, msgid), as far as the journals reach. Reads all of them."""
    found: set[tuple[int, int]] = set()
    for (body,) in connection.execute("SELECT body FROM entry WHERE kind = ?", (TRAFFIC,)):
        for fact in decode_facts(body):
            if isinstance(fact, Acked):
                found.update((fact.node, msgid) for msgid in fact.msgids)
    return found


def replay_tail(
    connection: sqlite3.Connection,
    queues: Queues,
    files: Callable[[bytes], bool],
    acked: set[tuple[int, int]] | None = None,
) -> int:
    """Apply the traffic since the last spill, less what went to nodes that are no more. Returns how many
    entries that was.
    """
    nodes = {number for (number,) in connection.execute("SELECT number FROM node")}
    heads = {
        msgid: bool(head) for msgid, head in connection.execute("SELECT msgid, length(head) > 0 FROM fresh")
    }
    count = 0
    for entry in read_entries(connection, boxes(connection), spilled(connection)):
        for fact in decode_facts(entry.body) if entry.kind in KINDS else ():
            match fact:
                case Carried() if acked is None:
                    pass
                case Sent() if fact.msgid in heads:  # else the commit changed the table queue
                    left = [node for node in fact.nodes if node in nodes]
                    if acked is not None:
                        left = [node for node in left if (node, fact.msgid) not in acked]
                    # also if nobody is left: its octets are in ``fresh``, and more nodes may come
                    fact = msgspec.structs.replace(fact, nodes=tuple(left))
                    present = heads[fact.msgid] and (fact.blob is None or files(fact.blob))
                    queues.apply(fact if present else AbsentSent(fact, heads[fact.msgid]))
                case Acked() | Inherited() | Requested() | facts.NodeDropped():
                    queues.apply(fact)
        count += 1
    return count


def _entry(row: tuple[int, int, int, bytes, bytes, bytes], known: Boxes) -> Entry:
    place, clock, kind, prev, body, signature = row
    seq, box = divmod(place, PLACES)
    return Entry(known.get(box, NOBODY)[0], seq, clock, kind, prev, body, signature)


def newest(connection: sqlite3.Connection) -> dict[int, Entry]:
    """The newest entry of each box that has any, by number."""
    found = {number: last_entry(connection, number) for number in boxes(connection)}
    return {number: entry for number, entry in found.items() if entry is not None}


def entry_at(connection: sqlite3.Connection, number: int, seq: int) -> Entry | None:
    """An entry of a box; None if it is not here."""
    row = connection.execute(
        "SELECT place, clock, kind, prev, body, signature FROM entry WHERE place = ?",
        (seq * PLACES + number,),
    ).fetchone()
    return _entry(row, boxes(connection)) if row else None


def stored(connection: sqlite3.Connection, msgids: Iterable[int]) -> set[int]:
    """Those of the messages that have a row."""
    sql = "SELECT 1 FROM fresh WHERE msgid = ?1 UNION ALL SELECT 1 FROM message WHERE msgid = ?1"
    return {msgid for msgid in msgids if connection.execute(sql, (msgid,)).fetchone()}


def sent_again(connection: sqlite3.Connection, msgids: Iterable[int]) -> list[Sent]:
    """The ``Sent`` facts of messages, less their nodes, from the tables."""
    found = []
    for msgid in msgids:
        row = connection.execute(
            "SELECT rank, sender, digest, size, blob, head, data FROM fresh WHERE msgid = ?1 UNION ALL"
            " SELECT rank, sender, digest, size, blob, head, data FROM message WHERE msgid = ?1",
            (msgid,),
        ).fetchone()
        if row:
            rank, sender, digest, size, blob, head, data = row
            if not digest:  # written before there was a column for it
                digest = content_digest(head, blob or hashlib.sha256(data or b"").digest())
            found.append(Sent(msgid, rank, sender, digest, size, (), blob))
    return found


def whole(connection: sqlite3.Connection, msgids: Iterable[int]) -> set[int]:
    """Those of the messages of which all data are kept: an archive may have let go of attachments."""
    found = set()
    for msgid in msgids:
        row = connection.execute(
            "SELECT head, size FROM fresh WHERE msgid = ?1"
            " UNION ALL SELECT head, size FROM message WHERE msgid = ?1",
            (msgid,),
        ).fetchone()
        if row:
            said = DATALEN.search(row[0])
            if said is None or int(said[1]) == row[1]:
                found.add(msgid)
    return found


def queue_of(connection: sqlite3.Connection, node: int) -> list[int]:
    """What the table ``queue`` has of a node."""
    return [
        msgid
        for (msgid,) in connection.execute("SELECT msgid FROM queue WHERE node = ? ORDER BY msgid", (node,))
    ]


def octets(connection: sqlite3.Connection, msgids: Iterable[int]) -> list[Octets]:
    """Heads and data of those of the messages that are here."""
    found = []
    for msgid in msgids:
        row = connection.execute(
            "SELECT head, data FROM fresh WHERE msgid = ?1 AND head <> x'' UNION ALL"
            " SELECT head, data FROM message WHERE msgid = ?1 AND head <> x''",
            (msgid,),
        ).fetchone()
        if row:
            found.append(Octets(msgid, *row))
    return found
