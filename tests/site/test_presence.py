"""Who is told of whose presence: TMTP revision 1, section 4, OhiEdit and Login."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from appliance.site import Presence

ALICE, BOB, CAROL = 1, 2, 3


def test_those_newly_listed_are_told_at_the_change_only() -> None:
    presence = Presence()
    presence.arrived(ALICE, 1)
    assert presence.announce(ALICE, [BOB, BOB]) == [BOB]
    assert presence.announce(ALICE, [BOB, CAROL]) == [CAROL]
    assert presence.withdraw(ALICE, [BOB, BOB]) == [BOB]
    assert presence.withdraw(ALICE, [BOB]) == []
    assert presence.announce(ALICE, [BOB]) == [BOB]


def test_a_login_is_told_who_online_announces_to_the_member() -> None:
    presence = Presence()
    presence.arrived(ALICE, 1)
    presence.arrived(CAROL, 4)
    presence.announce(ALICE, [BOB, CAROL])
    presence.announce(CAROL, [BOB])
    assert presence.arrived(BOB, 3) == [ALICE, CAROL]
    presence.withdraw(ALICE, [BOB])
    assert presence.arrived(BOB, 3) == [CAROL]


def test_when_the_last_link_goes_all_listed_are_told_and_the_list_is_gone() -> None:
    presence = Presence()
    presence.arrived(ALICE, 1)
    presence.arrived(ALICE, 2)
    presence.announce(ALICE, [BOB, CAROL])
    assert presence.left(ALICE, 1) == []
    assert presence.arrived(BOB, 3) == [ALICE]
    assert presence.left(ALICE, 2) == [BOB, CAROL]
    assert presence.arrived(CAROL, 4) == []
    presence.arrived(ALICE, 1)
    assert presence.left(ALICE, 1) == []


def test_one_who_is_not_there_announces_nothing() -> None:
    presence = Presence()
    assert presence.announce(ALICE, [BOB]) == []
    assert presence.withdraw(ALICE, [BOB]) == []
    assert presence.arrived(BOB, 3) == []


def test_one_may_announce_to_oneself() -> None:
    presence = Presence()
    presence.arrived(ALICE, 1)
    assert presence.announce(ALICE, [ALICE]) == [ALICE]
    assert presence.arrived(ALICE, 2) == [ALICE]
    presence.left(ALICE, 1)
    assert presence.left(ALICE, 2) == [ALICE]


BOXES = ["", "ABCD2345", "EFGH6789"]
MEMBER = st.integers(1, 4)
STEP = st.tuples(
    st.sampled_from(["arrive", "leave", "announce", "withdraw", "lose"]), MEMBER, st.lists(MEMBER)
)


@given(st.lists(STEP, max_size=40))
def test_what_a_member_was_told_is_what_is_so(steps: list[tuple[str, int, list[int]]]) -> None:
    """One who adds up the notices, and asked at the login, knows who is online and announces; links are to
    any of three boxes, which come out of reach.
    """
    presence = Presence()
    links: dict[int, list[tuple[int, str]]] = {member: [] for member in range(1, 5)}
    lists: dict[int, set[int]] = {member: set() for member in links}
    numbers = count(1)
    known: dict[int, set[int]] = {member: set() for member in links}
    for word, member, others in steps:
        if word == "arrive":
            link = next(numbers), BOXES[len(others) % len(BOXES)]
            links[member].append(link)
            known[member] = set(presence.arrived(member, *link))
        elif word == "leave" and links[member]:
            for other in presence.left(member, *links[member].pop()):
                known[other].remove(member)
            if not links[member]:
                lists[member].clear()
        elif word == "lose":
            box = BOXES[1 + len(others) % 2]
            for gone, told in presence.lost(box):
                for other in told:
                    known[other].remove(gone)
            for who in links:
                links[who] = [link for link in links[who] if link[1] != box]
                if not links[who]:
                    lists[who].clear()
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
        elsewhere = {node for here in links.values() for node, box in here if box}
        assert {node for node in range(1, 50) if presence.is_elsewhere(node)} == elsewhere
    for member, still in links.items():
        for link in still:
            presence.left(member, *link)
    left = presence._links, presence._tells, presence._hears, presence._elsewhere
    assert not any(left), "nothing is left over"
