"""What a sender sent stays in order for a while, where an earlier message has yet to come."""

from __future__ import annotations

import math

from appliance.site import RANK_NORMAL, RANK_USER, Message
from appliance.site.facts import Sent
from appliance.store.order import BLOCKS_MAX, HELD_MAX, MOVING_S, PAUSE_S, WAIT_S, Order
from appliance.store.queues import Absent

ANN, BOB = 16, 32
LAPTOP, PHONE, OTHER = 48, 64, 80
BLOB = bytes(32)


class Desk:
    """An order, on a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.absent: dict[int, Absent] = {}
        self.order = Order(lambda: self.absent, lambda: self.now)

    def lacks(
        self, msgid: int, sender: int = ANN, nodes: tuple[int, ...] = (LAPTOP, PHONE), rank: int = 1
    ) -> None:
        self.absent[msgid] = Absent(rank, 9, BLOB, b"", True, set(nodes))
        self.order.begin(Sent(msgid, rank, sender, b"", 9, nodes, BLOB))

    def comes(self, msgid: int, sender: int = ANN, nodes: tuple[int, ...] = (LAPTOP,), rank: int = 1) -> bool:
        """Whether it may go out at once."""
        return bool(self.order.keep([message(msgid, sender, nodes, rank)]))

    def freed(self) -> list[int]:
        return [message.msgid for message in self.order.release()]


def message(msgid: int, sender: int, nodes: tuple[int, ...], rank: int = RANK_NORMAL) -> Message:
    return Message(msgid, rank, b"head", 4, b"data", None, sender, nodes)


def test_later_ones_of_the_same_sender_to_the_same_device_wait_until_it_is_there() -> None:
    desk = Desk()
    desk.lacks(1000)
    assert not desk.comes(1001) and not desk.comes(1003) and not desk.comes(1002)
    assert desk.freed() == [] and 1001 in desk.order.held
    assert desk.order.held[1001].data is None, "its octets are not kept"
    del desk.absent[1000]
    assert desk.freed() == [1001, 1002, 1003] and not desk.order.held
    assert desk.comes(1004)


def test_what_nobody_waits_for_any_more_holds_nobody_back() -> None:
    desk = Desk()
    desk.lacks(1000)
    assert not desk.comes(1001)
    desk.absent[1000].nodes.clear()
    assert desk.freed() == [1001]


def test_nobody_else_waits() -> None:
    desk = Desk()
    desk.lacks(1000)
    assert desk.comes(1001, sender=BOB)
    assert desk.comes(1001, nodes=(OTHER,))
    assert desk.comes(999), "sent before"
    assert desk.comes(1001, rank=RANK_USER)
    desk.lacks(1100, sender=BOB, rank=RANK_USER)
    assert desk.comes(1101, sender=BOB)


def test_what_waits_for_a_part_of_its_devices_is_overtaken_at_none() -> None:
    desk = Desk()
    desk.lacks(1000, nodes=(PHONE,))
    assert not desk.comes(1001, nodes=(LAPTOP, PHONE)), "it waits for both"
    assert not desk.comes(1002, nodes=(LAPTOP,)), "or it would be there before the one before it"
    assert not desk.comes(1003, nodes=(LAPTOP, OTHER))
    assert not desk.comes(1004, nodes=(OTHER,))
    assert desk.comes(1005, sender=BOB, nodes=(LAPTOP,))
    assert desk.freed() == []
    del desk.absent[1000]
    assert desk.freed() == [1001, 1002, 1003, 1004]


def test_a_file_that_does_not_move_is_waited_for_some_seconds() -> None:
    desk = Desk()
    desk.lacks(1000)
    assert not desk.comes(1001) and desk.order.left_s == WAIT_S
    desk.now += WAIT_S
    assert desk.order.left_s == 0 and desk.freed() == [1001]
    assert desk.comes(1002) and desk.order.left_s == math.inf


def test_one_that_moves_longer_but_not_for_ever() -> None:
    desk = Desk()
    desk.lacks(1000)
    assert not desk.comes(1001)
    for _ in range(int(MOVING_S) - 1):
        desk.now += 1
        desk.order.moved(BLOB)
        desk.order.moved(bytes(31) + b"x")
        assert desk.freed() == []
    desk.now += 1
    desk.order.moved(BLOB)
    assert desk.freed() == [1001]
    desk.lacks(2000)
    desk.now += WAIT_S - 1
    desk.order.moved(BLOB)
    assert not desk.comes(2001)
    desk.now += PAUSE_S
    assert desk.freed() == [2001], "it stood still"


def test_not_more_than_so_much_is_kept_in_order() -> None:
    desk = Desk()
    desk.lacks(1000)
    assert not any(desk.comes(2000 + count) for count in range(HELD_MAX))
    assert desk.comes(9000)
    desk = Desk()
    for count in range(BLOCKS_MAX + 1):
        desk.lacks(1000 + count, sender=count)
    assert not desk.comes(9000, sender=BLOCKS_MAX - 1) and desk.comes(9001, sender=BLOCKS_MAX)
