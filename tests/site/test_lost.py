"""What is told when a box is gone that alone had what was in messages."""

from __future__ import annotations

from appliance.site import Decision
from appliance.site.boxes import Gone, give_up
from appliance.site.facts import Outcome
from appliance.site.relaying import add_membership, add_relay_device, set_archive
from tests.site.house import House, Person

MSGID = 0x18EB000000000000


def gone(sender: int, *nodes: int) -> Gone:
    return Gone(MSGID, sender, 70_000, nodes)


def letters(decision: Decision) -> list[tuple[tuple[int, ...], str]]:
    """Who gets what."""
    return [(message.nodes, (message.data or b"").decode()) for message in decision.messages]


def with_membership(house: House, ann: Person) -> int:
    """The number of a new membership, which has a device."""
    number = house.applied(add_membership(house.scene, ann.node.member, "club", {})).decision.node
    house.applied(add_relay_device(house.scene, number, "phone", house.credentials()))
    return number


def test_the_sender_of_what_a_device_has_yet_to_get_is_told() -> None:
    house = House()
    ann, bob = house.members("ann at home", "bob at home")
    decision = give_up(house.scene, [gone(ann.node.member, bob.node.number, 9999)], ["attic"])
    assert decision.acks == [(bob.node.number, MSGID)]
    ((nodes, text),) = letters(decision)
    assert nodes == tuple(ann.nodes)
    assert "What was in a message of yours is lost" in text and "please send it again" in text
    assert "The box attic broke" in text and "70,000 octets, to bob at home" in text


def test_what_all_devices_have_and_only_an_archive_lacks_is_sent_again_by_nobody() -> None:
    house = House()
    ann, bob = house.members("ann at home", "bob at home")
    archive = house.applied(set_archive(house.scene, bob.node.member, True)).decision.node
    decision = give_up(house.scene, [gone(ann.node.member, archive)], ["attic"])
    assert decision.acks == [(archive, MSGID)] and not decision.messages


def test_who_was_to_get_it_from_another_site_is_told() -> None:
    house = House()
    (ann,) = house.members("ann at home")
    membership = house.site.memberships[with_membership(house, ann)]
    nodes = (*membership.devices, membership.archive)
    decision = give_up(house.scene, [gone(0, *nodes)], ["attic"])
    assert decision.acks == [(node, MSGID) for node in nodes] and not decision.relay
    ((to, text),) = letters(decision)
    assert to == tuple(ann.nodes)
    assert "What was in a message to you is lost" in text and "It came from another site" in text


def test_a_request_to_another_site_has_failed() -> None:
    house = House()
    (ann,) = house.members("ann at home")
    membership = house.site.memberships[with_membership(house, ann)]
    decision = give_up(house.scene, [gone(ann.node.member, membership.out)], ["attic"])
    assert decision.acks == [(membership.out, MSGID)] and not decision.messages
    (outcome,) = decision.relay
    assert isinstance(outcome, Outcome)
    assert (outcome.msgid, outcome.upid) == (MSGID, 0) and "send it again" in outcome.error
