"""Keys of requests in the table ``request``: many in a row, so that a spill touches few pages of the card.

A row has one node's keys of one spill, in the order in which the requests were carried out, and their
answers in the same order.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from struct import Struct

from appliance.store.queues import Done

KEY_OCTETS = 16
ANSWER = Struct(">QQQ")

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
