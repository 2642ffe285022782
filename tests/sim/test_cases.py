"""Schedules that once ended badly, each as small as it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from tests.sim.house import House
from tests.sim.lab import DAY_S, Lab, lab
from tests.sim.schedule import Schedule

Case = Callable[[House, Schedule], Awaitable[None]]


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    with lab() as found:
        yield found


def run(place: Lab, boxes: int, members: int, case: Case) -> None:
    """Some boxes that know each other and some members, then ``case``, and the judgement."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            house = House(place, 0, nursery)
            house.skew = lambda: 0  # type: ignore[method-assign]
            schedule = Schedule(house)
            await house.found()
            for _ in range(members):
                await house.register(house.boxes[0])
            for _ in range(boxes - 1):
                await house.join(house.boxes[0])
                await schedule.talk()
            for box in house.boxes:
                box.cut_lines()
            await case(house, schedule)
            await schedule.finish()
            nursery.cancel_scope.cancel()

    place.begin(0)
    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_what_a_box_built_on_entries_of_a_revoked_one_holds_everywhere(place: Lab) -> None:
    """A stolen box makes a member, another box that has not heard of it yet has that member claim a name."""

    async def case(house: House, schedule: Schedule) -> None:
        home, other, stolen = house.boxes
        await house.revoke(home, stolen)
        await house.register(stolen)
        await house.exchange(stolen, other, None)
        node = max(other.store.site.nodes)
        await house.claim(node, other, "thought-up")
        seat = house.seats[node]
        await house.post(node, other, [seat.uid, house.seats[min(house.seats)].uid], [], b"hello")
        assert await house.exchange(other, home, None)

    run(place, 3, 1, case)


def test_an_acknowledgement_at_another_box_outlives_the_cut(place: Lab) -> None:
    """A message that the other box acknowledged for a device, while a third device's old message keeps the
    journals from going as a whole: it does not come back on a copy that is made weeks later."""

    async def case(house: House, schedule: Schedule) -> None:
        home, other = house.boxes
        ann, bob, drawer = sorted(house.seats)
        await house.post(ann, home, [house.seats[drawer].uid], [], b"for a device in a drawer")
        await house.post(ann, home, [house.seats[bob].uid], [], b"fetched at the other box")
        await house.exchange(home, other, None)
        await house.fetch(bob, other, 1.0)
        for _ in range(3):
            await house.exchange(home, other, None)
            house.lab.wall.advance(8 * DAY_S)
            await house.post(bob, other, [house.seats[bob].uid], [], b"so that there is something newer")
            await other.spill()
        assert await house.join(home) is not None
        assert house.counts["copies taken again"] == 0

    run(place, 2, 3, case)


def test_a_device_that_was_dropped_leaves_no_queue_where_it_comes_all_at_once(place: Lab) -> None:
    """A new device inherits a queue and is dropped, and another box hears of both in one go."""

    async def case(house: House, schedule: Schedule) -> None:
        home, other = house.boxes
        (ann,) = house.seats
        await house.post(ann, other, [house.seats[ann].uid], [], b"a note to myself")
        await house.exchange(home, other, None)
        await other.spill()
        await house.new_node(ann, home)
        await house.drop_node(max(home.store.site.nodes), home)
        await house.exchange(home, other, None)

    run(place, 2, 1, case)


def test_two_boxes_that_carried_out_one_request_send_what_one_of_them_made(place: Lab) -> None:
    """Its ack was lost, and the other box had not heard of it; a third box hears of one long before the
    other, when it has forgotten the request."""

    async def case(house: House, schedule: Schedule) -> None:
        home, other, third = house.boxes
        ann, bob = sorted(house.seats)
        ask = await house.post(ann, home, [house.seats[bob].uid], [], b"once")
        await house.send(ask, other)
        await house.exchange(home, third, None)
        for _ in range(3):
            await third.spill()
            house.lab.wall.advance(2 * DAY_S)
            await house.post(bob, third, [house.seats[bob].uid], [], b"time goes by")
        await house.exchange(home, other, None)

    run(place, 3, 2, case)
