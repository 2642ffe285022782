"""Ping, Post and PostNotify: who gets what, TMTP revision 1, section 4."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from appliance import wire
from appliance.site import RANK_NORMAL, Payload, content_digest, decide, facts

from .house import NOW_NS, House, Person, nodes, pinging, posting, uid, with_sender, without_sender

# Ping


def test_a_ping_goes_to_the_recipient_s_nodes_and_the_sender_s_other_nodes() -> None:
    house = House()
    alice, bob, _carol = house.members("alice alice", "bob bob bob", "carol carol")
    bob.add_node()
    phone = alice.add_node()
    outcome = alice.asks(pinging("alice alice", "bob bob bob", b"hello", datasum=7), b"hello")
    told = outcome.one("ping")
    assert told.nodes == sorted([*nodes(bob), phone.node.number])
    assert told.fields() == {
        "op": "ping",
        "alias": "alice alice",
        "to": "bob bob bob",
        "datalen": 5,
        "datasum": 7,
    }
    assert told.data == b"hello"
    assert outcome.decision.msgid == int(told.header["id"], 16)


def test_a_ping_may_be_empty_and_go_to_oneself() -> None:
    house = House()
    alice = house.member("alice alice")
    phone = alice.add_node()
    told = phone.ping("alice alice").one("ping")
    assert told.nodes == nodes(alice)
    assert told.fields() == {"op": "ping", "alias": "alice alice", "to": "alice alice", "datalen": 0}


def test_from_must_be_an_alias_of_the_sender() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.invite(bob, "the group")
    for from_ in ("bob bob bob", "nobody nobody", "the group", alice.uid):
        assert alice.is_refused(pinging(from_, "bob bob bob"), b"") == "from must identify sender"
    alice.add_alias("also alice")
    alice.asks(pinging("also alice", "bob bob bob"), b"")


def test_to_may_be_any_alias_of_the_site_and_nothing_else() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.invite(bob, "the group")
    bob.add_alias("also bob bob")
    alice.ping("also bob bob")
    for to in ("nobody nobody", "the group", bob.uid):
        assert to in alice.is_refused(pinging("alice alice", to), b"")


# Post


def test_a_post_goes_to_every_node_of_every_recipient_and_the_sender_s_other_nodes() -> None:
    house = House()
    alice, bob, carol, _dave = house.members("alice alice", "bob bob bob", "carol carol", "dave dave")
    bob.add_node()
    alice.add_node()
    outcome = alice.post(b"hello", uid(bob), uid(carol))
    told = outcome.one("delivery")
    assert told.nodes == sorted([*nodes(bob, carol), *alice.others])
    assert (told.data, told.rank) == (b"hello", RANK_NORMAL)
    assert told.fields() == {"op": "delivery", "datalen": 5}
    assert told.header["from"] == alice.uid
    assert told.header["posted"] == wire.format_posted(NOW_NS // 1_000_000)
    assert outcome.decision.msgid == int(told.header["id"], 16)
    assert outcome.decision.posted_ms == NOW_NS // 1_000_000


def test_head_and_sum_of_the_data_are_passed_through() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    told = alice.asks(posting(b"hello", uid(bob), datahead=2, datasum=9), b"hello").one("delivery")
    assert told.fields() == {"op": "delivery", "datalen": 5, "datahead": 2, "datasum": 9}


@pytest.mark.parametrize(
    ("targets", "sending_node_gets_it"),
    [
        ([], False),
        (["bob"], False),
        (["alice"], True),
        (["with"], True),
        (["without"], False),
        (["with", "without"], True),
        (["without", "with"], True),
        (["without", "alice"], True),
    ],
)
def test_the_sending_node_gets_it_only_by_uid_or_through_a_group_of_type_2(
    targets: list[str], sending_node_gets_it: bool
) -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    phone = alice.add_node()
    house.group("the group", alice, bob)
    known = {
        "alice": uid(alice),
        "bob": uid(bob),
        "with": with_sender("the group"),
        "without": without_sender("the group"),
    }
    outcome = alice.post(b"x", *(known[name] for name in targets))
    expected = [phone.node.number]
    if sending_node_gets_it:
        expected.append(alice.node.number)
    if set(targets) - {"alice"}:
        expected += nodes(bob)
    assert outcome.one("delivery").nodes == sorted(expected)


def test_a_recipient_in_several_lists_gets_one_copy() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    house.group("group one", alice, bob)
    house.group("group two", alice, bob)
    lists = [uid(bob), uid(bob), without_sender("group one"), with_sender("group two")]
    (message,) = alice.post(b"x", *lists).decision.messages
    assert len(set(message.nodes)) == len(message.nodes) == 2


def test_a_post_to_nobody_has_a_msgid_and_is_told_to_the_sender_s_other_nodes() -> None:
    house = House()
    alice = house.member("alice alice")
    outcome = alice.post(b"sync")
    assert outcome.told == [] and outcome.decision.msgid
    phone = alice.add_node()
    assert alice.post(b"sync").one("delivery").nodes == [phone.node.number]


def test_one_unknown_recipient_fails_the_whole_post() -> None:
    house = House()
    alice, bob, carol = house.members("alice alice", "bob bob bob", "carol carol")
    house.group("the group", bob, carol)
    known = [uid(bob), uid(carol)]
    for wrong in (uid("nobody"), uid("bob bob bob"), with_sender("no group"), without_sender("the group")):
        assert wrong.id in alice.is_refused(posting(b"x", *known, wrong), b"x")
        assert wrong.id in alice.is_refused(posting(b"x", wrong, *known), b"x")


def test_one_invited_who_has_not_joined_may_post_to_the_group_but_receives_nothing_from_it() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    phone = bob.add_node()
    alice.invite(bob, "the group")
    assert alice.post(b"x", with_sender("the group")).one("delivery").nodes == nodes(alice)
    told = bob.post(b"x", with_sender("the group")).one("delivery")
    assert told.nodes == sorted([*nodes(alice), phone.node.number])


def test_one_dropped_from_a_group_may_not_post_to_it_and_gets_nothing_from_it() -> None:
    house = House()
    alice, bob, carol = house.members("alice alice", "bob bob bob", "carol carol")
    house.group("the group", alice, bob, carol)
    alice.drop(bob, "the group")
    assert "the group" in bob.is_refused(posting(b"x", with_sender("the group")), b"x")
    assert alice.post(b"x", without_sender("the group")).one("delivery").nodes == nodes(carol)


def test_ids_rise_over_all_messages() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    house.group("the group", alice, bob)
    ids = []
    for _ in range(5):
        for outcome in (alice.post(b"x", uid(bob)), bob.ping("alice alice"), alice.add_alias("alice alice")):
            ids += [int(told.header["id"], 16) for told in outcome.told]
    assert ids == sorted(set(ids))


# PostNotify


def notifying(
    alice: Person,
    *to: wire.Target,
    noteto: tuple[wire.Target, ...] = (),
    fornotself: bool = False,
    **more: Any,
) -> Any:
    request = wire.PostNotify(
        id="1",
        to=list(to),
        datalen=11,
        notelen=4,
        noteto=list(noteto),
        fornotself=fornotself,
        **more,
    )
    return alice.asks(request, b"note", b"message")


def test_the_message_goes_to_for_and_the_note_to_for_and_notefor() -> None:
    house = House()
    alice, bob, carol, _dave = house.members("alice alice", "bob bob bob", "carol carol", "dave dave")
    phone = alice.add_node()
    outcome = notifying(alice, uid(bob), noteto=(uid(carol),))
    message, note = outcome.one("delivery"), outcome.one("notify")
    assert message.nodes == sorted([*nodes(bob), phone.node.number])
    assert note.nodes == sorted([*nodes(bob, carol), phone.node.number])
    assert (message.data, note.data) == (b"message", b"note")
    assert message.fields() == {"op": "delivery", "datalen": 7, "notify": 3}
    assert note.fields() == {"op": "notify", "datalen": 4, "postid": message.header["id"]}
    assert outcome.decision.msgid == int(message.header["id"], 16) < int(note.header["id"], 16)


def test_heads_and_sums_of_note_and_message_are_passed_through() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    outcome = notifying(alice, uid(bob), datahead=1, datasum=2, notehead=3, notesum=4)
    assert outcome.one("delivery").fields().items() >= {"datahead": 1, "datasum": 2}.items()
    assert outcome.one("notify").fields().items() >= {"datahead": 3, "datasum": 4}.items()


@pytest.mark.parametrize("fornotself", [False, True])
@pytest.mark.parametrize(("to", "noteto"), [(0, 0), (1, 0), (0, 2), (2, 1)])
def test_notify_counts_the_entries_and_one_more_unless_fornotself(
    fornotself: bool, to: int, noteto: int
) -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.add_node()
    if fornotself and not to:
        return
    outcome = notifying(alice, *[uid(bob)] * to, noteto=(uid(bob),) * noteto, fornotself=fornotself)
    assert outcome.one("delivery").header["notify"] == to + noteto + (0 if fornotself else 1)


@pytest.mark.parametrize("how", ["others", "uid", "with"])
def test_fornotself_keeps_the_message_and_not_the_note_from_the_sender_s_nodes(how: str) -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    phone = alice.add_node()
    house.group("the group", alice, bob)
    to = {"others": uid(bob), "uid": uid(alice), "with": with_sender("the group")}[how]
    outcome = notifying(alice, uid(bob), to, fornotself=True)
    assert outcome.one("delivery").nodes == nodes(bob)
    own = [phone.node.number] if how == "others" else nodes(alice)
    assert outcome.one("notify").nodes == sorted([*nodes(bob), *own])


def test_a_message_for_nobody_is_not_told_and_its_note_is() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    outcome = notifying(alice, noteto=(uid(bob),))
    assert outcome.nothing("delivery")
    assert outcome.one("notify").header["postid"] == wire.format_id(outcome.decision.msgid)


def test_one_unknown_recipient_of_either_fails_note_and_message() -> None:
    house = House()
    alice, bob, carol = house.members("alice alice", "bob bob bob", "carol carol")
    house.group("the group", bob, carol)
    for wrong in (uid("nobody"), with_sender("the group")):
        for to, noteto in (([uid(bob), wrong], []), ([uid(bob)], [wrong])):
            request = wire.PostNotify(id="1", to=to, noteto=noteto, datalen=11, notelen=4)
            assert wrong.id in alice.is_refused(request, b"note", b"message")


# What is made durable


def test_each_message_is_a_fact_with_its_nodes_and_the_digest_of_its_octets() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    decision = alice.post(b"hello", uid(bob)).decision
    (message,) = decision.messages
    digest = content_digest(message.head, hashlib.sha256(b"hello").digest())
    sender = alice.node.member
    sent = facts.Sent(message.msgid, RANK_NORMAL, sender, digest, 5, (bob.node.number,))
    assert decision.traffic == [sent]


def test_of_data_in_a_file_the_message_has_the_name() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    payload = Payload(1 << 30, b"d" * 32, None)
    request = wire.Post("1", [uid(bob)], 1 << 30, 0, None)
    decision = house.applied(decide(house.scene, alice.node, request, [payload])).decision
    (message,) = decision.messages
    assert (message.data, message.blob, message.size) == (None, b"d" * 32, 1 << 30)
    assert isinstance(fact := decision.traffic[0], facts.Sent) and fact.blob == b"d" * 32
    assert message.octets == len(message.head) + (1 << 30)
