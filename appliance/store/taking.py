"""Taking in what other boxes say: checked first, all of it, then made part of a commit.

``Checked`` is what an arrival is worth by itself: signature, facts, octets. Whether it continues what is
here is looked at in the commit, where nothing changes meanwhile. What comes of it depends on what is here:
an entry may name nodes that have been dropped, messages that are absent or done with, requests that were
also carried out here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec

from appliance.site import LASTING, TRAFFIC, Message, NameLost, Site, content_digest, decode_facts, facts
from appliance.site.facts import Acked, Carried, Extended, LastingFact, Requested, Sent, TrafficFact
from appliance.store.arrivals import Arrival, BadEntries, Octets
from appliance.store.database import Write
from appliance.store.journal import Entry, is_signed
from appliance.store.queues import AbsentSent, Done, Queues

OCTETS_MAX = 1 << 17
"""Of one message: a frame head and data that are not a file."""


@dataclass(slots=True)
class Checked:
    """An arrival whose signature (by ``public``), facts and octets are right."""

    arrival: Arrival
    entry: Entry
    digest: bytes
    facts: list[LastingFact | TrafficFact]
    octets: dict[int, Octets]
    public: bytes


def check(arrival: Arrival, public: bytes) -> Checked:
    """Look at what can be seen from the arrival alone. Raises ``BadEntries``."""
    entry = arrival.entry
    where = f"entry {entry.seq} of box {entry.box}"
    digest = entry.digest()
    if not is_signed(entry.signature, digest, public):
        raise BadEntries(f"{where}: bad signature")
    try:
        found = decode_facts(entry.body) if entry.kind in (LASTING, TRAFFIC) else []
    except ValueError as error:
        raise BadEntries(f"{where}: {error}") from None
    sent = {fact.msgid: fact for fact in found if isinstance(fact, Sent)}
    for octets in arrival.octets:
        fact = sent.get(octets.msgid)
        if fact is None or not fits(octets, fact.size, fact.blob, fact.digest):
            raise BadEntries(f"{where}: the octets of a message are not those that were accepted")
    return Checked(arrival, entry, digest, found, {octets.msgid: octets for octets in arrival.octets}, public)


def fits(octets: Octets, size: int, blob: bytes | None, digest: bytes) -> bool:
    """Whether these are the octets of a message of that size and digest."""
    if blob is None:
        data = octets.data or b""
        if len(data) != size or len(octets.head) + len(data) > OCTETS_MAX:
            return False
        return content_digest(octets.head, hashlib.sha256(data).digest()) == digest
    return octets.data is None and content_digest(octets.head, blob) == digest


@dataclass(slots=True)
class Known:
    """What the tables say about what the arrivals name: messages that have a row, keys of requests, messages
    of other sites, requests to them.
    """

    messages: set[int] = field(default_factory=set)
    requests: dict[tuple[int, bytes], Done] = field(default_factory=dict)
    relayed: dict[tuple[int, int], int] = field(default_factory=dict)
    outgoing: dict[tuple[int, bytes], int] = field(default_factory=dict)


@dataclass(slots=True)
class Taken:
    """What comes of it besides: names that members of this box ``lost``, messages of requests that two boxes
    carried out, which are ``void``, those of them that made a node each, which are ``doubled`` (that which
    does not count first), messages of other sites that two boxes stored, the ``twins`` (that which does not
    count: the one which does), boxes that were ``revoked``, and ``messages`` to be delivered.
    """

    lost: list[NameLost] = field(default_factory=list)
    void: list[int] = field(default_factory=list)
    twins: dict[int, int] = field(default_factory=dict)
    doubled: list[tuple[Done, Done]] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class Taking:
    """Adds arrivals to ``write``. ``acked``: None, or this is a copy, where old entries may be missing, so
    that what was said again has to be heard. Who said it may not have known all acknowledgements that came
    before; these are all that this box has heard of (node, msgid), and they grow here.
    """

    def __init__(
        self,
        site: Site,
        queues: Queues,
        slot: int,
        has_file: Callable[[bytes], bool],
        acked: set[tuple[int, int]] | None,
    ) -> None:
        self._site = site
        self._queues = queues
        self._slot = slot
        self._has_file = has_file
        self._acked = acked

    def take(
        self, checked: Sequence[Checked], numbers: Mapping[str, int], known: Known, write: Write
    ) -> Taken:
        """``numbers`` of the boxes whose entries these are."""
        taken = Taken()
        self._write, self._known, self._taken = write, known, taken
        self._now: dict[int, Sent] = {}
        self._octets: dict[int, Octets] = {}
        self._twins: dict[int, tuple[int, int]] = {}
        for one in checked:
            write.entries.append((numbers[one.entry.box], one.entry))
            self._octets = one.octets
            for fact in one.facts:
                self._fact(fact)
        taken.twins = {void: known.relayed[of] for void, of in self._twins.items()}
        nodes = self._site.nodes  # some may be dropped by a later entry, and the rows are written last
        write.queued = [row for row in write.queued if row[0] in nodes]
        write.quietly_queued = [row for row in write.quietly_queued if row[0] in nodes]
        return taken

    def _fact(self, fact: LastingFact | TrafficFact) -> None:
        match fact:
            case Carried():
                if self._acked is not None:
                    self._more(fact)
            case Extended():
                self._more(fact)
            case Sent():
                self._sent(fact)
            case Acked():
                self._ack(fact)
            case Requested():
                self._requested(fact)
            case facts.Inherited():
                pass
            case facts.Relayed() | facts.Outgoing() | facts.Outcome():
                self._relay(fact)
            case _:
                self._lasting(fact)

    def _lasting(self, fact: LastingFact) -> None:
        for change in self._site.apply(fact):
            self._write.changes.append(change)
            if isinstance(change, NameLost) and change.at % 16 == self._slot:
                self._taken.lost.append(change)
            elif isinstance(change, facts.NodeDropped):
                self._write.effects.append(change)
                self._write.dropped_nodes.append(change.node)
        if isinstance(fact, facts.BoxRevoked):
            self._taken.revoked.append(fact.box)

    def _sent(self, fact: Sent) -> None:
        left = self._left(fact)
        if not left:
            return
        if left != fact.nodes:
            fact = msgspec.structs.replace(fact, nodes=left)
        octets = self._octets.get(fact.msgid)
        head, data = (octets.head, octets.data) if octets is not None else (b"", None)
        self._write.fresh.append(
            (fact.msgid, fact.rank, fact.sender, fact.size, fact.blob, head, data, fact.digest)
        )
        self._now[fact.msgid] = fact
        if head and (fact.blob is None or self._has_file(fact.blob)):
            self._write.effects.append(fact)
            self._taken.messages.append(
                Message(fact.msgid, fact.rank, head, fact.size, data, fact.blob, fact.sender, left)
            )
        else:
            self._write.effects.append(AbsentSent(fact, bool(head)))

    def _left(self, fact: Sent) -> tuple[int, ...]:
        """Nodes that are there, and have yet to get it."""
        left = (node for node in fact.nodes if node in self._site.nodes)
        acked = self._acked
        return tuple(left) if acked is None else tuple(n for n in left if (n, fact.msgid) not in acked)

    def _more(self, fact: Extended | Carried) -> None:
        """More nodes for a message that may be known."""
        if fact.msgid not in self._queues.messages and fact.msgid not in self._now:
            if fact.msgid not in self._known.messages:
                self._sent(fact)
                return
            absent = self._queues.absent.get(fact.msgid)
            rows = self._write.queued if absent is None else self._write.quietly_queued
            rows += [(node, fact.rank, fact.msgid, fact.size) for node in self._left(fact)]
            if absent is None:
                return
        if left := self._left(fact):
            self._write.effects.append(msgspec.structs.replace(fact, nodes=left))

    def _ack(self, fact: Acked) -> None:
        if self._acked is not None:
            self._acked.update((fact.node, msgid) for msgid in fact.msgids)
        if fact.node not in self._site.nodes:
            return
        self._write.effects.append(fact)
        for msgid in fact.msgids:
            if msgid in self._queues.messages or msgid in self._now:
                continue
            absent = self._queues.absent.get(msgid)
            acks = self._write.acks if absent is None else self._write.quiet_acks
            acks.append((fact.node, msgid))

    def _relay(self, fact: facts.RelayFact) -> None:
        """Of two messages that are the same one of a site, and of two that are the same request, nobody gets
        the second any more."""
        if not isinstance(fact, facts.Outcome):
            if fact.membership not in self._site.memberships:
                return
            known = self._known
            if isinstance(fact, facts.Relayed):
                of = fact.membership, fact.upid
                known.relayed[of], void = _lower(known.relayed.get(of, 0), fact.msgid)
                if void:
                    self._twins[void] = of
            else:
                asked = fact.node, fact.key
                known.outgoing[asked], void = _lower(known.outgoing.get(asked, 0), fact.msgid)
                if void:
                    self._taken.void.append(void)
        self._write.relay.append(fact)

    def _requested(self, fact: Requested) -> None:
        key = fact.node, fact.key
        known = self._queues.requests.get(key) or self._known.requests.get(key)
        told = Done(fact.msgid, fact.posted_ms, 0, fact.others, fact.made)
        if known is not None and known.ids != told.ids:
            less, more = sorted((known, told), key=attrgetter("ids"))
            self._taken.void += [msgid for msgid in less.ids if msgid]
            if less.made and more.made:
                self._taken.doubled.append((less, more))
            if more is known:
                fact = Requested(*key, known.msgid, known.posted_ms, known.others, known.made)
        self._write.effects.append(fact)


def _lower(there: int, msgid: int) -> tuple[int, int]:
    """Of two ids that are the same thing the one that counts, and the other; 0 is none."""
    if not there or not msgid or there == msgid:
        return there or msgid, 0
    return min(there, msgid), max(there, msgid)
