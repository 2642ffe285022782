"""The same with a real store, whose reads, commits and spills happen when they happen, and which is closed
and opened again between.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import wire
from appliance.delivery import CourierSettings, Exchange
from appliance.delivery import courier as courier_module
from appliance.session.requests import Fresh
from appliance.site import Decision, Limits, Node, Payload, decide, register
from appliance.store import Octets, Store, StoreSettings

from .judge import Judge

WINDOW = CourierSettings(window_messages=6, window_octets=200_000, resend_after_s=3600.0)
PATIENCE_S = 10.0
OTHER = "otherbox"

which = st.integers(0, 100)
STEPS = st.one_of(
    st.tuples(st.just("post"), st.integers(1, 15), st.sampled_from((10, 50_000))),
    st.tuples(st.just("user")),
    st.tuples(st.just("ack"), which),
    st.tuples(st.just("ack all")),
    st.tuples(st.just("ack twice"), which),
    st.tuples(st.just("ack early"), which),
    st.tuples(st.just("ack nothing"), which),
    st.tuples(st.just("post, held"), st.integers(1, 8)),
    st.tuples(st.just("ack held"), which),
    st.tuples(st.just("confirm")),
    st.tuples(st.just("damage"), which),
    st.tuples(st.just("mend")),
    st.tuples(st.just("spill")),
    st.tuples(st.just("pause"), st.sampled_from((0.0, 0.001, 0.01))),
    st.tuples(st.just("reconnect")),
    st.tuples(st.just("be off"), st.integers(1, 15)),
    st.tuples(st.just("restart")),
)


class Place:
    """A connection of the exchange, whose courier is the judge's."""

    def __init__(self, judge: Judge, member: int) -> None:
        self.courier = judge.courier
        self.member = member

    def notice(self, frame: bytes) -> None: ...
    def cut(self) -> None: ...
    def wake(self) -> None: ...
    def suspect(self) -> None: ...


class House:
    """A sender, and a receiver with one node, whose links come and go."""

    def __init__(self, folder: Path, cache_octets: int) -> None:
        self.folder = folder
        self.settings = StoreSettings(
            acks_delay_s=0.01, reserve_octets=0, cache_octets=cache_octets, second_copy_wait_s=0.03
        )
        self.exchange = Exchange()
        self.posted: list[int] = []
        self.acked: set[int] = set()
        self.store: Store
        self.judge: Judge
        self.sender: Node
        self.receiver: Node
        self.late: set[int] = set()
        self.whole: dict[int, Octets] = {}
        """Of messages that the disk damaged: what they were."""
        self._aliases = 0
        self._nursery: trio.Nursery

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        self.store = Store.open(self.folder, self.settings, Limits())
        self.store.publish = self.exchange.publish
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.store.run)
            self._nursery = nursery
            yield
            self.store.close()

    @asynccontextmanager
    async def link(self) -> AsyncIterator[None]:
        self.judge = Judge(self.store, WINDOW, self.acked, self.receiver.number)
        self.judge.late = self.late
        place = Place(self.judge, self.receiver.member)
        assert self.exchange.enter(self.receiver.number, place)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.judge.carry)
            yield
            nursery.cancel_scope.cancel()
        self.exchange.leave(self.receiver.number, place)

    async def move_in(self) -> None:
        nodes = []
        for label in ("sender", "receiver"):
            fresh = Fresh.make()
            made = await self.store.perform(
                partial(register, label=label, alias=None, fresh=fresh, subject=None)
            )
            nodes.append(self.store.site.nodes[made.node])
        self.sender, self.receiver = nodes

    async def post(self, size: int) -> None:
        uid = self.store.site.members[self.receiver.member].uid
        request = wire.Post(id="1", to=[wire.Target(uid, 1)], datalen=size, datahead=0, datasum=None)
        await self._perform(self.sender, request, Payload.of(b"x" * size))

    def post_held(self) -> None:
        """Another box is in reach, and has yet to confirm that it has this, too."""
        self.confirm()
        self.store.copies.reach(OTHER, True)
        self._nursery.start_soon(self.post, 10)

    def confirm(self) -> None:
        self.store.copies.confirmed(OTHER, self.store.copies.head)

    async def damage(self, msgid: int) -> None:
        """The disk turns bits over, and it is noticed."""
        ledger, sql = self.store._ledger, "UPDATE {} SET head = x'00' WHERE msgid = ? AND head <> x''"
        found = await self.store.replica.octets([msgid])
        async with ledger.lock:
            for table in ("fresh", "message"):
                with ledger.database.connection as connection:
                    connection.execute(sql.format(table), (msgid,))
        for octets in found:
            self.late.add(msgid)
            self.whole[msgid] = octets
        await self.store.healing.messages_damaged([msgid])

    async def mend(self) -> None:
        """Another box brings what was damaged."""
        for msgid in sorted(self.whole):
            await self.store.replica.give_octets([self.whole.pop(msgid)])

    async def edit_user(self) -> None:
        self._aliases += 1
        await self._perform(self.receiver, wire.UserEdit("1", None, f"receiver {self._aliases}"))

    async def _perform(self, node: Node, request: Any, *payloads: Payload) -> None:
        decision: Decision = await self.store.perform(lambda scene: decide(scene, node, request, payloads))
        assert decision.error is None
        self.posted += [message.msgid for message in decision.messages]

    async def drain(self) -> None:
        """Acknowledge one by one. Every message comes."""
        self.store.copies.reach(OTHER, False)
        await self.mend()
        with trio.move_on_after(PATIENCE_S):
            await self.store.perform(lambda scene: Decision())
            while not self.acked.issuperset(self.posted):
                kept = next(iter(self.judge.kept), None)
                if kept is not None:
                    self.judge.ack(kept)
                await trio.lowlevel.checkpoint()
        missing = set(self.posted) - self.acked
        assert not missing, f"{len(missing)} of {len(self.posted)} messages lie still"


async def live(house: House, steps: list[tuple[Any, ...]]) -> None:
    """Each inner loop is a link, each middle one a life of the store."""
    left = iter(steps)
    step: tuple[Any, ...] | None = ("begin",)
    while step is not None:
        async with house.open():
            if not house.posted and step == ("begin",):
                await house.move_in()
            while True:
                if step is not None and step[0] == "be off":
                    for _ in range(step[1]):
                        await house.post(10)
                async with house.link():
                    while (step := next(left, None)) and step[0] not in ("restart", "reconnect", "be off"):
                        await do(house, *step)
                    if step is None:
                        await house.drain()
                if step is None or step == ("restart",):
                    break


async def do(house: House, word: str, *args: Any) -> None:
    judge, kept = house.judge, list(house.judge.kept)
    if word == "post":
        async with trio.open_nursery() as nursery:
            for _ in range(args[0]):
                nursery.start_soon(house.post, args[1])
    elif word == "user":
        await house.edit_user()
    elif word == "ack" and kept:
        judge.ack(kept[args[0] % len(kept)])
    elif word == "ack all":
        judge.ack(*kept)
    elif word == "ack twice" and kept:
        msgid = kept[args[0] % len(kept)]
        judge.ack(msgid, msgid)
    elif word == "ack early" and (queued := [m for m in house.posted if m not in house.acked]):
        judge.ack(queued[args[0] % len(queued)])
    elif word == "ack nothing":
        judge.courier.ack(args[0])
    elif word == "post, held":
        for _ in range(args[0]):
            house.post_held()
    elif word == "ack held" and (held := sorted(house.store.copies.held_ids)):
        judge.ack(held[args[0] % len(held)])
    elif word == "confirm":
        house.confirm()
    elif word == "damage" and (left := [m for m in house.posted if m not in house.acked and m not in kept]):
        await house.damage(left[args[0] % len(left)])
    elif word == "mend":
        await house.mend()
    elif word == "spill":
        await house.store.upkeep.spill()
    elif word == "pause":
        await trio.sleep(args[0])


@pytest.fixture(autouse=True)
def few_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "HINTS_MAX", 10)


@given(st.lists(STEPS, min_size=5, max_size=30), st.sampled_from((1, 16 << 20)))
@settings(max_examples=25, deadline=None)
def test_every_message_once_in_order_and_none_after_its_ack(
    steps: list[tuple[Any, ...]], cache_octets: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trio.run(live, House(Path(folder), cache_octets), steps)
