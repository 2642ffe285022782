"""PostNotify: a note to some, a message to others (TMTP revision 1, section 4)."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from tests.kit import (
    Client,
    Frame,
    People,
    Raw,
    framed,
    mentions,
    nothing_more_for,
    settle,
    with_sender,
    without_sender,
)

NOTE, MESSAGE = b"a note", b"the message itself"


def delivery(ack: Frame, sender: Client, notify: int, **fields: object) -> tuple[str, dict[str, object]]:
    fields = {"data": MESSAGE, **fields}
    std = {"id": ack["msgid"], "posted": ack["posted"], "from_": sender, "notify": notify}
    return "delivery", {**std, "datalen": len(fields["data"]), **fields}  # type: ignore[arg-type]


def note(ack: Frame, sender: Client, **fields: object) -> tuple[str, dict[str, object]]:
    fields = {"data": NOTE, **fields}
    return "notify", {"from_": sender, "postid": ack["msgid"], "datalen": len(fields["data"]), **fields}  # type: ignore[arg-type]


@pytest.mark.parametrize("fornotself", [False, True])
@pytest.mark.parametrize(("for_count", "notefor_count"), [*itertools.product((0, 1, 2), repeat=2)])
def test_who_gets_what(people: People, for_count: int, notefor_count: int, fornotself: bool) -> None:
    if fornotself and not for_count:
        pytest.skip("refused: see test_fornotself_without_recipients_is_told")
    alice, bob, carol, dave, erin, frank = people.members("alice", "bob", "carol", "dave", "erin", "frank")
    tablet, bobs_phone, daves_phone = (people.node(who, "phone") for who in (alice, bob, dave))
    readers, noted = [bob, carol][:for_count], [dave, erin][:notefor_count]
    ack = alice.post_notify(NOTE, MESSAGE, to=readers, noteto=noted, fornotself=fornotself)
    assert set(ack.header) == {"op", "id", "msgid", "posted"}
    notify = for_count + notefor_count + (not fornotself)
    both = [delivery(ack, alice, notify), note(ack, alice)]
    notes = set()
    for node in (*readers, *([bobs_phone] if bob in readers else [])):
        notes.add(node.expect_all(*both)[1].head)
    for node in (*noted, *([daves_phone] if dave in noted else [])):
        notes.add(node.expect_all(both[1])[0].head)
    notes.add(tablet.expect_all(*(both[1:] if fornotself else both))[-1].head)
    assert len(notes) == 1 and json.loads(notes.pop()[4:])["id"] != ack["msgid"]
    nothing_more_for(alice, tablet, bob, bobs_phone, carol, dave, daves_phone, erin, frank)


def test_a_recipient_of_both_lists_gets_one_note(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    ack = alice.post_notify(NOTE, MESSAGE, to=bob, noteto=[bob, bob])
    bob.expect_all(delivery(ack, alice, 4), note(ack, alice))
    nothing_more_for(alice, bob)


def test_a_group_counts_as_one_entry(people: People) -> None:
    alice, bob, carol, dave = people.members("alice", "bob", "carol", "dave")
    readers, noted = people.group(alice, bob, carol), people.group(alice, dave)
    ack = alice.post_notify(NOTE, MESSAGE, to=without_sender(readers), noteto=without_sender(noted))
    for reader in (bob, carol):
        reader.expect_all(delivery(ack, alice, 3), note(ack, alice))
    dave.expect_all(note(ack, alice))
    nothing_more_for(alice, bob, carol, dave)


def test_the_sending_node_gets_both_as_a_recipient(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    ack = alice.post_notify(NOTE, MESSAGE, to=[alice])
    alice.expect_all(delivery(ack, alice, 2), note(ack, alice))
    ack = alice.post_notify(NOTE, MESSAGE, to=with_sender(gid))
    for member in (alice, bob):
        member.expect_all(delivery(ack, alice, 2), note(ack, alice))
    nothing_more_for(alice, bob)


def test_the_sending_node_gets_the_note_alone_as_a_recipient_of_it(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    ack = alice.post_notify(NOTE, MESSAGE, to=bob, noteto=alice)
    alice.expect_all(note(ack, alice))
    bob.expect_all(delivery(ack, alice, 3), note(ack, alice))
    ack = alice.post_notify(NOTE, MESSAGE, to=[], noteto=with_sender(gid))
    for member in (alice, bob):
        member.expect_all(note(ack, alice))
    nothing_more_for(alice, bob)


def test_fornotself_keeps_the_message_and_not_the_note_from_all_the_sender_s_nodes(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    tablet = people.node(alice, "tablet")
    ack = alice.post_notify(NOTE, MESSAGE, to=[alice, bob], fornotself=True)
    bob.expect_all(delivery(ack, alice, 2), note(ack, alice))
    for node in (alice, tablet):
        node.expect_all(note(ack, alice))
    nothing_more_for(alice, tablet, bob)


def test_note_and_message_have_their_own_head_and_sum(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    ack = alice.post_notify(NOTE, MESSAGE, to=bob, datahead=18, datasum=1, notehead=6, notesum=0xFFFFFFFF)
    bob.expect_all(
        delivery(ack, alice, 2, datahead=18, datasum=1), note(ack, alice, datahead=6, datasum=0xFFFFFFFF)
    )
    ack = alice.post_notify(NOTE, MESSAGE, to=bob, notehead=1)
    bob.expect_all(delivery(ack, alice, 2), note(ack, alice, datahead=1))
    ack = alice.post_notify(NOTE, MESSAGE, to=bob, datasum=9)
    bob.expect_all(delivery(ack, alice, 2, datasum=9), note(ack, alice))
    nothing_more_for(alice, bob)


def test_each_is_acknowledged_by_itself(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.auto_ack = False
    ack = alice.post_notify(NOTE, MESSAGE, to=bob)
    bob.ack(bob.expect_all(delivery(ack, alice, 2), note(ack, alice))[0])
    bob.log_out()
    bob.auto_ack = True
    bob.login()
    bob.expect_all(note(ack, alice))
    bob.expect("login", from_=bob, node="tbd")
    nothing_more_for(bob)


@pytest.mark.parametrize("note_size", [1, 65_536, 300_000, 4 << 20])
@pytest.mark.parametrize("message_size", [1, 65_536, 300_000, 4 << 20])
def test_large_notes_and_messages_are_cut_apart(people: People, note_size: int, message_size: int) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    ours, theirs = (random.Random(size).randbytes(size) for size in (note_size, message_size))
    ack = alice.post_notify(ours, theirs, to=bob, noteto=carol)
    bob.expect_all(delivery(ack, alice, 3, data=theirs), note(ack, alice, data=ours))
    carol.expect_all(note(ack, alice, data=ours))


def test_one_unknown_uid_fails_note_and_message(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    tablet = people.node(alice, "tablet")
    nobody = "%" * 32
    alice.post_notify(NOTE, MESSAGE, to=[bob, nobody], noteto=carol, error=mentions(nobody))
    alice.post_notify(NOTE, MESSAGE, to=bob, noteto=[carol, nobody], error=mentions(nobody))
    alice.post_notify(NOTE, MESSAGE, to=[], noteto=nobody, error=mentions(nobody))
    nothing_more_for(alice, tablet, bob, carol)


def test_one_group_that_one_is_not_in_fails_note_and_message(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    theirs = people.group(bob, carol)
    for group in (with_sender(theirs), without_sender(theirs)):
        alice.post_notify(NOTE, MESSAGE, to=group, noteto=carol, error=mentions(theirs))
        alice.post_notify(NOTE, MESSAGE, to=bob, noteto=[carol, group], error=mentions(theirs))
    nothing_more_for(alice, bob, carol)


def test_an_invitee_may_send_but_gets_no_note_from_the_group(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    gid = people.group(alice, bob)
    alice.invite(carol, gid)
    settle(alice, bob, carol)
    ack = carol.post_notify(NOTE, MESSAGE, to=with_sender(gid), noteto=with_sender(gid))
    for member in (alice, bob):
        member.expect_all(delivery(ack, carol, 3), note(ack, carol))
    ack = alice.post_notify(NOTE, MESSAGE, to=[], noteto=without_sender(gid))
    bob.expect_all(note(ack, alice))
    nothing_more_for(alice, bob, carol)


@pytest.mark.parametrize(("datalen", "notelen"), [(5, 5), (5, 6), (1, 1), (1, 10**9)])
def test_no_octet_of_message_is_told(member: Raw, datalen: int, notelen: int) -> None:
    member.say({"op": 8, "id": "1", "for": [], "datalen": datalen, "notelen": notelen}, b"x" * datalen)
    member.expect_quit("data too short for request type")


@pytest.mark.parametrize("notefor", [[], [{"id": "%" * 32, "type": 1}]])
def test_fornotself_without_recipients_is_told(member: Raw, notefor: list[object]) -> None:
    header = {"op": 8, "id": "1", "for": [], "datalen": 2, "notelen": 1, "fornotself": True}
    member.say({**header, "notefor": notefor}, b"nm")
    member.expect_quit("recipient list empty")


def test_fornotself_false_or_null_is_as_if_it_were_not_there(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    for number, value in enumerate((False, None)):
        header = {"op": 8, "id": f"{number}", "datalen": 24, "notelen": 6, "fornotself": value}
        alice.line.send(framed({**header, "for": [{"id": bob.uid, "type": 1}]}, NOTE + MESSAGE))
        ack = alice.answer(f"{number}")
        bob.expect_all(delivery(ack, alice, 2), note(ack, alice))
