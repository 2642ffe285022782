"""What this box says, in the same commit, when what it takes in shows that boxes did not know of each other:

- two boxes carried out the same request: the messages of one of them are acknowledged in the name of all
  nodes that have yet to get them. Whichever boxes notice say so, and as it is only acknowledgements, all
  others come to the same;
- two boxes stored the same message of another site: so too, and who has the one has the other (``twins``);
- that request made a node on each: the box that made the one which does not count drops it, if nobody has
  got its password;
- a name was claimed twice: the box where the claim was made that does not count tells its members;
- a revoked box's journal is here beyond where it was cut off: the cut is raised to that;
- an old message was said again by a box that did not know of an acknowledgement, or is acknowledged at a box
  that did not know that it was said again: the acknowledgement is, too (``cutting``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from appliance.site import revoke_box, tell_lost
from appliance.site.facts import Acked, Carried, NodeDropped
from appliance.site.mint import BOXES
from appliance.store import reading, twins
from appliance.store.cutting import CARRY_AFTER_NS
from appliance.store.database import Write
from appliance.store.queues import Done
from appliance.store.taking import Checked, Taken
from appliance.store.twins import waiting_for

if TYPE_CHECKING:
    from appliance.store.ledger import Ledger


async def agree(ledger: Ledger, fresh: Sequence[Checked], taken: Taken, write: Write) -> None:
    """Add to ``write`` what comes of ``fresh``, of which ``taken`` is left. The accounts are up to it, the
    queues are not yet.
    """
    await _ack_again(ledger, fresh, write)
    if taken.void:
        waiting = await waiting_for(ledger, taken.void, write)
        ledger.release(((node, msgid) for msgid, nodes in waiting.items() for node in nodes), write)
        _drop(ledger, taken.doubled, waiting, write)
    await twins.agree(ledger, fresh, taken.twins, write)
    for lost in taken.lost:
        decision = tell_lost(ledger.scene, lost)
        write.traffic += decision.traffic
        write.messages += decision.messages
    seqs = {box: head.seq for box, head in ledger.heads.items()}
    seqs |= {entry.box: entry.seq for _, entry in write.entries}
    for box in {*taken.revoked, *(entry.box for _, entry in write.entries)} - {ledger.key.box}:
        known = ledger.site.boxes.get(box)
        if known is not None and known.cut is not None:
            for fact in revoke_box(ledger.scene, box, seqs.get(box, 0)).lasting:
                write.lasting.append(fact)
                write.changes += ledger.site.apply(fact)


async def _ack_again(ledger: Ledger, fresh: Sequence[Checked], write: Write) -> None:
    old = ledger.clock - CARRY_AFTER_NS
    acked: set[tuple[int, int]] = set()
    carried: set[tuple[int, int]] = set()
    for one in fresh:
        for fact in one.facts:
            if isinstance(fact, Acked):
                acked.update((fact.node, msgid) for msgid in fact.msgids if msgid < old)
            elif isinstance(fact, Carried):
                carried.update((node, fact.msgid) for node in fact.nodes if node in ledger.site.nodes)
    if not acked and not carried:
        return
    queues = ledger.queues
    waiting = await ledger.read(reading.in_queues, acked | carried)
    for node, msgid in acked | carried:
        absent = queues.absent.get(msgid)
        if queues.is_recent(node, msgid) or (absent is not None and node in absent.nodes):
            waiting.add((node, msgid))
    again = sorted((acked & waiting) | (carried - waiting))
    write.traffic += [Acked(node, (msgid,)) for node, msgid in again]


def _drop(
    ledger: Ledger, doubled: Sequence[tuple[Done, Done]], waiting: Mapping[int, set[int]], write: Write
) -> None:
    """Nodes that were made twice, of which nobody knows the password. Other boxes had heard of them together
    with what makes them void, or are not known to have told anybody.
    """
    site, own = ledger.site, ledger.scene.mint.box
    for less, more in doubled:
        node = site.nodes.get(less.made)
        if node is None or node.number % BOXES != own:
            continue
        others = set(site.members[node.member].nodes) - {less.made, more.made}
        if all(others <= waiting[msgid] for msgid in less.ids if msgid):
            dropped = NodeDropped(node.number)
            write.lasting.append(dropped)
            write.changes += site.apply(dropped)
            write.dropped_nodes.append(node.number)
    write.queued = [row for row in write.queued if row[0] in site.nodes]
    write.quietly_queued = [row for row in write.quietly_queued if row[0] in site.nodes]
