"""What holds when boxes have told each other everything, whatever happened before.

The oracle knows sets only: a message goes to the nodes that any entry names, less those that any entry says
have it. How the boxes get there, in what order and with what in their tables, is nothing it knows about.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from appliance.site.facts import (
    Acked,
    AliasAdded,
    Extended,
    GroupAdded,
    MemberAdded,
    MembershipDropped,
    NodeAdded,
    NodeDropped,
    RelayNodeAdded,
    Sent,
)
from appliance.store import verify
from tests.sim.box import Box
from tests.sim.house import House
from tests.sim.lab import DAY_S
from tests.sim.relays import relays_agree, who_has_one_has_both
from tests.store import kit


@dataclass(frozen=True)
class View:
    """What a box knew at some moment: positions, and who is out."""

    seqs: dict[str, int]
    out: set[str]

    @classmethod
    def of(cls, box: Box) -> View:
        known = box.store.site.boxes.values()
        seqs = {other: at.seq for other, at in box.positions.items()}
        return cls(seqs, {other.box for other in known if other.cut is not None})


async def judge(house: House, before: dict[str, View]) -> None:
    """``before``: what the boxes knew before they told each other everything."""
    ids_are_unique(house)
    good = house.good
    if not good:
        return
    if house.record.forked:
        forks_are_seen(house)
        return
    first = good[0]
    positions = {box: at.seq for box, at in first.positions.items()}
    for box in good:
        assert {b: at.seq for b, at in box.positions.items()} == positions, f"{box} and {first}: positions"
    level_2_is_kept(house, positions)
    nothing_counts_above_the_cut(house, first, [before[box.id] for box in good if box.id in before])
    names_have_one_owner(house, positions)
    await queues_are_what_was_said(house, positions)
    digests = [await box.store.replica.state_digest() for box in good]
    assert len(set(digests)) == 1, f"{good}: {digests}"
    await nobody_gets_a_request_twice(house, positions)
    await relays_agree(house)
    await who_has_one_has_both(house, positions)
    for box in good:
        await is_the_same_anew(box, digests[0])
    await queues_are_what_was_said(house, positions)


def forks_are_seen(house: House) -> None:
    """Where two boxes have two entries under the same number, some link has left that box out."""
    house.counts["forks"] += 1
    for a in house.good:
        for b in house.good:
            for box in a.positions.keys() & b.positions.keys():
                theirs, ours = a.positions[box], b.positions[box]
                if theirs.seq == ours.seq and theirs.digest != ours.digest:
                    assert box in house.forks_seen, f"{a} and {b} have two histories of {box}"


def ids_are_unique(house: House) -> None:
    """No message, member or node has the number of another; those of one box's messages rise."""
    seen: set[tuple[str, int]] = set()
    highest: dict[str, int] = {}
    for (box, _), facts in sorted(house.record.entries.items()):
        if box in house.record.forked:
            continue
        for fact in facts:
            thing: tuple[str, int]
            if isinstance(fact, MemberAdded):
                thing = "member", fact.member
            elif isinstance(fact, NodeAdded | RelayNodeAdded):
                thing = "node", fact.node
            elif type(fact) is Sent:
                thing = "m", fact.msgid
                assert fact.msgid > highest.get(box, 0), "what a box took later is to come later"
                highest[box] = fact.msgid
            else:
                continue
            assert thing not in seen, f"{thing} twice"
            seen.add(thing)


def level_2_is_kept(house: House, positions: dict[str, int]) -> None:
    """What another box had when it was acknowledged is not lost while one box with it lives."""
    for ask in house.record.asks:
        for answer in ask.answers:
            if answer.decision.error is not None or not answer.seq:
                continue
            holders = [
                box
                for box in (answer.box, *answer.holders)
                if box in house.good and box.id not in house.restored
            ]
            if answer.level_2:
                assert answer.holders or any(b.gone or b not in house.good for b in house.boxes), (
                    f"{ask.request} was said to be on two boxes"
                )
            if holders:
                assert positions.get(answer.box.id, 0) >= answer.seq, f"lost: {ask.request} at {answer.box}"


def nothing_counts_above_the_cut(house: House, first: Box, views: list[View]) -> None:
    """Of a revoked box; and when all know that it is one, nothing more of it comes in."""
    for box in house.revoked:
        if all(box in view.out for view in views):
            seq = max(view.seqs.get(box, 0) for view in views)
            assert first.seq(box) <= seq, f"{box}: {first.seq(box)} entries count, {seq} were there"
    for box, known in first.store.site.boxes.items():
        if known.cut is not None:
            assert first.seq(box) <= known.cut, f"{box}: {first.seq(box)} counts, {known.cut} is the cut"


def names_have_one_owner(house: House, positions: dict[str, int]) -> None:
    """The earliest claim, and who lost the name was told so once, by the box where the claim was made: not if
    that heard of it in a copy, which says nothing, or knew of no device of that member then.
    """
    claims: dict[str, set[tuple[int, str, int]]] = {}
    makers: dict[tuple[int, str, int], str] = {}
    made: dict[int, str] = {}
    for maker, fact in house.record.facts(positions):
        if isinstance(fact, NodeAdded):
            made[fact.node] = maker
        if isinstance(fact, AliasAdded):
            claim = fact.at, "alias", fact.member
            claims.setdefault(fact.alias, set()).add(claim)
        elif isinstance(fact, GroupAdded):
            claim = fact.at, "group", fact.by
            claims.setdefault(fact.gid, set()).add(claim)
        else:
            continue
        makers[claim] = maker
    told: dict[tuple[str, str, int], int] = {}
    for _, fact in house.record.facts(positions):
        if type(fact) is Sent:
            text = house.record.texts.get(fact.msgid, b"")
            if b'"subject": "The ' in text:
                subject = json.loads(text[: text.index(b"}") + 1])["subject"]
                kind = "group" if subject.startswith("The group") else "alias"
                name = subject.split()[2]
                told[kind, name, fact.sender] = told.get((kind, name, fact.sender), 0) + 1
    for name, found in claims.items():
        at, kind, member = min(found)
        for box in house.good:
            site = box.store.site
            owner, group = site.aliases.get(name), site.groups.get(name)
            if kind == "alias":
                assert owner is not None and owner.number == member and group is None, f"{name} at {box}"
                assert site.alias_at[name] == at
            else:
                assert group is not None and group.at == at and owner is None, f"{name} at {box}"
        losers = [claim for claim in found if claim[1:] != (kind, member) and claim != (at, kind, member)]
        for loser in losers:
            count = told.get((loser[1], name, loser[2]), 0)
            same = sum(other[1:] == loser[1:] for other in losers)
            alive = house.box_of(makers[loser]) in house.good and makers[loser] not in house.copied
            if loser[1] == "alias" and alive and same == 1:
                nodes = house.good[0].store.site.members[loser[2]].nodes
                known = [node for node in nodes if made[node] == makers[loser]]
                assert count == 1 or not known, f"{name}: {loser} was told {count} times"
            if loser[1] == "alias" and same == 1:
                assert count <= 1, f"{name}: {loser} was told {count} times"


async def queues_are_what_was_said(house: House, positions: dict[str, int]) -> None:
    """Each node is yet to get what was sent to it and it did not acknowledge; and the octets are there."""
    nodes: set[int] = set()
    dropped: set[int] = set()
    to: dict[int, set[int]] = {}
    acked: set[tuple[int, int]] = set()
    of: dict[int, int] = {}
    gone: set[int] = set()
    for _, fact in house.record.facts(positions):
        if isinstance(fact, NodeAdded):
            nodes.add(fact.node)
        elif isinstance(fact, RelayNodeAdded):
            nodes.add(fact.node)
            of[fact.node] = fact.membership
        elif isinstance(fact, MembershipDropped):
            gone.add(fact.membership)
        elif isinstance(fact, NodeDropped):
            dropped.add(fact.node)
        elif type(fact) is Sent or isinstance(fact, Extended):
            to.setdefault(fact.msgid, set()).update(fact.nodes)
        elif isinstance(fact, Acked):
            acked.update((fact.node, msgid) for msgid in fact.msgids)
    dropped.update(node for node, membership in of.items() if membership in gone)
    want: dict[int, list[int]] = {node: [] for node in nodes - dropped}
    for msgid, receivers in to.items():
        for node in receivers & want.keys():
            if (node, msgid) not in acked:
                want[node].append(msgid)
    for box in house.good:
        assert set(box.store.site.nodes) == set(want), f"nodes at {box}"
        for node, ids in want.items():
            found = await kit.pending(box.store, node)
            have = sorted(message.msgid for message in found)
            lacks, extra = sorted(set(ids) - set(have)), sorted(set(have) - set(ids))
            assert have == sorted(ids), f"queue of {node} at {box}: lacks {lacks}, has {extra}"
            for message in found:
                text = house.record.texts.get(message.msgid)
                if text is not None and message.data is not None:
                    assert message.data == text, f"message {message.msgid:x} at {box}"


async def nobody_gets_a_request_twice(house: House, positions: dict[str, int]) -> None:
    """If two boxes carried it out, less than a day ago, only what one of them made is on its way to a device.
    A new one, which got a copy of a queue elsewhere, may get what the other made.
    """
    first = house.good[0]
    queues = [{m.msgid for m in await kit.pending(first.store, node)} for node in first.store.site.nodes]
    for (node, _), many in house.record.requests.items():
        done = [d for d in many if d.msgid and d.seq <= positions.get(d.box, 0)]
        if done and first.now_s - min(d.at_s for d in done) < DAY_S:
            for pending in queues:
                left = {d.msgid for d in done} & pending
                assert len(left) <= 1, f"a request of node {node} is on its way as {left}"


async def is_the_same_anew(box: Box, digest: str) -> None:
    """Switched off and on again, and with everything in the tables, it is what it was; and ``verify`` has
    nothing to say."""
    problems = verify(box.folder)["problems"]
    assert not problems, f"{box}: {problems}"
    await box.crash()
    await box.reopen()
    assert await box.store.replica.state_digest() == digest, f"{box} is another after a restart"
    await box.spill()
    assert await box.store.replica.state_digest() == digest, f"{box} is another after a spill"
    problems = verify(box.folder)["problems"]
    assert not problems, f"{box}: {problems}"
