"""A device at another box than the sender's gets what was sent in order, also behind a large file."""

from __future__ import annotations

import os

import pytest
import trio

from appliance.store import order
from tests.replication.household import Home, until
from tests.replication.test_stores import home, same, two_boxes
from tests.store.kit import Device, member, pending

__all__ = ["home"]


@pytest.mark.parametrize("comes", [True, False])
def test_a_small_message_waits_for_the_large_one_before_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    monkeypatch.setattr(order, "WAIT_S", 10.0 if comes else 2.0)

    async def main() -> None:
        async with two_boxes(home) as (a, b):
            ann, bob = await member(a.store), await member(a.store)
            await until(lambda: same(a, b))
            told: list[int] = []
            b.store.publish = lambda messages: told.extend(m.msgid for m in messages if bob.node in m.nodes)
            source, b.hub.fetcher._source = b.hub.fetcher._source, lambda sha: None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ann.post, [bob.uid], os.urandom(200_000))
                await until(b.store.replica.lacking)
                nursery.start_soon(ann.post, [bob.uid], b"small")
                await until(lambda: b.store.order.held)
                assert told == [] and await pending(b.store, bob.node) == []
            (large,), (small,) = b.store.replica.lacking(), b.store.order.held or told
            if comes:
                b.hub.fetcher._source = source
                await until(lambda: len(told) == 2)
                assert told == [large, small]
            else:
                await until(lambda: told == [small])
                assert [message.msgid for message in await pending(b.store, bob.node)] == [small]
                b.hub.fetcher._source = source
                await until(lambda: told == [small, large])
            assert [message.msgid for message in await pending(b.store, bob.node)] == [large, small]
            await Device(b.store, bob.node).acks(large, small)
            await until(lambda: same(a, b))

    trio.run(main)
