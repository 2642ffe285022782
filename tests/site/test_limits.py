"""Each limit: up to it all goes well, beyond it the refusal says which; and what is emitted fits a frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance import wire
from appliance.site import drop_node
from appliance.site.names import NAME_MAX_OCTETS
from appliance.site.rules import OHI_MAX

from .house import House, Person, inviting, pinging, posting, uid, with_sender

DAY_NS = 86_400_000_000_000
HEADER_MAX = 65535


def test_members_of_the_site() -> None:
    house = House(members=2)
    house.members("alice alice", "bob bob bob")
    decision = house.registers("laptop", "carol carol").decision
    assert decision.error == "the site has its 2 members, the most it takes"
    assert not decision.facts and len(house.site.members) == 2


def test_nodes_of_a_member_and_a_dropped_one_makes_room() -> None:
    house = House(nodes_per_member=3)
    alice = house.member("alice alice")
    alice.add_node()
    phone = alice.add_node()
    assert "at most 3 nodes" in alice.is_refused(wire.UserEdit("1", "phone"))
    house.applied(drop_node(house.scene, phone.node.number))
    alice.add_node()


def test_aliases_of_a_member() -> None:
    house = House(aliases_per_member=2)
    alice = house.member("alice alice")
    alice.add_alias("also alice")
    assert "at most 2 aliases" in alice.is_refused(wire.UserEdit("1", None, "third alice"))
    alice.add_alias("also alice")


def test_groups_of_the_site() -> None:
    house = House(groups=1)
    alice, bob, carol = house.members("alice alice", "bob bob bob", "carol carol")
    alice.invite(bob, "group one")
    assert "1 groups" in alice.is_refused(inviting("alice alice", "bob bob bob", "group two"), b"")
    alice.invite(carol, "group one")


def test_members_of_a_group() -> None:
    house = House(members_per_group=2)
    alice, bob, _carol = house.members("alice alice", "bob bob bob", "carol carol")
    alice.invite(bob, "the group")
    error = alice.is_refused(inviting("alice alice", "carol carol", "the group"), b"")
    assert "at most 2 members" in error
    alice.invite(bob, "the group")


def test_entries_in_the_lists_of_a_post() -> None:
    house = House(recipients_per_post=3)
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.post(b"x", *[uid(bob)] * 3)
    assert "at most 3 recipients" in alice.is_refused(posting(b"x", *[uid(bob)] * 4), b"x")
    two = [uid(bob)] * 2
    request = wire.PostNotify(id="1", to=two, noteto=two, datalen=2, notelen=1)
    assert "at most 3 recipients" in alice.is_refused(request, b"n", b"m")


def test_members_in_one_ohi_edit() -> None:
    house = House()
    alice = house.member("alice alice")
    many = [wire.b32encode(b"%020d" % n) for n in range(OHI_MAX + 1)]
    assert f"at most {OHI_MAX} members" in alice.is_refused(wire.OhiEdit("1", many, "add"))


def test_pings_and_invites_of_a_member_in_a_day() -> None:
    house = House(pings_per_member_per_day=3)
    alice, bob, _carol = house.members("alice alice", "bob bob bob", "carol carol")
    house.load.problems[bob.node.number] = "is full"
    alice.is_refused(pinging("alice alice", "bob bob bob"), b"")
    alice.is_refused(inviting("alice alice", "bob bob bob", "the group"), b"")
    alice.is_refused(pinging("alice alice", "nobody nobody"), b"")
    house.load.problems.clear()
    alice.ping("bob bob bob")
    alice.ping("bob bob bob")
    alice.invite(bob, "the group")
    for request in (
        pinging("alice alice", "bob bob bob"),
        inviting("alice alice", "carol carol", "the group"),
    ):
        assert alice.is_refused(request, b"") == "limit reached: 3 pings and invites a day"
    bob.ping("alice alice")
    alice.post(b"x", uid(bob))
    house.scene.at(house.scene.mint.last + DAY_NS)
    alice.ping("bob bob bob")


def test_lasting_changes_of_a_member_in_a_day() -> None:
    house = House(changes_per_member_per_day=3)
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.add_alias("also alice")
    alice.add_node()
    alice.invite(bob, "the group")
    assert "3 changes of" in alice.is_refused(wire.UserEdit("1", None, "third alice"))
    alice.invite(bob, "the group")
    alice.post(b"x", uid(bob))
    bob.join("the group")
    house.scene.at(house.scene.mint.last + DAY_NS)
    alice.add_alias("third alice")


def test_disk_that_the_messages_of_a_member_take() -> None:
    house = House(disk_octets_per_member=100)
    alice, bob = house.members("alice alice", "bob bob bob")
    house.load.stored[alice.node.member] = 60
    alice.post(b"x" * 40, uid(bob))
    for request, data in (
        (posting(b"x" * 41, uid(bob)), (b"x" * 41,)),
        (wire.PostNotify(id="1", to=[uid(bob)], datalen=41, notelen=1), (b"n", b"x" * 40)),
    ):
        assert "100 octets" in alice.is_refused(request, *data)
    bob.post(b"x" * 41, uid(alice))


REQUESTS: dict[str, Callable[[Person, Person], tuple[Any, ...]]] = {
    "post": lambda alice, bob: (posting(b"x", uid(bob)), b"x"),
    "post to a group": lambda alice, bob: (posting(b"x", with_sender("the group")), b"x"),
    "post notify": lambda alice, bob: (
        wire.PostNotify(id="1", to=[uid(bob)], datalen=2, notelen=1),
        b"n",
        b"m",
    ),
    "note": lambda alice, bob: (
        wire.PostNotify(id="1", to=[], noteto=[uid(bob)], datalen=2, notelen=1),
        b"n",
        b"m",
    ),
    "ping": lambda alice, bob: (pinging("alice alice", "bob bob bob", b"x"), b"x"),
    "invite": lambda alice, bob: (inviting("alice alice", "carol carol", "the group"), b""),
    "invite to a new group": lambda alice, bob: (inviting("alice alice", "bob bob bob", "new group"), b""),
    "join": lambda alice, bob: (wire.GroupEdit("1", "join", "the group"),),
    "drop": lambda alice, bob: (wire.GroupEdit("1", "drop", "the group", None, "bob bob bob"),),
    "alias in the group": lambda alice, bob: (wire.GroupEdit("1", "alias", "the group", "alice alice"),),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_full_queue_of_one_recipient_refuses_the_whole(name: str) -> None:
    house = House()
    alice, bob, _carol = house.members("alice alice", "bob bob bob", "carol carol")
    house.group("the group", alice, bob)
    phone = bob.add_node()
    request, *data = REQUESTS[name](alice, bob)
    house.load.problems[phone.node.number] = "has 5 messages waiting"
    error = alice.is_refused(request, *data)
    assert bob.uid in error and "has 5 messages waiting" in error
    house.load.problems.clear()
    alice.asks(request, *data)


@pytest.mark.parametrize(
    "request_",
    [wire.UserEdit("1", "phone"), wire.UserEdit("1", None, "also alice"), "ohi"],
    ids=["new node", "new alias", "presence"],
)
def test_a_full_queue_of_one_s_own_refuses_what_would_be_told_there(request_: Any) -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    phone = alice.add_node()
    if request_ == "ohi":
        request_ = wire.OhiEdit("1", [bob.uid], "add")
    house.load.problems[phone.node.number] = "is full"
    assert "is full" in alice.is_refused(request_)
    alice.asks(wire.OhiEdit("1", [bob.uid], "init"))


def test_room_is_judged_by_the_size_of_what_is_told() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    house.load.largest = 10
    alice.post(b"x" * 10, uid(bob))
    alice.is_refused(posting(b"x" * 11, uid(bob)), b"x" * 11)
    request = wire.PostNotify(id="1", to=[uid(bob)], datalen=15, notelen=5)
    alice.asks(request, b"n" * 5, b"m" * 10)
    alice.is_refused(request, b"n" * 5, b"m" * 11)
    alice.is_refused(request, b"n" * 11, b"m" * 5)


# Names

WIDEST = "<" * NAME_MAX_OCTETS
"""Six octets of JSON for each octet of the name."""


def widest(first: str) -> str:
    return first + WIDEST[1:]


@pytest.mark.parametrize("character", ["<", '"', "\\", "x", "\u00e9", "\U0001f600"])
def test_names_have_1024_octets_at_most(character: str) -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    longest = character * (NAME_MAX_OCTETS // len(character.encode()))
    for name in (longest + character, longest * 9):
        assert "at most 1024 octets" in alice.is_refused(wire.UserEdit("1", None, name))
        assert "at most 1024 octets" in alice.is_refused(wire.UserEdit("1", name))
        assert "at most 1024 octets" in alice.is_refused(inviting("alice alice", "bob bob bob", name), b"")
        decision = house.registers(name, None).decision
        assert decision.error is not None and decision.error.startswith("newnode")
        decision = house.registers("laptop", name).decision
        assert decision.error is not None and "at most 1024 octets" in decision.error and decision.lasting
    alice.add_alias(longest)
    alice.add_node(longest)
    assert bob.ping(longest).one("ping").header["to"] == longest


def test_emitted_headers_fit_with_the_longest_names_and_the_most_escapes() -> None:
    house = House(members=OHI_MAX + 10)
    alice, bob = house.member(widest("a")), house.member(widest("b"))
    also, gid = widest("c"), widest("d")
    alice.add_alias(also)
    many = [house.registers("x").decision.member for _ in range(OHI_MAX)]
    uids = [house.site.members[number].uid for number in many]
    longest: dict[str, Any] = {"datahead": 1 << 62, "datasum": (1 << 64) - 1}
    text = b"x" * 420
    outcomes = [
        house.logs_in(alice),
        alice.add_alias(also),
        alice.asks(wire.UserEdit("1", "\0" * NAME_MAX_OCTETS)),
        alice.asks(wire.OhiEdit("1", uids, "add")),
        alice.asks(wire.OhiEdit("1", uids, "drop")),
        alice.asks(wire.Ping("1", also, bob.alias, 420, **longest), text),
        alice.asks(wire.GroupInvite("1", gid, also, bob.alias, 420, **longest), text),
        bob.join(gid),
        alice.asks(wire.GroupEdit("1", "alias", gid, alice.alias)),
        alice.drop(bob, gid),
        alice.asks(posting(b"x", uid(bob), **longest), b"x"),
        alice.asks(
            wire.PostNotify(
                id="1", to=[uid(bob)] * 1000, datalen=2, notelen=1, notehead=1 << 62, notesum=(1 << 64) - 1
            ),
            b"n",
            b"m",
        ),
    ]
    heads = [told.head for outcome in outcomes for told in outcome.told]
    assert {told.header["op"] for outcome in outcomes for told in outcome.told} == {
        "login",
        "user",
        "ohiedit",
        "ping",
        "invite",
        "member",
        "delivery",
        "notify",
    }
    assert 50_000 < max(map(len, heads)) <= HEADER_MAX + 4
