"""What other boxes say, on its way into a commit: what is news of it, and what it comes to here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from appliance.site.facts import Carried, Extended, Outgoing, Relayed, Requested
from appliance.store import reading, relay
from appliance.store.agreeing import agree
from appliance.store.arrivals import BadEntries
from appliance.store.database import Write
from appliance.store.journal import NO_ENTRY, Head
from appliance.store.taking import Checked, Known, Taken

if TYPE_CHECKING:
    from appliance.store.ledger import Ledger


async def take_in(ledger: Ledger, arrivals: Sequence[Checked], write: Write) -> Taken:
    """Fill ``write`` with what they say, and what is to be said to that. Raises ``BadEntries`` before
    anything has changed.
    """
    fresh = _continuing(ledger, arrivals, write)
    known = Known()
    named = {fact.msgid for one in fresh for fact in one.facts if isinstance(fact, Extended | Carried)}
    if named:
        known.messages = await ledger.read(reading.stored, named)
    asked = [
        (fact.node, fact.key)
        for one in fresh
        if one.entry.clock < ledger.spill_clock
        for fact in one.facts
        if isinstance(fact, Requested) and fact.node in ledger.keyed
    ]
    if asked:
        known.requests = await ledger.read(reading.find_requests, ledger.keys_since, asked)
    if relayed := [(f.membership, f.upid) for one in fresh for f in one.facts if isinstance(f, Relayed)]:
        known.relayed = await ledger.read(relay.find_relayed, relayed)
    if outgoing := [(f.node, f.key) for one in fresh for f in one.facts if isinstance(f, Outgoing)]:
        known.outgoing = await ledger.read(relay.find_outgoing, outgoing)
    for one in fresh:
        ledger.scene.mint.saw(one.entry.clock)
    taken = ledger.taking.take(fresh, ledger.numbers | {b: n for n, b, _ in write.boxes}, known, write)
    if not ledger.gaps:  # a copy says nothing: who it is made from has said it
        await agree(ledger, fresh, taken, write)
    return taken


def _continuing(ledger: Ledger, arrivals: Sequence[Checked], write: Write) -> list[Checked]:
    """Those that are news; notes boxes of which there was nothing before."""
    heads = dict(ledger.heads)
    numbers = set(ledger.numbers.values())
    known = set(ledger.numbers)
    fresh: list[Checked] = []
    for one in arrivals:
        entry = one.entry
        head = heads.get(entry.box, NO_ENTRY)
        if entry.seq <= head.seq:
            continue
        where = f"entry {entry.seq} of box {entry.box}"
        if entry.seq != head.seq + 1 and not ledger.gaps:
            raise BadEntries(f"{where} came where {head.seq + 1} was due")
        if (entry.seq == head.seq + 1 and entry.prev != head.digest) or entry.clock <= head.clock:
            raise BadEntries(f"{where} does not continue the entry before: the box was copied or restored")
        if entry.box not in known:
            number = next(n for n in range(reading.PLACES) if n not in numbers)
            numbers.add(number)
            known.add(entry.box)
            write.boxes.append((number, entry.box, one.public))
        heads[entry.box] = Head(entry.seq, one.digest, entry.clock)
        fresh.append(one)
    return fresh
