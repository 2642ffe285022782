"""GroupEdit: join, alias, drop; and who may post to a group (TMTP revision 1, section 4)."""

from __future__ import annotations

from tests.kit import Client, People, fresh, mentions, nothing_more_for, settle, with_sender, without_sender

from .test_group_invite import expect_told


def invited(people: People) -> tuple[str, Client, Client, Client]:
    """A group of Alice and Bob, to which Carol is invited."""
    alice, bob, carol = people.members("alice", "bob", "carol")
    gid = people.group(alice, bob)
    alice.invite(carol, gid)
    settle(alice, bob, carol)
    return gid, alice, bob, carol


def test_joining_is_told_to_all_nodes_of_the_members(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    tablet, phone = people.node(alice, "tablet"), people.node(carol, "phone")
    ack = carol.join(gid)
    assert set(ack.header) == {"op", "id"}
    nodes = (alice, tablet, bob, carol, phone)
    expect_told(*nodes, act="join", gid=gid, from_=carol, alias=carol.alias)
    nothing_more_for(*nodes)


def test_one_may_join_with_another_alias_of_one_s_own(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    also = fresh("also carol")
    carol.edit_user(newalias=also)
    carol.find("user", newalias=also)
    carol.join(gid, also)
    expect_told(alice, bob, carol, act="join", gid=gid, from_=carol, alias=also)
    nothing_more_for(alice, bob, carol)


def test_one_cannot_join_with_an_alias_that_is_not_one_s_own(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    nobody = fresh("nobody")
    carol.join(gid, bob.alias, error=mentions(bob.alias))
    carol.join(gid, nobody, error=mentions(nobody))
    nothing_more_for(alice, bob, carol)
    alice.post(b"Carol is out", to=with_sender(gid))
    bob.expect("delivery", from_=alice, data=b"Carol is out")
    alice.expect("delivery", from_=alice, data=b"Carol is out")
    nothing_more_for(carol)


def test_joining_twice_succeeds_and_is_told_again(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    for _ in range(2):
        carol.join(gid)
        expect_told(alice, bob, carol, act="join", gid=gid, from_=carol, alias=carol.alias)
    nothing_more_for(alice, bob, carol)


def test_the_founder_may_join_again_too(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    alice.join(gid)
    expect_told(alice, bob, act="join", gid=gid, from_=alice, alias=alice.alias)
    nothing_more_for(alice, bob, carol)


def test_who_is_not_invited_cannot_join(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    dave = people.member("dave")
    dave.join(gid, error=mentions(gid))
    nowhere = fresh("nowhere")
    dave.join(nowhere, error=mentions(nowhere))
    dave.join(alice.alias, error=mentions(alice.alias))
    nothing_more_for(alice, bob, carol, dave)


def test_one_may_change_one_s_name_in_the_group(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    also = fresh("also bob")
    bob.edit_user(newalias=also)
    bob.find("user", newalias=also)
    ack = bob.rename_in(gid, also)
    assert set(ack.header) == {"op", "id"}
    expect_told(alice, bob, act="alias", gid=gid, from_=bob, alias=bob.alias, newalias=also)
    nothing_more_for(alice, bob, carol)
    alice.drop(also, gid)
    expect_told(alice, bob, act="drop", gid=gid, from_=alice, alias=also)


def test_one_cannot_take_the_name_of_another_in_the_group(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    dave = people.member("dave")
    for name in (alice.alias, dave.alias, fresh("nobody")):
        bob.rename_in(gid, name, error=mentions(name))
    nothing_more_for(alice, bob, carol, dave)


def test_who_is_not_in_the_group_has_no_name_to_change(people: People) -> None:
    gid, alice, bob, _carol = invited(people)
    dave = people.member("dave")
    dave.rename_in(gid, dave.alias, error=mentions(gid))
    nowhere = fresh("nowhere")
    dave.rename_in(nowhere, dave.alias, error=mentions(nowhere))
    nothing_more_for(alice, bob, dave)


def test_who_drops_oneself_is_an_invitee_again(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    ack = bob.drop(bob, gid)
    assert set(ack.header) == {"op", "id"}
    expect_told(alice, bob, act="drop", gid=gid, from_=bob, alias=bob.alias)
    alice.post(b"without Bob", to=with_sender(gid))
    alice.expect("delivery", from_=alice, data=b"without Bob")
    bob.post(b"from outside", to=without_sender(gid))
    alice.expect("delivery", from_=bob, data=b"from outside")
    nothing_more_for(alice, bob, carol)
    bob.join(gid)
    expect_told(alice, bob, act="join", gid=gid, from_=bob, alias=bob.alias)
    alice.post(b"with Bob", to=without_sender(gid))
    bob.expect("delivery", from_=alice, data=b"with Bob")


def test_an_invitee_has_nothing_to_drop_oneself_from(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    carol.drop(carol, gid, error=mentions())
    bob.drop(bob, gid)
    bob.drop(bob, gid, error=mentions())
    expect_told(alice, bob, act="drop", gid=gid, from_=bob, alias=bob.alias)
    nothing_more_for(alice, bob, carol)


def test_who_is_dropped_by_another_is_barred(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    carol.join(gid)
    settle(alice, bob, carol)
    alice.drop(bob, gid)
    expect_told(alice, bob, carol, act="drop", gid=gid, from_=alice, alias=bob.alias)
    bob.join(gid, error=mentions(gid))
    bob.drop(bob, gid, error=mentions())
    bob.join(gid, error=mentions(gid))
    bob.rename_in(gid, bob.alias, error=mentions(gid))
    bob.invite(carol, gid, error=mentions())
    bob.drop(carol, gid, error=mentions())
    bob.post(b"let me in", to=without_sender(gid), error=mentions(gid))
    alice.post(b"without Bob", to=without_sender(gid))
    carol.expect("delivery", from_=alice, data=b"without Bob")
    nothing_more_for(alice, bob, carol)


def test_who_is_barred_may_come_back_when_a_member_invites_again(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    carol.join(gid)
    alice.drop(bob, gid)
    settle(alice, bob, carol)
    carol.invite(bob, gid)
    bob.expect("invite", from_=carol, alias=carol.alias, to=bob.alias, gid=gid, datalen=0)
    expect_told(alice, carol, act="invite", gid=gid, from_=carol, alias=bob.alias)
    bob.join(gid)
    expect_told(alice, bob, carol, act="join", gid=gid, from_=bob, alias=bob.alias)
    bob.post(b"thanks", to=without_sender(gid))
    for member in (alice, carol):
        member.expect("delivery", from_=bob, data=b"thanks")


def test_an_invitee_can_be_barred(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    bob.drop(carol, gid)
    expect_told(alice, bob, carol, act="drop", gid=gid, from_=bob, alias=carol.alias)
    carol.join(gid, error=mentions(gid))
    carol.post(b"let me in", to=without_sender(gid), error=mentions(gid))
    nothing_more_for(alice, bob, carol)


def test_dropping_somebody_who_is_not_there_is_an_error(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    dave = people.member("dave")
    alice.drop(dave, gid, error=mentions(dave.alias))
    nobody, nowhere = fresh("nobody"), fresh("nowhere")
    alice.drop(nobody, gid, error=mentions(nobody))
    alice.drop(bob, nowhere, error=mentions(nowhere))
    dave.drop(bob, gid, error=mentions(gid))
    nothing_more_for(alice, bob, carol, dave)


def test_an_invitee_may_post_to_the_group_but_receives_nothing_from_it(people: People) -> None:
    gid, alice, bob, carol = invited(people)
    phone = people.node(carol, "phone")
    carol.post(b"may I?", to=with_sender(gid))
    for member in (alice, bob):
        member.expect("delivery", from_=carol, data=b"may I?")
    phone.expect("delivery", from_=carol, data=b"may I?")
    alice.post(b"you may", to=with_sender(gid))
    for member in (alice, bob):
        member.expect("delivery", from_=alice, data=b"you may")
    nothing_more_for(alice, bob, carol, phone)


def test_groups_are_apart(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    ours, theirs = people.group(alice, bob), people.group(alice, carol)
    alice.post(b"for us", to=without_sender(ours))
    alice.post(b"for them", to=without_sender(theirs))
    bob.expect("delivery", from_=alice, data=b"for us")
    carol.expect("delivery", from_=alice, data=b"for them")
    bob.post(b"x", to=without_sender(theirs), error=mentions(theirs))
    nothing_more_for(alice, bob, carol)
