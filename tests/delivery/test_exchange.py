"""Who is connected, and who is told."""

from __future__ import annotations

from typing import Any, cast

from appliance.delivery import Courier, CourierSettings, Exchange
from appliance.site import RANK_NORMAL, RANK_USER, Message


class Connection:
    """Notes what it is told."""

    def __init__(self, node: int) -> None:
        self.member = 1
        self.told: list[Any] = []
        self.courier = Courier(node, cast(Any, None), CourierSettings(), self.wake)
        self.courier.push = lambda msgid, rank: self.told.append((msgid, rank))  # type: ignore[method-assign]

    def notice(self, frame: bytes) -> None:
        self.told.append(frame)

    def cut(self) -> None:
        self.told.append("cut")

    def wake(self) -> None: ...
    def suspect(self) -> None: ...


def message(msgid: int, *nodes: int, rank: int = RANK_NORMAL) -> Message:
    return Message(msgid, rank, b"head", 0, b"", None, 1, nodes)


def test_what_is_published_goes_to_the_couriers_of_those_who_are_there() -> None:
    exchange, phone, laptop = Exchange(), Connection(16), Connection(32)
    assert exchange.enter(16, phone) and exchange.enter(32, laptop)
    exchange.publish([message(1, 16, 32, 48), message(2, 32, rank=RANK_USER), message(3), message(4, 48)])
    assert phone.told == [(1, RANK_NORMAL)]
    assert laptop.told == [(1, RANK_NORMAL), (2, RANK_USER)]


def test_a_node_has_one_connection_and_keeps_it() -> None:
    exchange, first, second = Exchange(), Connection(16), Connection(16)
    assert exchange.enter(16, first)
    assert not exchange.enter(16, second)
    exchange.leave(16, second)
    assert exchange.online == {16: first}
    exchange.leave(16, first)
    assert exchange.enter(16, second)


def test_notices_and_cuts_reach_those_who_are_there() -> None:
    exchange, phone, laptop = Exchange(), Connection(16), Connection(32)
    exchange.enter(16, phone)
    exchange.enter(32, laptop)
    exchange.notice([16, 48], b"ohi")
    exchange.cut([32, 48])
    assert (phone.told, laptop.told) == ([b"ohi"], ["cut"])


def test_counts_outlive_connections() -> None:
    exchange, phone, laptop = Exchange(), Connection(16), Connection(32)
    exchange.enter(16, phone)
    exchange.enter(32, laptop)
    phone.courier.delivered, phone.courier.resent = 5, 1
    laptop.courier.delivered = 2
    assert exchange.totals() == (7, 1)
    exchange.leave(16, phone)
    assert exchange.totals() == (7, 1)
