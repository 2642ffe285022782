"""Register and Login (TMTP revision 1, section 4)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.kit import NODEID, UID, Box, Client, People, Quit, Raw, fresh, mentions, nothing_more_for


def register(raw: Raw, **fields: object) -> tuple[str, str, str | None]:
    """uid, node password and error of a Register on this line, which must then be logged in."""
    raw.greet().say({"op": 1, "newnode": "laptop", **fields})
    frame = raw.frame()
    assert frame.op == "registered", frame
    assert UID.fullmatch(frame["uid"]) and NODEID.fullmatch(frame["nodeid"]), frame
    raw.expect("info", info="login ok")
    return frame["uid"], frame["nodeid"], frame.header.get("error")


@pytest.mark.parametrize("fields", [{}, {"newalias": "_"}, {"newalias": ""}, {"newalias": None}])
def test_register_without_an_alias(raw: Raw, fields: dict[str, object]) -> None:
    assert register(raw, **fields)[2] is None


@pytest.mark.parametrize("name", ["alice", "al\u00efce & <b\u00f6b>", "\u5c71\u7530", "\U0001f600"])
def test_register_with_an_alias_by_which_one_is_reached(raw: Raw, people: People, name: str) -> None:
    alias = fresh(name)
    uid, _, error = register(raw, newalias=alias)
    assert error is None
    bob = people.member("bob")
    ack = bob.ping("hello", to=alias)
    raw.expect("ping", from_=bob.uid, to=alias, alias=bob.alias, data=b"hello", id=ack["msgid"])
    assert uid != bob.uid


def test_registering_goes_on_as_a_login_without_the_login_message(people: People) -> None:
    alice = people.member("alice")
    nothing_more_for(alice)


def test_every_account_and_every_node_password_is_another(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    assert len({alice.uid, bob.uid}) == 2
    assert len({alice.node, bob.node, phone.node}) == 3


@pytest.mark.parametrize("alias", ["seven77", "abc", "\u00e9\u00e9\u00e9x", "_______"])
def test_the_account_stands_when_its_alias_is_too_short(raw: Raw, box: Box, alias: str) -> None:
    assert len(alias.encode()) < 8
    uid, node, error = register(raw, newalias=alias)
    assert error == "newalias must be 8+ characters"
    raw.close()
    Client(box, uid=uid, node=node).come_back().close()


@pytest.mark.parametrize("alias", ["\u00e9\u00e9\u00e9\u00e9", "\u5c71\u7530\u5c71", "\U0001f600\U0001f680"])
def test_it_is_octets_that_are_counted(raw: Raw, alias: str) -> None:
    assert len(alias) < 8 <= len(alias.encode())
    assert register(raw, newalias=alias)[2] is None


UNPRINTABLE = ["\x00", "\n", "\x7f", "\u0085", "\u00a0", "\u200b", "\u202e", "\u2028", "\ue000"]


@pytest.mark.parametrize("character", UNPRINTABLE)
def test_an_alias_that_cannot_be_printed_is_refused(raw: Raw, box: Box, character: str) -> None:
    uid, node, error = register(raw, newalias=fresh("ali" + character + "ce"))
    assert error
    raw.close()
    Client(box, uid=uid, node=node).come_back().close()


def test_an_alias_that_another_has_is_refused(raw: Raw, people: People) -> None:
    alice = people.member("alice")
    assert register(raw, newalias=alice.alias)[2] == mentions(alice.alias)


def test_an_alias_that_is_a_group_s_gid_is_refused(raw: Raw, people: People) -> None:
    gid = people.group(*people.members("alice", "bob"))
    assert register(raw, newalias=gid)[2] == mentions(gid)


def test_login_is_told_to_all_nodes_this_one_too(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone, tablet = people.node(alice, "phone"), people.node(alice, "tablet")
    phone.hang_up()
    assert set(phone.login().header) == {"op", "info"}
    messages = [node.expect("login", from_=alice, node="tbd", datalen=0) for node in (alice, phone, tablet)]
    assert len({message["id"] for message in messages}) == 1
    nothing_more_for(alice, phone, tablet, bob)


def test_login_is_told_to_a_node_that_is_off_when_it_comes_back(people: People) -> None:
    alice = people.member("alice")
    phone = people.node(alice, "phone")
    alice.hang_up()
    phone.log_out()
    phone.come_back()
    alice.login()
    alice.expect("login", from_=alice, node="tbd")
    alice.expect("login", from_=alice, node="tbd")
    phone.expect("login", from_=alice, node="tbd")
    nothing_more_for(alice, phone)


def test_an_unknown_uid_is_told(box: Box, people: People) -> None:
    alice = people.member("alice")
    alice.hang_up()
    with pytest.raises(Quit, match="login failed"):
        Client(box, uid="1" * 32, node=alice.node).login(source="127.0.1.1")


@pytest.mark.parametrize("uid", ["\u00fcber", "no uid at all", "\x00", "x" * 60000])
def test_a_uid_that_can_be_none_is_an_unknown_one(raw: Raw, uid: str) -> None:
    raw.greet().say({"op": 2, "uid": uid, "node": "1" * 40})
    raw.expect_quit("login failed")


def test_a_wrong_password_is_told_and_does_not_lock_the_owner_out(box: Box, people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.hang_up()
    for password in ("1" * 40, bob.node, alice.node[:-8] + "11111111", alice.node[:32]):
        with pytest.raises(Quit, match="login failed"):
            Client(box, uid=alice.uid, node=password).login(source="127.0.1.2")
    alice.come_back()


@pytest.mark.parametrize("password", ["AEIOU", "abcdefgh", "0", "1111 111", "\u00fc" * 40, "1111111!"])
def test_a_password_that_is_no_base32_is_told(box: Box, people: People, password: str) -> None:
    alice = people.member("alice")
    alice.hang_up()
    with pytest.raises(Quit, match="corrupt base32 value"):
        Client(box, uid=alice.uid, node=password).login(source="127.0.1.3")
    alice.come_back()


def test_failed_logins_slow_down_their_own_address_only(box: Box, people: People) -> None:
    alice = people.member("alice")
    alice.hang_up()
    took_s = []
    for _ in range(9):
        started = time.monotonic()
        with pytest.raises(Quit, match="login failed"):
            Client(box, uid=alice.uid, node="1" * 40).login(source="127.0.1.4")
        took_s.append(time.monotonic() - started)
    assert took_s[-1] > 2 * min(took_s[:5]), took_s
    started = time.monotonic()
    alice.come_back()
    assert time.monotonic() - started < took_s[-1]


def test_a_node_that_is_logged_in_cannot_log_in_again(box: Box, people: People) -> None:
    alice, bob = people.members("alice", "bob")
    twin = Client(box, uid=alice.uid, node=alice.node)
    with pytest.raises(Quit, match="node already connected"):
        twin.login()
    nothing_more_for(alice)
    bob.post(b"the first stays", to=alice)
    alice.expect("delivery", from_=bob, data=b"the first stays")


@pytest.mark.parametrize("way", ["log_out", "hang_up", "reset"])
def test_a_node_can_log_in_as_soon_as_its_link_is_gone(people: People, way: str) -> None:
    alice = people.member("alice")
    for _ in range(5):
        getattr(alice, way)()
        alice.come_back()
    nothing_more_for(alice)


def test_a_node_can_log_in_after_a_protocol_error_on_its_link(people: People) -> None:
    alice = people.member("alice")
    alice.line.send(b"zzzz")
    alice.expect_quit("invalid header length")
    alice.come_back()


@pytest.mark.root
def test_a_machine_that_vanished_does_not_lock_its_owner_out(new_box: Callable[..., Box]) -> None:
    settings = "keepalive_idle_s = 1\nkeepalive_interval_s = 1\nuser_timeout_s = 2\n"
    people = People(new_box(config=f"[link]\n{settings}"))
    alice = people.member("alice")
    try:
        alice.vanish()
    except PermissionError:
        pytest.skip("needs root")
    started = time.monotonic()
    with pytest.raises(Quit, match="node already connected"):
        alice.login()
    while True:
        try:
            alice.login()
            break
        except Quit:
            assert time.monotonic() - started < 15
    alice.expect("login", from_=alice, node="tbd")


def test_a_login_refused_as_a_twin_leaves_no_trace(box: Box, people: People) -> None:
    alice = people.member("alice")
    for _ in range(3):
        with pytest.raises(Quit, match="node already connected"):
            Client(box, uid=alice.uid, node=alice.node).login()
    alice.hang_up()
    alice.come_back()
    nothing_more_for(alice)


def test_log_out_is_confirmed(member: Raw) -> None:
    member.say('{"op":12}')
    member.expect_quit("logout ok")


def test_what_follows_a_quit_is_not_looked_at(box: Box, people: People) -> None:
    alice = people.member("alice")
    with Raw(box) as raw:
        register(raw)
        raw.say('{"op":12}')
        raw.say({"op": 7, "id": "1", "for": [{"id": alice.uid, "type": 1}], "datalen": 1}, b"x")
        raw.expect_quit("logout ok")
    nothing_more_for(alice)
