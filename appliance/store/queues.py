"""What the traffic entries since the last spill say: who has yet to get what, and which requests were
carried out.

The newest part of the queues is not in the table ``queue`` but here, because most messages are acknowledged
within moments: their facts are in the journal already, and rows that come and go would only wear the card.
From time to time what is left here goes to the tables in one commit (the *spill*). At start, the entries
after the last spill are applied again.

A message is *absent* while its octets, or its file, have yet to come from another box: its queues do not
count it, and nobody is given it.

The numbers per node and per member are for all that is pending, here and in the tables. Bound: a spill is
due after ``Queues.weight`` changes (see store.py), each of at most some 300 octets of memory per node it
concerns.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from appliance.site.facts import Acked, Inherited, NodeDropped, Requested, Sent

LET_IT_FETCH = ": let it fetch them, or drop it if it is lost"


@dataclass(slots=True)
class Pending:
    """A node's queue: the recent part by rank, and the count and octets of the whole."""

    recent: tuple[dict[int, None], dict[int, None]] = field(default_factory=lambda: ({}, {}))
    count: int = 0
    octets: int = 0

    @property
    def on_disk(self) -> int:
        """Messages of this queue that are in the table."""
        return self.count - len(self.recent[0]) - len(self.recent[1])

    def ids(self, exclude: Container[int]) -> Iterator[tuple[int, int]]:
        """The recent part in order as (rank, msgid), less ``exclude``."""
        for rank in (0, 1):
            for msgid in self.recent[rank]:
                if msgid not in exclude:
                    yield rank, msgid


@dataclass(frozen=True, slots=True)
class Excluded:
    """Ids that are in any of these."""

    some: Container[int]
    held: Container[int]
    absent: Container[int]
    early: Container[int]

    def __contains__(self, msgid: object) -> bool:
        return msgid in self.some or msgid in self.held or msgid in self.absent or msgid in self.early


@dataclass(slots=True)
class Recent:
    """A message since the last spill; ``waiting`` counts the nodes that have yet to acknowledge it."""

    rank: int
    sender: int
    size: int
    blob: bytes | None
    waiting: int


@dataclass(slots=True)
class Absent:
    """``head``: whether only the file is missing. ``stored``: it is in the tables, not in the recent part."""

    rank: int
    size: int
    blob: bytes | None
    digest: bytes
    head: bool
    nodes: set[int]
    stored: bool = False


class AbsentSent(msgspec.Struct, frozen=True):
    """A ``Sent`` fact of another box, of a message that is absent; ``head`` as in ``Absent``."""

    fact: Sent
    head: bool


Effect = Sent | AbsentSent | Acked | Inherited | Requested | NodeDropped
"""What changes the queues in memory."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a request came to: its ack's ``msgid`` (0: none) and ``posted``, the link it came on (0: a link
    before the restart, or to another box), the ids of ``others`` that went out with it, and the node that it
    ``made``.
    """

    msgid: int
    posted_ms: int
    link: int
    others: tuple[int, ...] = ()
    made: int = 0

    @property
    def ids(self) -> tuple[int, ...]:
        """Of all its messages. Of two boxes that carried it out the higher ones count."""
        return self.msgid, *self.others


class Queues:
    def __init__(self, max_messages: int, max_octets: int) -> None:
        self.max_messages = max_messages
        self.max_octets = max_octets
        self.nodes: dict[int, Pending] = {}
        self.messages: dict[int, Recent] = {}
        self.requests: dict[tuple[int, bytes], Done] = {}
        self.absent: dict[int, Absent] = {}
        self.stored: dict[int, int] = {}
        self.added: dict[int, int] = {}
        self.weight = 0
        self._dropped: set[int] = set()

    # what decisions ask

    def queue_problem(self, node: int, size: int) -> str | None:
        pending = self.nodes.get(node)
        if pending is None:
            return None
        if pending.count >= self.max_messages:
            return f"has {pending.count} messages waiting, the most it may have{LET_IT_FETCH}"
        if pending.octets + size > self.max_octets:
            return f"has {pending.octets} octets waiting, the most are {self.max_octets}{LET_IT_FETCH}"
        return None

    def stored_octets(self, member: int) -> int:
        return self.stored.get(member, 0)

    def pending_octets(self, node: int) -> int:
        pending = self.nodes.get(node)
        return pending.octets if pending is not None else 0

    # applying facts, after they are on stable storage

    def sent(self, fact: Sent) -> None:
        if fact.msgid in self.messages or fact.msgid in self.absent:
            self._extended(fact)
            return
        nodes = self.nodes
        waiting = 0
        for number in fact.nodes:
            if number in self._dropped:
                continue
            pending = nodes.get(number)
            if pending is None:
                pending = nodes[number] = Pending()
            recent = pending.recent[fact.rank]
            if fact.msgid not in recent:
                recent[fact.msgid] = None
                pending.count += 1
                pending.octets += fact.size
                waiting += 1
        self._count(fact, waiting)

    def _count(self, fact: Sent, waiting: int) -> None:
        self.messages[fact.msgid] = Recent(fact.rank, fact.sender, fact.size, fact.blob, waiting)
        self.stored[fact.sender] = self.stored.get(fact.sender, 0) + fact.size
        self.added[fact.sender] = self.added.get(fact.sender, 0) + fact.size
        self.weight += 1 + waiting

    def _extended(self, fact: Sent) -> None:
        """More nodes for a message of the recent part, or an absent one."""
        message, absent = self.messages.get(fact.msgid), self.absent.get(fact.msgid)
        for number in fact.nodes:
            if number in self._dropped:
                continue
            if absent is not None:
                new = number not in absent.nodes
                absent.nodes.add(number)
            else:
                new = not self.is_recent(number, fact.msgid)
                if new:
                    self._add(number, fact.msgid, fact.rank, fact.size)
            if message is not None:
                message.waiting += new
            self.weight += new

    def _add(self, node: int, msgid: int, rank: int, size: int) -> None:
        pending = self.nodes.setdefault(node, Pending())
        pending.recent[rank][msgid] = None
        pending.count += 1
        pending.octets += size

    def absent_sent(self, fact: Sent, head: bool) -> None:
        """A message whose octets, or whose file (``head``), are not here."""
        if fact.msgid in self.messages:
            self._extended(fact)
            return
        nodes = {number for number in fact.nodes if number not in self._dropped}
        self._count(fact, len(nodes))
        self.absent[fact.msgid] = Absent(fact.rank, fact.size, fact.blob, fact.digest, head, nodes)

    def absent_loaded(self, msgid: int, absent: Absent) -> None:
        """A message of the tables is absent: its queues do not count it."""
        absent.stored = True
        self.absent[msgid] = absent
        for node in absent.nodes:
            self.loaded(node, -1, -absent.size)

    def lost(self, msgid: int, absent: Absent) -> None:
        """A message of the recent part is absent from now on."""
        for node, pending in self.nodes.items():
            if msgid in pending.recent[absent.rank]:
                del pending.recent[absent.rank][msgid]
                pending.count -= 1
                pending.octets -= absent.size
                absent.nodes.add(node)
        self.absent[msgid] = absent

    def present(self, msgid: int) -> Absent:
        """It is not absent any more; returns what it was."""
        absent = self.absent.pop(msgid)
        for node in absent.nodes:
            if absent.stored:
                self.loaded(node, 1, absent.size)
            else:
                self._add(node, msgid, absent.rank, absent.size)
        return absent

    def acked(self, fact: Acked) -> None:
        """Messages of the recent part only; those in the table were removed by the commit."""
        if self.absent:
            self._absent_acked(fact)
        pending = self.nodes.get(fact.node)
        if pending is None:
            return
        for msgid in fact.msgids:
            message = self.messages.get(msgid)
            if message is not None and msgid in pending.recent[message.rank]:
                del pending.recent[message.rank][msgid]
                pending.count -= 1
                pending.octets -= message.size
                message.waiting -= 1

    def _absent_acked(self, fact: Acked) -> None:
        for msgid in fact.msgids:
            absent = self.absent.get(msgid)
            if absent is not None and fact.node in absent.nodes:
                absent.nodes.discard(fact.node)
                if not absent.stored:
                    self.messages[msgid].waiting -= 1
                elif not absent.nodes:
                    del self.absent[msgid]

    def is_recent(self, node: int, msgid: int) -> bool:
        pending = self.nodes.get(node)
        return pending is not None and (msgid in pending.recent[1] or msgid in pending.recent[0])

    def waits(self, node: int, msgid: int) -> bool:
        """Whether a message that is in one of the queues is in this one, as far as is known without
        reading."""
        if msgid in self.messages:
            return self.is_recent(node, msgid)
        return node in self.nodes

    def inherited(self, fact: Inherited) -> None:
        """The recent part only; the commit copied the rows, and ``loaded`` tells how many."""
        source = self.nodes.get(fact.source)
        if source is None:
            return
        pending = self.nodes.setdefault(fact.node, Pending())
        for rank, recent in enumerate(source.recent):
            for msgid in recent:
                message = self.messages[msgid]
                if msgid not in pending.recent[rank]:
                    pending.recent[rank][msgid] = None
                    pending.count += 1
                    pending.octets += message.size
                    message.waiting += 1
                    self.weight += 1

    def requested(self, fact: Requested, link: int = 0) -> None:
        done = Done(fact.msgid, fact.posted_ms, link, fact.others, fact.made)
        known = self.requests.get((fact.node, fact.key))
        if known is None or known.ids <= done.ids:
            self.requests[fact.node, fact.key] = done
        self.weight += 1

    def node_dropped(self, node: int) -> None:
        """Numbers are never used again, so facts that name the node later (of the same commit) are void."""
        self._dropped.add(node)
        self._absent_dropped(node)
        pending = self.nodes.pop(node, None)
        if pending is not None:
            for recent in pending.recent:
                for msgid in recent:
                    self.messages[msgid].waiting -= 1
                    self.weight += 1

    def _absent_dropped(self, node: int) -> None:
        for msgid, absent in list(self.absent.items()):
            if node in absent.nodes:
                self._absent_acked(Acked(node, (msgid,)))

    def apply(self, effect: Effect) -> None:
        """Something that is on stable storage now, or was found there at start."""
        match effect:
            case Sent():
                self.sent(effect)
            case AbsentSent():
                self.absent_sent(effect.fact, effect.head)
            case Acked():
                self.acked(effect)
            case Inherited():
                self.inherited(effect)
            case Requested():
                self.requested(effect)
            case NodeDropped():
                self.node_dropped(effect.node)

    def loaded(self, node: int, count: int, octets: int) -> None:
        """Rows of the table ``queue`` were found (or, with negative numbers, removed)."""
        pending = self.nodes.setdefault(node, Pending())
        pending.count += count
        pending.octets += octets

    # the spill

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        """What the table ``queue`` lacks, in its order: node, rank, msgid, size."""
        for number in sorted(self.nodes):
            for rank, recent in enumerate(self.nodes[number].recent):
                for msgid in sorted(recent):
                    yield number, rank, msgid, self.messages[msgid].size
        for msgid, absent in self.absent.items():
            if not absent.stored:
                for number in absent.nodes:
                    yield number, absent.rank, msgid, absent.size

    def finished(self) -> list[tuple[int, int, int, bytes | None]]:
        """Recent messages that every node has: msgid, sender, size, blob."""
        return sorted(
            (msgid, m.sender, m.size, m.blob) for msgid, m in self.messages.items() if m.waiting <= 0
        )

    def waiting(self) -> list[int]:
        """Recent messages that some node has yet to acknowledge."""
        return sorted(msgid for msgid, message in self.messages.items() if message.waiting > 0)

    def spilled(self, removed: Iterable[tuple[int, int]]) -> None:
        """The spill is on stable storage. ``removed``: sender and size of the messages that went with it."""
        for pending in self.nodes.values():
            pending.recent[0].clear()
            pending.recent[1].clear()
        for number in [number for number, pending in self.nodes.items() if pending.count <= 0]:
            del self.nodes[number]
        self.messages.clear()
        self.requests.clear()
        self.absent = {msgid: absent for msgid, absent in self.absent.items() if absent.nodes}
        for absent in self.absent.values():
            absent.stored = True
        for sender, size in removed:
            self.stored[sender] = max(0, self.stored.get(sender, 0) - size)
        self.added.clear()
        self.weight = 0
