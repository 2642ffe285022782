"""What is kept of memberships at other sites, beside the queues: which message there is which one here, and
what became of the requests of devices.

Two tables, written in the commit of the entries that say so. They are a cache of the journal as far as that
reaches, and go on a while longer: what a site said to a request is kept for ``OUTCOMES_NS``, ids there for
``IDS_NS`` and for as long as the message is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.site import Message
from appliance.site.facts import Outcome, Outgoing, Relayed, RelayFact
from appliance.store import reading

if TYPE_CHECKING:
    from appliance.store.ledger import Ledger

DAY_NS = 86_400_000_000_000
OUTCOMES_NS = 30 * DAY_NS
IDS_NS = 400 * DAY_NS
NS_PER_MS = 1_000_000
LAST_ANSWERS = 64
"""By which a site's clock is judged."""

ARCHIVED_OCTETS = 1 << 20
"""About what ``archived`` returns at once."""

Execute = Callable[..., sqlite3.Cursor]
ITEM = "msgid, membership, node, key, id, upid, posted_ms, error, answered <> 0"


@dataclass(frozen=True, slots=True)
class Item:
    """A request of device ``node`` (``id`` is the device's own): the message ``msgid`` in the queue ``out``
    of a membership. Once it is ``answered`` (1): the id there, and when it was posted, 0 where the ack has
    none; or the ``error``.
    """

    msgid: int
    membership: int
    node: int
    key: bytes
    id: str
    upid: int = 0
    posted_ms: int = 0
    error: str = ""
    answered: int = 0


class Relay:
    """``on_outcome`` is called when an item is answered, ``on_relayed`` with membership and id
    there when a message was taken in: after the commit, of this box or another one. They must not block or
    raise.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.on_outcome: list[Callable[[Outcome], None]] = []
        self.on_relayed: list[Callable[[int, int], None]] = []
        self._ledger = ledger

    async def known(self, membership: int, upids: Sequence[int]) -> dict[int, int]:
        """Those of a site's messages that were taken in, and which they are here (not above 0: nothing is
        kept)."""
        wanted = [(membership, upid) for upid in upids]
        async with self._ledger.lock:
            found = await self._ledger.read(find_relayed, wanted)
        return {upid: msgid for (_, upid), msgid in found.items()}

    async def find(self, node: int, key: bytes) -> int:
        """The item of a device's request; 0 if there is none."""
        async with self._ledger.lock:
            found = await self._ledger.read(find_outgoing, [(node, key)])
        return found.get((node, key), 0)

    async def asked(self, node: int, first: bytes, last: bytes) -> tuple[Item | None, bytes]:
        """Of a device's requests with keys from ``first`` to ``last``: the one with the lowest key that was
        not refused, and the highest key, empty if there are none.
        """
        async with self._ledger.lock:
            return await self._ledger.read(_asked, node, first, last)

    async def item(self, msgid: int) -> Item | None:
        """An item that is not yet forgotten."""
        async with self._ledger.lock:
            found = await self._ledger.read(_items, "msgid = ?", msgid)
        return found[0] if found else None

    async def sent(self, membership: int, upid: int) -> Item | None:
        """The request that a membership's site knows as ``upid``."""
        async with self._ledger.lock:
            found = await self._ledger.read(_items, "membership = ? AND upid = ?", membership, upid)
        return found[0] if found else None

    async def behind_ms(self, membership: int) -> int:
        """How far a site's clock is behind ours, as its last answers show: the most of them, for each may
        have had to wait.
        """
        async with self._ledger.lock:
            return await self._ledger.read(_behind_ms, membership)

    async def items(self, membership: int) -> list[Item]:
        """Items that are not answered and that are in the queue ``out``, in order."""
        of = self._ledger.site.memberships.get(membership)
        if of is None:
            return []
        async with self._ledger.lock:
            found = await self._ledger.read(_items, "membership = ? AND answered = 0", membership)
            stored = [item.msgid for item in found if not self._ledger.queues.is_recent(of.out, item.msgid)]
            there = await self._ledger.read(reading.in_queues, [(of.out, msgid) for msgid in stored])
        return [
            item
            for item in found
            if self._ledger.queues.is_recent(of.out, item.msgid) or (of.out, item.msgid) in there
        ]

    async def is_due(self, item: Item) -> bool:
        """Whether an item is still in the queue ``out``: of two that are the same request one is not."""
        of, queues = self._ledger.site.memberships.get(item.membership), self._ledger.queues
        if of is None:
            return False
        if queues.is_recent(of.out, item.msgid) or item.msgid in queues.absent:
            return True
        async with self._ledger.lock:
            return bool(await self._ledger.read(reading.in_queues, [(of.out, item.msgid)]))

    async def twin(self, item: Item) -> Item | None:
        """The same request, as another box had it from the device; of several one that is answered."""
        if len(self._ledger.site.boxes) < 2:
            return None
        where = "node = ? AND key = ? AND msgid <> ?"
        async with self._ledger.lock:
            found = await self._ledger.read(_items, where, item.node, item.key, item.msgid)
        return min(found, key=lambda twin: (not twin.answered, twin.msgid), default=None)

    async def archived(self, node: int, slot: int, after: int, limit: int) -> list[Message]:
        """What an archive has of the box with that slot, above the id ``after``: the next ones in order, at
        most ``limit`` and some ``ARCHIVED_OCTETS``. Those whose octets have yet to come are left out.
        """
        queues = self._ledger.queues
        async with self._ledger.lock:
            found = await self._ledger.read(_archived, node, slot, after, limit)
            pending = queues.nodes.get(node)
            recent = pending.recent[1] if pending is not None else {}
            ids = {m for m in recent if m > after and m % 16 == slot}.union(found) - queues.absent.keys()
            return await self._ledger.read(reading.read_messages, sorted(ids)[:limit], ARCHIVED_OCTETS)

    async def archived_ids(self, node: int, after: int, limit: int) -> list[int]:
        """The ids of what an archive has above ``after``, in order, whichever box made them; those whose
        octets have yet to come are left out.
        """
        queues = self._ledger.queues
        async with self._ledger.lock:
            found = await self._ledger.read(_ids, node, after, limit + len(queues.absent))
            pending = queues.nodes.get(node)
            recent = pending.recent[1] if pending is not None else {}
            return sorted({m for m in recent if m > after}.union(found) - queues.absent.keys())[:limit]

    async def awaited(self, node: int, msgids: Sequence[int]) -> set[int]:
        """Those of the messages that another node than ``node`` has yet to get."""
        queues = self._ledger.queues
        async with self._ledger.lock:
            stored = await self._ledger.read(reading.waiting_nodes, msgids)
        waiting = {msgid: set(nodes) for msgid, nodes in stored.items()}
        for msgid in msgids:
            nodes = waiting.setdefault(msgid, set())
            nodes.update(number for number in queues.nodes if queues.is_recent(number, msgid))
            nodes.update(queues.absent[msgid].nodes if msgid in queues.absent else ())
        return {msgid for msgid, nodes in waiting.items() if nodes - {node}}

    def told(self, facts: Iterable[RelayFact]) -> None:
        """These are on stable storage."""
        for fact in facts:
            if isinstance(fact, Outcome):
                for answered in self.on_outcome:
                    answered(fact)
            elif isinstance(fact, Relayed):
                for relayed in self.on_relayed:
                    relayed(fact.membership, fact.upid)


# inside a transaction


def write(execute: Execute, facts: Iterable[RelayFact], clock: int) -> None:
    """Write what was said."""
    for fact in facts:
        match fact:
            case Relayed():
                execute(
                    "INSERT INTO relayed VALUES (?, ?, ?, ?) ON CONFLICT (membership, upid) DO UPDATE SET"
                    " msgid = CASE WHEN msgid = 0 THEN excluded.msgid WHEN excluded.msgid = 0 THEN msgid"
                    " ELSE min(msgid, excluded.msgid) END",
                    (fact.membership, fact.upid, fact.msgid, clock),
                )
            case Outgoing():
                execute(
                    "INSERT OR IGNORE INTO outgoing (msgid, membership, node, key, id)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (fact.msgid, fact.membership, fact.node, fact.key, fact.id),
                )
            case Outcome():
                execute(
                    "UPDATE outgoing SET upid = ?2, posted_ms = ?3, error = ?4, answered = ?5"
                    " WHERE msgid = ?1 AND (answered = 0 OR (?2 <> 0 AND (upid = 0 OR ?2 < upid)))",
                    (fact.msgid, fact.upid, fact.posted_ms, fact.error, clock),
                )


def forget(connection: sqlite3.Connection, clock: int) -> None:
    """Remove what is too old to be asked for."""
    with connection:
        connection.execute(
            "DELETE FROM outgoing WHERE answered <> 0 AND answered < ?", (clock - OUTCOMES_NS,)
        )
        connection.execute(
            "DELETE FROM relayed WHERE clock < ?"
            " AND NOT EXISTS (SELECT 1 FROM message WHERE message.msgid = relayed.msgid)",
            (clock - IDS_NS,),
        )


# reading


def find_relayed(
    connection: sqlite3.Connection, wanted: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """Which message of ours those are (membership, id there) that are known."""
    sql = "SELECT msgid FROM relayed WHERE membership = ? AND upid = ?"
    found = {}
    for membership, upid in wanted:
        row = connection.execute(sql, (membership, upid)).fetchone()
        if row is not None:
            found[membership, upid] = int(row[0])
    return found


def find_outgoing(
    connection: sqlite3.Connection, wanted: Sequence[tuple[int, bytes]]
) -> dict[tuple[int, bytes], int]:
    """By node and key, the items of those of the requests that have one."""
    sql = "SELECT min(msgid) FROM outgoing WHERE node = ? AND key = ?"
    found = {}
    for node, key in wanted:
        (msgid,) = connection.execute(sql, (node, key)).fetchone()
        if msgid is not None:
            found[node, key] = int(msgid)
    return found


def said_again(connection: sqlite3.Connection, msgids: Sequence[int]) -> list[RelayFact]:
    """What is to be said again with these messages, so that the entries that said it can go."""
    found: list[RelayFact] = []
    relayed = "SELECT membership, upid, msgid FROM relayed WHERE msgid = ? AND msgid <> 0"
    outgoing = "SELECT msgid, membership, node, key, id FROM outgoing WHERE msgid = ? AND answered = 0"
    for msgid in msgids:
        found += [Relayed(*row) for row in connection.execute(relayed, (msgid,))]
        found += [Outgoing(*row) for row in connection.execute(outgoing, (msgid,))]
    return found


def _items(connection: sqlite3.Connection, where: str, *values: Any) -> list[Item]:
    rows = connection.execute(f"SELECT {ITEM} FROM outgoing WHERE {where} ORDER BY msgid", values)
    return [Item(*row) for row in rows]


def _behind_ms(connection: sqlite3.Connection, membership: int) -> int:
    last = (
        "SELECT msgid, posted_ms FROM outgoing WHERE membership = ? AND upid <> 0 ORDER BY msgid DESC LIMIT ?"
    )
    (apart,) = connection.execute(
        f"SELECT max(msgid / ? - posted_ms) FROM ({last})", (NS_PER_MS, membership, LAST_ANSWERS)
    ).fetchone()
    return max(0, apart or 0)


def _asked(connection: sqlite3.Connection, node: int, first: bytes, last: bytes) -> tuple[Item | None, bytes]:
    span = "node = ? AND key BETWEEN ? AND ?"
    sql = f"SELECT {ITEM} FROM outgoing WHERE {span} AND error = '' ORDER BY key, msgid LIMIT 1"
    row = connection.execute(sql, (node, first, last)).fetchone()
    (newest,) = connection.execute(
        f"SELECT max(key) FROM outgoing WHERE {span}", (node, first, last)
    ).fetchone()
    return (Item(*row) if row is not None else None), newest or b""


def _ids(connection: sqlite3.Connection, node: int, after: int, limit: int) -> list[int]:
    rows = connection.execute(
        "SELECT msgid FROM queue WHERE node = ? AND rank = 1 AND msgid > ? ORDER BY msgid LIMIT ?",
        (node, after, limit),
    )
    return [msgid for (msgid,) in rows]


def _archived(connection: sqlite3.Connection, node: int, slot: int, after: int, limit: int) -> list[int]:
    rows = connection.execute(
        "SELECT msgid FROM queue WHERE node = ? AND rank = 1 AND msgid > ? AND msgid % 16 = ?"
        " ORDER BY msgid LIMIT ?",
        (node, after, slot, limit),
    )
    return [msgid for (msgid,) in rows]
