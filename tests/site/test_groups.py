"""GroupInvite and GroupEdit: TMTP revision 1, section 4."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import wire

from .house import House, Person, inviting, nodes, posting, with_sender

GID = "the group"


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def people(house: House) -> list[Person]:
    """Two in the group, with a second node for the first; two who are not."""
    alice, bob, carol, dave = house.members("alice alice", "bob bob bob", "carol carol", "dave dave")
    alice.add_node()
    house.group(GID, alice, bob)
    return [alice, bob, carol, dave]


# GroupInvite


def test_a_group_that_does_not_exist_is_made_with_the_sender_as_its_first_member(house: House) -> None:
    alice, bob = house.members("alice alice", "bob bob bob")
    phone = alice.add_node()
    bob.add_node()
    outcome = alice.asks(inviting("alice alice", "bob bob bob", GID, b"come"), b"come")
    assert house.role(GID, alice) == ("joined", "alice alice")
    assert house.role(GID, bob) == ("invited", "bob bob bob")
    invite, member = outcome.one("invite"), outcome.one("member")
    assert invite.nodes == sorted([*nodes(bob), phone.node.number])
    assert invite.fields() == {
        "op": "invite",
        "alias": "alice alice",
        "gid": GID,
        "to": "bob bob bob",
        "datalen": 4,
    }
    assert invite.data == b"come"
    assert member.nodes == nodes(alice)
    assert member.fields() == {
        "op": "member",
        "act": "invite",
        "alias": "bob bob bob",
        "gid": GID,
        "datalen": 0,
    }
    assert outcome.decision.msgid == int(invite.header["id"], 16)


def test_an_invitation_is_told_to_the_invitee_and_to_the_members(house: House, people: list[Person]) -> None:
    alice, bob, carol, dave = people
    bob.invite(dave, GID)
    outcome = alice.invite(carol, GID)
    assert outcome.one("invite").nodes == sorted([*nodes(carol), *alice.others])
    assert outcome.one("member").nodes == nodes(alice, bob)


def test_inviting_an_invitee_again_succeeds_and_is_told_again(house: House, people: list[Person]) -> None:
    alice, bob, carol, _ = people
    first, again = alice.invite(carol, GID), bob.invite(carol, GID)
    assert again.one("invite").nodes == nodes(carol)
    assert again.one("member").nodes == first.one("member").nodes
    assert again.decision.lasting == []


def test_an_invitee_is_known_by_the_alias_of_the_last_invitation(house: House, people: list[Person]) -> None:
    alice, bob, carol, _ = people
    carol.add_alias("also carol")
    alice.invite(carol, GID)
    bob.invite("also carol", GID)
    assert house.role(GID, carol) == ("invited", "also carol")
    assert carol.join(GID).one("member").header["alias"] == "also carol"


def test_inviting_a_member_is_an_error(house: House, people: list[Person]) -> None:
    alice, bob, *_ = people
    bob.add_alias("also bob bob")
    for to in ("bob bob bob", "also bob bob", "alice alice"):
        assert to in alice.is_refused(inviting("alice alice", to, GID), b"")
    assert "alice alice" in alice.is_refused(inviting("alice alice", "alice alice", "new group"), b"")
    assert "new group" not in house.site.groups


def test_only_a_member_may_invite(house: House, people: list[Person]) -> None:
    alice, bob, carol, dave = people
    assert GID in carol.is_refused(inviting("carol carol", "dave dave", GID), b"")
    alice.invite(carol, GID)
    assert GID in carol.is_refused(inviting("carol carol", "dave dave", GID), b"")
    alice.drop(bob, GID)
    assert GID in bob.is_refused(inviting("bob bob bob", "dave dave", GID), b"")
    carol.join(GID)
    carol.invite(dave, GID)


def test_from_must_be_one_s_own_and_to_an_alias(house: House, people: list[Person]) -> None:
    alice, *_ = people
    for gid in (GID, "new group"):
        error = alice.is_refused(inviting("bob bob bob", "carol carol", gid), b"")
        assert error == "from must identify sender"
        assert "nobody nobody" in alice.is_refused(inviting("alice alice", "nobody nobody", gid), b"")


def test_gids_share_one_name_space_with_aliases(house: House, people: list[Person]) -> None:
    alice, *_ = people
    assert "dave dave" in alice.is_refused(inviting("alice alice", "carol carol", "dave dave"), b"")


@pytest.mark.parametrize("gid", ["seven--", "\u00e9\u00e9\u00e9", "tab\tin it", "zero\u200bwidth"])
def test_a_gid_has_8_octets_at_least_and_is_printable(house: House, people: list[Person], gid: str) -> None:
    error = people[0].is_refused(inviting("alice alice", "carol carol", gid), b"")
    assert error.startswith("gid must be")
    if len(gid.encode()) < 8:
        assert error == "gid must be 8+ characters"


# GroupEdit


def test_joining_is_told_to_the_members_the_new_one_too(house: House, people: list[Person]) -> None:
    alice, bob, carol, dave = people
    alice.invite(carol, GID)
    alice.invite(dave, GID)
    outcome = carol.join(GID)
    told = outcome.one("member")
    assert told.nodes == nodes(alice, bob, carol)
    assert told.fields() == {
        "op": "member",
        "act": "join",
        "alias": "carol carol",
        "gid": GID,
        "datalen": 0,
    }
    assert told.header["from"] == carol.uid
    assert outcome.decision.msgid == 0


def test_joining_twice_succeeds_and_is_told_again(house: House, people: list[Person]) -> None:
    alice, bob, *_ = people
    outcome = bob.join(GID)
    assert outcome.one("member").nodes == nodes(alice, bob)
    assert outcome.decision.lasting == []


def test_one_may_join_under_another_alias_of_one_s_own(house: House, people: list[Person]) -> None:
    alice, bob, carol, _ = people
    carol.add_alias("also carol")
    alice.invite(carol, GID)
    for name in ("bob bob bob", "nobody nobody", GID):
        assert name in carol.is_refused(wire.GroupEdit("1", "join", GID, name))
    assert carol.join(GID, "also carol").one("member").header["alias"] == "also carol"
    assert house.role(GID, carol) == ("joined", "also carol")
    assert "also carol" in bob.is_refused(inviting("bob bob bob", "also carol", GID), b"")


def test_only_an_invitee_may_join(house: House, people: list[Person]) -> None:
    _, _, carol, _ = people
    assert GID in carol.is_refused(wire.GroupEdit("1", "join", GID))
    assert "no group" in carol.is_refused(wire.GroupEdit("1", "join", "no group"))


def test_a_member_may_change_the_name_in_the_group(house: House, people: list[Person]) -> None:
    alice, bob, carol, _ = people
    bob.add_alias("also bob bob")
    told = bob.asks(wire.GroupEdit("1", "alias", GID, "also bob bob")).one("member")
    assert told.nodes == nodes(alice, bob)
    assert told.fields() == {
        "op": "member",
        "act": "alias",
        "alias": "bob bob bob",
        "newalias": "also bob bob",
        "gid": GID,
        "datalen": 0,
    }
    assert house.role(GID, bob) == ("joined", "also bob bob")
    for name in ("alice alice", "nobody nobody"):
        assert name in bob.is_refused(wire.GroupEdit("1", "alias", GID, name))
    alice.invite(carol, GID)
    assert GID in carol.is_refused(wire.GroupEdit("1", "alias", GID, "carol carol"))


def test_dropping_oneself_leads_back_to_invited(house: House, people: list[Person]) -> None:
    alice, bob, *_ = people
    told = bob.drop(bob, GID).one("member")
    assert told.nodes == nodes(alice, bob)
    assert told.fields() == {
        "op": "member",
        "act": "drop",
        "alias": "bob bob bob",
        "gid": GID,
        "datalen": 0,
    }
    assert house.role(GID, bob) == ("invited", "bob bob bob")
    bob.join(GID)


def test_oneself_only_if_joined(house: House, people: list[Person]) -> None:
    alice, _, carol, _ = people
    alice.invite(carol, GID)
    assert GID in carol.is_refused(wire.GroupEdit("1", "drop", GID, None, "carol carol"))


@pytest.mark.parametrize("joined", [False, True])
def test_another_who_is_dropped_is_told_and_cannot_undo_it(
    house: House, people: list[Person], joined: bool
) -> None:
    alice, bob, carol, dave = people
    alice.invite(carol, GID)
    alice.invite(dave, GID)
    if joined:
        carol.join(GID)
    told = bob.drop(carol, GID).one("member")
    assert told.nodes == nodes(alice, bob, carol)
    assert told.header["alias"] == "carol carol" and told.header["from"] == bob.uid
    assert house.role(GID, carol) == ("barred", "carol carol")
    for request in (
        wire.GroupEdit("1", "join", GID),
        wire.GroupEdit("1", "drop", GID, None, "carol carol"),
        wire.GroupEdit("1", "drop", GID, None, "bob bob bob"),
        wire.GroupEdit("1", "alias", GID, "carol carol"),
    ):
        assert GID in carol.is_refused(request)
    assert GID in carol.is_refused(posting(b"x", with_sender(GID)), b"x")
    assert "carol carol" in bob.is_refused(wire.GroupEdit("1", "drop", GID, None, "carol carol"))
    alice.invite(carol, GID)
    assert carol.join(GID).one("member").nodes == nodes(alice, bob, carol)


def test_one_is_dropped_by_the_name_in_the_group_or_any_other(house: House, people: list[Person]) -> None:
    alice, bob, carol, _ = people
    bob.add_alias("also bob bob")
    assert alice.drop("also bob bob", GID).one("member").header["alias"] == "bob bob bob"
    for name in ("carol carol", "nobody nobody"):
        assert name in alice.is_refused(wire.GroupEdit("1", "drop", GID, None, name))
    assert GID in carol.is_refused(wire.GroupEdit("1", "drop", GID, None, "alice alice"))


def test_a_group_that_all_have_left_may_be_joined_again(house: House, people: list[Person]) -> None:
    alice, bob, *_ = people
    alice.drop(alice, GID)
    bob.drop(bob, GID)
    assert alice.post(b"x", with_sender(GID)).one("delivery").nodes == alice.others
    bob.join(GID)
    assert alice.post(b"x", with_sender(GID)).one("delivery").nodes == sorted([*nodes(bob), *alice.others])


# The roles as a table

DOES = st.tuples(st.sampled_from(["invite", "join", "leave", "drop"]), st.integers(0, 3), st.integers(0, 3))


@given(st.lists(DOES, max_size=30))
@settings(max_examples=60, deadline=None)
def test_whatever_is_done_the_roles_follow_the_rules(steps: list[tuple[str, int, int]]) -> None:
    """A group of four: each step is allowed, and has its effect, just as the sentences say."""
    house = House()
    people = house.members("alice alice", "bob bob bob", "carol carol", "dave dave")
    roles = ["joined", "invited", "none", "none"]
    people[0].invite(people[1], GID)
    for word, who, whom in steps:
        actor, other = people[who], people[whom]
        request: object
        if word == "invite":
            request, allowed = (
                inviting(actor.alias, other.alias, GID),
                (roles[who] == "joined" and roles[whom] != "joined"),
            )
            change = (whom, "invited")
        elif word == "join":
            request, allowed = wire.GroupEdit("1", "join", GID), roles[who] in ("invited", "joined")
            change = (who, "joined")
        elif word == "leave":
            request, allowed = wire.GroupEdit("1", "drop", GID, None, actor.alias), roles[who] == "joined"
            change = (who, "invited")
        else:
            request = wire.GroupEdit("1", "drop", GID, None, other.alias)
            allowed = roles[who] == "joined" and roles[whom] in ("invited", "joined")
            change = (whom, "invited" if who == whom else "barred")
        before = {n for n, role in enumerate(roles) if role == "joined"}
        if not allowed:
            actor.is_refused(request, b"")
            continue
        outcome = actor.asks(request, b"")
        roles[change[0]] = change[1]
        told = before | ({change[0]} if word != "invite" else set())
        assert outcome.one("member").nodes == nodes(*(people[n] for n in told))
        for n, role in enumerate(roles):
            place = house.role(GID, people[n])
            assert (place[0] if place else "none") == role
