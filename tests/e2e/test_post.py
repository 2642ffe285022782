"""Post: who gets a delivery, and what is in it (TMTP revision 1, section 4)."""

from __future__ import annotations

import hashlib
import random
import threading

import pytest

from appliance import wire
from tests.kit import (
    Client,
    Frame,
    People,
    framed,
    mentions,
    nothing_more_for,
    settle,
    with_sender,
    without_sender,
)


def expect_delivery(ack: Frame, *nodes: Client, **fields: object) -> None:
    """All of these get the very same delivery, with the id and the time that the ack told."""
    got = [node.expect("delivery", id=ack["msgid"], posted=ack["posted"], **fields) for node in nodes]
    assert len({frame.head for frame in got}) == 1


def test_a_post_reaches_every_node_of_the_recipient_and_the_sender_s_other_nodes(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    tablet, phone = people.node(alice, "tablet"), people.node(bob, "phone")
    ack = alice.post(b"hello", to=bob)
    assert set(ack.header) == {"op", "id", "msgid", "posted"}
    expect_delivery(ack, bob, phone, tablet, from_=alice, datalen=5, data=b"hello")
    nothing_more_for(alice, tablet, bob, phone, carol)


def test_a_post_reaches_every_recipient(people: People) -> None:
    alice, *others = people.members("alice", "bob", "carol", "dave", "erin")
    ack = alice.post(b"hello all", to=others)
    expect_delivery(ack, *others, from_=alice, data=b"hello all")
    nothing_more_for(alice, *others)


def test_a_post_to_nobody_reaches_the_sender_s_other_nodes(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    tablet, phone = people.node(alice, "tablet"), people.node(alice, "phone")
    ack = alice.post(b'{"nodesync":true}', to=[], datahead=17)
    expect_delivery(ack, tablet, phone, from_=alice, datahead=17, data=b'{"nodesync":true}')
    nothing_more_for(alice, tablet, phone, bob)


def test_a_post_to_nobody_by_a_member_with_one_node_is_acked(people: People) -> None:
    alice = people.member("alice")
    alice.post(b"to myself, if I had a phone", to=[])
    nothing_more_for(alice)


def test_a_post_to_oneself_reaches_the_sending_node_too(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    tablet = people.node(alice, "tablet")
    expect_delivery(alice.post(b"note to self", to=alice), alice, tablet, from_=alice, data=b"note to self")
    both = alice.post(b"note to both", to=[bob, alice])
    expect_delivery(both, alice, tablet, bob, from_=alice, data=b"note to both")
    nothing_more_for(alice, tablet, bob)


def test_a_post_to_a_group_reaches_the_sending_node_if_it_says_so(people: People) -> None:
    alice, bob, carol, dave = people.members("alice", "bob", "carol", "dave")
    tablet, phone = people.node(alice, "tablet"), people.node(bob, "phone")
    gid = people.group(alice, bob, carol)
    settle(alice, tablet, bob, phone, carol)
    others = (tablet, bob, phone, carol)
    expect_delivery(alice.post(b"all", to=with_sender(gid)), alice, *others, from_=alice, data=b"all")
    expect_delivery(alice.post(b"rest", to=without_sender(gid)), *others, from_=alice, data=b"rest")
    nothing_more_for(alice, *others, dave)


def test_a_recipient_in_several_lists_gets_one_copy(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    one, two = people.group(alice, bob, carol), people.group(alice, bob)
    ack = alice.post(b"once", to=[bob, without_sender(one), bob, without_sender(two), with_sender(two), bob])
    expect_delivery(ack, alice, bob, carol, from_=alice, data=b"once")
    nothing_more_for(alice, bob, carol)


def test_the_sending_node_gets_its_copy_if_any_list_says_so(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    expect_delivery(alice.post(b"x", to=[without_sender(gid), alice]), alice, bob, from_=alice, data=b"x")
    expect_delivery(
        alice.post(b"y", to=[with_sender(gid), without_sender(gid)]), alice, bob, from_=alice, data=b"y"
    )
    nothing_more_for(alice, bob)


def test_one_unknown_uid_fails_the_whole_post(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    tablet = people.node(alice, "tablet")
    for nobody in ("%" * 32, "no uid", bob.alias):
        alice.post(b"x", to=[bob, nobody], error=mentions(nobody))
        alice.post(b"x", to=[nobody, bob], error=mentions(nobody))
    nothing_more_for(alice, tablet, bob)


def test_one_group_that_one_is_not_in_fails_the_whole_post(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    ours, theirs = people.group(alice, bob), people.group(bob, carol)
    for gid in (theirs, "no such group", alice.uid):
        for group in (with_sender(gid), without_sender(gid)):
            alice.post(b"x", to=[bob, group], error=mentions(gid))
            alice.post(b"x", to=[group, without_sender(ours)], error=mentions(gid))
    alice.post(b"x", to=ours, error=mentions(ours))
    nothing_more_for(alice, bob, carol)


def test_the_data_of_a_refused_post_is_passed_over(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.post(b"zzzz" * 100_000, to="%" * 32, error=mentions("%" * 32))
    expect_delivery(alice.post(b"in step", to=bob), bob, from_=alice, data=b"in step")


@pytest.mark.parametrize("data", [bytes(range(256)), b"\x00", b"\xff" * 1000, b'0008{"op":1}'])
def test_data_is_opaque(people: People, data: bytes) -> None:
    alice, bob = people.members("alice", "bob")
    expect_delivery(alice.post(data, to=bob), bob, from_=alice, data=data)


@pytest.mark.parametrize("datasum", [1, 0xFFFFFFFF])
@pytest.mark.parametrize("datahead", [1, 5])
def test_datahead_and_datasum_are_passed_through(people: People, datahead: int, datasum: int) -> None:
    alice, bob = people.members("alice", "bob")
    ack = alice.post(b"no js", to=bob, datahead=datahead, datasum=datasum)
    expect_delivery(ack, bob, from_=alice, data=b"no js", datahead=datahead, datasum=datasum)


def test_a_datahead_or_datasum_of_0_is_left_out(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    header = {"op": 7, "id": "1", "for": [{"id": bob.uid, "type": 1}], "datahead": 0, "datasum": 0}
    alice.line.send(framed({**header, "datalen": 1}, b"x"))
    expect_delivery(alice.answer("1"), bob, from_=alice, data=b"x")


def test_ids_rise_over_all_senders_and_posted_does_not_fall(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    acks = [sender.post(b"x", to=carol) for _ in range(20) for sender in (alice, bob)]
    msgids = [ack["msgid"] for ack in acks]
    assert msgids == sorted(set(msgids))
    assert [f["id"] for f in carol.take(40)] == msgids
    posted = [ack["posted"] for ack in acks]
    assert posted == sorted(posted)


def test_requests_may_be_sent_without_waiting_for_their_acks(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    ids = [
        alice.send(wire.Post(alice.request_id(), [wire.Target(bob.uid, 1)], 2, 0, None), b"%02d" % n)
        for n in range(50)
    ]
    msgids = [alice.answer(request_id)["msgid"] for request_id in ids]
    assert msgids == sorted(set(msgids))
    assert [(f["id"], f.data) for f in bob.take(50)] == [(m, b"%02d" % n) for n, m in enumerate(msgids)]


def test_the_ack_does_not_wait_for_a_recipient(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.auto_ack = False
    for _ in range(200):
        alice.post(b"x" * 1000, to=bob)
    nothing_more_for(alice)


@pytest.mark.parametrize("size", [65535, 65536, 65537, 1_000_000, 20 << 20])
def test_large_data_arrives_whole(people: People, size: int) -> None:
    alice, bob = people.members("alice", "bob")
    tablet = people.node(alice, "tablet")
    data = random.Random(size).randbytes(size)
    ack = alice.post(data, to=bob, datahead=size - 1, datasum=7)
    for node in (bob, tablet):
        frame = node.next()
        assert frame.differs("delivery", {"id": ack["msgid"], "datahead": size - 1, "datasum": 7}) == ""
        assert hashlib.sha256(frame.data).digest() == hashlib.sha256(data).digest()


def test_the_same_large_data_may_be_sent_by_several(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    data = random.Random(1).randbytes(200_000)
    expect_delivery(alice.post(data, to=carol), carol, from_=alice, data=data)
    expect_delivery(bob.post(data, to=[carol, bob]), carol, bob, from_=bob, data=data)
    expect_delivery(alice.post(data, to=[carol, bob]), carol, bob, from_=alice, data=data)


def test_a_large_post_under_way_does_not_keep_others_waiting(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    data = random.Random(2).randbytes(1_000_000)
    request_id = alice.request_id()
    request = wire.Post(request_id, [wire.Target(bob.uid, 1)], len(data), 0, None)
    alice.send(request, data[:500_000])
    alice.auto_ack = False
    carol.post(b"in between", to=[bob, alice])
    bob.expect("delivery", from_=carol, data=b"in between")
    in_between = alice.expect("delivery", from_=carol, data=b"in between")
    alice.line.send(data[500_000:])
    alice.ack(in_between)
    ack = alice.answer(request_id)
    expect_delivery(ack, bob, from_=alice, data=data)


def test_a_post_that_breaks_off_is_not_delivered(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    for size in (100, 1_000_000):
        alice.send(wire.Post(alice.request_id(), [wire.Target(bob.uid, 1)], size, 0, None), b"x" * (size - 1))
        alice.hang_up()
        alice.come_back()
    nothing_more_for(alice, bob)


def test_two_who_post_large_data_to_each_other_do_not_wait_for_each_other(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    data = random.Random(3).randbytes(8 << 20)
    sending = [threading.Thread(target=c.post, args=(data, o)) for c, o in ((alice, bob), (bob, alice))]
    for thread in sending:
        thread.start()
    for thread in sending:
        thread.join(60)
        assert not thread.is_alive()
    alice.expect("delivery", from_=bob, data=data)
    bob.expect("delivery", from_=alice, data=data)


def test_who_ends_its_side_of_the_connection_gets_the_acks_of_what_it_sent(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    posts = [wire.Post(alice.request_id(), [wire.Target(bob.uid, 1)], 1) for _ in range(5)]
    for post in posts:
        alice.send(post, b"x")
    alice.line.end()
    for post in posts:
        alice.answer(post.id)
    alice.line.expect_closed()
    settle(bob)
