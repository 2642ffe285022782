"""What one commit says, in entries of a size that other boxes can take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.site import LASTING, TRAFFIC
from appliance.site.facts import Acked, LastingFact, Requested, Sent, TrafficFact
from appliance.store.database import Write

ENTRY_OCTETS = 1 << 20
"""About what the facts of one entry, and the octets of their messages, take at most."""


def portions(write: Write) -> Iterator[tuple[int, Sequence[LastingFact | TrafficFact]]]:
    """What goes into one entry each: other boxes get an entry as a whole."""
    if write.lasting:
        yield LASTING, write.lasting
    if _most_octets(write) <= ENTRY_OCTETS:
        if write.traffic:
            yield TRAFFIC, write.traffic
        return
    sizes = {m.msgid: len(m.head) + len(m.data or b"") for m in write.messages}
    portion: list[TrafficFact] = []
    octets = 0
    for fact in write.traffic:
        size = 60
        if isinstance(fact, Sent):
            size += sizes.get(fact.msgid, 0) + 5 * len(fact.nodes)
        elif isinstance(fact, Acked):
            size += 9 * len(fact.msgids)
        if octets + size > ENTRY_OCTETS and portion:
            yield TRAFFIC, portion
            portion, octets = [], 0
        portion.append(fact)
        octets += size
    if portion:
        yield TRAFFIC, portion


def _most_octets(write: Write) -> int:
    """What the traffic of a commit takes at most, with the octets of its messages; quicker than exactly."""
    octets = 60 * len(write.traffic)
    for message in write.messages:
        octets += len(message.head) + len(message.data or b"") + 5 * len(message.nodes)
    for fact in write.traffic:
        kind = type(fact)
        if kind is Acked:
            octets += 9 * len(fact.msgids)  # type: ignore[union-attr]
        elif kind is not Sent and kind is not Requested:
            octets += 5 * len(getattr(fact, "nodes", ()))
    return octets
