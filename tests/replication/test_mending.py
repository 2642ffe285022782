"""Entries that one box's disk damaged, told between boxes in pieces; and what nobody asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import trio
import trio.testing

from appliance.replication import mending
from appliance.replication.mending import ENTRY, WANTED, Mending
from appliance.store import Arrival, BadEntries

encode = msgspec.msgpack.encode


def arrival(seq: int, size: int = 100) -> Arrival:
    return Arrival("boxa", seq, seq, 2, bytes(32), b"x" * size, bytes(64))


class Healing:
    """What is wanted, what is here, what was mended."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], None] = {}
        self.here: dict[tuple[str, int], Arrival] = {}
        self.mended: list[Arrival] = []
        self.fits = True

    async def entry(self, box: str, seq: int) -> Arrival | None:
        return self.here.get((box, seq))

    async def mend(self, arrival: Arrival) -> bool:
        if not self.fits:
            raise BadEntries("it does not fit")
        self.mended.append(arrival)
        del self.entries[arrival.box, arrival.seq]
        return True


class Side:
    """One box. What it tells is lost if ``deaf``, or goes to the other side."""

    healing: Any

    def __init__(self, name: str) -> None:
        self.name = name
        self.healing = Healing()
        self.told: list[tuple[str, bytes]] = []
        self.other: Side
        self.deaf = False
        session = SimpleNamespace(open=True, tell=self.tell)
        neighbours = {"a": SimpleNamespace(session=session), "b": SimpleNamespace(session=session)}
        hub: Any = SimpleNamespace(tell=self.tell, neighbours=neighbours)
        self.mending = Mending(self.healing, hub)

    def tell(self, topic: str, payload: bytes) -> None:
        self.told.append((topic, payload))
        assert len(payload) <= 1 << 16
        if not self.deaf:
            self.other.mending.heard(self.name, topic, payload)


def both(body: Callable[[Side, Side], Awaitable[None]]) -> None:
    async def main() -> None:
        a, b = Side("a"), Side("b")
        a.other, b.other = b, a
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.mending.run)
            nursery.start_soon(b.mending.run)
            await body(a, b)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_is_asked_for_is_brought_also_if_it_is_long() -> None:
    async def body(a: Side, b: Side) -> None:
        wanted = [arrival(1), arrival(2, 200_000), arrival(3)]
        b.healing.here = {(one.box, one.seq): one for one in wanted[:2]}
        a.healing.entries = {(one.box, one.seq): None for one in wanted}
        a.healing.ask(list(a.healing.entries))
        await trio.sleep(5)
        assert a.healing.mended == wanted[:2]
        assert list(a.healing.entries) == [("boxa", 3)], "nobody has it"
        assert a.healing.in_reach()

    both(body)


def test_a_question_has_a_bound() -> None:
    async def body(a: Side, b: Side) -> None:
        b.healing.here = {("boxa", seq): arrival(seq) for seq in range(1000)}
        a.healing.entries = {("boxa", seq): None for seq in range(1000)}
        a.healing.ask(list(a.healing.entries))
        a.tell(WANTED, encode([("boxa", seq) for seq in range(1000)]))
        await trio.sleep(50)
        assert len(a.healing.mended) == mending.ASKED_MAX

    both(body)


def test_what_nobody_asked_for_is_left_alone() -> None:
    async def body(a: Side, b: Side) -> None:
        octets = encode(arrival(1))
        half = len(octets) // 2
        b.tell(ENTRY, encode(("boxa", 1, len(octets), 0, octets)))
        a.healing.entries = {("boxa", 1): None}
        for topic, payload in (
            (ENTRY, b"\xff\x00"),
            (WANTED, encode("all")),
            ("weather", b"rain"),
            (ENTRY, encode(("boxa", 1, 1 << 40, 0, octets))),
            (ENTRY, encode(("boxa", 1, len(octets), half, octets[half:]))),
            (ENTRY, encode(("boxa", 1, half, 0, octets))),
            (ENTRY, encode(("boxa", 1, 5, 0, b"12345"))),
        ):
            b.tell(topic, payload)
        await trio.sleep(5)
        assert not a.healing.mended and not a.mending._incoming
        b.tell(ENTRY, encode(("boxa", 1, len(octets), 0, octets[:half])))
        b.tell(ENTRY, encode(("boxa", 1, len(octets), half, octets[half:])))
        await trio.sleep(1)
        assert a.healing.mended == [arrival(1)]

    both(body)


def test_what_does_not_fit_stays_wanted_and_harms_nothing() -> None:
    async def body(a: Side, b: Side) -> None:
        b.healing.here = {("boxa", 1): arrival(1)}
        a.healing.entries, a.healing.fits = {("boxa", 1): None}, False
        a.healing.ask([("boxa", 1)])
        await trio.sleep(5)
        a.healing.fits = True
        a.healing.ask([("boxa", 1)])
        await trio.sleep(5)
        assert a.healing.mended == [arrival(1)]

    both(body)
