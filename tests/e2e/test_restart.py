"""What is kept over SIGTERM and kill -9, which is everything that was acknowledged."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.kit import (
    Box,
    HungUp,
    People,
    Quit,
    before_curtain,
    framed,
    fresh,
    mentions,
    nothing_more_for,
    settle,
    with_sender,
)

STOPS = ["terminate", "kill9"]
ACKS_DELAY_S = 0.5
"""Acks by nodes may wait for a commit to share, 50 ms by default; those a kill loses are no promise."""


@pytest.mark.parametrize("stop", STOPS)
def test_everything_is_kept(new_box: Callable[..., Box], stop: str) -> None:
    box = new_box()
    people = People(box)
    alice, bob, carol, dave = people.members("alice", "bob", "carol", "dave")
    phone = people.node(bob, "phone")
    gid, also = people.group(alice, bob, carol), fresh("also alice")
    alice.edit_user(newalias=also)
    alice.invite(dave, gid)
    alice.drop(carol, gid)
    settle(alice, bob, carol, dave, phone)
    phone.auto_ack = False
    large = random.Random(1).randbytes(1_000_000)
    acks = [alice.post(text, to=with_sender(gid)) for text in (b"one", large, b"three")]
    note = alice.post_notify(b"note", b"message", to=bob)
    ping = dave.ping("hello", to=bob)
    assert phone.next().data == b"one"
    bob.take(6)
    bob.log_out()
    phone.log_out()
    time.sleep(ACKS_DELAY_S)
    fingerprint, name = box.fingerprint, box.name
    getattr(box, stop)()
    box.start()
    assert (box.fingerprint, box.name) == (fingerprint, name)
    for client in (alice, carol, dave):
        client.login()
    settle(alice, carol, dave)

    phone.auto_ack = True
    phone.login()
    for ack, text in zip(acks, (b"one", large, b"three"), strict=True):
        phone.expect("delivery", id=ack["msgid"], posted=ack["posted"], from_=alice, data=text)
    phone.expect_all(
        ("delivery", {"id": note["msgid"], "data": b"message", "notify": 2}),
        ("notify", {"postid": note["msgid"], "data": b"note"}),
    )
    phone.expect("ping", id=ping["msgid"], from_=dave, alias=dave.alias, to=bob.alias, data=b"hello")
    bob.login()
    assert all(frame.op == "login" for frame in before_curtain(bob)[0]), "acknowledged before"

    assert alice.post(b"four", to=with_sender(gid))["msgid"] > ping["msgid"]
    settle(alice, bob, phone)
    carol.join(gid, error=mentions(gid))
    alice.edit_user(newalias=also)
    dave.edit_user(newalias=also, error=mentions(also))
    dave.edit_user(newalias=gid, error=mentions(gid))
    dave.join(gid)
    settle(alice, bob, dave, phone)
    bob.post(b"five", to=with_sender(gid))
    for client in (alice, bob, phone, dave):
        client.expect("delivery", from_=bob, data=b"five")
    nothing_more_for(alice, bob, carol, dave, phone)
    people.close()


@pytest.mark.parametrize("stop", STOPS)
def test_presence_is_not_kept(new_box: Callable[..., Box], stop: str) -> None:
    box = new_box()
    people = People(box)
    alice, bob = people.members("alice", "bob")
    alice.edit_ohi("init", bob)
    getattr(box, stop)()
    box.start()
    alice.login()
    assert "ohi" not in bob.login()
    people.close()


def test_what_was_acked_just_before_a_kill_is_delivered_after_it(new_box: Callable[..., Box]) -> None:
    box = new_box()
    people = People(box)
    alice, bob = people.members("alice", "bob")
    last = ""
    for n in range(4):
        bob.close()
        acks = [alice.post(b"%d" % m, to=bob) for m in range(n * 10, n * 10 + 10)]
        box.kill9()
        box.start()
        assert acks[0]["msgid"] > last
        last = acks[-1]["msgid"]
        bob.login()
        for m, ack in enumerate(acks):
            bob.expect(
                "delivery", id=ack["msgid"], posted=ack["posted"], from_=alice, data=b"%d" % (n * 10 + m)
            )
        alice.login()
        settle(alice, bob)
    people.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_takes_less_than_5_s_whatever_is_under_way(
    new_box: Callable[..., Box], number: signal.Signals
) -> None:
    box = new_box()
    people = People(box)
    alice, bob, carol = people.members("alice", "bob", "carol")
    bob.auto_ack = False
    for _ in range(20):
        alice.post(b"x" * 500_000, to=[bob, carol])
    alice.line.send(framed('{"op":7,"id":"1","for":[],"datalen":1000000}', b"the rest never comes"))
    started = time.monotonic()
    assert box.stop(number) == 0, box.words()
    assert time.monotonic() - started < 5
    with pytest.raises(HungUp):
        while True:
            alice.next()
    people.close()


def test_links_may_come_back_at_once_after_a_kill(new_box: Callable[..., Box]) -> None:
    box = new_box()
    people = People(box)
    clients = people.members("alice", "bob", "carol")
    box.kill9()
    box.start()
    for client in clients:
        client.come_back()
    nothing_more_for(*clients)
    people.close()


def test_a_node_dropped_over_the_control_socket_cannot_log_in(new_box: Callable[..., Box]) -> None:
    box = new_box()
    people = People(box)
    alice = people.member("alice")
    phone = people.node(alice, "phone")
    phone.log_out()
    box.control("device.drop", device=f"{alice.alias}/phone")
    with pytest.raises(Quit, match="login failed"):
        phone.login()
    box.restart()
    with pytest.raises(Quit, match="login failed"):
        phone.login()
    alice.login()
    people.close()
