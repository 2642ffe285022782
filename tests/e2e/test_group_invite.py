"""GroupInvite (TMTP revision 1, section 4)."""

from __future__ import annotations

import pytest

from tests.kit import Client, People, fresh, mentions, nothing_more_for, settle, without_sender


def expect_told(*members: Client, act: str, gid: str, **fields: object) -> None:
    """These get the same `member` message."""
    told = [member.expect("member", act=act, gid=gid, datalen=0, **fields) for member in members]
    assert len({frame.head for frame in told}) == 1


def test_an_invite_makes_the_group_and_reaches_the_invitee_and_one_s_other_nodes(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    tablet, phone = people.node(alice, "tablet"), people.node(bob, "phone")
    gid = fresh("group")
    ack = alice.invite(bob, gid, "come in")
    assert set(ack.header) == {"op", "id", "msgid", "posted"}
    invite = {
        "id": ack["msgid"],
        "posted": ack["posted"],
        "from_": alice,
        "alias": alice.alias,
        "to": bob.alias,
        "gid": gid,
        "data": b"come in",
    }
    member = {"from_": alice, "act": "invite", "alias": bob.alias, "gid": gid, "datalen": 0}
    for node in (bob, phone):
        node.expect("invite", **invite)
    tablet.expect_all(("invite", invite), ("member", member))
    alice.expect("member", **member)
    nothing_more_for(alice, tablet, bob, phone, carol)


def test_a_further_invite_is_told_to_the_members(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    gid = people.group(alice, bob)
    bob.invite(carol, gid)
    carol.expect("invite", from_=bob, alias=bob.alias, to=carol.alias, gid=gid, datalen=0)
    expect_told(alice, bob, act="invite", gid=gid, from_=bob, alias=carol.alias)
    nothing_more_for(alice, bob, carol)


def test_inviting_an_invitee_again_succeeds_and_is_told_again(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = fresh("group")
    for text in ("come in", "come in, I said"):
        alice.invite(bob, gid, text)
        bob.expect("invite", from_=alice, alias=alice.alias, to=bob.alias, gid=gid, data=text.encode())
        alice.expect("member", from_=alice, act="invite", gid=gid, alias=bob.alias)
    bob.join(gid)
    nothing_more_for_but_joins(alice, bob)


def nothing_more_for_but_joins(*members: Client) -> None:
    for member in members:
        member.find("member", act="join")
    nothing_more_for(*members)


def test_inviting_a_member_is_an_error(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = people.group(alice, bob)
    alice.invite(bob, gid, error=mentions(bob.alias))
    bob.invite(alice, gid, error=mentions(alice.alias))
    alice.invite(alice, gid, error=mentions(alice.alias))
    nothing_more_for(alice, bob)


def test_only_a_member_may_invite(people: People) -> None:
    alice, bob, carol, dave = people.members("alice", "bob", "carol", "dave")
    gid = people.group(alice, bob)
    alice.invite(carol, gid)
    settle(alice, bob, carol)
    carol.invite(dave, gid, error=mentions(gid))
    dave.invite(carol, gid, error=mentions(gid))
    nothing_more_for(alice, bob, carol, dave)


def test_from_must_be_an_alias_of_the_inviter(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = fresh("group")
    for other in (bob.alias, fresh("nobody")):
        alice.invite(bob, gid, from_=other, error="from must identify sender")
    nothing_more_for(alice, bob)


@pytest.mark.parametrize("gid", ["seven77", "x", "\u00e9\u00e9\u00e9x"])
def test_a_gid_has_8_octets_at_least(people: People, gid: str) -> None:
    alice, bob = people.members("alice", "bob")
    alice.invite(bob, gid, error="gid must be 8+ characters")
    nothing_more_for(alice, bob)


@pytest.mark.parametrize("gid", ["group\nof lines", "group\u200b of nothing", "group\x00\x00\x00\x00"])
def test_a_gid_can_be_printed(people: People, gid: str) -> None:
    alice, bob = people.members("alice", "bob")
    alice.invite(bob, gid, error=mentions())
    nothing_more_for(alice, bob)


def test_gids_and_aliases_are_one_name_space(people: People) -> None:
    alice, bob, carol = people.members("alice", "bob", "carol")
    for alias in (alice.alias, bob.alias, carol.alias):
        alice.invite(bob, alias, error=mentions(alias))
    nothing_more_for(alice, bob, carol)


def test_inviting_nobody_is_an_error_and_makes_no_group(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    gid = fresh("group")
    another = people.group(alice, bob)
    for nobody in (fresh("nobody"), another, bob.uid):
        alice.invite(nobody, gid, error=mentions(nobody))
    alice.post(b"x", to=without_sender(gid), error=mentions(gid))
    bob.edit_user(newalias=gid)
    bob.expect("user", from_=bob, newalias=gid)
    nothing_more_for(alice, bob)


def test_the_invitee_sees_the_alias_the_inviter_chose(people: People) -> None:
    alice, bob = people.members("alice", "bob")
    also, bob_too = fresh("also alice"), fresh("bob too")
    alice.edit_user(newalias=also)
    bob.edit_user(newalias=bob_too)
    settle(alice, bob)
    gid = fresh("group")
    alice.invite(bob_too, gid, "hello", from_=also)
    bob.expect("invite", from_=alice, alias=also, to=bob_too, gid=gid, data=b"hello")
    alice.expect("member", from_=alice, act="invite", alias=bob_too, gid=gid)
    bob.join(gid)
    expect_told(alice, bob, act="join", gid=gid, from_=bob, alias=bob_too)
    alice.drop(also, gid)
    expect_told(alice, bob, act="drop", gid=gid, from_=alice, alias=also)
