"""What the owner of a box decides: members, devices, and who is the owner."""

from __future__ import annotations

import pytest

from appliance.site import add_device, add_member, drop_node, facts, find_owner, set_owner

from .house import House, uid


def added(house: House, alias: str, label: str | None = None) -> int:
    decision = add_member(house.scene, alias, label, house.credentials())
    assert decision.error is None, decision.error
    house.applied(decision)
    return decision.member


def test_a_member_can_be_added_without_a_device() -> None:
    house = House()
    member = house.site.members[added(house, "ann smith")]
    assert (member.aliases, member.nodes) == (["ann smith"], [])
    ann = house.site.aliases["ann smith"]
    bob = house.member("bob smith")
    assert bob.ping("ann smith").nothing("ping")
    assert bob.post(b"x", uid(ann.uid)).nothing("delivery")


def test_a_member_can_be_added_with_a_first_device() -> None:
    house = House()
    member = house.site.members[added(house, "ann smith", "phone")]
    (number,) = member.nodes
    assert house.site.nodes[number].label == "phone"
    assert number != member.number


@pytest.mark.parametrize(
    ("alias", "label", "problem"),
    [
        ("short", None, "8+ characters"),
        ("line\nfeed", None, "printable"),
        ("a" * 1025, None, "1024 octets"),
        ("bob smith", None, "in use already"),
        ("ann smith", "", "needs a name"),
        ("ann smith", " \t", "needs a name"),
        ("ann smith", "a" * 1025, "1024 octets"),
    ],
)
def test_a_member_who_cannot_be_is_not_made_in_part(alias: str, label: str | None, problem: str) -> None:
    house = House()
    house.member("bob smith")
    decision = add_member(house.scene, alias, label, house.credentials())
    assert decision.error is not None and problem in decision.error
    assert not decision.facts


def test_a_site_takes_no_more_members_than_its_limit() -> None:
    house = House(members=1)
    added(house, "ann smith")
    decision = add_member(house.scene, "bob smith", None, house.credentials())
    assert decision.error is not None and "1 members" in decision.error


def test_a_device_is_told_to_nobody_and_starts_empty() -> None:
    house = House()
    ann = house.member("ann smith")
    decision = add_device(house.scene, ann.node.member, "tablet", house.credentials())
    outcome = house.applied(decision)
    assert outcome.told == [] and decision.traffic == []
    assert ann.nodes == [ann.node.number, decision.node]


def test_devices_have_a_limit_and_a_name() -> None:
    house = House(nodes_per_member=2)
    ann = house.member("ann smith")
    for label, problem in (("", "needs a name"), ("x" * 1025, "1024 octets")):
        decision = add_device(house.scene, ann.node.member, label, house.credentials())
        assert decision.error is not None and problem in decision.error
    house.applied(add_device(house.scene, ann.node.member, "tablet", house.credentials()))
    decision = add_device(house.scene, ann.node.member, "third", house.credentials())
    assert decision.error is not None and "at most 2 nodes" in decision.error
    assert "no such member" in str(add_device(house.scene, 999, "phone", house.credentials()).error)


def test_numbers_are_never_given_twice() -> None:
    house = House()
    first = added(house, "ann smith", "phone")
    (number,) = house.site.members[first].nodes
    house.applied(drop_node(house.scene, number))
    second = added(house, "bob smith", "phone")
    assert len({first, number, second, *house.site.members[second].nodes}) == 4


@pytest.mark.parametrize("by_word", [True, False])
def test_the_first_member_becomes_the_owner(by_word: bool) -> None:
    house = House()
    assert house.site.owner == 0
    first = added(house, "ann smith") if by_word else house.member("ann smith").node.member
    assert house.site.owner == first
    house.member("bob smith")
    added(house, "eve smith")
    assert house.site.owner == first


def test_another_member_can_become_the_owner() -> None:
    house = House()
    first, second = added(house, "ann smith"), added(house, "bob smith")
    house.applied(set_owner(house.scene, second))
    assert house.site.owner == second
    assert not set_owner(house.scene, second).facts
    assert set_owner(house.scene, 999).error is not None
    house.applied(set_owner(house.scene, first))
    assert house.site.owner == first


def test_a_site_from_before_there_were_owners_gets_its_first_member_as_the_owner() -> None:
    house = House()
    assert not find_owner(house.scene).facts
    for number, at_ms in ((32, 2000), (48, 1000), (64, 3000)):
        house.site.apply(facts.MemberAdded(number, f"uid {number}", at_ms))
    added(house, "a new member")
    assert house.site.owner == 0
    house.applied(find_owner(house.scene))
    assert house.site.owner == 48
    assert not find_owner(house.scene).facts
