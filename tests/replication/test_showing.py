"""A box whose card is from before the caller joined: what it is shown, and what it makes of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from appliance.replication import events, showing
from appliance.replication.engine import LinkState, PeerLink
from appliance.replication.errors import BadFrame, Code, Refusal
from appliance.replication.frames import SHOWN_MAX, SHOWN_OCTETS_MAX, Op, encode
from appliance.replication.interface import Arrival, Position
from appliance.replication.judging import Restored
from appliance.site import LASTING, encode_facts
from appliance.site.facts import BoxAdded, Fact, MemberAdded
from appliance.store.journal import GENESIS
from tests.replication.fakes import Signer, make_key

OWN, SECOND, THIRD, STRANGER = (make_key(seed) for seed in range(1, 5))


def entry(by, seq: int, *facts: Fact) -> Arrival:
    made = by.sign(seq, 16 * seq, LASTING, GENESIS, encode_facts(facts or [MemberAdded(seq, f"u{seq}", 1)]))
    return Arrival.of(made)


def added(by, seq: int, box, slot: int = 1) -> Arrival:
    return entry(by, seq, BoxAdded(box.box, box.public, slot, "kitchen", 1))


class Replica:
    """This box, or one that shows it something: its own journal, and what it says of others."""

    def __init__(self, own, journal: list[Arrival], *others: Arrival) -> None:
        self.own = own.box
        self.journal = {arrival.seq: arrival for arrival in journal}
        self.others = others

    def positions(self) -> dict[str, Position]:
        found = {arrival.box: Position(arrival.seq, arrival.entry.digest()) for arrival in self.others}
        if self.journal:
            head = self.journal[max(self.journal)]
            found[self.own] = Position(head.seq, head.entry.digest())
        return found

    async def digest_at(self, box: str, seq: int) -> bytes | None:
        return self.journal[seq].entry.digest() if seq in self.journal else None

    async def read(self, after: dict[str, int], max_octets: int) -> list[Arrival]:
        return [arrival for arrival in self.others if arrival.seq > after.get(arrival.box, 0)]

    async def introductions(self) -> dict[str, Arrival]:
        return {}


OLD = [entry(OWN, 1), entry(OWN, 2)]


def looked(
    *shown: Arrival, known: dict[str, Any] | None = None, by=SECOND
) -> tuple[Refusal, BoxAdded | None]:
    """What the box makes of it that has only ``OLD`` of its own journal."""
    replica: Any = Replica(OWN, OLD)
    event = events.Shown(by.box, list(shown), [])
    return trio.run(showing.look, replica, OWN.public, known or {}, event)


def test_its_own_signature_on_what_it_does_not_have_shows_that_it_was_put_back() -> None:
    answer, caller = looked(entry(OWN, 3))
    assert isinstance(answer, Restored) and caller is None
    answer, _ = looked(entry(OWN, 2, MemberAdded(9, "another", 1)))
    assert isinstance(answer, Restored), "another one under the same number"


def test_what_it_has_itself_shows_nothing() -> None:
    answer, _ = looked(OLD[1], OLD[0])
    assert answer.code is Code.UNKNOWN and not isinstance(answer, Restored)
    assert looked()[0].code is Code.UNKNOWN


def test_what_somebody_else_signed_shows_nothing() -> None:
    forged = entry(STRANGER, 3)
    answer, _ = looked(Arrival(OWN.box, *forged_fields(forged)))
    assert answer.code is Code.BAD_ENTRIES and not isinstance(answer, Restored)
    answer, caller = looked(added(STRANGER, 3, SECOND), entry(SECOND, 1))
    assert answer.code is Code.UNKNOWN and caller is None


def forged_fields(arrival: Arrival) -> tuple[Any, ...]:
    return arrival.seq, arrival.clock, arrival.kind, arrival.prev, arrival.body, arrival.signature


def test_whom_it_took_in_itself_or_a_box_that_it_knows_it_believes() -> None:
    _, caller = looked(added(OWN, 3, SECOND))
    assert caller is not None and caller.box == SECOND.box
    _, caller = looked(added(OWN, 3, SECOND), added(SECOND, 1, THIRD), by=THIRD)
    assert caller is not None and caller.public == THIRD.public
    known = {SECOND.box: SimpleNamespace(public=SECOND.public, cut=None)}
    answer, caller = looked(entry(OWN, 3), added(SECOND, 1, THIRD), by=THIRD, known=known)
    assert isinstance(answer, Restored) and caller is not None and caller.box == THIRD.box


def test_whom_a_revoked_box_or_a_stranger_took_in_it_does_not() -> None:
    known = {SECOND.box: SimpleNamespace(public=SECOND.public, cut=0)}
    _, caller = looked(entry(OWN, 3), added(SECOND, 1, THIRD), by=THIRD, known=known)
    assert caller is None
    _, caller = looked(entry(OWN, 3), added(SECOND, 1, THIRD), by=THIRD)
    assert caller is None
    known = {SECOND.box: SimpleNamespace(public=SECOND.public, cut=None)}
    forged = Arrival(SECOND.box, *forged_fields(added(STRANGER, 1, THIRD)))
    answer, caller = looked(entry(OWN, 3), forged, by=THIRD, known=known)
    assert isinstance(answer, Restored) and caller is None
    lying = entry(OWN, 3, BoxAdded(THIRD.box, STRANGER.public, 1, "x", 1))
    assert looked(lying, by=THIRD)[1] is None, "an id that is not that key's"


def test_what_is_shown_is_how_the_caller_came_there_and_the_newest_entry() -> None:
    replica: Any = Replica(THIRD, [], entry(OWN, 7))
    steps = {
        OWN.box: added(OWN, 1, OWN, 0),
        SECOND.box: added(OWN, 3, SECOND),
        THIRD.box: added(SECOND, 2, THIRD, 2),
    }

    async def introductions() -> dict[str, Arrival]:
        return steps

    replica.introductions = introductions
    shown = trio.run(showing.proofs, replica, OWN.box)
    assert [(a.box, a.seq) for a in shown] == [(OWN.box, 7), (OWN.box, 1), (OWN.box, 3), (SECOND.box, 2)]
    answer, caller = looked(*shown, by=THIRD)
    assert isinstance(answer, Restored) and caller is not None and caller.box == THIRD.box
    steps[SECOND.box] = entry(OWN, 3, *[MemberAdded(n, "u" * 40, 1) for n in range(2000)])
    shown = trio.run(showing.proofs, replica, OWN.box)
    assert sum(len(arrival.body) for arrival in shown) < SHOWN_OCTETS_MAX
    assert [(a.box, a.seq) for a in shown] == [(OWN.box, 7), (OWN.box, 1), (SECOND.box, 2)]


def test_it_goes_over_the_wire_in_one_frame_and_only_an_end_comes_back() -> None:
    caller, called = Signer(2), Signer(1)
    dialer = PeerLink.dialer(caller, called.box, called.public)
    acceptor = PeerLink.acceptor(called)
    acceptor.receive_data(dialer.say_show([entry(OWN, 3)], ["=192.168.1.5:4433"] * 20))
    shown = acceptor.next_event()
    assert isinstance(shown, events.Shown) and shown.box == caller.box
    assert shown.arrivals == [entry(OWN, 3)] and len(shown.addresses) == 8
    with pytest.raises(Exception, match="not to be sent"):
        acceptor.welcome()
    dialer.receive_data(encode(Op.CHALLENGE, {"nonce": bytes(32), "version": 1}))
    with pytest.raises(BadFrame, match="has to say what it makes of"):
        dialer.next_event()
    assert acceptor.refuse(Code.FORKED, "so it is") and acceptor.state is LinkState.CLOSED


def test_more_than_it_may_be_is_not_taken() -> None:
    caller, called = Signer(2), Signer(1)
    for arrivals in ([entry(OWN, 3)] * (SHOWN_MAX + 1), [entry(OWN, 3, *[MemberAdded(1, "x" * 90_000, 1)])]):
        acceptor = PeerLink.acceptor(called)
        acceptor.receive_data(PeerLink.dialer(caller, called.box, called.public).say_show(arrivals, []))
        with pytest.raises(BadFrame):
            acceptor.next_event()
