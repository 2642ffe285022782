"""Messages of other sites that two boxes stored each, parted from each other or one of them late: *twins*.

The one with the lowest id counts. Who was to get both does not get the other one any more, and who
acknowledged that has the one that counts. All of it is said as acknowledgements, so it does not matter how
many boxes say so: those that notice that there are two, and later those that hear that a device, itself, has
the one that does not count. Who was to get only that one still gets it. Where one box knows that the message
only tells of its own login (``OF_BOX``), what the others have made of it goes to nobody any more.

To whom a message went, and which it is at its site, is in the journal of the box that made it, near the first
entry with a clock above the message's id. It is there for as long as some box has not heard of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.site import TRAFFIC, decode_facts
from appliance.site.facts import Acked, Extended, Relayed, Sent
from appliance.site.mint import BOXES
from appliance.store import reading, relay
from appliance.store.database import Write
from appliance.store.inbox import Acks
from appliance.store.queues import AbsentSent
from appliance.store.reading import PLACES
from appliance.store.taking import Checked

if TYPE_CHECKING:
    from appliance.store.ledger import Ledger

Pair = tuple[int, int]
"""Node, msgid."""

COMMIT_ENTRIES = 64
"""So many entries of one commit are looked at, of about a mebibyte each (``portions``)."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message went to ``nodes``, and is ``upid`` of a membership's site; 0, 0 if it is of no other site."""

    nodes: frozenset[int]
    membership: int = 0
    upid: int = 0


async def agree(ledger: Ledger, fresh: Sequence[Checked], twins: Mapping[int, int], write: Write) -> None:
    """Add to ``write`` what comes of ``fresh``. ``twins``: messages that do not count, as ``fresh`` shows,
    and the ones that do.
    """
    if len(ledger.site.boxes) < 2 or not ledger.site.memberships:
        return
    facts = [fact for one in fresh for fact in one.facts]
    have = {
        (fact.node, msgid)
        for fact in facts
        if isinstance(fact, Acked) and fact.itself and _is_device(ledger, fact.node)
        for msgid in fact.msgids
    }
    if twins:
        ids = {*twins, *twins.values()}
        waiting = await waiting_for(ledger, ids, write)
        went = await _recipients(ledger, [fact for fact in facts if isinstance(fact, Sent)], ids)
        needless = []
        for void, kept in twins.items():
            to = went.get(kept)
            needless += [(n, void) for n in waiting[void] if to is None or n in to or n in waiting[kept]]
            have.update((node, void) for node in went.get(void, frozenset()) - waiting[void])
        ledger.release(needless, write)
    await _count(ledger, have, twins, write)


async def note(ledger: Ledger, acks: Acks, twins: Mapping[int, int], write: Write) -> None:
    """Devices here acknowledge; ``twins`` as in ``agree``, of the same commit."""
    if len(ledger.site.boxes) < 2:
        return
    have = {(node, msgid) for node, msgids in acks.items() if _is_device(ledger, node) for msgid in msgids}
    await _count(ledger, have, twins, write)


def _is_device(ledger: Ledger, number: int) -> bool:
    node = ledger.site.nodes.get(number)
    return node is not None and node.membership > 0 and node.role == "device"


async def _count(ledger: Ledger, have: set[Pair], twins: Mapping[int, int], write: Write) -> None:
    """Who has a message that does not count has the one that does."""
    strange = await _strange(ledger, {pair for pair in have if pair[1] not in twins}, write)
    if not strange and not any(msgid in twins for _, msgid in have):
        return
    kept = dict(twins)
    if strange:
        said = await _said(ledger, {msgid for _, msgid in strange})
        of = {msgid: (one.membership, one.upid) for msgid, one in said.items() if one.membership}
        known = await ledger.read(relay.find_relayed, list(of.values()))
        for msgid, there in of.items():
            other = known.get(there, 0)
            kept[msgid] = twins.get(other, other) or msgid
    have = {(node, kept[msgid]) for node, msgid in have if kept.get(msgid, msgid) != msgid}
    waiting = await waiting_for(ledger, {msgid for _, msgid in have}, write)
    ledger.release(((node, m) for node, m in have if node in waiting[m]), write, itself=True)


async def _strange(ledger: Ledger, acked: set[Pair], write: Write) -> set[Pair]:
    """Those that are in no queue."""
    queues, sent = ledger.queues, {fact.msgid for fact in _sent(write)}
    left = {
        (n, m) for n, m in acked if m not in sent and m not in queues.absent and not queues.is_recent(n, m)
    }
    return left - await ledger.read(reading.in_queues, left) if left else left


async def _recipients(ledger: Ledger, sent: Sequence[Sent], ids: Iterable[int]) -> dict[int, frozenset[int]]:
    """To whom those of the messages went of which that is known; ``sent`` is not in the journals yet."""
    went = {fact.msgid: frozenset(fact.nodes) for fact in sent if type(fact) is Sent}
    went |= {msgid: said.nodes for msgid, said in (await _said(ledger, set(ids) - went.keys())).items()}
    for fact in sent:
        if isinstance(fact, Extended) and fact.msgid in went:
            went[fact.msgid] |= frozenset(fact.nodes)
    return went


async def _said(ledger: Ledger, msgids: Iterable[int]) -> dict[int, Said]:
    by_slot: dict[int, list[int]] = {}
    for box in ledger.site.boxes.values():
        if box.box in ledger.numbers:
            by_slot.setdefault(box.slot, []).append(ledger.numbers[box.box])
    return await ledger.read(find_said, by_slot, sorted(msgids))


def _sent(write: Write) -> Iterable[Sent]:
    """What comes from other boxes with this commit."""
    for effect in write.effects:
        sent = effect.fact if isinstance(effect, AbsentSent) else effect
        if isinstance(sent, Sent):
            yield sent


async def waiting_for(ledger: Ledger, msgids: Iterable[int], write: Write) -> dict[int, set[int]]:
    """Which nodes have yet to get the messages, before the acknowledgements of this commit."""
    queues = ledger.queues
    waiting: dict[int, set[int]] = {msgid: set() for msgid in msgids}
    for msgid, nodes in (await ledger.read(reading.waiting_nodes, list(waiting))).items():
        waiting[msgid].update(nodes)
    for sent in _sent(write):
        if sent.msgid in waiting:
            waiting[sent.msgid].update(sent.nodes)
    for node, _, msgid, _ in (*write.queued, *write.quietly_queued):
        if msgid in waiting:
            waiting[msgid].add(node)
    for msgid in queues.absent.keys() & waiting.keys():
        waiting[msgid].update(queues.absent[msgid].nodes)
    for node, pending in queues.nodes.items():
        for recent in pending.recent:
            for msgid in recent.keys() & waiting.keys():
                waiting[msgid].add(node)
    return waiting


# reading


def find_said(
    connection: sqlite3.Connection, by_slot: Mapping[int, Sequence[int]], msgids: Iterable[int]
) -> dict[int, Said]:
    """What the journals of the boxes (numbers by slot) say of the messages; those of which it has gone are
    left out.
    """
    found = {}
    for msgid in msgids:
        for number in by_slot.get(msgid % BOXES, ()):
            said = _find(connection, number, msgid)
            if said is not None:
                found[msgid] = said
    return found


def _find(connection: sqlite3.Connection, number: int, msgid: int) -> Said | None:
    nodes: frozenset[int] | None = None
    for body in _traffic_above(connection, number, msgid):
        known = nodes is not None
        for fact in decode_facts(body):
            if type(fact) is Sent and fact.msgid == msgid:
                nodes = frozenset(fact.nodes)
            elif isinstance(fact, Relayed) and fact.msgid == msgid and nodes is not None:
                return Said(nodes, fact.membership, fact.upid)
        if known:  # which it is at its site is said right behind it: in this entry or the next
            break
    return Said(nodes) if nodes is not None else None


def _traffic_above(connection: sqlite3.Connection, number: int, clock: int) -> Iterator[bytes]:
    """Bodies of a box's next entries with higher clocks. The clock rises with the seq: so it is halved."""
    newest = reading.last_entry(connection, number)
    first, end = 1, newest.seq + 1 if newest is not None else 1
    rows = "SELECT place, clock, kind, body FROM entry WHERE place >= ? AND place < ? AND place % ? = ?"
    while first < end:
        middle = (first + end) // 2
        between = middle * PLACES, end * PLACES, PLACES, number
        row = connection.execute(f"{rows} ORDER BY place LIMIT 1", between).fetchone()
        if row is None or row[1] > clock:
            end = middle
        else:
            first = row[0] // PLACES + 1
    above = (end * PLACES, (1 << 62), PLACES, number, COMMIT_ENTRIES)
    for _, _, kind, body in connection.execute(f"{rows} ORDER BY place LIMIT ?", above):
        if kind == TRAFFIC:
            yield body
