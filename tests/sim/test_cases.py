"""Schedules that once ended badly, each as small as it goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from tests.sim.house import House
from tests.sim.lab import Lab, lab
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
