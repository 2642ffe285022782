"""Keys of requests in the table ``request``: many in a row, so that a spill touches few pages of the card.

A row has one node's keys of one spill, in the order in which the requests were carried out, and their
answers in the same order; of the few that made more than one message what else they made, by place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from struct import Struct

import msgspec

from appliance.store.queues import Done

DAY_S = 86_400.0
KEY_OCTETS = 16
ANSWER = Struct(">QQQ")

Row = tuple[int, int, int, bytes, bytes, bytes]
More = dict[int, tuple[int, ...]]
"""By place the node that a request made (0: none) and its other messages."""
_encode = msgspec.msgpack.Encoder().encode
_more = msgspec.msgpack.Decoder(More)


def pack(requests: Iterable[tuple[tuple[int, bytes], Done]], seq: int, today: int) -> Iterator[Row]:
    """Rows of the table for requests by (node, key), in the table's order."""
    rows: dict[int, tuple[bytearray, bytearray, More]] = {}
    for (node, key), done in requests:
        keys, answers, more = rows.setdefault(node, (bytearray(), bytearray(), {}))
        if done.others or done.made:
            more[len(keys) // KEY_OCTETS] = (done.made, *done.others)
        keys += key
        answers += ANSWER.pack(done.msgid, done.posted_ms, done.link)
    for node, (keys, answers, more) in sorted(rows.items()):
        yield today, node, seq, bytes(keys), bytes(answers), _encode(more) if more else b""


def find(connection: sqlite3.Connection, since: int, node: int, key: bytes) -> Done | None:
    """The newest answer to the request from day ``since`` on."""
    for day in days(connection, since):
        rows = connection.execute(
            "SELECT seq, keys FROM request WHERE node = ? AND day = ? ORDER BY seq DESC", (node, day)
        )
        for seq, keys in rows:
            at = _last(keys, key)
            if at is not None:
                answers, more = connection.execute(
                    "SELECT answers, more FROM request WHERE day = ? AND node = ? AND seq = ?",
                    (day, node, seq),
                ).fetchone()
                made, *others = _more.decode(more).get(at, (0,)) if more else (0,)
                msgid, posted_ms, link = ANSWER.unpack_from(answers, at * ANSWER.size)
                return Done(msgid, posted_ms, link, tuple(others), made)
    return None


def days(connection: sqlite3.Connection, since: int) -> Iterator[int]:
    """Those that have rows, the last one first."""
    below = 1 << 62
    while True:
        (day,) = connection.execute("SELECT max(day) FROM request WHERE day < ?", (below,)).fetchone()
        if day is None or day < since:
            return
        yield day
        below = day


class Age:
    """From which day on keys are kept.

    Days are by the clock of the ids, which never goes back; but the wrong clock of another box can move it on
    by weeks at once. So a day's keys stay until a day has passed for this box, too, since they were written:
    by its uninterrupted clock, or if that was before its start by its own wall clock.
    """

    def __init__(self) -> None:
        self._used: dict[int, float] = {}

    def wrote(self, today: int, now_s: float) -> None:
        """Keys of ``today`` were written; ``now_s``: by the uninterrupted clock."""
        self._used[today] = now_s

    def since(self, today: int, own_day: int, now_s: float) -> int:
        """``own_day``: by this box's wall clock."""
        self._used = {day: used for day, used in self._used.items() if now_s - used < DAY_S}
        return min((today - 1, own_day - 1, *self._used))


def _last(keys: bytes, key: bytes) -> int | None:
    end = len(keys)
    while (at := keys.rfind(key, 0, end)) >= 0:
        if at % KEY_OCTETS == 0:
            return at // KEY_OCTETS
        end = at + KEY_OCTETS - 1
    return None
