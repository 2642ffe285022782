"""Boxes that do not see each other for longer than the journals reach, and are used meanwhile."""

from __future__ import annotations

import time
from functools import partial

import pytest
import trio

from appliance.linking import REACH_S, needed
from tests.replication.household import Home, until
from tests.replication.test_stores import RealBox, same, two_boxes
from tests.store.kit import Clock, Device, flush, member, pending_ids, spill


async def use(box: RealBox, ann: Device, bob: Device) -> None:
    """Three messages, of which one is left to wait."""
    ann, bob = Device(box.store, ann.node, 1), Device(box.store, bob.node, 1)
    for number in range(3):
        sent = await ann.post([bob.uid], b"%d" % number)
        assert sent.error is None
        if number:
            await bob.acks(sent.msgid)
    await flush(box.store)


async def cut(box: RealBox) -> None:
    """What may go goes."""
    box.store.upkeep._last_cut = float("-inf")
    await spill(box.store)


@pytest.mark.parametrize("used_before", [["second"], ["first", "second"]], ids=" and ".join)
def test_boxes_that_were_apart_for_too_long_and_in_use_agree(tmp_path, monkeypatch, used_before):
    """Neither lacks what is gone at the other: then both would have to take a copy of the other, and could
    not."""
    clock = Clock(time.time_ns())
    clock.drive(monkeypatch)

    async def main():
        told: dict[str, Device] = {}

        async def prepare(a):
            told.update(ann=await member(a.store), bob=await member(a.store))

        async with two_boxes(Home(tmp_path), prepare) as (a, b):
            boxes = {"first": a, "second": b}
            for box in boxes.values():
                box.store.upkeep.needed = partial(needed, box.store, box.hub)
                box.stop()
            await until(lambda: not any(box.store.copies.in_reach for box in boxes.values()))
            for name in used_before:
                await use(boxes[name], told["ann"], told["bob"])
            clock.advance(REACH_S + 10 * 86_400)
            for box in boxes.values():
                box.hub.neighbours.clear()  # as after a start: nothing was heard of the other
                await use(box, told["ann"], told["bob"])
                await cut(box)
                box.scope = trio.CancelScope()
            async with trio.open_nursery() as nursery:
                await nursery.start(a.run)
                await nursery.start(b.run)
                a.hub.add_address(b.id, b.address)
                await until(lambda: a.hub.peers() and same(a, b))
                assert not a.gaps and not b.gaps
                a.stop()
                b.stop()
            waiting = [await pending_ids(box.store, told["bob"].node) for box in (a, b)]
            assert waiting[0] == waiting[1] and len(waiting[0]) == 2 + len(used_before)

    trio.run(main)
