"""Who is told of whose presence: TMTP revision 1, section 4, OhiEdit and Login."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.site import Presence

ALICE, BOB, CAROL = 1, 2, 3


def test_those_newly_listed_are_told_at_the_change_only() -> None:
    presence = Presence()
    presence.arrived(ALICE)
    assert presence.announce(ALICE, [BOB, BOB]) == [BOB]
    assert presence.announce(ALICE, [BOB, CAROL]) == [CAROL]
    assert presence.withdraw(ALICE, [BOB, BOB]) == [BOB]
    assert presence.withdraw(ALICE, [BOB]) == []
    assert presence.announce(ALICE, [BOB]) == [BOB]


def test_a_login_is_told_who_online_announces_to_the_member() -> None:
    presence = Presence()
    presence.arrived(ALICE)
    presence.arrived(CAROL)
    presence.announce(ALICE, [BOB, CAROL])
    presence.announce(CAROL, [BOB])
    assert presence.arrived(BOB) == [ALICE, CAROL]
    presence.withdraw(ALICE, [BOB])
    assert presence.arrived(BOB) == [CAROL]


def test_when_the_last_link_goes_all_listed_are_told_and_the_list_is_gone() -> None:
    presence = Presence()
    presence.arrived(ALICE)
    presence.arrived(ALICE)
    presence.announce(ALICE, [BOB, CAROL])
    assert presence.left(ALICE) == []
    assert presence.arrived(BOB) == [ALICE]
    assert presence.left(ALICE) == [BOB, CAROL]
    assert presence.arrived(CAROL) == []
    presence.arrived(ALICE)
    assert presence.left(ALICE) == []


def test_one_who_is_not_there_announces_nothing() -> None:
    presence = Presence()
    assert presence.announce(ALICE, [BOB]) == []
    assert presence.withdraw(ALICE, [BOB]) == []
    assert presence.arrived(BOB) == []


def test_one_may_announce_to_oneself() -> None:
    presence = Presence()
    presence.arrived(ALICE)
    assert presence.announce(ALICE, [ALICE]) == [ALICE]
    assert presence.arrived(ALICE) == [ALICE]
    presence.left(ALICE)
    assert presence.left(ALICE) == [ALICE]


MEMBER = st.integers(1, 4)
STEP = st.tuples(st.sampled_from(["arrive", "leave", "announce", "withdraw"]), MEMBER, st.lists(MEMBER))


@given(st.lists(STEP, max_size=40))
def test_what_a_member_was_told_is_what_is_so(steps: list[tuple[str, int, list[int]]]) -> None:
    """One who adds up the notices, and asked at the login, knows who is online and announces."""
    presence = Presence()
    links = dict.fromkeys(range(1, 5), 0)
    lists: dict[int, set[int]] = {member: set() for member in links}
    known: dict[int, set[int]] = {member: set() for member in links}
    for word, member, others in steps:
        if word == "arrive":
            links[member] += 1
            known[member] = set(presence.arrived(member))
        elif word == "leave" and links[member]:
            links[member] -= 1
            for other in presence.left(member):
                known[other].remove(member)
            if not links[member]:
                lists[member].clear()
        elif word == "announce":
            for other in presence.announce(member, others):
                assert member not in known[other], "told twice"
                known[other].add(member)
            if links[member]:
                lists[member].update(others)
        elif word == "withdraw":
            for other in presence.withdraw(member, others):
                known[other].remove(member)
            lists[member].difference_update(others)
        for who in links:
            assert known[who] == {member for member in links if who in lists[member]}
    for member, count in links.items():
        for _ in range(count):
            presence.left(member)
    assert not any((presence._links, presence._tells, presence._hears)), "nothing is left over"
