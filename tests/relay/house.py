"""A box with a relay, in this process: a real store, an exchange, devices as their links use the store."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from appliance import wire
from appliance.delivery import Exchange
from appliance.relay import Relay, RelaySettings
from appliance.site import Message, Node, Payload, Scene, add_box, add_member, add_relay_device, relay_out
from appliance.site.facts import Outcome
from appliance.store import Item, Store
from tests.kit import Frame
from tests.store.kit import Credentials, pending, running, upload

QUICK = RelaySettings(
    retry_s=0.05, retry_longest_s=0.2, metered_stay_s=0.3, keeper_wait_s=1.0, takeover_s=1.0
)
_numbers = itertools.count(1)


@dataclass
class Device:
    """A device of a membership; its link is not here, only what it does to the store."""

    house: House
    node: Node
    frames: list[bytes] = field(default_factory=list)
    """What it was told beside its queue."""

    async def ask(self, request: wire.Request, data: bytes = b"", raw: bool = False, key: bytes = b"") -> int:
        """Into the outbox; the item's id. ``raw``: its head is not to be written anew. ``key``: what it is
        told from others by.
        """
        store = self.house.store
        request = request if raw else wire.request_of(_head(request))
        payload = Payload.of(data) if len(data) <= wire.INLINE_MAX else await upload(store, data)
        key = key or hashlib.sha256(b"%d" % next(_numbers)).digest()[:16]
        decision = await store.perform(lambda scene: relay_out(scene, self.node, request, payload, key))
        if payload.data is None:
            store.blobs.unpin(payload.digest)
        assert decision.error is None, decision.error
        return decision.msgid

    async def post(self, data: bytes, *to: str) -> int:
        targets = [wire.Target(uid, 1) for uid in to]
        return await self.ask(wire.Post(f"post {next(_numbers)}", targets, len(data)), data)

    async def queue(self) -> list[Message]:
        return await pending(self.house.store, self.node.number)

    async def got(self, count: int, within_s: float = 10.0) -> list[Frame]:
        """Wait for so many messages in the queue; all that are in it."""
        await until(lambda: self.house.count(self.node.number) >= count, within_s)
        return [await self.house.frame(message) for message in await self.queue()]

    async def take(self) -> None:
        """Acknowledge everything."""
        for message in await self.queue():
            self.house.store.ack(self.node.number, message.msgid)

    # as the exchange sees it

    courier: Any = None
    member: int = 0
    delivered: int = 0
    resent: int = 0

    def __post_init__(self) -> None:
        self.courier = self
        self.member = self.node.member

    def push(self, msgid: int, rank: int) -> None: ...

    def notice(self, frame: bytes) -> None:
        self.frames.append(frame)

    def cut(self) -> None: ...

    def wake(self) -> None: ...

    def suspect(self) -> None: ...

    def come(self) -> None:
        self.house.exchange.enter(self.node.number, self)

    def go(self) -> None:
        self.house.exchange.leave(self.node.number, self)


def _head(request: wire.Request) -> bytes:
    """As a device would write it."""
    link = wire.ClientLink()
    link._state = wire.State.LOGGED_IN
    return link.encode(request)


@dataclass
class House:
    store: Store
    exchange: Exchange
    relay: Relay
    warnings: dict[str, str]
    member: int
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    async def membership(self, name: str, place: Any, **more: Any) -> int:
        """A new account at a site of the kit."""
        return await self.relay.add(self.member, name, words(place), **more)

    async def device(self, number: int, label: str = "phone") -> Device:
        fresh = Credentials.make()
        decision = await self.store.perform(partial(_add_device, number, label, fresh))
        assert decision.error is None, decision.error
        return Device(self, self.store.site.nodes[decision.node])

    def count(self, node: int) -> int:
        queue = self.store.queues.nodes.get(node)
        return queue.count if queue is not None else 0

    def uid(self, number: int) -> str:
        return self.store.site.memberships[number].uid

    async def online(self, number: int, within_s: float = 10.0) -> None:
        await until(lambda: self.relay.state(number).get("online", False), within_s)

    async def outcome(self, item: int, within_s: float = 10.0) -> Item:
        """What the site said to a request."""
        await until(lambda: item in self.outcomes, within_s)
        found = await self.store.relay.item(item)
        assert found is not None and found.answered
        return found

    async def waiting(self, number: int) -> int:
        return len(await self.store.relay.items(number))

    async def frame(self, message: Message) -> Frame:
        data = message.data
        if data is None:
            assert message.blob is not None
            data = self.store.blobs.path(message.blob).read_bytes()
        frame = Frame(message.head, json.loads(message.head[4:]), data)
        frame.check()
        return frame


def _add_device(number: int, label: str, fresh: Credentials, scene: Scene) -> Any:
    return add_relay_device(scene, number, label, fresh)


def words(place: Any) -> str:
    return f"={place.address[0]}:{place.address[1]}"


@asynccontextmanager
async def house(
    folder: Path, settings: RelaySettings = QUICK, changes: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[House]:
    """A box that runs until the end of the block. In the folder of one before it goes on where that was."""
    async with running(folder, **more) as store:
        if not store.site.boxes:
            key = store.key
            await store.perform(lambda scene: add_box(scene, key.box, key.public, "kitchen"))
        if not store.site.members:
            fresh = Credentials.make()
            await store.perform(lambda scene: add_member(scene, "Ann at home", None, fresh))
        exchange = Exchange()
        store.publish = exchange.publish
        warnings: dict[str, str] = {}

        def warn(topic: str, reason: str | None) -> None:
            if reason is None:
                warnings.pop(topic, None)
            else:
                warnings[topic] = reason

        chosen = replace(settings, **(changes or {}))
        relay = Relay(store, exchange, warn, chosen, chance=lambda: 0.0)
        made = House(store, exchange, relay, warnings, next(iter(store.site.members)))
        store.relay.on_outcome.append(lambda outcome: made.outcomes.update({outcome.msgid: outcome}))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(relay.run)
            try:
                yield made
            finally:
                nursery.cancel_scope.cancel()


async def until(true: Callable[[], Any], within_s: float = 10.0) -> None:
    """Look until it is so."""
    with trio.fail_after(within_s):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)
