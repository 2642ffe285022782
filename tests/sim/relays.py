"""Memberships at other sites, in a schedule: what links to them and devices do, as the store sees it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import trio
from trio.testing import wait_all_tasks_blocked

from appliance import wire
from appliance.site import (
    Echo,
    Payload,
    add_membership,
    add_relay_device,
    drop_membership,
    relay_answered,
    relay_in,
    relay_out,
    set_archive,
    set_membership,
    trim,
)
from appliance.site.facts import OF_BOX, Acked, Relayed, Sent
from appliance.site.memberships import Membership
from tests.sim.box import Box
from tests.sim.house import Fresh, House
from tests.store import kit

if TYPE_CHECKING:
    from tests.sim.schedule import Schedule

LATELY = 6
"""Messages of a site that another box may be about to take in as well."""


class Relays:
    """Steps of a schedule. ``upids`` by membership: what its site has sent so far."""

    WEIGHTS: ClassVar[dict[str, float]] = {
        "enrol": 2,
        "come": 8,
        "ask": 4,
        "answer": 4,
        "relay_fetch": 6,
        "settle": 1,
        "archive": 1,
        "shorten": 1,
        "leave": 0.3,
    }

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.house: House = schedule.house
        self.draw = schedule.draw
        self.upids: dict[int, list[int]] = {}
        self.asked: list[tuple[int, bytes]] = []

    def membership(self, box: Box) -> Membership | None:
        known = sorted(box.store.site.memberships)
        return box.store.site.memberships[self.draw.choice(known)] if known else None

    async def do(self, box: Box, decide: Any, *args: Any, **named: Any) -> None:
        await self.house.own(box, lambda scene: decide(scene, *args, **named))

    async def enrol(self) -> None:
        """A member has an account somewhere, or one more device for it."""
        box = self.schedule.box()
        members = sorted(box.store.site.members)
        if not members:
            return
        if len(box.store.site.memberships) < 3:
            name = f"site {self.house.number()}"
            await self.do(box, add_membership, self.draw.choice(members), name, {"uid": name})
        found = self.membership(box)
        if found is not None and len(found.devices) < 3:
            fresh = Fresh.make(self.house.number())
            source = self.draw.choice([0, *found.devices])
            since = self.draw.choice([None, None, 0])
            await self.do(box, add_relay_device, found.number, "phone", fresh, source, since)

    async def come(self) -> None:
        """The site sends a message, to one box or to several that do not wait for each other."""
        box = self.schedule.box()
        found = self.membership(box)
        if found is None:
            return
        upids = self.upids.setdefault(found.number, [])
        upid = upids[-1] + 1 if upids else found.number * 1000
        upids.append(upid)
        boxes = [b for b in self.house.living if found.number in b.store.site.memberships]
        for each in self.draw.sample(boxes, self.draw.randint(1, len(boxes))):
            for late in {upid, *self.draw.sample(upids, min(len(upids), 2))} & set(upids[-LATELY:]):
                await self.take(each, found, late)

    async def take(self, box: Box, found: Membership, upid: int) -> None:
        if await box.store.relay.known(found.number, [upid]):
            return
        text = b"%d of %d" % (upid, found.number)
        head = wire.encode_message("delivery", "B", upid, 0, len(text), 0, None)
        nodes = () if self.draw.random() < 0.1 else None
        op = "login" if upid % 5 == 0 else "delivery"
        await self.do(box, relay_in, found.number, upid, op, head, Payload.of(text), nodes)

    async def ask(self) -> None:
        """A device posts, or asks again what it asked before, perhaps at another box."""
        box = self.schedule.box()
        found = self.membership(box)
        if found is None or not found.devices:
            return
        node, key = self.draw.choice(found.devices), b"%d" % self.house.number()
        if self.asked and self.draw.random() < 0.3:
            node, key = self.draw.choice(self.asked[-4:])
        if node not in box.store.site.nodes or await box.store.relay.find(node, key):
            return
        self.asked.append((node, key))
        request = wire.Post(key.decode(), [], 4, 0, None)
        request.head = b"000eask" + key
        await self.do(box, relay_out, box.store.site.nodes[node], request, Payload.of(b"text"), key)

    async def answer(self) -> None:
        """The site answers what some box has sent it."""
        box = self.schedule.box()
        found = self.membership(box)
        items = await box.store.relay.items(found.number) if found is not None else []
        if found is None or not items:
            return
        item = items[0]
        if self.draw.random() < 0.2:
            await self.do(box, relay_answered, found.number, item.msgid, 0, 0, "no such uid")
            return
        upids = self.upids.setdefault(found.number, [])
        upid = upids[-1] + 1 if upids else found.number * 1000
        upids.append(upid)
        head = wire.encode_message("delivery", "me", upid, 0, 4, 0, None)
        others = tuple(node for node in found.devices if node != item.node)
        echo = Echo("delivery", upid, head, Payload.of(b"text"), others)
        await self.do(box, relay_answered, found.number, item.msgid, upid, 0, "", [echo])

    async def relay_fetch(self) -> None:
        """A device of a membership gets what waits for it."""
        box = self.schedule.box()
        found = self.membership(box)
        if found is None or not found.devices:
            return
        node = self.draw.choice(found.devices)
        for message in await kit.pending(box.store, node):
            if self.draw.random() < 0.8:
                box.store.ack(node, message.msgid)
                self.house.given.setdefault(node, set()).add(message.msgid)
        await trio.sleep(0.006)
        await wait_all_tasks_blocked()

    async def settle(self) -> None:
        box = self.schedule.box()
        found = self.membership(box)
        if found is not None:
            await self.do(box, set_membership, found.number, trouble=f"trouble {self.house.number()}")

    async def archive(self) -> None:
        box = self.schedule.box()
        members = sorted(box.store.site.members)
        if members:
            member = self.draw.choice(members)
            on = not box.store.site.members[member].archives or self.draw.random() < 0.6
            await self.do(box, set_archive, member, on)

    async def shorten(self) -> None:
        """An archive makes room."""
        box = self.schedule.box()
        found = self.membership(box)
        if found is None or not found.archive:
            return
        kept = await kit.pending(box.store, found.archive)
        if kept:
            message = kept[0]
            short = Payload.of((message.data or b"")[:3]) if self.draw.random() < 0.5 else None
            await self.do(box, trim, found.archive, message.msgid, message.head, short)

    async def leave(self) -> None:
        box = self.schedule.box()
        found = self.membership(box)
        if found is not None:
            await self.do(box, drop_membership, found.number)


async def relays_agree(house: House) -> None:
    """All boxes know the same of each site, and no device is to get one of its messages twice."""
    first = house.good[0]
    for number, found in first.store.site.memberships.items():
        for node in found.devices:
            heads = Counter(message.head for message in await kit.pending(first.store, node))
            assert not heads or max(heads.values()) == 1, f"a device of {number} gets something twice"
        items = await first.store.relay.items(number)
        keys = Counter((item.node, item.key) for item in items)
        assert not keys or max(keys.values()) == 1, f"something goes to {number} twice"
        for box in house.good[1:]:
            there = await box.store.relay.items(number)
            assert [item.msgid for item in there] == [item.msgid for item in items], f"outbox at {box}"


async def who_has_one_has_both(house: House, positions: dict[str, int]) -> None:
    """Of a message that several boxes took in, a device that acknowledged any of them gets no other; one that
    did not is to get one, if any was for it; but nobody gets the login of a box.
    """
    first = house.good[0]
    copies: dict[tuple[int, int], set[int]] = {}
    of_boxes: set[tuple[int, int]] = set()
    went: dict[int, set[int]] = {}
    have: dict[int, set[int]] = {}
    for _, fact in house.record.facts(positions):
        if isinstance(fact, Relayed) and fact.msgid == OF_BOX:
            of_boxes.add((fact.membership, fact.upid))
        elif isinstance(fact, Relayed) and fact.msgid:
            copies.setdefault((fact.membership, fact.upid), set()).add(fact.msgid)
        elif type(fact) is Sent:
            went[fact.msgid] = set(fact.nodes)
        elif isinstance(fact, Acked) and fact.itself:
            have.setdefault(fact.node, set()).update(fact.msgids)
    several = {of: ids for of, ids in copies.items() if len(ids) > 1 and of not in of_boxes}
    for number, found in first.store.site.memberships.items():
        for node in found.devices:
            waiting = {message.msgid for message in await kit.pending(first.store, node)}
            for of in of_boxes & copies.keys():
                house.counts["of boxes"] += 1
                assert not copies[of] & waiting, f"device {node} gets the login of a box"
            for (membership, upid), msgids in several.items():
                if membership != number or not any(node in went.get(msgid, ()) for msgid in msgids):
                    continue
                house.counts["several"] += 1
                has, gets = msgids & have.get(node, set()), msgids & waiting
                assert not (has and gets), f"device {node} has {upid} and gets it once more"
                given = msgids & house.given.get(node, set())
                assert given or gets, f"device {node} never gets {upid}"
