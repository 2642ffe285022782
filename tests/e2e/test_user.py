"""UserEdit: aliases and nodes (TMTP revision 1, section 4)."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

import pytest

from tests.kit import NODEID, Client, People, before_curtain, fresh, mentions, nothing_more_for


def test_a_new_alias_is_told_to_all_nodes_and_reaches_its_member(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    also = fresh("alice at work")
    ack = alice.edit_user(newalias=also)
    assert set(ack.header) == {"op", "id"}
    first = alice.expect("user", from_=alice, newalias=also, datalen=0)
    assert phone.expect("user", from_=alice, newalias=also).head == first.head
    bob.ping("hello", to=also)
    bob.ping("hello", to=alice.alias)
    for node in (alice, phone):
        node.expect("ping", from_=bob, alias=bob.alias, to=also, data=b"hello")
        node.expect("ping", from_=bob, alias=bob.alias, to=alice.alias, data=b"hello")
    nothing_more_for(alice, phone, bob)


def test_adding_an_alias_that_one_has_already_succeeds(people: People) -> None:
    alice = people.member("alice")
    alice.edit_user(newalias=alice.alias)
    also = fresh("also alice")
    alice.edit_user(newalias=also)
    alice.edit_user(newalias=also)
    told = [frame["newalias"] for frame in before_curtain(alice)[0]]
    assert set(told) <= {also, alice.alias} and also in told


@pytest.mark.parametrize("alias", ["seven77", "\u00e9\u00e9\u00e9x", "x"])
def test_an_alias_of_less_than_8_octets_is_refused(people: People, alias: str) -> None:
    alice = people.member("alice")
    alice.edit_user(newalias=alias, error="newalias must be 8+ characters")
    nothing_more_for(alice)


def test_an_alias_that_cannot_be_printed_is_refused(people: People) -> None:
    alice = people.member("alice")
    alice.edit_user(newalias="alice\u200b\u200b\u200b", error=mentions())
    alice.edit_user(newalias="alice\nalice\n", error=mentions())
    nothing_more_for(alice)


def test_an_alias_that_another_has_is_refused(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.edit_user(newalias=bob.alias, error=mentions(bob.alias))
    nothing_more_for(alice, bob)


def test_an_alias_that_is_a_gid_is_refused(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    alice.edit_user(newalias=gid, error=mentions(gid))
    nothing_more_for(alice, bob)


def test_a_new_node_is_told_to_all_nodes_and_can_log_in(people: People) -> None:
    alice = people.member("alice")
    phone = people.node(alice, "phone")
    ack = alice.edit_user(newnode="tablet")
    assert set(ack.header) == {"op", "id"}
    user = alice.expect("user", from_=alice, newnode="tablet", nodeid=ANY, datalen=0)
    assert NODEID.fullmatch(user["nodeid"])
    assert phone.expect("user", from_=alice, newnode="tablet", nodeid=user["nodeid"]).head == user.head
    tablet = alice.other_node(user["nodeid"])
    tablet.login()
    tablet.find("login", from_=alice)
    for node in (alice, phone):
        node.expect("login", from_=alice, node="tbd")
    nothing_more_for(alice, phone)
    tablet.close()


@pytest.mark.parametrize("label", ["x", "Alice's <\u5c71> & more", "r\ufffdsum\ufffd", "x" * 1000])
def test_a_label_may_be_any_text(people: People, label: str) -> None:
    alice = people.member("alice")
    alice.edit_user(newnode=label)
    alice.expect("user", from_=alice, newnode=label, nodeid=ANY)


def test_two_nodes_may_have_the_same_label(people: People) -> None:
    alice = people.member("alice")
    assert alice.add_node("phone").node != alice.add_node("phone").node


def pending(node: Client) -> list[Any]:
    """What is queued for a node that logs in now, but the news of nodes: their order is another test's."""
    node.login()
    return [f.data or f.op for f in before_curtain(node)[0] if f.op != "user"]


def test_a_new_node_s_queue_starts_as_a_copy_of_its_maker_s(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    alice.auto_ack = phone.auto_ack = False
    for text in (b"one", b"two", b"three"):
        bob.post(text, to=alice)
    one = alice.expect("delivery", from_=bob, data=b"one")
    alice.take(2)
    alice.ack(one)
    alice.round_trip()
    tablet = alice.add_node("tablet")
    bob.post(b"four", to=alice)
    assert pending(tablet) == [b"two", b"three", b"four", "login"]
    alice.hang_up()
    phone.hang_up()
    assert pending(alice) == [b"two", b"three", b"four", "login", "login"]
    phone.auto_ack = True
    assert pending(phone) == [b"one", b"two", b"three", b"four", "login", "login", "login"]
    tablet.close()


def test_what_a_new_node_has_copied_is_its_own(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.auto_ack = False
    bob.post(b"one", to=alice)
    tablet = alice.add_node("tablet")
    alice.ack(alice.expect("delivery", from_=bob, data=b"one"))
    alice.round_trip()
    assert pending(tablet) == [b"one", "login"]
    tablet.close()


def test_user_messages_go_ahead_of_the_others(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    phone.hang_up()
    bob.post(b"one", to=alice)
    also = fresh("also alice")
    alice.edit_user(newalias=also)
    bob.post(b"two", to=alice)
    alice.edit_user(newnode="tablet")
    phone.login()
    phone.expect("user", from_=alice, newalias=also)
    phone.expect("user", from_=alice, newnode="tablet", nodeid=ANY)
    phone.expect("delivery", from_=bob, data=b"one")
    phone.expect("delivery", from_=bob, data=b"two")
    phone.expect("login", from_=alice, node="tbd")
    nothing_more_for(phone)


def test_a_member_has_at_most_100_nodes(people: People) -> None:
    alice = people.member("alice")
    for number in range(2, 101):
        alice.edit_user(newnode=f"node {number}")
    alice.edit_user(newnode="one too many", error=mentions("100"))
    labels = [frame["newnode"] for frame in before_curtain(alice)[0]]
    assert labels == [f"node {number}" for number in range(2, 101)]
    alice.edit_user(newalias=fresh("still alice"))
