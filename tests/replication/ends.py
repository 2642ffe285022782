"""Two ends of a link with no network between them: whoever tests says what moves, and how far."""

from __future__ import annotations

import contextlib
from collections import deque

from appliance.replication.engine import LinkState, PeerLink
from appliance.replication.errors import PeerError
from appliance.replication.events import (
    Barred,
    Beat,
    Challenged,
    Chunk,
    Entries,
    GapMet,
    Greeted,
    Have,
    Lacking,
    Messages,
    PeerState,
    Proven,
    Reached,
    Told,
    Want,
    Wants,
    Welcomed,
)
from appliance.replication.intake import Intake
from appliance.replication.interface import Arrival, Gap, Position
from appliance.replication.outgoing import Outgoing
from tests.replication.fakes import FakeReplica, Signer


class End:
    """One box's end: a replica, and what a driver does for it, one step at a time."""

    def __init__(self, replica: FakeReplica, link: PeerLink, boxes: dict[str, bytes]) -> None:
        self.replica, self.link, self.boxes = replica, link, boxes
        self.outgoing = Outgoing(link)
        self.intake = Intake()
        self.events: list[object] = []
        self.wire: deque[bytes] = deque()
        self.head: dict[str, Position] | None = None
        self.after: dict[str, int] = {}
        self.snapshot: list[Arrival] | None = None
        self.epoch = 0
        self.blobs: dict[bytes, bytes] = {}
        self.reached = False
        replica.on_entries.append(self.outgoing.stream.push)

    @classmethod
    def pair(cls, a: FakeReplica, b: FakeReplica, seeds: tuple[int, int], boxes: dict[str, bytes]):
        dialer = cls(a, PeerLink.dialer(Signer(seeds[0]), b.own, boxes[b.own]), boxes)
        acceptor = cls(b, PeerLink.acceptor(Signer(seeds[1])), boxes)
        dialer.wire.append(dialer.link.hello())
        return dialer, acceptor

    def close(self) -> None:
        self.replica.on_entries.remove(self.outgoing.stream.push)

    # steps

    def receive(self, octets: bytes) -> None:
        self.link.receive_data(octets)
        while (event := self.link.next_event()) is not None:
            self.events.append(event)
            self.handle(event)

    def handle(self, event: object) -> None:
        link, out, stream = self.link, self.outgoing, self.outgoing.stream
        match event:
            case Greeted():
                self.wire.append(link.challenge(self.boxes[event.box]))
            case Challenged():
                self.wire.append(link.prove())
            case Proven():
                self.wire.append(link.welcome())
                self.say_state()
            case Welcomed():
                self.say_state()
            case PeerState():
                stream.begin({box: at.seq for box, at in event.positions.items()}, event.epoch)
                self.replica.saw_clock(event.clock)
            case Entries() | Reached():
                self.intake.put(event)
            case Messages():
                if event.part:
                    self.intake.put(event)
                else:
                    self.replica.give_now(event.messages)
            case Have():
                stream.have(event.positions)
            case Barred():
                stream.bar(event.box)
            case Wants():
                out.asked_octets(event.msgids)
            case Want():
                out.asked_range(event)
            case Beat():
                self.replica.saw_clock(event.clock)
            case Chunk() | Lacking() | Told() | GapMet():
                pass
            case _:
                raise AssertionError(event)

    def say_state(self) -> None:
        self.intake.begin_anew(self.epoch)
        self.wire.append(
            self.link.say_state(self.replica.positions(), self.replica.clock, True, "test", self.epoch)
        )

    def begin_anew(self) -> None:
        self.epoch += 1
        self.say_state()

    def begin_read(self, early: bool = False, max_octets: int = 1 << 20) -> bool:
        """``early``: what the database gives is as of now; else as of the end of the read."""
        if self.head is not None or not self.outgoing.stream.wants_read:
            return False
        self.head = dict(self.replica.positions())
        self.after = self.outgoing.stream.begin_read(self.head)
        self.snapshot = None
        if early:
            with contextlib.suppress(Gap):
                self.snapshot = self.replica.read_now(self.after, max_octets)
        return True

    def end_read(self, max_octets: int) -> bool:
        if self.head is None:
            return False
        self.head = None
        try:
            if self.snapshot is None:
                self.snapshot = self.replica.read_now(self.after, max_octets)
            self.outgoing.stream.end_read(self.snapshot)
        except Gap as gap:
            self.outgoing.stream.gap()
            self.outgoing.say(self.link.say_gap(gap.box))
        return True

    def send(self) -> bool:
        if self.link.state is not LinkState.OPEN:
            return False
        if (want := self.outgoing.wanted_range) is not None:
            blob = self.blobs.get(want.sha)
            self.outgoing.give_range(blob and blob[want.offset : want.offset + want.octets])
        if (ids := self.outgoing.wanted_octets) is not None:
            self.outgoing.give_octets([self.replica.messages[i] for i in ids if i in self.replica.messages])
        frame = self.outgoing.next()
        if frame is None:
            return False
        self.wire.append(frame)
        return True

    def absorb(self) -> bool:
        work = self.intake.take()
        if work is None:
            return False
        self.outgoing.stream.came(work.arrivals)
        if work.arrivals:
            self.replica.absorb_now(work.arrivals)
        if work.confirm:
            self.outgoing.say_have({box: self.replica.heads[box].seq for box in work.confirm})
        if work.reached is not None:
            self.reached = True
        return True


def move(source: End, target: End, octets: int | None = None) -> bool:
    """Some of what was sent arrives."""
    waiting = b"".join(source.wire)
    source.wire.clear()
    if not waiting:
        return False
    size = len(waiting) if octets is None else octets
    if waiting[size:]:
        source.wire.append(waiting[size:])
    target.receive(waiting[:size])
    return True


def settle(a: End, b: End, max_octets: int = 1 << 20) -> None:
    """Until nothing moves any more."""
    while any(
        [
            move(a, b),
            move(b, a),
            *(
                step
                for end in (a, b)
                for step in (end.begin_read(), end.end_read(max_octets), end.absorb(), end.send())
            ),
        ]
    ):
        pass


def two():
    """Two replicas, and the boxes that both know."""
    boxes: dict[str, bytes] = {}
    a, b = FakeReplica(1, boxes), FakeReplica(2, boxes)
    return a, b, boxes


def linked(a, b, boxes):
    """Two ends in sync."""
    x, y = End.pair(a, b, (1, 2), boxes)
    settle(x, y)
    return x, y


__all__ = ["End", "PeerError", "linked", "move", "settle", "two"]
