"""A new node's queue starts with messages that are on their way to others: said one by one in the journal,
because other boxes may have other queues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.site.facts import Acked, Extended, Inherited, Sent
from appliance.store import reading
from appliance.store.database import Write

if TYPE_CHECKING:
    from appliance.store.ledger import Ledger


async def expand(ledger: Ledger, write: Write) -> None:
    """What a new node inherits is said message by message: other boxes may have other queues."""
    while at := next((n for n, f in enumerate(write.traffic) if isinstance(f, Inherited)), -1) + 1:
        fact = write.traffic[at - 1]
        assert isinstance(fact, Inherited)
        msgids = set(fact.only) or await _queue_of(ledger, fact)
        told: dict[int, Sent] = {}
        for earlier in write.traffic[: at - 1]:
            if fact.since or fact.only:
                break  # what is asked for was there before
            if isinstance(earlier, Sent) and fact.source in earlier.nodes:
                told[earlier.msgid] = earlier
            elif isinstance(earlier, Acked) and earlier.node == fact.source:
                msgids.difference_update(earlier.msgids)
        for sent in await ledger.read(reading.sent_again, sorted(msgids)):
            told[sent.msgid] = sent
        extended = [
            Extended(m, s.rank, s.sender, s.digest, s.size, (fact.node,), s.blob)
            for m, s in sorted(told.items())
        ]
        for more in extended:
            if more.msgid not in ledger.queues.messages and more.msgid in msgids:
                absent = more.msgid in ledger.queues.absent
                rows = write.quietly_queued if absent else write.queued
                rows.append((fact.node, more.rank, more.msgid, more.size))
        write.traffic[at - 1 : at] = extended


async def _queue_of(ledger: Ledger, fact: Inherited) -> set[int]:
    """What of its source's queue the new node gets."""
    pending = ledger.queues.nodes.get(fact.source)
    msgids = set(await ledger.read(reading.queue_of, fact.source))
    if pending is not None:
        msgids.update(pending.recent[0], pending.recent[1])
    msgids.update(m for m, absent in ledger.queues.absent.items() if fact.source in absent.nodes)
    if not fact.since:
        return msgids
    return await ledger.read(reading.whole, [msgid for msgid in msgids if msgid > fact.since])
