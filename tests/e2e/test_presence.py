"""OhiEdit: who is told that somebody is online (TMTP revision 1, section 4)."""

from __future__ import annotations

from collections.abc import Callable

from appliance.wire import OhiEdit
from tests.kit import Box, Client, People, mentions, nothing_more_for, settle

ONLINE, OFFLINE = 1, 2


def entries(*members: Client) -> list[dict[str, object]]:
    """`for` as it is told to a member's own nodes."""
    return [{"Id": member.uid, "Type": 0} for member in members]


def test_announcing_oneself_is_told_to_those_listed_and_to_one_s_own_nodes(people: People) -> None:
    alice, bob, carol, dave = people.members("alice", "bob", "carol", "dave")
    phone, bobs_phone = people.node(alice, "phone"), people.node(bob, "phone")
    ack = alice.edit_ohi("add", bob, carol)
    assert set(ack.header) == {"op", "id"}
    for node in (bob, bobs_phone, carol):
        node.expect("ohi", from_=alice, status=ONLINE)
    for node in (alice, phone):
        node.expect("ohiedit", from_=alice, type="add", for_=entries(bob, carol), datalen=0)
    nothing_more_for(alice, phone, bob, bobs_phone, carol, dave)


def test_init_announces_and_is_not_told_to_one_s_own_nodes(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    alice.edit_ohi("init", bob)
    bob.expect("ohi", from_=alice, status=ONLINE)
    nothing_more_for(alice, phone, bob)


def test_no_longer_announcing_oneself_is_told(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    phone = people.node(alice, "phone")
    alice.edit_ohi("init", bob, carol)
    bob.expect("ohi", from_=alice, status=ONLINE)
    carol.expect("ohi", from_=alice, status=ONLINE)
    alice.edit_ohi("drop", bob)
    bob.expect("ohi", from_=alice, status=OFFLINE)
    for node in (alice, phone):
        node.expect("ohiedit", from_=alice, type="drop", for_=entries(bob), datalen=0)
    alice.hang_up()
    phone.hang_up()
    carol.expect("ohi", from_=alice, status=OFFLINE)
    nothing_more_for(bob, carol)


def test_who_is_online_is_told_at_login(people: People) -> None:
    alice, bob, carol, dave = people.members("alice", "bob", "carol", "dave")
    dave.hang_up()
    alice.edit_ohi("init", dave)
    bob.edit_ohi("init", dave, carol)
    assert sorted(dave.login()["ohi"]) == sorted([alice.uid, bob.uid])
    dave.expect("login", from_=dave, node="tbd")
    nothing_more_for(dave)
    dave.hang_up()
    alice.edit_ohi("drop", dave)
    carol.expect("ohi", from_=bob, status=ONLINE)
    bob.hang_up()
    carol.expect("ohi", from_=bob, status=OFFLINE)
    assert "ohi" not in dave.login()


def test_presence_is_told_at_the_change_only(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    phone.hang_up()
    alice.edit_ohi("init", bob)
    bob.expect("ohi", from_=alice, status=ONLINE)
    alice.edit_ohi("init", bob)
    phone.come_back()
    phone.edit_ohi("init", bob)
    alice.hang_up()
    nothing_more_for(bob, phone)
    phone.log_out()
    bob.expect("ohi", from_=alice, status=OFFLINE)
    nothing_more_for(bob)


def test_the_list_lives_as_long_as_any_link_of_the_member(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    alice.edit_ohi("init", bob)
    alice.log_out()
    bob.hang_up()
    assert bob.login()["ohi"] == [alice.uid]
    bob.expect("login", from_=bob, node="tbd")
    alice.login()
    phone.log_out()
    nothing_more_for(bob)
    alice.log_out()
    bob.expect("ohi", from_=alice, status=OFFLINE)
    alice.login()
    nothing_more_for(bob)
    bob.hang_up()
    assert "ohi" not in bob.login()


def test_no_presence_is_told_before_the_answer_to_the_login(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    for _ in range(10):
        bob.log_out()
        for kind in ("init", "drop") * 30:
            alice.send(OhiEdit(alice.request_id(), [bob.uid], kind))
        bob.login()
        settle(alice, bob)


def test_an_unknown_uid_fails_the_whole_request(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    phone = people.node(alice, "phone")
    nobody = "%" * 32
    for kind in ("add", "init", "drop"):
        alice.edit_ohi(kind, bob, nobody, error=mentions(nobody))
    nothing_more_for(alice, phone, bob)
    bob.hang_up()
    assert "ohi" not in bob.login()


def test_presence_is_not_queued(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    bob.hang_up()
    alice.edit_ohi("init", bob)
    alice.log_out()
    assert "ohi" not in bob.login()
    bob.expect("login", from_=bob, node="tbd")
    nothing_more_for(bob)


def test_presence_ends_when_a_link_dies_by_a_protocol_error(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    alice.edit_ohi("init", bob)
    bob.expect("ohi", from_=alice, status=ONLINE)
    alice.line.send(b"zzzz")
    bob.expect("ohi", from_=alice, status=OFFLINE)


def test_presence_ends_when_a_link_falls_silent(new_box: Callable[..., Box]) -> None:
    people = People(new_box(config="[link]\nidle_timeout_s = 1\n"))
    alice, bob = people.members("alice", "bob")
    alice.edit_ohi("init", bob)
    bob.expect("ohi", from_=alice, status=ONLINE)
    for _ in range(40):
        bob.pulse()
        try:
            frame = bob.next(0.25)
        except AssertionError:
            continue
        assert frame.differs("ohi", {"from": alice.uid, "status": OFFLINE}) == ""
        break
    else:
        raise AssertionError("alice's end was not told")
    people.close()
