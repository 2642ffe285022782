"""One node's messages on their way to its link: window, order, repetition (TMTP 2 and 4)."""

from __future__ import annotations

import math

import pytest
import trio

from appliance.delivery import CourierSettings
from appliance.delivery import courier as courier_module

from .shelf import RANK_USER, Carrier, Shelf, carried, ids, quiet, run

KIB = 1 << 10
MIB = 1 << 20


def test_what_waited_comes_at_once_and_in_order() -> None:
    carrier = carried(lambda c: quiet(), before=10)
    assert carrier.ids == list(range(1, 11))


def test_what_is_pushed_comes_at_once() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        assert carrier.ids == []
        carrier.post(3)
        await trio.testing.wait_all_tasks_blocked()
        assert carrier.ids == [1, 2, 3]
        assert carrier.shelf.reads == 0, "online nodes are not served from the card"

    carried(body)


def test_so_many_messages_are_in_flight_and_no_more() -> None:
    async def body(carrier: Carrier) -> None:
        carrier.post(9)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4]
        carrier.ack(2)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 5]
        carrier.ack(1, 3, 4, 5)
        await quiet()
        assert carrier.ids == list(range(1, 10))

    carried(body, window_messages=4)


def test_so_many_octets_are_in_flight_and_no_more() -> None:
    async def body(carrier: Carrier) -> None:
        carrier.post(4, size=30 * KIB)
        await quiet()
        assert carrier.ids == [1, 2]
        carrier.ack(1)
        await quiet()
        assert carrier.ids == [1, 2, 3]

    carried(body, window_octets=64 * KIB)


def test_one_message_larger_than_the_window_is_in_flight_beside_it() -> None:
    async def body(carrier: Carrier) -> None:
        for size in (10, 3 * MIB, 10, 10, 2 * MIB, 10):
            carrier.post(size=size)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4], "the second large one waits for the first, and keeps its place"
        carrier.ack(1, 3, 4)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4]
        carrier.ack(2)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 5, 6]

    carried(body, window_octets=MIB)


def test_one_take_returns_no_more_than_a_piece() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        assert (count := len(carrier.ids)) > 48
        for batch in carrier.batches:
            assert sum(message.octets for message in batch) < courier_module.TAKE_OCTETS + 61 * KIB
        first = len(carrier.batches)
        await trio.sleep(31)
        assert carrier.ids == 2 * list(range(1, count + 1)), "and again, in order"
        for batch in carrier.batches[first:]:
            assert sum(message.octets for message in batch) < courier_module.TAKE_OCTETS + 61 * KIB

    carried(body, prepare=lambda shelf: [shelf.add(60 * KIB, cached=False) for _ in range(64)])


def test_user_messages_come_first() -> None:
    def prepare(shelf: Shelf) -> None:
        for n in range(10):
            shelf.add(rank=RANK_USER if n % 3 == 2 else 1, cached=False)

    async def body(carrier: Carrier) -> None:
        await quiet()
        assert carrier.ids == [3, 6, 9, 1]
        carrier.push(carrier.shelf.add(rank=RANK_USER))
        carrier.ack(3, 6)
        await quiet()
        assert carrier.ids == [3, 6, 9, 1, 11, 2]

    carried(body, prepare=prepare, window_messages=4)


def test_user_messages_overtake_what_waits_for_the_window() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(8)
        await quiet()
        carrier.post(1, rank=RANK_USER)
        await quiet()
        carrier.ack(1, 2)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 9, 5]

    carried(body, window_messages=4)


def test_a_user_message_that_comes_while_the_store_is_read_loses_no_other() -> None:
    def prepare(shelf: Shelf) -> None:
        for _ in range(6):
            shelf.add(60 * KIB, cached=False)
        shelf.spill()

    async def body(carrier: Carrier) -> None:
        await trio.sleep(0.2)
        carrier.post(1, rank=RANK_USER)
        await quiet()
        assert sorted(carrier.ids) == [1, 2, 3, 4, 5, 6, 7]

    carried(body, prepare=prepare, read_s=0.9)


@pytest.mark.parametrize("read_s", [0.0, 0.5])
def test_user_messages_overtake_also_when_hints_were_dropped(
    monkeypatch: pytest.MonkeyPatch, read_s: float
) -> None:
    monkeypatch.setattr(courier_module, "HINTS_MAX", 8)

    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(20, cached=False)
        carrier.push(carrier.shelf.add(rank=RANK_USER))
        carrier.post(5)
        await quiet()
        assert 21 in carrier.ids[:5], "after those at most that were on their way"
        while carrier.shelf.waiting():
            carrier.ack(*[msgid for msgid in carrier.ids if msgid in carrier.shelf.queue])
            carrier.shelf.commit()
            await quiet()
        assert [n for n in carrier.ids if n != 21] == [n for n in range(1, 27) if n != 21]

    carried(body, window_messages=4, read_s=read_s)


def test_an_ack_that_comes_twice_counts_once() -> None:
    """Else the queue would seem shorter than it is, and its end would never be read."""

    async def body(carrier: Carrier) -> None:
        await quiet()
        for msgid in range(1, 10):
            carrier.ack(msgid, msgid)
            await quiet()
        assert carrier.ids == list(range(1, 10))
        assert carrier.courier.delivered == 9

    carried(body, before=9, window_messages=3)


def test_an_id_that_is_not_outstanding_is_ignored() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.ack(0, 5, 2**64 - 1)
        await quiet()
        assert carrier.ids == [1, 2]
        assert carrier.courier.delivered == 0

    carried(body, before=2)


def test_what_is_not_acknowledged_is_sent_again_after_a_while_in_order() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(6)
        await trio.sleep(15)
        carrier.ack(2, 4)
        carrier.post(1)
        await trio.sleep(14)
        assert carrier.ids == [1, 2, 3, 4, 5, 6, 7]
        await trio.sleep(3)
        assert carrier.ids == [1, 2, 3, 4, 5, 6, 7, 1, 3, 5, 6]
        await trio.sleep(15)
        assert carrier.ids[11:] == [7]
        await trio.sleep(15)
        assert carrier.ids[12:] == [1, 3, 5, 6]
        assert carrier.courier.resent == 9

    carried(body, resend_after_s=30.0)


def test_what_is_acknowledged_while_it_is_read_again_is_not_sent_again() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        await trio.sleep_until(31.5)
        carrier.ack(1, 3)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 2, 4]

    carried(body, before=4, read_s=0.9)


def test_all_acknowledged_while_it_is_read_again_the_next_come() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        await trio.sleep_until(31.5)
        carrier.ack(1, 2)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4]

    carried(body, before=4, read_s=0.9, window_messages=2)


def test_what_the_store_lost_keeps_nothing_back() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        for msgid in (1, 3):
            del carrier.shelf.queue[msgid]
        await trio.sleep(31)
        assert carrier.ids == [1, 2, 3, 2, 4, 5]

    carried(body, before=5, window_messages=3)


def test_what_is_in_the_queue_and_nowhere_else_keeps_nothing_back() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        assert carrier.ids == [2]
        carrier.ack(2)
        carrier.shelf.commit()
        for msgid in (3, 4, 5):
            if msgid < 5:
                carrier.shelf.lost.add(msgid)
            carrier.post(1, cached=False)
            await quiet()
        assert carrier.ids == [2, 5]

    def prepare(shelf: Shelf) -> None:
        shelf.add(cached=False)
        shelf.add(cached=False)
        shelf.lost.add(1)

    carried(body, prepare=prepare)


def test_the_same_when_it_is_pushed() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.shelf.lost.add(1)
        carrier.post(1, cached=False)
        await quiet()
        carrier.post(1)
        await quiet()
        assert carrier.ids == [2]

    carried(body)


def test_nothing_is_sent_again_while_it_is_still_on_its_way() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        await trio.sleep(20)
        carrier.courier.postpone()
        await trio.sleep(20)
        assert carrier.ids == [1, 2]
        await trio.sleep(15)
        assert carrier.ids == [1, 2, 1, 2]

    carried(body, before=2)


def test_what_was_taken_and_not_yet_sent_does_not_expire() -> None:
    async def body(carrier: Carrier) -> None:
        courier = carrier.courier
        taken = await courier.take()
        assert ids(taken) == [1, 2, 3]
        courier.postpone()
        assert courier.next_expiry == math.inf
        await trio.sleep(100)
        assert await courier.take() == []
        courier.ack(2)
        courier.sent(taken)
        assert courier.next_expiry == trio.current_time() + 30
        await trio.sleep(31)
        assert ids(await courier.take()) == [1, 3]
        assert courier.next_expiry == math.inf

    shelf = Shelf()
    for _ in range(3):
        shelf.add()
    run(lambda: body(Carrier(shelf, CourierSettings())))


def test_delivered_counts_what_the_node_has() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.ack(1, 2, 2, 9)
        assert carrier.courier.delivered == 2

    carried(body, before=3)
