"""One schedule: what happens, drawn from a seed; and in the end all boxes talk until they have nothing more
to say, and are judged.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance import wire
from tests.sim import judge
from tests.sim.box import Box
from tests.sim.house import House
from tests.sim.lab import DAY_S, Lab
from tests.sim.record import Ask
from tests.sim.relays import Relays

STEPS = 40
BOXES_MAX = 5
RELAYS_EVERY = 4
"""In one schedule of so many the household has memberships at other sites."""
LARGE = 70_000
Step = Callable[[], Awaitable[None]]


class Schedule:
    """``kind`` makes some things frequent, and others rare or impossible."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.draw: random.Random = house.draw
        self.kind = self.draw.choice(["calm", "calm", "parted", "parted", "long", "thieves", "cards"])
        self.partition: dict[str, int] = {}
        weights: dict[str, float] = {
            "post": 10,
            "notify": 2,
            "fetch": 8,
            "exchange": 12,
            "again": 3,
            "login": 1,
            "register": 1,
            "claim": 3,
            "new_node": 2,
            "drop_node": 1,
            "owner": 1.5,
            "invite": 2,
            "edit_group": 2,
            "crash": 2,
            "crash_amid": 2,
            "power_cut": 0.7,
            "spill": 2,
            "wait": 1,
            "part": 1,
            "turn_clock": 0.3,
            "lose": 0.4,
            "replace": 0.8,
            "all_talk": 0.5,
        }
        if self.kind == "parted":
            weights |= {"exchange": 4, "part": 2, "claim": 5}
        elif self.kind == "long":
            weights |= {"days": 3, "weeks": 2, "spill": 5, "exchange": 8}
        elif self.kind == "thieves":
            weights |= {"revoke": 2, "exchange": 8}
        elif self.kind == "cards":
            weights |= {"save": 4, "put_back": 2, "exchange": 18}
        self.relays = Relays(self)
        if house.seed % RELAYS_EVERY == 0:
            weights |= Relays.WEIGHTS
        self.weights = weights

    async def run(self) -> None:
        house, draw = self.house, self.draw
        await house.found()
        for _ in range(draw.randint(1, 3)):
            await house.register(house.boxes[0])
        for _ in range(draw.choice([1, 1, 1, 2, 2, 3])):
            await house.join(house.boxes[0])
            await self.talk()
        steps: dict[str, Step] = {
            name: getattr(self.relays if name in Relays.WEIGHTS else self, name) for name in self.weights
        }
        for _ in range(draw.randint(STEPS // 4, STEPS)):
            (name,) = draw.choices(list(self.weights), list(self.weights.values()))
            house.say(name)
            await steps[name]()
            await wait_all_tasks_blocked()
            house.counts[name] += 1
            assert not house.wrong, house.wrong
        house.say("the end")
        await self.finish()

    # what is drawn

    def box(self) -> Box:
        return self.draw.choice(self.house.living)

    def node(self, box: Box) -> int | None:
        known = [node for node in self.house.seats if node in box.store.site.nodes]
        return self.draw.choice(known) if known else None

    def uids(self, box: Box) -> list[str]:
        known = sorted({seat.uid for seat in self.house.seats.values() if seat.uid in box.store.site.uids})
        return self.draw.sample(known, self.draw.randint(1, min(3, len(known)))) if known else []

    def data(self) -> bytes:
        size = LARGE if self.draw.random() < 0.03 else self.draw.choice([10, 10, 1000])
        return (b"%d " % self.house.number()).ljust(size, b"x")

    # steps: people

    async def post(self) -> None:
        box = self.box()
        node = self.node(box)
        if node is not None:
            gids = [gid for gid in self.house.groups if self.draw.random() < 0.2]
            await self.house.post(node, box, self.uids(box), gids, self.data())

    async def notify(self) -> None:
        box = self.box()
        node = self.node(box)
        if node is not None:
            await self.house.post_notify(node, box, self.uids(box), self.data(), b"note")

    async def fetch(self) -> None:
        box = self.box()
        node = self.node(box)
        if node is not None:
            await self.house.fetch(node, box, self.draw.choice([0.3, 0.8, 1.0, 1.0]))

    async def again(self) -> None:
        """A device sends a request again: its ack was lost, or came and is forgotten."""
        asks = self.house.record.asks[-8:]
        if asks:
            await self.house.send(self.draw.choice(asks), self.box())

    async def login(self) -> None:
        box = self.box()
        node = self.node(box)
        if node is not None:
            await self.house.login(node, box)

    async def register(self) -> None:
        if len(self.house.seats) < 8:
            await self.house.register(self.box())

    async def claim(self) -> None:
        """Some name, often the same one on two boxes that cannot see each other."""
        name = f"wanted-{self.draw.randint(1, 4)}"
        for box in self.draw.sample(self.house.living, min(len(self.house.living), self.draw.randint(1, 2))):
            node = self.node(box)
            if node is not None:
                await self.house.claim(node, box, name)

    async def new_node(self) -> None:
        box = self.box()
        node = self.node(box)
        if node is not None and len(self.house.seats) < 12:
            await self.house.new_node(node, box)

    async def drop_node(self) -> None:
        box = self.box()
        if len(box.store.site.nodes) > 2:
            node = self.node(box)
            if node is not None:
                await self.house.drop_node(node, box)

    async def owner(self) -> None:
        box = self.box()
        if box.store.site.members:
            await self.house.set_owner(self.draw.choice(sorted(box.store.site.members)), box)

    async def invite(self) -> None:
        """Into a group of a few, which may be new on two boxes, or have the name of a member."""
        gid = f"wanted-{self.draw.randint(3, 6)}"
        for box in self.draw.sample(self.house.living, min(len(self.house.living), self.draw.randint(1, 2))):
            node = self.node(box)
            site = box.store.site
            others = sorted(site.aliases)
            if node is not None and others:
                own = site.members[site.nodes[node].member].aliases
                if own:
                    await self.house.invite(node, box, gid, own[0], self.draw.choice(others))

    async def edit_group(self) -> None:
        box = self.box()
        node, gids = self.node(box), sorted(box.store.site.groups)
        if node is None or not gids:
            return
        gid = self.draw.choice(gids)
        act = self.draw.choice(["join", "join", "alias", "drop"])
        own = box.store.site.members[box.store.site.nodes[node].member].aliases
        name: str | None = self.draw.choice(own) if own else None
        if act == "drop":
            name = self.draw.choice(sorted(p.alias for p in box.store.site.groups[gid].standing.values()))
        elif act == "join":
            name = None
        if act != "alias" or name:
            await self.house.edit_group(node, box, act, gid, name)

    # steps: boxes

    def apart(self, a: Box, b: Box) -> bool:
        return self.partition.get(a.id, 0) != self.partition.get(b.id, 0)

    async def exchange(self) -> None:
        boxes = self.house.living
        if len(boxes) > 1:
            a, b = self.draw.sample(boxes, 2)
            if not self.apart(a, b):
                await self.house.exchange(a, b, self.draw.choice([5, 20, 60, None]))
                if self.draw.random() < 0.3:
                    a.cut_lines()

    async def all_talk(self) -> None:
        await self.talk()

    async def part(self) -> None:
        """Some boxes do not see the others; or all do again."""
        if self.draw.random() < 0.5:
            self.partition.clear()
        else:
            self.partition = {box.id: self.draw.randint(0, 1) for box in self.house.living}
        for box in self.house.living:
            for line in list(box.lines):
                if self.apart(*line.boxes):
                    line.cut()

    async def crash(self) -> None:
        box = self.box()
        await box.crash()
        await box.reopen()

    async def crash_amid(self) -> None:
        """The process ends somewhere in the middle of a request."""
        box = self.box()
        node = self.node(box)
        if node is None:
            return
        data = self.data()[:1000]
        to = [wire.Target(uid, 1) for uid in self.uids(box)]
        request = wire.Post(id=f"p{self.house.number()}", to=to, datalen=len(data), datahead=0, datasum=None)
        ask = Ask(node, request, (data,))
        self.house.record.asks.append(ask)
        await self.house.send(ask, box, settle=False)
        for _ in range(self.draw.randint(0, 8)):
            await trio.lowlevel.checkpoint()
        await box.crash()
        await box.reopen()

    async def power_cut(self) -> None:
        await self.box().power_cut()

    async def spill(self) -> None:
        await self.box().spill()

    async def wait(self) -> None:
        """Answers that wait for a second copy wait no more."""
        self.house.lab.wall.advance(self.draw.choice([1, 60, 3600]))
        await trio.sleep(1.0)

    async def days(self) -> None:
        self.house.lab.wall.advance(self.draw.uniform(0.5, 2) * DAY_S)

    async def weeks(self) -> None:
        """Everybody is away for long; some boxes do what is to be done then, and come to see each other."""
        self.house.lab.wall.advance(self.draw.choice([8, 8, 40, 100]) * DAY_S)
        for box in self.house.living:
            if self.draw.random() < 0.6:
                if self.draw.random() < 0.7:
                    await self.talk([b for b in self.house.living if self.draw.random() < 0.7])
                await box.spill()
                self.house.lab.wall.advance(3600)

    async def turn_clock(self) -> None:
        box = self.box()
        box.skew_ns, box.turned = self.house.skew(), True

    async def lose(self) -> None:
        """A disk dies."""
        if len(self.house.good) > 1:
            await self.draw.choice(self.house.good).lose()

    async def revoke(self) -> None:
        if len(self.house.good) > 1:
            at, box = self.draw.sample(self.house.good, 2)
            await self.house.revoke(at, box)

    async def replace(self) -> None:
        """A new box is let in, which a household does when all others are there or revoked."""
        house = self.house
        if len(house.living) >= BOXES_MAX or len(house.boxes) > 8 or not house.good:
            return
        host = self.draw.choice(house.good)
        for box in house.boxes:
            known = host.store.site.boxes.get(box.id)
            if box.gone and known is not None and known.cut is None:
                await house.revoke(host, box)
        await self.talk()
        if host not in house.good or len({tuple(box.positions.items()) for box in house.good}) < 0:
            return
        if host.gone or any(box.seq(b) != host.seq(b) for box in house.good for b in host.positions):
            return
        await house.join(host)

    async def save(self) -> None:
        box = self.box()
        if box.id not in self.house.cards:
            self.house.cards[box.id] = box.save("card"), box.seq(box.id)

    async def put_back(self) -> None:
        """An old card comes into its box."""
        cards = self.house.cards
        saved = [b for b in self.house.living if b.id in cards and cards[b.id][1] < b.seq(b.id)]
        if saved and len(self.house.good) > 1:
            box = self.draw.choice(saved)
            self.house.restored.add(box.id)
            self.house.counts["old cards"] += 1
            await box.put_back(cards.pop(box.id)[0])

    # the end

    async def talk(self, boxes: list[Box] | None = None) -> None:
        """All these boxes that can see each other talk, until nothing is news to anybody."""
        for _ in range(12):
            chosen = [box for box in (boxes or self.house.living) if not box.gone]
            before = [dict(box.positions) for box in chosen]
            pairs = [(a, b) for a in chosen for b in chosen if a is not b and a.id < b.id]
            self.draw.shuffle(pairs)
            for a, b in pairs:
                if a.gone or b.gone or self.apart(a, b):
                    continue
                await self.house.exchange(a, b, None)
                for box, other in ((a, b), (b, a)):
                    if box.wants_copy and not box.gone and not other.gone and box in self.house.good:
                        self.house.say(f"{box} takes a copy of {other}")
                        await self.house.copy_again(box, other)
            await trio.sleep(0.01)
            await wait_all_tasks_blocked()
            chosen = [box for box in chosen if not box.gone]
            if before == [dict(box.positions) for box in chosen]:
                return

    async def finish(self) -> None:
        house = self.house
        self.partition.clear()
        for box in house.living:
            box.cut_lines()
        before = {box.id: judge.View.of(box) for box in house.living}
        await trio.sleep(1.0)
        await self.talk()
        house.forget_unheard()
        for box in house.good:
            others = {other.id for other in house.good} - {box.id}
            strangers = others - box.store.site.boxes.keys()
            assert box.id not in house.restored or not strangers, f"{box} does not know {strangers}"
        for a in house.good:
            for b in house.good:
                if a is not b:
                    await house.give_lacking(a, b)
        for box in house.living:
            box.cut_lines()
        await judge.judge(house, before)


def run(lab: Lab, seed: int) -> House:
    """Raises ``AssertionError``, or whatever else went wrong; the seed says it all."""
    found: list[House] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            house = House(lab, seed, nursery)
            found.append(house)
            schedule = Schedule(house)
            house.say(schedule.kind)
            try:
                await schedule.run()
            finally:
                nursery.cancel_scope.cancel()
        for box in house.living:
            box.store._database.connection.close()

    lab.begin(seed)
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    except BaseException as error:
        trace = " / ".join(found[0].trace) if found else ""
        error.add_note(f"schedule {seed}: {trace}")
        raise
    return found[0]
