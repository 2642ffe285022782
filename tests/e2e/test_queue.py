"""Queues: what a node gets when it comes back, what its acks release, and what is sent again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from unittest.mock import ANY

import pytest

from tests.kit import Box, Client, Frame, People, before_curtain, fresh, nothing_more_for, settle

RESEND_S = 1.0
WINDOW, WINDOW_OCTETS = 8, 64 << 10


def texts(frames: list[Frame]) -> list[bytes]:
    return [frame.data for frame in frames if frame.op == "delivery"]


def test_what_was_sent_while_a_node_was_off_comes_at_login_in_order(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    phone = people.node(bob, "phone")
    bob.hang_up()
    acks = [sender.post(b"%d" % n, to=bob) for n, sender in enumerate((alice, carol, alice, carol, carol))]
    alice.ping("hello", to=bob)
    bob.login()
    for n, ack in enumerate(acks):
        bob.expect("delivery", id=ack["msgid"], posted=ack["posted"], from_=ANY, data=b"%d" % n)
    bob.expect("ping", from_=alice, alias=alice.alias, to=bob.alias, data=b"hello")
    bob.expect("login", from_=bob, node="tbd")
    assert texts(before_curtain(bob, phone)[1]) == [b"0", b"1", b"2", b"3", b"4"]


def test_every_kind_of_message_is_queued(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    phone = people.node(bob, "phone")
    gid, also = people.group(alice, bob), fresh("also bob")
    settle(bob, phone)
    phone.hang_up()
    alice.post(b"delivery", to=bob)
    alice.post_notify(b"note", b"message", to=bob)
    alice.ping("ping", to=bob)
    carol.invite(bob, fresh("another group"), "invite")
    alice.invite(carol, gid)
    bob.edit_ohi("add", alice)
    bob.edit_user(newalias=also)
    phone.login()
    phone.expect("user", from_=bob, newalias=also)
    phone.expect("delivery", from_=alice, data=b"delivery")
    assert sorted(frame.op for frame in phone.take(2)) == ["delivery", "notify"]
    phone.expect("ping", from_=alice, alias=alice.alias, to=bob.alias, data=b"ping")
    phone.expect("invite", from_=carol, alias=carol.alias, to=bob.alias, gid=ANY, data=b"invite")
    phone.expect("member", from_=alice, act="invite", gid=gid, alias=carol.alias)
    phone.expect("ohiedit", from_=bob, type="add", for_=[{"Id": alice.uid, "Type": 0}])
    phone.expect("login", from_=bob, node="tbd")
    nothing_more_for(phone)


def test_what_was_not_acknowledged_comes_again_as_it_was(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.auto_ack = False
    for text in (b"one", b"two", b"three"):
        alice.post(text, to=bob)
    first = bob.take(3)
    bob.ack(first[1])
    bob.round_trip()
    for way in ("hang_up", "reset", "log_out"):
        getattr(bob, way)()
        bob.login()
        again = before_curtain(bob)[0]
        assert [(f.head, f.data) for f in again[:2]] == [(f.head, f.data) for f in (first[0], first[2])]
    bob.auto_ack = True
    bob.log_out()
    bob.login()
    assert texts(before_curtain(bob)[0]) == [b"one", b"three"]
    bob.log_out()
    bob.come_back()
    nothing_more_for(bob)


def test_an_ack_and_a_quit_at_once_release_the_message(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    for n in range(5):
        alice.post(b"%d" % n, to=bob)
        bob.expect("delivery", from_=alice, data=b"%d" % n)
        bob.log_out()
        bob.come_back()
    nothing_more_for(bob)


def test_messages_may_be_acknowledged_in_any_order(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.auto_ack = False
    for n in range(6):
        alice.post(b"%d" % n, to=bob)
    frames = bob.take(6)
    for n in (4, 0, 5, 2):
        bob.ack(frames[n])
    bob.log_out()
    bob.login()
    assert texts(before_curtain(bob)[0]) == [b"1", b"3"]


@pytest.mark.parametrize("number", ["0123456789abcdef", "0" * 16, "f" * 16, "no id", "\u00e9", "x" * 5000])
def test_an_ack_of_an_id_that_is_not_outstanding_is_ignored(people: People, number: str) -> None:
    alice, bob = people.members("alice", "bob")
    bob.ack(number)
    alice.post(b"one", to=bob)
    frame = bob.expect("delivery", from_=alice, data=b"one")
    bob.ack(frame)
    bob.ack(frame)
    bob.ack(frame["id"].upper())
    bob.round_trip()
    nothing_more_for(alice, bob)


def test_an_ack_releases_nothing_for_other_nodes(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    phone = people.node(bob, "phone")
    bob.auto_ack = False
    alice.post(b"one", to=[bob, carol])
    ours = bob.expect("delivery", from_=alice, data=b"one")
    phone.expect("delivery", from_=alice, data=b"one")
    carol.expect("delivery", from_=alice, data=b"one")
    alice.ack(ours)
    phone.ack(ours)
    carol.ack(ours)
    for client in (alice, phone, carol):
        client.round_trip()
    bob.hang_up()
    bob.login()
    assert texts(before_curtain(bob)[0]) == [b"one"]


def test_a_node_that_is_off_does_not_keep_the_others_waiting(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    phone = people.node(bob, "phone")
    phone.hang_up()
    carol.auto_ack = False
    for n in range(100):
        alice.post(b"%d" % n, to=[bob, carol])
        bob.expect("delivery", from_=alice, data=b"%d" % n)
    phone.login()
    assert texts(before_curtain(phone)[0]) == [b"%d" % n for n in range(100)]


def test_more_than_a_window_of_messages_comes_in_order(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.hang_up()
    for n in range(300):
        alice.post(b"%d" % n, to=bob)
    bob.login()
    assert texts(before_curtain(bob)[0]) == [b"%d" % n for n in range(300)]


def test_large_and_small_messages_come_in_order(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.hang_up()
    sizes = [10, 5_000_000, 10, 70_000, 6_000_000, 10, 65_536, 65_537]
    for n, size in enumerate(sizes):
        alice.post(b"%d" % n * size, to=bob)
    bob.login()
    assert [(f.data[:1], len(f.data)) for f in bob.take(len(sizes))] == [
        (b"%d" % n, size) for n, size in enumerate(sizes)
    ]


def test_an_ack_to_a_request_goes_ahead_of_queued_messages(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.hang_up()
    for n in range(8):
        alice.post(b"%d" % n * 4_000_000, to=bob)
    bob.login()
    bob.ping("hello", to=alice)
    assert bob.untaken < 8
    assert [frame.data[:1] for frame in bob.take(8)] == [b"%d" % n for n in range(8)]


@pytest.fixture(scope="module")
def hasty() -> Iterator[Box]:
    """A box that sends again soon, and so much at a time."""
    settings = f"resend_after_s = {RESEND_S:.0f}\nwindow_messages = {WINDOW}\n"
    with Box(config=f'[delivery]\n{settings}window_octets = "{WINDOW_OCTETS >> 10} KiB"\n') as box:
        yield box


@pytest.fixture
def hasty_people(hasty: Box) -> Iterator[People]:
    people = People(hasty)
    yield people
    people.close()


def waiting(client: Client) -> list[bytes]:
    """What has come to a client that acknowledges nothing; the end is told by the silence after it."""
    got: list[bytes] = []
    while True:
        try:
            got.append(client.next(0.25).data)
        except AssertionError:
            return got


def test_what_is_not_acknowledged_in_time_is_sent_again_in_order(hasty_people: People) -> None:
    alice, bob = hasty_people.members("alice", "bob")
    bob.auto_ack = False
    started = time.monotonic()
    for text in (b"one", b"two", b"three"):
        alice.post(text, to=bob)
    first = bob.take(3)
    if time.monotonic() - started > RESEND_S:
        pytest.skip("the machine is too slow for this test")
    again = bob.take(3)
    assert time.monotonic() - started > RESEND_S * 0.9
    assert [(f.head, f.data) for f in again] == [(f.head, f.data) for f in first]
    bob.ack(first[0])
    bob.ack(first[2])
    bob.round_trip()
    third = bob.next()
    while third.data != b"two":
        third = bob.next()
    assert bob.next().data == b"two"
    bob.ack(third)
    bob.round_trip()
    assert set(waiting(bob)) <= {b"two"}
    time.sleep(RESEND_S * 1.2)
    assert waiting(bob) == []


def test_so_many_messages_are_in_flight_and_no_more(hasty_people: People) -> None:
    alice, bob = hasty_people.members("alice", "bob")
    bob.auto_ack = False
    for n in range(WINDOW + 3):
        alice.post(b"%d" % n, to=bob)
    frames = bob.take(WINDOW)
    sent = [b"%d" % n for n in range(WINDOW)]
    assert [f.data for f in frames] == sent
    assert set(waiting(bob)) <= set(sent)
    bob.ack(frames[1])
    assert next_but(sent, bob) == b"%d" % WINDOW
    bob.ack(frames[0])
    bob.ack(frames[2])
    assert next_but([*sent, b"%d" % WINDOW], bob) == b"%d" % (WINDOW + 1)
    assert next_but([*sent, b"%d" % WINDOW, b"%d" % (WINDOW + 1)], bob) == b"%d" % (WINDOW + 2)


def next_but(repeats: list[bytes], client: Client) -> bytes:
    """The data of the next message that is none of these come again."""
    while (data := client.next().data) in repeats:
        pass
    return data


def test_so_many_octets_are_in_flight_and_no_more(hasty_people: People) -> None:
    alice, bob = hasty_people.members("alice", "bob")
    bob.auto_ack = False
    posts = [b"%d" % n * 15_000 for n in range(WINDOW)]
    for text in posts:
        alice.post(text, to=bob)
    first = bob.next()
    in_flight = {first.data, *waiting(bob)}
    assert WINDOW_OCTETS - 15_500 < sum(map(len, in_flight)) < WINDOW_OCTETS + 15_500
    assert in_flight == set(posts[: len(in_flight)])
    bob.ack(first)
    assert next_but(posts[: len(in_flight)], bob) == posts[len(in_flight)]


def test_one_message_is_in_flight_however_large(hasty_people: People) -> None:
    alice, bob = hasty_people.members("alice", "bob")
    bob.auto_ack = False
    for text in (b"0" * 3_000_000, b"1", b"2" * 200_000):
        alice.post(text, to=bob)
    for text in (b"0" * 3_000_000, b"1", b"2" * 200_000):
        frame = bob.next()
        while frame.data != text:
            assert text[:1] > frame.data[:1], "only what came before comes again"
            frame = bob.next()
        bob.ack(frame)


@pytest.mark.alone
def test_a_node_that_never_acknowledges_harms_no_other(hasty_people: People) -> None:
    alice, bob, carol = hasty_people.members("alice", "bob", "carol")
    bob.auto_ack = False
    for n in range(50):
        alice.post(b"%d" % n, to=[bob, carol])
    assert [f.data for f in carol.take(50)] == [b"%d" % n for n in range(50)]


def test_user_messages_overtake_in_a_full_window_too(hasty_people: People) -> None:
    alice, bob = hasty_people.members("alice", "bob")
    bob.hang_up()
    for n in range(WINDOW + 2):
        alice.post(b"%d" % n, to=bob)
    bob.auto_ack = False
    bob.login()
    frames = bob.take(WINDOW)
    also = fresh("also bob")
    bob.edit_user(newalias=also)
    for frame in frames:
        bob.ack(frame)
    frame = bob.next()
    while frame in frames:
        frame = bob.next()
    assert frame.op == "user" and frame["newalias"] == also
