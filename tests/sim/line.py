"""A link between two boxes: the real engine at both ends, no network. What moves, and how far, is said by the
schedule. What drives the ends here is what `replication.link` and `replication.hub` do on a real box.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from trio.testing import wait_all_tasks_blocked

from appliance.replication import events, judging
from appliance.replication.engine import LinkState, PeerLink
from appliance.replication.errors import Code, PeerError, Refusal, Refused
from appliance.replication.intake import Intake
from appliance.replication.outgoing import Outgoing
from appliance.replication.stream import Mode
from appliance.site.facts import Sent, decode_facts
from appliance.store import BadEntries, Gap
from appliance.store.journal import KEY_NAME

if TYPE_CHECKING:
    from tests.sim.box import Box

READ_OCTETS = 4096
TURNS_MAX = 100_000


class Prover:
    def __init__(self, box: Box) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private = Ed25519PrivateKey.from_private_bytes((box.folder / KEY_NAME).read_bytes())
        self.box, self.public = box.id, box.key.public

    def sign(self, octets: bytes) -> bytes:
        return self._private.sign(octets)


class Side:
    """One end. ``error``: why it ended the link."""

    def __init__(self, box: Box, other: Box, link: PeerLink) -> None:
        self.box, self.other, self.link = box, other, link
        self.store = box.store
        self.replica = box.store.replica
        self.outgoing = Outgoing(link)
        self.stream = self.outgoing.stream
        self.intake = Intake()
        self.replica.on_entries.append(self.stream.push)
        self.wire: deque[bytes] = deque()
        self.before = dict(self.replica.positions())
        self.open = False
        self.epoch = 0
        self.their_epoch = 0

    @property
    def closed(self) -> bool:
        return self.link.state is LinkState.CLOSED

    # what comes

    async def receive(self, octets: bytes) -> None:
        """Raises ``PeerError``."""
        self.link.receive_data(octets)
        while (event := self.link.next_event()) is not None:
            await self._handle(event)

    async def _handle(self, event: events.Event) -> None:
        match event:
            case events.Greeted():
                known = self.store.site.boxes.get(event.box)
                if known is None:
                    raise Refusal(Code.UNKNOWN, "not of this site")
                self.wire.append(self.link.challenge(known.public))
            case events.Challenged():
                self.wire.append(self.link.prove())
            case events.Proven():
                self._join()
                self.wire.append(self.link.welcome())
                self._say_state()
            case events.Welcomed():
                self._join()
                self._say_state()
            case events.PeerState():
                await self._take_state(event)
            case events.Entries():
                if any(arrival.box == self.box.id for arrival in event.arrivals):
                    public = self.box.key.public
                    await judging.look_at_own(self.replica, public, self.other.id, event.arrivals)
                self.intake.put(event)
            case events.Reached():
                self.intake.put(event)
            case events.Messages() if event.part:
                self.intake.put(event)
            case events.Messages():
                await self.replica.give_octets(event.messages)
            case events.Have():
                self._have(event)
            case events.Barred():
                self.stream.bar(event.box)
            case events.Wants():
                self.outgoing.asked_octets(event.msgids)
            case events.GapMet():
                self.box.wants_copy = True
            case events.Beat():
                self.replica.saw_clock(event.clock)

    def _join(self) -> None:
        known = self.store.site.boxes.get(self.other.id)
        if known is None or known.cut is not None:
            raise Refusal(Code.REVOKED, "put out")

    def _say_state(self) -> None:
        self.intake.begin_anew(self.epoch)
        self.wire.append(
            self.link.say_state(self.replica.positions(), self.replica.clock, True, "sim", self.epoch)
        )

    async def _take_state(self, state: events.PeerState) -> None:
        for box in await judging.judge(self.replica, self.other.id, state.positions, self.before):
            self._bar(box)
        self.before = {}
        self.replica.saw_clock(state.clock)
        positions = {box: at.seq for box, at in state.positions.items()}
        self.stream.begin(positions, state.epoch)
        self.their_epoch = state.epoch
        self.box.heard(self.other, positions)
        if not self.open:
            self.open = True
            self.store.copies.confirmed(self.other.id, positions.get(self.box.id, 0))
            self.store.copies.reach(self.other.id, True)

    def _have(self, have: events.Have) -> None:
        self.stream.have(have.positions)
        own = have.positions.get(self.box.id, 0)
        if own > self.box.seq(self.box.id):
            raise judging.Restored(self.other.id)
        self.box.heard(self.other, have.positions)
        if own:
            self.store.copies.confirmed(self.other.id, own)
        for sha in have.blobs:
            self.store.copies.blob_confirmed(self.other.id, sha)

    def _bar(self, box: str) -> None:
        if box not in self.stream.barred:
            self.stream.bar(box)
            self.outgoing.say(self.link.say_bar(box))

    # what there is to do

    async def absorb(self) -> bool:
        """Take in what came. Raises ``PeerError``, ``BadEntries``."""
        work = self.intake.take()
        if work is None:
            return False
        self._join()
        arrivals, forked = await judging.sift(self.replica, self.other.id, self.stream.barred, work.arrivals)
        for box in forked:
            self._bar(box)
        if arrivals:
            self.stream.came(arrivals)
            await self.replica.absorb(arrivals, self.other.id)
        self._fetch_files()
        for sha in self._fetched:
            await self.replica.blob_here(sha)
        if work.confirm and self.open and not self.closed:
            positions = self.replica.positions()
            named = [
                fact.blob
                for arrival in arrivals
                for fact in decode_facts(arrival.body)
                if isinstance(fact, Sent) and fact.blob is not None and self.store.blobs.has(fact.blob)
            ]
            have = {box: positions[box].seq for box in work.confirm if box in positions}
            self.outgoing.say_have(have, named)
        return True

    def _fetch_files(self) -> None:
        """Large attachments come as whole files, from the other box of this link."""
        self._fetched = []
        for sha in self.replica.absent_blobs():
            source, target = self.other.store.blobs.path(sha), self.store.blobs.path(sha)
            if source.exists() and not target.exists():
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(source.read_bytes())
                self._fetched.append(sha)

    async def read(self) -> bool:
        """Read on in the database, for the other side."""
        if not self.stream.wants_read:
            return False
        after = self.stream.begin_read(self.replica.positions())
        try:
            self.stream.end_read(await self.replica.read(after, READ_OCTETS))
        except Gap as gap:
            self.stream.gap()
            if self.stream.mode is Mode.GAP and not self.closed:
                self.outgoing.say(self.link.say_gap(gap.box))
        return True

    async def send(self) -> bool:
        if self.link.state is not LinkState.OPEN:
            return False
        if (ids := self.outgoing.wanted_octets) is not None:
            self.outgoing.give_octets(await self.replica.octets(ids))
        frame = self.outgoing.next()
        if frame is None:
            return False
        self.wire.append(frame)
        return True

    def ask(self) -> bool:
        """Ask for octets that are not here."""
        lacking = self.replica.absent_messages()
        if self.link.state is not LinkState.OPEN or not lacking:
            return False
        self.outgoing.say(self.link.say_wants(lacking[:100]))
        return True


class Line:
    """``a`` calls ``b``. ``forked``: somebody saw two histories."""

    def __init__(self, a: Box, b: Box) -> None:
        self.boxes = a, b
        self.a = Side(a, b, PeerLink.dialer(Prover(a), b.id, b.key.public))
        self.b = Side(b, a, PeerLink.acceptor(Prover(b)))
        self.a.wire.append(self.a.link.hello())
        self.over = False
        self.refusal: PeerError | None = None
        self.restored: Box | None = None
        self.bad: BadEntries | None = None
        a.lines.add(self)
        b.lines.add(self)

    def side(self, box: Box) -> Side:
        return self.a if self.a.box is box else self.b

    def other(self, box: Box) -> Box:
        return self.boxes[1] if self.boxes[0] is box else self.boxes[0]

    def cut(self) -> None:
        """What is under way is lost."""
        if self.over:
            return
        self.over = True
        for side in (self.a, self.b):
            side.box.lines.discard(self)
            side.replica.on_entries.remove(side.stream.push)
            if side.open and not side.box.gone:
                side.store.copies.reach(side.other.id, False)

    async def step(self, draw: random.Random) -> bool:
        """One thing happens, if there is any that can."""
        sides = [self.a, self.b]
        draw.shuffle(sides)
        for side in sides:
            peer = self.b if side is self.a else self.a
            steps = [side.absorb, side.read, side.send]
            draw.shuffle(steps)
            try:
                if side.wire:
                    octets = side.wire.popleft()
                    if draw.random() < 0.1 and len(octets) > 1:
                        at = draw.randrange(1, len(octets))
                        octets, rest = octets[:at], octets[at:]
                        side.wire.appendleft(rest)
                    await self._guarded(peer, peer.receive(octets))
                    return True
                for step in steps:
                    if await self._guarded(side, step()):
                        return True
            finally:
                if self.a.closed or self.b.closed:
                    self.cut()
            if self.over:
                return False
        return False

    async def _guarded(self, side: Side, what: Awaitable[bool | None]) -> bool:
        """Do it; what goes wrong ends the link."""
        try:
            return bool(await what)
        except Refused:
            pass
        except PeerError as error:
            self.refusal = self.refusal or error
            if isinstance(error, judging.Restored):
                self.restored = side.box
            elif isinstance(error, Refusal) and error.evidence is not None:
                shown = side.link.say_entries([error.evidence], True, side.their_epoch)
                peer = self.b if side is self.a else self.a
                farewell = b"".join(side.wire) + shown
                side.wire.clear()
                await self._guarded(peer, peer.receive(farewell))
        except BadEntries as error:
            self.bad = error
        self.cut()
        return False

    async def run(self, draw: random.Random, turns: int = TURNS_MAX) -> bool:
        """Let so many things happen; whether that was all there were."""
        for _ in range(turns):
            if self.over:
                return True
            if not await self.step(draw):
                await wait_all_tasks_blocked()
                if self.over or not await self.step(draw):
                    return True
        return False
