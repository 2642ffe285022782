"""A request that two boxes carried out, which had not heard of each other: what one of them made goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from appliance import wire
from appliance.site import Decision, Payload, add_box
from appliance.site.facts import MembershipAdded, MembershipDropped, RelayNodeAdded
from appliance.store import Store, verify
from tests.store import kit
from tests.store.kit import Credentials, Device, members, pending

NEWNODE = wire.UserEdit(id="n", newnode="tablet")


async def ship(source: Store, to: Store) -> None:
    """Everything that the one has and the other lacks."""
    after = {box: at.seq for box, at in to.replica.positions().items()}
    while found := await source.replica.read_all(after, 1 << 20):
        await to.replica.absorb(found, source.replica.own)
        after |= {arrival.box: arrival.seq for arrival in found}


async def prepare(a: Store, b: Store) -> tuple[int, int, int]:
    """Two boxes of a site with ann, who has a laptop and a phone, and bob: their nodes."""
    for box, name in ((a, "attic"), (b, "kitchen")):
        key = box.key
        decision = await a.perform(partial(add_box, box=key.box, public=key.public, name=name))
        assert decision.error is None
    ann, bob = await members(a, 2)
    phone = await ann.newnode("phone")
    b.replica.trusted[a.replica.own] = a.key.public
    await ship(a, b)
    return ann.node, phone.node, bob.node


class Twins:
    """The boxes do not see each other until ``meet``."""

    def __init__(self, a: Store, b: Store, nodes: tuple[int, int, int]) -> None:
        self.a, self.b = a, b
        self.laptop, self.phone, self.bob = (Device(a, node) for node in nodes)

    def at(self, store: Store, device: Device) -> Device:
        """The device on a new link to that box, after others."""
        found = Device(store, device.node)
        found.link, found.lookup = store.link_id(), True
        return found

    async def ask_both(
        self, request: wire.Request, payloads: tuple[Payload, ...] = (), fresh: bool = False
    ) -> tuple[Decision, Decision]:
        """The same at a and then at b."""
        answers = []
        for store in (self.a, self.b):
            made = Credentials.make() if fresh else None
            answer = await self.at(store, self.laptop).ask(request, payloads, made)
            assert answer.error is None
            answers.append(answer)
        return answers[0], answers[1]

    async def spill(self) -> None:
        for store in (self.a, self.b):
            await kit.spill(store)

    async def meet(self) -> None:
        for _ in range(3):
            await ship(self.a, self.b)
            await ship(self.b, self.a)
        assert await self.a.replica.state_digest() == await self.b.replica.state_digest()

    async def texts(self, device: Device) -> list[list[bytes]]:
        """What waits for a device, at a and at b."""
        return [[m.data or m.head for m in await pending(store, device.node)] for store in (self.a, self.b)]


def run(test: Callable[[Twins], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with kit.running(folder / "a") as a, kit.running(folder / "b") as b:
            nodes = await prepare(a, b)
        async with kit.running(folder / "a") as a, kit.running(folder / "b") as b:
            await test(Twins(a, b, nodes))
        for name in ("a", "b"):
            assert verify(folder / name)["problems"] == []

    kit.run(main)


@pytest.mark.parametrize("spilled", [False, True])
def test_a_device_that_was_made_at_two_boxes_is_one(tmp_path: Path, spilled: bool) -> None:
    async def test(twins: Twins) -> None:
        one, other = await twins.ask_both(NEWNODE, fresh=True)
        assert one.node != other.node
        if spilled:
            await twins.spill()
        await twins.meet()
        for store in (twins.a, twins.b):
            assert one.node not in store.site.nodes and other.node in store.site.nodes
        for device in (twins.laptop, twins.phone):
            for queue in await twins.texts(device):
                assert sum(b"tablet" in text for text in queue) == 1
        assert len(await pending(twins.b, other.node)) == len(await pending(twins.a, other.node))

    run(test, tmp_path)


def test_a_device_whose_password_somebody_has_stays(tmp_path: Path) -> None:
    async def test(twins: Twins) -> None:
        one, other = await twins.ask_both(NEWNODE, fresh=True)
        for message in await pending(twins.a, twins.phone.node):
            await Device(twins.a, twins.phone.node).acks(message.msgid)
        await twins.meet()
        for store in (twins.a, twins.b):
            assert {one.node, other.node} <= store.site.nodes.keys()

    run(test, tmp_path)


def test_a_node_of_a_membership_that_ended_meanwhile_is_not_one_and_nothing_is_wrong(tmp_path: Path) -> None:
    async def test(twins: Twins) -> None:
        member, number, node = twins.laptop.member, 1 << 20, (1 << 20) + 17
        made = MembershipAdded(number, member, "work", 1)
        await twins.a.perform(lambda scene: Decision(lasting=[made]))
        await ship(twins.a, twins.b)
        more = RelayNodeAdded(node, member, number, "tablet", bytes(32), "device", 1)
        await twins.b.perform(lambda scene: Decision(lasting=[more]))
        await twins.a.perform(lambda scene: Decision(lasting=[MembershipDropped(number)]))
        await twins.meet()
        assert node not in twins.a.site.nodes and node not in twins.b.site.nodes

    run(test, tmp_path)


@pytest.mark.parametrize("spilled", [False, True])
def test_of_a_post_with_a_note_both_are_there_once(tmp_path: Path, spilled: bool) -> None:
    async def test(twins: Twins) -> None:
        request = wire.PostNotify(id="p", to=[wire.Target(twins.bob.uid, 1)], datalen=9, notelen=4)
        await twins.ask_both(request, (Payload.of(b"note"), Payload.of(b"text!")))
        if spilled:
            await twins.spill()
        await ship(twins.b, twins.a)
        queue, _ = await twins.texts(twins.bob)
        assert sorted(queue) == [b"note", b"text!"], "it needs nobody else to see that"
        await twins.meet()
        for queue in await twins.texts(twins.bob):
            assert sorted(queue) == [b"note", b"text!"]

    run(test, tmp_path)
