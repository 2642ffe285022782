"""A household of boxes and the people in it, and what can happen to them."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from appliance import wire
from appliance.replication import events, showing
from appliance.replication.judging import Restored
from appliance.site import (
    Decision,
    Payload,
    Scene,
    add_box,
    decide,
    drop_node,
    login,
    register,
    revoke_box,
    set_owner,
)
from appliance.store import Job, Store
from appliance.store.journal import write_synced
from tests.sim.box import Box
from tests.sim.lab import DAY_S, Lab
from tests.sim.line import Line
from tests.sim.record import Answer, Ask, Record
from tests.store import kit

COPY_OCTETS = 8192


@dataclass(frozen=True)
class Fresh:
    uid: str
    password: str
    secret: bytes

    @classmethod
    def make(cls, number: int) -> Fresh:
        return cls(f"uid-{number}-q", f"password-{number}", hashlib.sha256(b"%d" % number).digest())


@dataclass
class Seat:
    """A device, as its owner knows it. ``link`` is its login at ``store``, if it has one. ``got``: the
    messages that it was given, and ``acked`` those of them that it acknowledged, each with the box."""

    node: int
    member: int
    uid: str
    store: Store | None = None
    link: int = 0
    lookup: bool = False
    got: dict[int, Box] = field(default_factory=dict)
    acked: dict[int, Box] = field(default_factory=dict)


class House:
    def __init__(self, lab: Lab, seed: int, nursery: trio.Nursery) -> None:
        self.lab = lab
        self.seed = seed
        self.draw = random.Random(seed)
        self.record = Record()
        self.boxes: list[Box] = []
        self.seats: dict[int, Seat] = {}
        self.given: dict[int, set[int]] = {}
        """What devices of memberships have acknowledged, at any box."""
        self.aliases: list[tuple[str, int]] = []
        """Names that were claimed, and by whom."""
        self.groups: list[str] = []
        self.revoked: set[str] = set()
        self.cards: dict[str, tuple[Path, int]] = {}
        """Copies of boxes' cards, and how far their own journals went then."""
        self.restored: set[str] = set()
        self.copied: set[str] = set()
        self.trace: list[str] = []
        self.wrong: list[str] = []
        """Answers that should not have been given."""
        self.counts: Counter[str] = Counter()
        self.forks_seen: set[str] = set()
        self._nursery = nursery
        self._serial = 0

    def number(self) -> int:
        self._serial += 1
        return self._serial

    def say(self, text: str) -> None:
        self.trace.append(text)

    # who there is

    @property
    def living(self) -> list[Box]:
        return [box for box in self.boxes if box.on]

    @property
    def good(self) -> list[Box]:
        """Those that nobody has put out."""
        return [box for box in self.living if box.id not in self.revoked]

    def forget_unheard(self) -> None:
        """A box that was put out is in after all, if nobody who is in lives and has heard of it."""
        out = {box.box for at in self.living for box in at.store.site.boxes.values() if box.cut is not None}
        for _ in self.boxes:
            good = [box for box in self.living if box.id not in out]
            out = {box.box for at in good for box in at.store.site.boxes.values() if box.cut is not None}
        self.revoked &= out

    def box_of(self, id: str) -> Box:
        return next(box for box in self.boxes if box.id == id)

    def new_box(self) -> Box:
        box = Box(self.lab, f"b{len(self.boxes)}", f"s{self.seed}", self.record.told)
        box.skew_ns = self.skew()
        self.boxes.append(box)
        return box

    def skew(self) -> int:
        kind = self.draw.random()
        most = 0.0 if kind < 0.4 else 60.0 if kind < 0.7 else 30 * DAY_S
        return int(self.draw.uniform(-most, most) * 1e9)

    async def found(self) -> None:
        """The first box is set up."""
        box = self.new_box()
        await box.open(self._nursery)
        await self.own(box, lambda scene: add_box(scene, box.id, box.key.public, box.name, scene.mint.box))

    # requests

    async def own(self, box: Box, decide: Callable[[Scene], Decision]) -> Answer | None:
        """Something that is decided at the box itself; None if there was no answer yet."""
        answers: list[Answer] = []
        await box.store.submit(Job(decide, partial(self._answered, box, None, answers)))
        await wait_all_tasks_blocked()
        return answers[0] if answers else None

    async def send(self, ask: Ask, box: Box, *, settle: bool = True) -> None:
        """A device sends a request to a box, for the first time or again."""
        seat = self.seats[ask.node]
        store = box.store
        if ask.node not in store.site.nodes:
            return
        if seat.store is not store or ask.tries:
            seat.store, seat.link, seat.lookup = store, store.link_id(), store.has_keys(ask.node)
        ask.tries += 1
        payloads = [await self._payload(box, data) for data in ask.data]
        first = self.first_answers(ask, box)

        def judge(scene: Scene) -> Decision:
            if ask.node not in scene.site.nodes:
                return Decision(error="this device was dropped")
            return decide(scene, scene.site.nodes[ask.node], ask.request, payloads, ask.fresh)

        def done(decision: Decision) -> None:
            for payload in payloads:
                if payload.data is None:
                    store.blobs.unpin(payload.digest)
            self._answered(box, ask, ask.answers, decision)
            if first:
                self.counts["repeated"] += 1
            if first and (decision.error is not None or decision.msgid not in first):
                self.wrong.append(f"{ask.request} again at {box}: {decision.error} {decision.msgid}")

        job = Job(judge, done, node=ask.node, link=seat.link, key=ask.key, lookup=seat.lookup)
        await store.submit(job)
        if settle:
            await wait_all_tasks_blocked()

    def first_answers(self, ask: Ask, box: Box) -> set[int]:
        """What the request was answered in the last day, as far as the box has heard. A card that was put
        back has other entries under the same numbers.
        """
        done = self.record.requests.get((ask.node, ask.key), [])
        if box.turned:
            return set()
        heard = [d for d in done if d.box not in self.restored and box.has(d.box, d.seq)]
        return {d.msgid for d in heard if box.now_s - d.at_s < DAY_S}

    async def _payload(self, box: Box, data: bytes) -> Payload:
        return Payload.of(data) if len(data) <= wire.INLINE_MAX else await kit.upload(box.store, data)

    def _answered(self, box: Box, ask: Ask | None, answers: list[Answer], decision: Decision) -> None:
        seq = box.seq(box.id)
        if ask is not None:
            done = self.record.requests.get((ask.node, ask.key), [])
            seq = next((d.seq for d in done if d.box == box.id), 0)
        others = [b for b in self.good if b is not box and seq and b.has(box.id, seq)]
        answers.append(Answer(box, decision, seq, others, bool(box.telling), box.now_s))
        self.counts["answers"] += 1
        self.counts["at level 2"] += bool(box.telling)

    async def ask(self, node: int, box: Box, request: Any, *data: bytes, fresh: Any = None) -> Ask:
        ask = Ask(node, request, data, fresh)
        self.record.asks.append(ask)
        await self.send(ask, box)
        return ask

    # what people do

    async def register(self, box: Box) -> None:
        fresh = Fresh.make(self.number())
        alias = f"name-number-{self.number()}"
        answer = await self.own(
            box, partial(register, label="laptop", alias=alias, fresh=fresh, subject=None)
        )
        if answer is not None and answer.decision.error is None:
            decision = answer.decision
            self.seats[decision.node] = Seat(decision.node, decision.member, fresh.uid)
            self.aliases.append((alias, decision.member))

    async def post(self, node: int, box: Box, uids: list[str], gids: list[str], data: bytes) -> Ask:
        to = [wire.Target(uid, 1) for uid in uids] + [wire.Target(gid, 2) for gid in gids]
        request = wire.Post(id=f"p{self.number()}", to=to, datalen=len(data), datahead=0, datasum=None)
        return await self.ask(node, box, request, data)

    async def post_notify(self, node: int, box: Box, uids: list[str], data: bytes, note: bytes) -> Ask:
        request = wire.PostNotify(
            id=f"q{self.number()}",
            to=[wire.Target(uid, 1) for uid in uids],
            datalen=len(data),
            datahead=0,
            datasum=None,
            notelen=len(note),
            notehead=0,
            notesum=None,
            noteto=[],
            fornotself=False,
        )
        return await self.ask(node, box, request, note, data)

    async def login(self, node: int, box: Box) -> None:
        if node in box.store.site.nodes:
            await self.own(box, lambda scene: login(scene, scene.site.nodes[node]))

    async def claim(self, node: int, box: Box, alias: str) -> None:
        self.aliases.append((alias, self.seats[node].member))
        await self.ask(node, box, wire.UserEdit(id=f"e{self.number()}", newalias=alias))

    async def new_node(self, node: int, box: Box) -> None:
        fresh = Fresh.make(self.number())
        request = wire.UserEdit(id=f"n{self.number()}", newnode="tablet")
        ask = await self.ask(node, box, request, fresh=fresh)
        if ask.done:
            made = ask.answers[0].decision.node
            seat = self.seats[node]
            self.seats[made] = Seat(made, seat.member, seat.uid)

    async def drop_node(self, node: int, box: Box) -> None:
        await self.own(box, lambda scene: drop_node(scene, node))

    async def set_owner(self, member: int, box: Box) -> None:
        await self.own(box, lambda scene: set_owner(scene, member))

    async def invite(self, node: int, box: Box, gid: str, alias: str, to: str) -> None:
        request = wire.GroupInvite(
            id=f"i{self.number()}", gid=gid, from_=alias, to=to, datalen=0, datahead=0, datasum=None
        )
        if (await self.ask(node, box, request, b"")).done and gid not in self.groups:
            self.groups.append(gid)

    async def edit_group(self, node: int, box: Box, act: str, gid: str, name: str | None) -> None:
        to, newalias = (name, None) if act == "drop" else (None, name)
        await self.ask(node, box, wire.GroupEdit(f"g{self.number()}", act, gid, newalias, to))

    async def fetch(self, node: int, box: Box, share: float) -> None:
        """A device gets what waits for it, and acknowledges some of it."""
        seat = self.seats[node]
        if node not in box.store.site.nodes:
            return
        messages = await kit.pending(box.store, node)
        order = [(message.rank, message.msgid) for message in messages]
        assert order == sorted(set(order)), f"queue of {node} at {box}: {order}"
        for message in messages:
            seat.got.setdefault(message.msgid, box)
            if self.draw.random() < share:
                box.store.ack(node, message.msgid)
                seat.acked.setdefault(message.msgid, box)
        await trio.sleep(0.006)
        await wait_all_tasks_blocked()

    # what happens to boxes

    def line(self, a: Box, b: Box) -> Line | None:
        """The link between two boxes; a new one if there is none, and both would have it."""
        for line in a.lines:
            if line.other(a) is b:
                return line
        known, back = a.store.site.boxes.get(b.id), b.store.site.boxes.get(a.id)
        if known is None or back is None or known.cut is not None:
            return None
        return Line(a, b)

    async def exchange(self, a: Box, b: Box, turns: int | None) -> Line | None:
        """Two boxes talk, until they have nothing to say or so many things have happened."""
        line = self.line(a, b)
        if line is None:
            await self.show(a, b)
            await self.show(b, a)
        if line is not None:
            await (line.run(self.draw) if turns is None else line.run(self.draw, turns))
            await self.see(line)
        return line

    async def show(self, caller: Box, box: Box) -> None:
        """A box that does not know the caller is shown what it was, if its card is from before."""
        known = caller.store.site.boxes.get(box.id)
        if box.gone or known is None or known.cut is not None or caller.id in box.store.site.boxes:
            return
        shown = events.Shown(caller.id, await showing.proofs(caller.store.replica, box.id), [])
        boxes = box.store.site.boxes
        answer, introduced = await showing.look(box.store.replica, box.key.public, boxes, shown)
        if isinstance(answer, Restored):
            assert box.id in self.restored, f"{box} is taken for an old state of itself: {answer}"
            assert introduced is not None, f"{caller} could not show how it came to the site"
            self.say(f"{caller} shows {box} that it is an old state of itself")
            self.counts["old cards shown"] += 1
            await box.lose()

    async def see(self, line: Line) -> None:
        """What became of a link."""
        if line.bad is not None:
            assert self.restored, f"{line.boxes}: {line.bad}"
        if line.restored is not None:
            box = line.restored
            assert box.id in self.restored, f"{box} is taken for an old state of itself: {line.refusal}"
            self.say(f"{box} is an old state of itself")
            self.counts["old cards found"] += 1
            await box.lose()
        elif line.refusal is not None and line.refusal.code == "forked":
            assert self.restored, f"{line.boxes}: {line.refusal}"
            self.forks_seen |= {box.id for box in line.boxes}
        self.forks_seen |= line.a.stream.barred | line.b.stream.barred

    async def revoke(self, at: Box, box: Box) -> bool:
        await self.own(at, lambda scene: revoke_box(scene, box.id, at.seq(box.id)))
        known = at.store.site.boxes.get(box.id)
        if known is None or known.cut is None:
            return False
        self.revoked.add(box.id)
        for line in list(box.lines):
            if line.other(box) is at:
                line.cut()
        return True

    async def join(self, host: Box) -> Box | None:
        """A blank box is let in by ``host``, and filled from it."""
        box = self.new_box()
        answer = await self.own(host, lambda scene: add_box(scene, box.id, box.key.public, box.name))
        if answer is None:
            await trio.sleep(0.6)
        others = [other for other in self.good if other is not host]
        for other in others:
            await self.exchange(host, other, None)
        knows = [b for b in (host, *others) if b.on and box.id in b.store.site.boxes]
        if host not in knows or (others and len(knows) == 1):
            box.gone = True  # were the host to die now, nobody would let the new one in
            return None
        await self.copy(box, host)
        return box

    async def copy(self, box: Box, source: Box) -> None:
        """Fill the blank files of ``box`` from a whole one."""
        await box.open(self._nursery, gaps=True)
        box.store.replica.trusted.update({b.box: b.public for b in source.store.site.boxes.values()})
        while True:
            after = {b: at.seq for b, at in box.positions.items()}
            arrivals = await source.store.replica.read_all(after, COPY_OCTETS)
            if not arrivals:
                break
            await box.store.replica.absorb(arrivals, source.id)
            if self.draw.random() < 0.05:
                await box.crash()
                await box.open(self._nursery, gaps=True)
                box.store.replica.trusted.update({b.box: b.public for b in source.store.site.boxes.values()})
        await self.give_lacking(source, box)
        assert box.seq(box.id) >= source.seq(box.id)
        await box.close()
        await box.open(self._nursery)

    async def give_lacking(self, source: Box, target: Box) -> None:
        """Octets and files of what is pending."""
        while lacking := target.store.replica.absent_messages():
            given = await source.store.replica.octets(lacking)
            if not given:
                break
            await target.store.replica.give_octets(given)
        for sha in target.store.replica.absent_blobs():
            path = source.store.blobs.path(sha)
            if path.exists():
                into = target.store.blobs.path(sha)
                into.parent.mkdir(exist_ok=True)
                into.write_bytes(path.read_bytes())
                await target.store.replica.blob_here(sha)

    async def copy_again(self, box: Box, source: Box) -> bool:
        """A box that was away for too long gives what it said itself, and takes a copy."""
        await self.exchange(box, source, None)
        if box.gone or source.gone or source.seq(box.id) < box.seq(box.id):
            return False
        box.wants_copy = False
        self.counts["copies taken again"] += 1
        self.copied.add(box.id)
        await box.close()
        key = (box.folder / "box.key").read_bytes()
        shutil.rmtree(box.folder)
        box.folder.mkdir()
        write_synced(box.folder / "box.key", key)
        self.cards.pop(box.id, None)
        await self.copy(box, source)
        return True
