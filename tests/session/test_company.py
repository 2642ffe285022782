"""Boxes tell each other who is there: two of them, joined by a wire that can be cut."""

from __future__ import annotations

import json

import pytest

from appliance.delivery import Exchange
from appliance.session.company import Company
from appliance.site import OFFLINE, ONLINE, Node, Site
from appliance.site.facts import MemberAdded, NodeAdded

ANN, BOB = 16, 32
PHONE, LAPTOP, BOBS = 48, 64, 80


class Linked:
    """A node's link, which notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.suspected = 0

    def notice(self, frame: bytes) -> None:
        told = json.loads(frame[4:])
        self.heard.append((told["from"], told["status"]))

    def suspect(self) -> None:
        self.suspected += 1


class Side:
    def __init__(self, name: str) -> None:
        self.name = name
        self.site = Site()
        for member, uid in ((ANN, "ann"), (BOB, "bob")):
            self.site.apply(MemberAdded(member, uid, 0))
        for node, member in ((PHONE, ANN), (LAPTOP, ANN), (BOBS, BOB)):
            self.site.apply(NodeAdded(node, member, "", b"%d" % node, 0))
        self.exchange = Exchange()
        self.company = Company(self.site, self.exchange)

    def log_in(self, node: int) -> tuple[Linked, list[int]]:
        link = Linked()
        self.exchange.online[node] = link  # type: ignore[assignment]
        return link, self.company.arrived(self.site.nodes[node])

    def log_out(self, node: int) -> None:
        del self.exchange.online[node]
        self.company.left(self.site.nodes[node])


class Pair:
    """Two boxes and the wire between them."""

    def __init__(self) -> None:
        self.a, self.b = Side("AAAAAAAA"), Side("BBBBBBBB")
        self.whole = False
        for side, other in ((self.a, self.b), (self.b, self.a)):
            side.company.tell = self._carrier(side, other)

    def _carrier(self, side: Side, other: Side):
        def carry(topic: str, payload: bytes) -> None:
            if self.whole:
                assert len(payload) <= 65536
                other.company.heard(side.name, topic, payload)

        return carry

    def join(self) -> None:
        self.whole = True
        self.a.company.joined()
        self.b.company.joined()

    def cut(self) -> None:
        self.whole = False
        self.a.company.parted("BBBBBBBB")
        self.b.company.parted("AAAAAAAA")


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_presence_is_told_across_boxes(pair: Pair) -> None:
    pair.join()
    bob, _ = pair.b.log_in(BOBS)
    pair.a.log_in(PHONE)
    pair.a.company.announce(ANN, [BOB])
    assert bob.heard == [("ann", ONLINE)]
    pair.a.log_out(PHONE)
    assert bob.heard == [("ann", ONLINE), ("ann", OFFLINE)]


def test_a_member_is_online_while_any_box_has_a_link(pair: Pair) -> None:
    pair.join()
    bob, _ = pair.b.log_in(BOBS)
    pair.a.log_in(PHONE)
    pair.a.company.announce(ANN, [BOB])
    pair.b.log_in(LAPTOP)
    pair.a.log_out(PHONE)
    assert bob.heard == [("ann", ONLINE)], "the laptop is still there, at the other box"
    assert pair.a.company.is_online(LAPTOP) and not pair.a.company.is_online(PHONE)
    pair.b.log_out(LAPTOP)
    assert bob.heard[1:] == [("ann", OFFLINE)]


def test_a_login_is_told_who_is_online_at_the_other_box(pair: Pair) -> None:
    pair.join()
    pair.a.log_in(PHONE)
    pair.a.company.announce(ANN, [BOB])
    _, hears = pair.b.log_in(BOBS)
    assert hears == [ANN]


def test_what_was_so_before_the_boxes_met_is_told_then(pair: Pair) -> None:
    bob, _ = pair.b.log_in(BOBS)
    pair.a.log_in(PHONE)
    pair.a.company.announce(ANN, [BOB])
    assert bob.heard == []
    pair.join()
    assert bob.heard == [("ann", ONLINE)]
    pair.cut()
    assert bob.heard == [("ann", ONLINE), ("ann", OFFLINE)]
    pair.join()
    assert bob.heard[2:] == [("ann", ONLINE)]


def test_a_box_that_begins_anew_takes_back_what_it_had_said(pair: Pair) -> None:
    pair.join()
    bob, _ = pair.b.log_in(BOBS)
    pair.a.log_in(PHONE)
    pair.a.company.announce(ANN, [BOB])
    fresh = Side("AAAAAAAA")
    fresh.company.tell = lambda topic, payload: pair.b.company.heard("AAAAAAAA", topic, payload)
    fresh.company.joined()
    assert bob.heard == [("ann", ONLINE), ("ann", OFFLINE)]


def test_a_node_that_turns_up_elsewhere_makes_its_old_link_suspect(pair: Pair) -> None:
    pair.join()
    old, _ = pair.a.log_in(PHONE)
    pair.b.log_in(PHONE)
    assert old.suspected == 1


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\x93\xa6linked\x01", b"\xff" * 100, b"\x92\xa5later\x01"]
)
def test_what_is_not_understood_does_no_harm(pair: Pair, payload: bytes) -> None:
    pair.b.company.heard("AAAAAAAA", "presence", payload)
    pair.b.company.heard("AAAAAAAA", "another topic", payload)


def test_a_member_that_is_not_known_here_yet_does_no_harm(pair: Pair) -> None:
    pair.join()
    pair.a.site.apply(MemberAdded(96, "eve", 0))
    pair.a.site.apply(NodeAdded(112, 96, "", b"112", 0))
    pair.a.log_in(112)
    pair.a.company.announce(96, [BOB])
    assert isinstance(pair.a.site.nodes[112], Node)
    pair.a.log_out(112)
