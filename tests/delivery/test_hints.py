"""What is pushed or acknowledged while a courier reads the store: nothing is lost, sent twice or late."""

from __future__ import annotations

import pytest
import trio

from appliance.delivery import courier as courier_module

from .shelf import RANK_USER, Carrier, Shelf, carried, quiet

KIB = 1 << 10


def test_more_than_a_window_is_read_from_the_store_in_few_reads() -> None:
    async def body(carrier: Carrier) -> None:
        for msgid in range(1, 301):
            await trio.testing.wait_all_tasks_blocked()
            assert msgid in carrier.ids, "it waits for an acknowledgement that cannot come"
            carrier.ack(msgid)
            if msgid % 10 == 0:
                carrier.shelf.commit()
        assert carrier.ids == list(range(1, 301))
        assert carrier.shelf.reads < 300 / 16 + 5

    carried(body, before=300)


@pytest.mark.parametrize("read_s", [0.0, 0.3])
def test_hints_that_are_dropped_are_read_from_the_store(
    monkeypatch: pytest.MonkeyPatch, read_s: float
) -> None:
    monkeypatch.setattr(courier_module, "HINTS_MAX", 8)

    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(50)
        assert len(carrier.courier._hints) <= 9, "bounded"
        carrier.shelf.spill()
        while carrier.shelf.waiting():
            await quiet()
            carrier.ack(carrier.out[-1].msgid, *[m for m in carrier.ids[:-1] if m in carrier.shelf.queue])
            carrier.shelf.commit()
        assert carrier.ids == list(range(1, 51))
        carrier.post(3)
        await quiet()
        assert carrier.ids == list(range(1, 54)), "caught up, hints are good again"

    carried(body, read_s=read_s, window_messages=5)


def test_what_is_pushed_while_the_store_is_read_is_not_lost() -> None:
    async def body(carrier: Carrier) -> None:
        await trio.sleep(0.5)
        carrier.post(2)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 5]

    carried(body, before=3, read_s=0.9)


def test_what_is_acknowledged_while_it_is_read_is_not_sent() -> None:
    """A node may acknowledge what it got on an earlier link."""

    async def body(carrier: Carrier) -> None:
        await trio.sleep(0.5)
        carrier.ack(2)
        await quiet()
        assert carrier.ids == [1, 3]
        await trio.sleep(31)
        assert carrier.ids == [1, 3, 1, 3]

    carried(body, before=3, read_s=0.9)


def test_what_is_acknowledged_before_it_is_sent_is_not_sent() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(8)
        await quiet()
        carrier.ack(6)
        carrier.ack(1, 2, 3, 4)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 5, 7, 8]

    carried(body, window_messages=4)


def test_what_is_in_the_tables_and_known_from_elsewhere_is_not_sent() -> None:
    """The node got it at another box, or on an earlier link, and says so here."""

    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.ack(4, 6, 99)
        carrier.shelf.commit()
        for msgid in (1, 2, 3, 5, 7):
            carrier.ack(msgid)
            await quiet()
        assert carrier.ids == [1, 2, 3, 5, 7]
        assert not carrier.shelf.waiting()

    carried(body, before=7, prepare=Shelf.spill, window_messages=3)


def test_acks_of_what_is_not_there_keep_nothing_back() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.ack(*range(100, 200))
        for msgid in range(1, 10):
            carrier.ack(msgid)
            await quiet()
        assert carrier.ids == list(range(1, 10))

    carried(body, before=9, window_messages=3)


@pytest.mark.parametrize("read_s", [0.0, 0.9])
def test_what_the_store_kept_back_comes_when_it_is_pushed(read_s: float) -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        assert carrier.ids == [1, 3]
        carrier.shelf.kept_back.clear()
        carrier.push(carrier.shelf.queue[2], carrier.shelf.queue[4])
        await quiet()
        carrier.post(1)
        await quiet()
        assert carrier.ids == [1, 3, 2, 4, 5]

    carried(body, before=4, read_s=read_s, prepare=lambda shelf: shelf.kept_back.update((2, 4)))


def test_what_is_pushed_again_is_sent_once() -> None:
    """Its octets were found damaged, and came from another box."""

    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(3)
        carrier.push(*carrier.shelf.queue.values())
        await quiet()
        carrier.push(*carrier.shelf.queue.values())
        carrier.ack(1, 2)
        await quiet()
        assert carrier.ids == [1, 2, 3]
        carrier.ack(3)
        carrier.post(2)
        await quiet()
        assert carrier.ids == [1, 2, 3, 4, 5]

    carried(body, window_messages=2)


def test_what_is_pushed_again_while_it_is_read_is_sent_once() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(2, cached=False)
        await trio.sleep(0.5)
        carrier.push(*carrier.shelf.queue.values())
        carrier.post(1)
        await quiet()
        assert carrier.ids == [1, 2, 3]
        carrier.ack(1, 2)
        await quiet()
        assert carrier.ids == [1, 2, 3]

    carried(body, read_s=0.9)


def test_user_messages_that_the_window_did_not_take_keep_their_order() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(2, size=40 * KIB)
        carrier.post(2, size=40 * KIB, rank=RANK_USER)
        await quiet()
        carrier.post(1, size=40 * KIB, rank=RANK_USER)
        for _ in range(5):
            carrier.ack(carrier.ids[-1])
            await quiet()
        assert [n for n in carrier.ids if n > 2] == [3, 4, 5]

    carried(body, window_octets=64 * KIB)


def test_what_the_window_does_not_take_keeps_its_place() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(5, size=40 * KIB, cached=False)
        await trio.sleep(0.5)
        carrier.post(1)
        carrier.ack(3)
        await quiet()
        assert carrier.ids == [1]
        for msgid in (1, 2, 4, 5):
            carrier.ack(msgid)
            await quiet()
        assert carrier.ids == [1, 2, 4, 5, 6]

    carried(body, window_octets=64 * KIB, read_s=0.9)


def test_when_all_that_is_read_is_acknowledged_meanwhile_the_next_come() -> None:
    async def body(carrier: Carrier) -> None:
        await trio.sleep(0.5)
        carrier.ack(1, 2, 3, 4)
        await quiet()
        assert carrier.ids == [5, 6]

    carried(body, before=6, read_s=0.9, window_messages=4)


def test_the_same_when_hints_are_read() -> None:
    async def body(carrier: Carrier) -> None:
        await quiet()
        carrier.post(6, cached=False)
        await trio.sleep(0.5)
        carrier.ack(1, 2, 3, 4)
        await quiet()
        assert carrier.ids == [5, 6]

    carried(body, read_s=0.9, window_messages=4)
