"""Keys of requests in the table ``request``: many in a row, so that a spill touches few pages of the card.

A row has one node's keys of some spills, in the order in which the requests were carried out, and their
answers in the same order. A row that is short takes the keys of the next spill too: a node that asks for
something now and then would have thousands of rows to look through.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from struct import Struct

from appliance.store.queues import Done

KEY_OCTETS = 16
ANSWER = Struct(">QQQ")
FULL_OCTETS = 64 * KEY_OCTETS
"""Keys of a row that takes no more."""

Row = tuple[int, int, int, bytes, bytes]


def pack(requests: Iterable[tuple[tuple[int, bytes], Done]], seq: int, today: int) -> Iterator[Row]:
    """Rows of the table for requests by (node, key), in the table's order."""
    rows: dict[int, tuple[bytearray, bytearray]] = {}
    for (node, key), done in requests:
        keys, answers = rows.setdefault(node, (bytearray(), bytearray()))
        keys += key
        answers += ANSWER.pack(done.msgid, done.posted_ms, done.link)
    for node, (keys, answers) in sorted(rows.items()):
        yield today, node, seq, bytes(keys), bytes(answers)


def keep(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Write rows, or add to the node's newest row of the day."""
    for day, node, seq, keys, answers in rows:
        last = connection.execute(
            "SELECT seq, keys, answers FROM request WHERE day = ? AND node = ? ORDER BY seq DESC LIMIT 1",
            (day, node),
        ).fetchone()
        if last is not None and len(last[1]) < FULL_OCTETS:
            seq, keys, answers = last[0], last[1] + keys, last[2] + answers
        connection.execute(
            "INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?, ?)", (day, node, seq, keys, answers)
        )


def find(connection: sqlite3.Connection, today: int, node: int, key: bytes) -> Done | None:
    """The newest answer to the request in the last two days."""
    rows = connection.execute(
        "SELECT day, seq, keys FROM request WHERE node = ? AND day IN (?, ?) ORDER BY day DESC, seq DESC",
        (node, today, today - 1),
    )
    for day, seq, keys in rows:
        at = _last(keys, key)
        if at is not None:
            (answers,) = connection.execute(
                "SELECT answers FROM request WHERE day = ? AND node = ? AND seq = ?", (day, node, seq)
            ).fetchone()
            return Done(*ANSWER.unpack_from(answers, at * ANSWER.size))
    return None


def _last(keys: bytes, key: bytes) -> int | None:
    end = len(keys)
    while (at := keys.rfind(key, 0, end)) >= 0:
        if at % KEY_OCTETS == 0:
            return at // KEY_OCTETS
        end = at + KEY_OCTETS - 1
    return None
