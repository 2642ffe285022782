"""Facts that were made without knowledge of each other come to the same, in whatever order they are applied.

Some boxes say what they like, each about what it knows, and now and then one hears all that another knows.
Then the facts are applied to blank sites in orders that keep to each box's own order, and in which none comes
before one that its maker knew.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.site import NameLost, Site, facts
from appliance.site.facts import LastingFact
from appliance.site.mint import BOXES, Mint

NAMES = ("the-first-name", "the-second-name", "the-third-name")
ORDERS = 6


@dataclass(frozen=True)
class Said:
    """``known``: how much of each box its maker knew."""

    box: int
    fact: LastingFact
    known: tuple[int, ...]


@dataclass
class Maker:
    """A box that says things. ``had``: how much of each box it knows."""

    number: int
    had: list[int]
    site: Site = field(default_factory=Site)
    serial: int = 0

    def __post_init__(self) -> None:
        self.mint = Mint(0, box=self.number)


class Household:
    def __init__(self, boxes: int, draw: random.Random) -> None:
        self.draw = draw
        self.makers = [Maker(number, [0] * boxes) for number in range(boxes)]
        self.said: list[list[Said]] = [[] for _ in range(boxes)]
        self.skews = [draw.choice([0, 0, 10_000]) for _ in range(boxes)]
        self.now = 100

    def say(self, maker: Maker, *made: LastingFact) -> None:
        for fact in made:
            self.said[maker.number].append(Said(maker.number, fact, tuple(maker.had)))
            maker.had[maker.number] += 1
            maker.site.apply(fact)

    def hear(self, maker: Maker, other: Maker) -> None:
        """All that the other one knows, in an order that is good."""
        for said in ordered(self.said, maker.had, other.had, self.draw):
            maker.site.apply(said.fact)
            maker.mint.saw(getattr(said.fact, "at", 0))
        maker.mint.saw(other.mint.last)

    def step(self) -> None:
        draw = self.draw
        maker = draw.choice(self.makers)
        self.now += draw.randint(1, 50)
        maker.mint.tick(self.now + self.skews[maker.number])
        if draw.random() < 0.3 and len(self.makers) > 1:
            self.hear(maker, draw.choice([m for m in self.makers if m is not maker]))
            return
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("new_")]
        self.say(maker, *draw.choice(kinds)(maker))

    def member(self, maker: Maker) -> int:
        return self.draw.choice(sorted(maker.site.members)) if maker.site.members else 0

    # what a box can say

    def new_member(self, maker: Maker) -> list[LastingFact]:
        number = maker.mint.number(maker.site.last_number)
        return [facts.MemberAdded(number, f"uid-{number}", self.now)]

    def new_node(self, maker: Maker) -> list[LastingFact]:
        member = self.member(maker)
        number = maker.mint.number(maker.site.last_number)
        return [facts.NodeAdded(number, member, "phone", b"%d" % number, self.now)] if member else []

    def new_end_of_a_node(self, maker: Maker) -> list[LastingFact]:
        nodes = sorted(maker.site.nodes)
        return [facts.NodeDropped(self.draw.choice(nodes))] if nodes else []

    def new_alias(self, maker: Maker) -> list[LastingFact]:
        member, name = self.member(maker), self.draw.choice(NAMES)
        if not member or maker.site.name_taken(name):
            return []
        return [facts.AliasAdded(name, member, maker.mint.id())]

    def new_group(self, maker: Maker) -> list[LastingFact]:
        member, name = self.member(maker), self.draw.choice(NAMES)
        if not member or maker.site.name_taken(name):
            return []
        at = maker.mint.id()
        return [facts.GroupAdded(name, at, member), facts.RoleSet(name, member, "me", "joined", at, at)]

    def new_role(self, maker: Maker) -> list[LastingFact]:
        member, groups = self.member(maker), sorted(maker.site.groups)
        if not member or not groups:
            return []
        gid = self.draw.choice(groups)
        role: Any = self.draw.choice(["invited", "joined", "barred"])
        made = maker.site.groups[gid].at
        return [facts.RoleSet(gid, member, self.draw.choice(["a", "b"]), role, maker.mint.id(), made)]

    def new_owner(self, maker: Maker) -> list[LastingFact]:
        member = self.member(maker)
        return [facts.OwnerSet(member, maker.mint.id())] if member else []

    def new_subject(self, maker: Maker) -> list[LastingFact]:
        member = self.member(maker)
        subject = self.draw.choice("xyz")
        return [facts.SubjectBound(member, "issuer", subject, "us", maker.mint.id())] if member else []

    def new_identity(self, maker: Maker) -> list[LastingFact]:
        return [facts.IdentitySet(self.draw.choice("ab"), "cert", "key", maker.mint.id())]

    def new_recovery(self, maker: Maker) -> list[LastingFact]:
        return [facts.RecoverySet(self.draw.choice([b"a", b"b"]), maker.mint.id())]

    def new_box(self, maker: Maker) -> list[LastingFact]:
        box = f"box-{maker.number}-{len(self.said[maker.number])}"
        if "both" not in maker.site.boxes and self.draw.random() < 0.5:
            box = "both"  # one that became another one may be taken in by two
        name, was = self.draw.choice(["kitchen", "hall"]), self.draw.choice(["", "old"])
        return [facts.BoxAdded(box, b"key", maker.number, name, maker.mint.id(), was)]

    def new_place(self, maker: Maker) -> list[LastingFact]:
        boxes = sorted(maker.site.boxes)
        if not boxes:
            return []
        where = (f"={self.draw.randint(1, 3)}",)
        return [facts.BoxPlaced(self.draw.choice(boxes), where, "called", maker.mint.id())]

    def new_revocation(self, maker: Maker) -> list[LastingFact]:
        boxes = sorted(maker.site.boxes)
        return [facts.BoxRevoked(self.draw.choice(boxes), self.draw.randint(0, 5))] if boxes else []


def ordered(said: list[list[Said]], had: list[int], until: list[int], draw: random.Random) -> list[Said]:
    """What is beyond ``had``, up to ``until``, in one of the orders that are good. ``had`` grows."""
    found: list[Said] = []
    while True:
        ready = [
            box
            for box, known in enumerate(had)
            if known < until[box] and all(a <= b for a, b in zip(said[box][known].known, had, strict=True))
        ]
        if not ready:
            return found
        box = draw.choice(ready)
        found.append(said[box][had[box]])
        had[box] += 1


def picture(site: Site) -> dict[str, Any]:
    """All that a site says, in comparable form."""
    return {
        "members": {
            m.number: (m.uid, m.at_ms, m.aliases, m.nodes, m.subject, m.subject_at, sorted(m.groups))
            for m in site.members.values()
        },
        "nodes": site.nodes,
        "groups": {
            group.gid: (
                group.at,
                group.by,
                {n: (s.alias, s.role, s.at) for n, s in group.standing.items()},
            )
            for group in site.groups.values()
        },
        "aliases": {alias: (m.number, site.alias_at[alias]) for alias, m in site.aliases.items()},
        "uids": {uid: member.number for uid, member in site.uids.items()},
        "boxes": site.boxes,
        "identity": site.identity,
        "recovery": site.recovery,
        "owner": (site.owner, site.owner_at),
        "last_number": site.last_number,
    }


def told(seed: int) -> list[list[Said]]:
    draw = random.Random(seed)
    house = Household(draw.randint(2, 4), draw)
    house.say(house.makers[0], facts.MemberAdded(BOXES, "first", 1), facts.OwnerSet(BOXES, 1))
    for maker in house.makers[1:]:
        house.hear(maker, house.makers[0])
    for _ in range(draw.randint(5, 40)):
        house.step()
    return house.said


def applied(said: list[list[Said]], draw: random.Random) -> tuple[Site, Counter[tuple[str, int]]]:
    """A site to which all was told in some order, and how often each claim was said to be lost."""
    site, lost = Site(), Counter[tuple[str, int]]()
    order = ordered(said, [0] * len(said), [len(one) for one in said], draw)
    assert len(order) == sum(map(len, said))
    for one in order:
        lost.update((c.name, c.at) for c in site.apply(one.fact) if isinstance(c, NameLost))
    return site, lost


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_facts_come_to_the_same_in_whatever_order_they_are_heard(seed: int) -> None:
    said = told(seed)
    draw = random.Random(seed)
    first, _ = applied(said, draw)
    for _ in range(ORDERS):
        site, _ = applied(said, draw)
        assert picture(site) == picture(first)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_a_name_is_whose_claim_was_first_and_each_other_claim_is_lost_once(seed: int) -> None:
    said = told(seed)
    site, lost = applied(said, random.Random(seed))
    claims: dict[str, dict[int, tuple[bool, int]]] = {}
    for one in (one for box in said for one in box):
        if isinstance(one.fact, facts.AliasAdded):
            claims.setdefault(one.fact.alias, {})[one.fact.at] = False, one.fact.member
        elif isinstance(one.fact, facts.GroupAdded):
            claims.setdefault(one.fact.gid, {})[one.fact.at] = True, one.fact.by
    for name, made in claims.items():
        first = min(made)
        group, member = made[first]
        if group:
            assert site.groups[name].at == first and name not in site.aliases
        else:
            assert site.aliases[name].number == member and name not in site.groups
        for claim in {*made.values()}:
            its = [at for at, other in made.items() if other == claim]
            count = sum(lost[name, at] for at in its)
            if claim != made[first]:
                assert 1 <= count <= len(its), f"{name}: {claim} was lost {count} times"


def test_a_claim_that_comes_late_but_was_first_takes_the_name() -> None:
    site = Site()
    for fact in (
        facts.MemberAdded(16, "a", 1),
        facts.MemberAdded(17, "b", 1),
        facts.AliasAdded("wanted-by-two", 16, 200),
    ):
        site.apply(fact)
    changes = site.apply(facts.AliasAdded("wanted-by-two", 17, 100))
    assert NameLost("wanted-by-two", False, (16,), 200, held=True) in changes
    assert site.aliases["wanted-by-two"].number == 17 and not site.members[16].aliases


@pytest.mark.parametrize("last", [0, 1])
def test_the_last_word_counts_for_what_can_be_set_anew(last: int) -> None:
    words = [facts.OwnerSet(16, 100), facts.OwnerSet(17, 200)]
    site = Site()
    for fact in (facts.MemberAdded(16, "a", 1), facts.MemberAdded(17, "b", 1), words[1 - last], words[last]):
        site.apply(fact)
    assert site.owner == 17
