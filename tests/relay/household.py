"""Two boxes of a household, each with a relay, linked by real links, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from appliance.delivery import Exchange
from appliance.relay import Relay, RelaySettings
from appliance.site import add_member
from tests.relay.house import QUICK, House
from tests.replication.household import Home
from tests.replication.test_stores import RealBox, two_boxes
from tests.store.kit import Credentials


class Side(House):
    """One of the boxes, with its relay and its links to the other one."""

    box: RealBox
    scope: trio.CancelScope

    @classmethod
    def of(cls, box: RealBox, settings: RelaySettings) -> Side:
        store = box.store
        exchange = Exchange()
        store.publish = exchange.publish
        warnings: dict[str, str] = {}

        def warn(topic: str, reason: str | None) -> None:
            if reason is None:
                warnings.pop(topic, None)
            else:
                warnings[topic] = reason

        relay = Relay(store, exchange, warn, settings, chance=lambda: 0.0)
        relay.others.tell = box.hub.tell
        box.hub.on_tell.append(relay.others.heard)
        box.hub.on_link.append(relay.others.in_reach)
        for peer in box.hub.peers():
            relay.others.in_reach(peer.box, peer.state != "away")
        side = cls(store, exchange, relay, warnings, next(iter(store.site.members)))
        store.relay.on_outcome.append(lambda outcome: side.outcomes.update({outcome.msgid: outcome}))
        side.box = box
        return side

    async def live(self, task_status: trio.TaskStatus[None]) -> None:
        """The relay, until ``die``."""
        with trio.CancelScope() as self.scope:
            task_status.started()
            await self.relay.run()

    def die(self) -> None:
        """The box is gone, as far as anybody can tell."""
        self.scope.cancel()
        self.box.stop()

    async def come_back(self, nursery: trio.Nursery) -> None:
        """As it was, with a relay that goes on."""
        await self.reach(nursery)
        await nursery.start(self.live)

    def part(self) -> None:
        """Boxes do not see it any more; sites do."""
        self.box.stop()

    async def reach(self, nursery: trio.Nursery) -> None:
        """They see it again."""
        self.box.scope = trio.CancelScope()
        await nursery.start(self.box.run)


@asynccontextmanager
async def household(
    folder: Path, settings: RelaySettings = QUICK, **changes: object
) -> AsyncIterator[tuple[Side, Side, trio.Nursery]]:
    """Two boxes that are in sync, and a nursery for what comes back."""

    async def prepare(a: RealBox) -> None:
        fresh = Credentials.make()
        await a.store.perform(lambda scene: add_member(scene, "Ann at home", None, fresh))

    chosen = replace(settings, **changes)  # type: ignore[arg-type]
    async with two_boxes(Home(folder), prepare) as (first, second), trio.open_nursery() as nursery:
        one, two = Side.of(first, chosen), Side.of(second, chosen)
        for side in (one, two):
            await nursery.start(side.live)
        yield one, two, nursery
        nursery.cancel_scope.cancel()
