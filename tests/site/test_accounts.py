"""Register, Login, UserEdit, OhiEdit, and what names may be: TMTP revision 1, section 4."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.site import RANK_NORMAL, RANK_USER, drop_node, facts

from .house import House, nodes

NAMES_REFUSED = [
    "seven--",
    "\u00e9\u00e9\u00e9",
    "",
    "tab\tin it",
    "line\nfeed",
    "nul\0in it",
    "bell\x07in it",
]
NAMES_REFUSED += ["right\u202eto left", "zero\u200bwidth", "line\u2028separator", "private\ue000use"]
NAMES_TAKEN = [
    "eight---",
    "\u00e9\u00e9\u00e9\u00e9",
    "\u6c34\u6c34\u6c34",
    "two words",
    "<&>\"'\\/;",
    "\U0001f600\U0001f600",
]


# Register


def test_register_makes_the_account_its_first_node_and_the_alias() -> None:
    house = House()
    outcome = house.registers("laptop", "alice alice")
    (member,) = house.site.members.values()
    (node,) = house.site.nodes.values()
    assert outcome.decision.error is None
    assert (member.aliases, member.nodes) == (["alice alice"], [node.number])
    assert (node.label, node.member) == ("laptop", member.number)
    assert (outcome.decision.member, outcome.decision.node) == (member.number, node.number)
    assert house.site.uids[member.uid] is house.site.aliases["alice alice"] is member


def test_register_goes_on_as_a_login_without_the_login_message() -> None:
    assert House().registers("laptop", "alice alice").told == []


def test_register_without_an_alias_asks_for_none() -> None:
    house = House()
    assert house.registers("laptop", None).decision.error is None
    assert not house.site.aliases


@pytest.mark.parametrize("alias", [*NAMES_REFUSED, "bob bob bob"])
def test_the_account_stands_if_the_alias_is_refused(alias: str) -> None:
    house = House()
    house.member("bob bob bob")
    outcome = house.registers("laptop", alias)
    assert outcome.decision.error is not None and outcome.decision.lasting
    assert "newalias" in outcome.decision.error
    assert house.site.members[outcome.decision.member].aliases == []
    assert len(house.site.members) == 2


def test_only_the_hash_of_a_password_is_kept() -> None:
    house = House()
    outcome = house.registers("laptop", "alice alice")
    (node,) = house.site.nodes.values()
    assert node.secret.startswith(b"hash of ")
    password = node.secret.removeprefix(b"hash of ")
    kept = [fact for fact in outcome.decision.facts if not isinstance(fact, facts.NodeAdded)]
    assert password not in facts.encode_facts(kept)


def test_subject_issuer_and_audience_are_stored_with_the_account() -> None:
    house = House()
    house.registers("laptop", None, subject=("issuer", "subject", "audience"))
    (member,) = house.site.members.values()
    assert member.subject == ("issuer", "subject", "audience")


def test_a_uid_that_is_taken_makes_no_account() -> None:
    house = House()
    house.member("alice alice")
    house._made -= 1
    decision = house.registers("laptop", "bob bob bob").decision
    assert decision.error == "the uid is taken: try again"
    assert not decision.facts


# Login


def test_login_is_told_to_all_nodes_of_the_member_this_one_too() -> None:
    house = House()
    alice, _bob = house.members("alice alice", "bob bob bob")
    alice.add_node()
    told = house.logs_in(alice).one("login")
    assert told.nodes == nodes(alice)
    assert told.fields() == {"op": "login", "node": "tbd", "datalen": 0}
    assert (told.header["from"], told.rank) == (alice.uid, RANK_NORMAL)


def test_a_login_does_not_fail_for_a_node_with_a_full_queue() -> None:
    house = House()
    alice = house.member("alice alice")
    phone = alice.add_node()
    house.load.problems[phone.node.number] = "is full"
    assert house.logs_in(alice).one("login").nodes == [alice.node.number]
    house.load.problems[alice.node.number] = "is full"
    outcome = house.logs_in(alice)
    assert outcome.decision.error is None and outcome.told == []


def test_a_password_is_good_for_its_uid_only_and_while_the_node_is_there() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    phone = alice.add_node()
    for person in (alice, phone, bob):
        assert house.site.authenticate(person.uid, person.node.secret) is person.node
    assert house.site.authenticate(bob.uid, alice.node.secret) is None
    assert house.site.authenticate("nobody", alice.node.secret) is None
    assert house.site.authenticate(alice.uid, b"") is None
    house.applied(drop_node(house.scene, phone.node.number))
    assert house.site.authenticate(alice.uid, phone.node.secret) is None
    assert house.site.authenticate(alice.uid, alice.node.secret) is alice.node


def test_a_dropped_node_gets_nothing_and_its_number_never_comes_back() -> None:
    house = House()
    alice = house.member("alice alice")
    phone = alice.add_node()
    decision = drop_node(house.scene, phone.node.number)
    assert decision.dropped == [phone.node.number]
    house.applied(decision)
    assert house.logs_in(alice).one("login").nodes == [alice.node.number]
    assert alice.add_node().node.number > phone.node.number
    assert (drop_node(house.scene, phone.node.number).error or "").startswith("there is no device")


# UserEdit


def test_a_new_alias_is_told_to_all_the_member_s_nodes_this_one_too_ahead_of_others() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.add_node()
    told = alice.add_alias("also alice").one("user")
    assert told.nodes == nodes(alice)
    assert told.fields() == {"op": "user", "newalias": "also alice", "datalen": 0}
    assert told.rank == RANK_USER
    assert bob.ping("also alice").one("ping").nodes == nodes(alice)


def test_an_alias_edit_has_no_msgid_in_its_ack() -> None:
    house = House()
    alice = house.member("alice alice")
    assert alice.add_alias("also alice").decision.msgid == 0
    assert alice.asks(wire.UserEdit("1", "phone")).decision.msgid == 0


def test_adding_an_alias_that_one_has_already_succeeds() -> None:
    house = House()
    alice = house.member("alice alice")
    outcome = alice.add_alias("alice alice")
    assert outcome.one("user").header["newalias"] == "alice alice"
    assert not outcome.decision.lasting


@pytest.mark.parametrize("alias", NAMES_REFUSED)
def test_an_alias_has_8_octets_at_least_and_is_printable(alias: str) -> None:
    house = House()
    alice = house.member("alice alice")
    error = alice.is_refused(wire.UserEdit("1", None, alias))
    assert "newalias must be" in error
    if len(alias.encode()) < 8:
        assert error == "newalias must be 8+ characters"


@pytest.mark.parametrize("alias", NAMES_TAKEN)
def test_octets_count_not_characters(alias: str) -> None:
    house = House()
    assert house.member("alice alice").add_alias(alias).one("user").header["newalias"] == alias


def test_aliases_and_gids_share_one_name_space_and_are_unique() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.invite(bob, "the group")
    for name in ("alice alice", "the group"):
        assert name in bob.is_refused(wire.UserEdit("1", None, name))
    bob.add_alias("Alice Alice")


def test_a_name_is_never_reused_after_a_drop() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    alice.invite(bob, "the group")
    house.applied(drop_node(house.scene, alice.node.number))
    bob.join("the group")
    bob.drop(alice, "the group")
    bob.drop(bob, "the group")
    for name in ("alice alice", "the group"):
        assert name in bob.is_refused(wire.UserEdit("1", None, name))


def test_a_new_node_is_told_with_its_password_and_inherits_what_is_pending() -> None:
    house = House()
    alice = house.member("alice alice")
    tablet = alice.add_node("tablet")
    outcome = tablet.asks(wire.UserEdit("1", "phone"))
    number = outcome.decision.node
    told = outcome.one("user")
    assert told.nodes == sorted([alice.node.number, tablet.node.number])
    assert told.rank == RANK_USER
    assert told.fields() == {
        "op": "user",
        "newnode": "phone",
        "nodeid": house.site.nodes[number].secret.removeprefix(b"hash of ").decode(),
        "datalen": 0,
    }
    assert facts.Inherited(number, tablet.node.number) in outcome.decision.traffic
    assert house.site.members[alice.node.member].nodes[-1] == number
    assert house.site.nodes[number].label == "phone"


@pytest.mark.parametrize("label", ["x", "laptop", "\u0000\u2028<&>", "tab\there"])
def test_a_label_may_be_any_text_also_one_that_another_node_has(label: str) -> None:
    house = House()
    assert house.member("alice alice").add_node(label).node.label == label
    assert house.registers(label).decision.error is None


# OhiEdit


def test_add_and_drop_are_told_to_the_member_s_nodes_this_one_too() -> None:
    house = House()
    alice, bob, carol = house.members("alice alice", "bob bob bob", "carol carol")
    alice.add_node()
    for kind in ("add", "drop"):
        outcome = alice.asks(wire.OhiEdit("1", [carol.uid, bob.uid, carol.uid], kind))
        told = outcome.one("ohiedit")
        assert told.nodes == nodes(alice)
        assert told.fields() == {
            "op": "ohiedit",
            "type": kind,
            "for": [{"Id": uid, "Type": 0} for uid in (carol.uid, bob.uid, carol.uid)],
            "datalen": 0,
        }
        assert told.rank == RANK_NORMAL
        assert outcome.decision.msgid == 0


def test_init_is_told_to_nobody() -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    assert alice.asks(wire.OhiEdit("1", [bob.uid], "init")).told == []


@pytest.mark.parametrize("kind", ["add", "init", "drop"])
def test_an_unknown_uid_fails_the_whole_request(kind: str) -> None:
    house = House()
    alice, bob = house.members("alice alice", "bob bob bob")
    assert "nobody" in alice.is_refused(wire.OhiEdit("1", [bob.uid, "nobody"], kind))


# All of them


@given(st.text(max_size=20))
def test_names_are_as_printable_and_as_long_as_the_protocol_says(name: str) -> None:
    """str.isprintable is letters, marks, numbers, punctuation, symbols and the space, as elsewhere."""
    house = House()
    alice = house.member("alice alice")
    if len(name.encode()) >= 8 and name.isprintable() and name != "alice alice":
        alice.add_alias(name)
        assert house.site.aliases[name].uid == alice.uid
    else:
        assert "newalias must be" in alice.is_refused(wire.UserEdit("1", None, name))
