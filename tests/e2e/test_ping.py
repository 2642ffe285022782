"""Ping, and the text that a ping or an invite may carry (TMTP revision 1, sections 2 to 4)."""

from __future__ import annotations

import json

import pytest

from tests.kit import People, Raw, fresh, mentions, nothing_more_for


def test_a_ping_reaches_the_recipient_s_nodes_and_the_sender_s_others(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    tablet, phone = people.node(alice, "tablet"), people.node(bob, "phone")
    ack = alice.ping("hello, this is Alice", to=bob, datasum=4294967295)
    assert set(ack.header) == {"op", "id", "msgid", "posted"}
    heads = {
        node.expect(
            "ping",
            id=ack["msgid"],
            posted=ack["posted"],
            from_=alice,
            alias=alice.alias,
            to=bob.alias,
            datasum=4294967295,
            data=b"hello, this is Alice",
        ).head
        for node in (bob, phone, tablet)
    }
    assert len(heads) == 1
    nothing_more_for(alice, tablet, bob, phone, carol)


def test_a_ping_to_oneself_reaches_this_node_too(people: People) -> None:
    alice = people.member("alice")
    tablet = people.node(alice, "tablet")
    alice.ping("hello", to=alice)
    for node in (alice, tablet):
        node.expect("ping", from_=alice, alias=alice.alias, to=alice.alias, data=b"hello")
    nothing_more_for(alice, tablet)


def test_a_ping_may_be_empty(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.ping("", to=bob)
    bob.expect("ping", from_=alice, alias=alice.alias, to=bob.alias, datalen=0)


def test_a_ping_may_have_a_datahead(people: People, member: Raw) -> None:
    alice, bob = people.members("alice", "bob")
    header = {"op": 9, "id": "1", "from": alice.alias, "to": bob.alias, "datalen": 7, "datahead": 2}
    alice.line.send(b"%04x" % len(json.dumps(header)) + json.dumps(header).encode() + b"{}hello")
    bob.expect("ping", from_=alice, alias=alice.alias, to=bob.alias, datahead=2, data=b"{}hello")


def test_any_alias_of_either_will_do(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice_too, bob_too = fresh("alice too"), fresh("bob too")
    alice.edit_user(newalias=alice_too)
    bob.edit_user(newalias=bob_too)
    bob.expect("user", from_=bob, newalias=bob_too)
    alice.ping("hello", to=bob_too, from_=alice_too)
    bob.expect("ping", from_=alice, alias=alice_too, to=bob_too, data=b"hello")


def test_from_must_be_an_alias_of_the_sender(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    gid = people.group(alice, bob)
    for other in (bob.alias, carol.alias, fresh("nobody"), gid, "x"):
        alice.ping("hello", to=bob, from_=other, error="from must identify sender")
    nothing_more_for(alice, bob, carol)


def test_to_must_be_an_alias_of_the_site(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    for other in (fresh("nobody"), gid, bob.uid):
        alice.ping("hello", to=other, error=mentions(other))
    nothing_more_for(alice, bob)


FITS = ["x" * 140, "\u5c71" * 140, "\u00e9" * 140, "\U0001f600" * 70, "\x00\n\t", "\ufeff"]
TOO_LONG = ["x" * 141, "\u00e9" * 141, "\U0001f600" * 70 + "x", "\u5c71" * 140 + "x", "x" * 421]
NOT_UTF8 = [b"caf\xe9", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", "\ufffd".encode()]


@pytest.mark.parametrize("text", FITS)
def test_a_text_of_140_utf16_units_and_420_octets_fits(people: People, text: str) -> None:
    alice, bob = people.members("alice", "bob")
    alice.ping(text, to=bob)
    bob.expect("ping", from_=alice, alias=alice.alias, to=bob.alias, data=text.encode())
    gid = fresh("group")
    alice.invite(bob, gid, text)
    bob.expect("invite", from_=alice, alias=alice.alias, to=bob.alias, gid=gid, data=text.encode())


def headers(datalen: int) -> list[dict[str, object]]:
    ping = {"op": 9, "id": "1", "from": "somebody", "to": "somebody else", "datalen": datalen}
    return [ping, {**ping, "op": 5, "gid": "somegroup"}]


@pytest.mark.parametrize("text", TOO_LONG)
@pytest.mark.parametrize("kind", [0, 1])
def test_a_longer_text_is_told(member: Raw, text: str, kind: int) -> None:
    data = text.encode()
    member.say(headers(len(data))[kind], data)
    member.expect_quit("data too long for request type")


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("datalen", [421, 10**10])
def test_a_text_over_420_octets_is_told_before_it_comes(member: Raw, kind: int, datalen: int) -> None:
    member.say(headers(datalen)[kind])
    member.expect_quit("data too long for request type")


@pytest.mark.parametrize("data", NOT_UTF8)
@pytest.mark.parametrize("kind", [0, 1])
def test_a_text_that_is_no_utf8_is_told(member: Raw, data: bytes, kind: int) -> None:
    member.say(headers(len(data))[kind], data)
    member.expect_quit("data not valid UTF8")
