"""A real box, and members who do as they please: at each moment every node that is online has got what the
world (see world.py) says, in order, and none of it twice.

POCKET_MODEL_EXAMPLES=500 makes a long, random run of it, which also shrinks what it finds.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from appliance import wire
from tests.kit import Box, fresh

from .crowd import Crowd, Seat, posting, wired
from .world import Refused, Target

EXAMPLES = int(os.environ.get("POCKET_MODEL_EXAMPLES", "0"))
MEMBERS, NODES, STOPS = 4, 3, 2

COMMON = """
[delivery]
resend_after_s = 3600
window_messages = {window}
[link]
handover_grace_s = 0
[limits]
failed_logins_free = 1000
"""
NARROW = """
[store]
spill_messages = 1
spill_every_s = 0.1
acks_delay_ms = 10
cache_octets = "1 MiB"
"""
SETTINGS = {64: COMMON.format(window=64), 4: COMMON.format(window=4) + NARROW}
"""By `window_messages`: as it comes; and a box that is always at the end of its window and its memory."""

some = st.integers(0, 1000)
NOBODY = "%" * 32
T = TypeVar("T")

sizes = st.sampled_from([1, 10, 10, 1000, 70_000])
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd"), max_size=8)
targets = st.lists(some, max_size=4)
_numbers = itertools.count(1)


def octets(size: int) -> bytes:
    """Never the same, but for the shortest."""
    return (b"%d " % next(_numbers)).ljust(size, b"x")[:size]


def pick(things: Sequence[T], n: int) -> T:
    return things[n % len(things)]


class Boxes:
    """One of each kind, for all examples: each has members of its own."""

    def __init__(self) -> None:
        self._boxes: dict[int, Box] = {}

    def get(self, window: int) -> Box:
        box = self._boxes.get(window)
        if box is None:
            box = self._boxes[window] = Box(config=SETTINGS[window])
        elif not box.running:
            box.start()
        return box

    def words(self) -> str:
        """What they said, for who reads of a failure."""
        return "\n".join(f"box {window}:\n{box.words(4000)}" for window, box in self._boxes.items())

    def close(self) -> None:
        for box in self._boxes.values():
            box.close()


class Household(RuleBasedStateMachine):
    boxes: Boxes

    @initialize(
        window=st.sampled_from(sorted(SETTINGS)), diligent=st.lists(st.booleans(), min_size=5, max_size=5)
    )
    def move_in(self, window: int, diligent: list[bool]) -> None:
        """Three members, two of them with a second node, in one group."""
        self.crowd = Crowd(self.boxes.get(window), window)
        self.world = self.crowd.world
        self.stops = 0
        self.names = [fresh("nobody"), "short"]
        """Which are nobody's, and no group's; but an invitation makes one of them a group."""
        for _ in range(3):
            self.register()
        for seat in self.crowd.seats[:2]:
            self.crowd.add_node(seat, fresh("phone"))
        for seat in self.crowd.offline:
            self.crowd.login(seat)
        first, *others = self.crowd.seats[:3]
        gid = fresh("group")
        for other in others:
            self.invite_to(first, gid, first.client.alias, other.client.alias, b"")
            self.join_under(other, gid, None)
        for seat, careful in zip(self.crowd.seats, diligent, strict=True):
            seat.diligent(careful)

    def teardown(self) -> None:
        """In the end everybody comes, and has got everything."""
        try:
            if sys.exc_info()[0] is None:
                self.come_back([True] * len(self.crowd.seats))
                for seat in self.crowd.seats:
                    seat.diligent(True)
                self.crowd.look()
                self.ids_rise_with_the_steps()
        finally:
            for seat in self.crowd.seats:
                seat.client.close()

    def ids_rise_with_the_steps(self) -> None:
        known = sorted(self.world.sent, key=lambda message: message.step)
        told = [(message.step, message.id) for message in known if message.id]
        highest = ""
        for step in sorted({step for step, _ in told}):
            ids = [number for s, number in told if s == step]
            assert min(ids) > highest
            highest = max(ids)

    # whom and what a rule's numbers mean: mostly what makes sense

    def seat(self, n: int) -> Seat:
        return pick(self.crowd.online, n)

    def alias(self, n: int) -> str:
        return pick([*self.world.aliases] * 4 + [*self.names, *self.world.groups], n)

    def own(self, seat: Seat, n: int) -> str:
        return pick(seat.node.member.aliases * 8 + [self.alias(n)], n)

    def gid(self, n: int) -> str:
        return pick([*self.world.groups] * 8 + self.names, n)

    def whom(self, seat: Seat, numbers: list[int]) -> list[Target]:
        """Recipients of a post."""
        good = [("uid", uid) for uid in self.world.members]
        for gid, places in self.world.groups.items():
            if seat.node.member in places:
                good += [("with", gid), ("without", gid)]
        bad = [("uid", NOBODY), ("with", self.names[0]), *(("without", gid) for gid in self.world.groups)]
        return [pick(good * 12 + bad, n) for n in numbers]

    online = precondition(lambda self: bool(self.crowd.online))
    more_nodes = precondition(
        lambda self: any(len(seat.node.member.nodes) < NODES for seat in self.crowd.online)
    )
    may_stop = precondition(lambda self: self.stops < STOPS)

    # accounts

    @precondition(lambda self: len(self.world.members) < MEMBERS)
    @rule()
    def register(self) -> None:
        self.crowd.register(fresh("member"), fresh("laptop"))
        self.crowd.read()

    @more_nodes
    @rule(n=some)
    def new_node(self, n: int) -> None:
        seats = [seat for seat in self.crowd.online if len(seat.node.member.nodes) < NODES]
        self.crowd.add_node(pick(seats, n), fresh("phone"))

    @precondition(lambda self: any(len(m.nodes) > 1 for m in self.world.members.values()))
    @rule(n=some)
    def lose_node(self, n: int) -> None:
        self.crowd.drop_device(pick([s for s in self.crowd.seats if len(s.node.member.nodes) > 1], n))

    @online
    @rule(n=some, new=st.booleans(), m=some)
    def new_alias(self, n: int, new: bool, m: int) -> None:
        seat = self.seat(n)
        alias = fresh("alias") if new else self.alias(m)
        request = wire.UserEdit(seat.client.request_id(), None, alias)
        self.crowd.ask(seat, lambda: self.world.new_alias(seat.node, alias), request)

    @online
    @rule(n=some, kind=st.sampled_from(["add", "drop", "init"]), whom=st.lists(some, min_size=1, max_size=3))
    def edit_ohi(self, n: int, kind: str, whom: list[int]) -> None:
        seat = self.seat(n)
        uids = list(dict.fromkeys(pick([*self.world.members] * 6 + [NOBODY], m) for m in whom))
        request = wire.OhiEdit(seat.client.request_id(), uids, kind)
        judge = lambda: self.world.edit_ohi(seat.node, kind, uids)  # noqa: E731
        self.crowd.ask(seat, judge, request, ohi=(kind, uids))

    # messages

    @online
    @rule(n=some, m=some, to=some, text=text)
    def ping(self, n: int, m: int, to: int, text: str) -> None:
        seat, words = self.seat(n), text.encode()
        from_, alias = self.own(seat, m), self.alias(to)
        request = wire.Ping(seat.client.request_id(), from_, alias, len(words), 0, None)
        self.crowd.ask(seat, lambda: self.world.ping(seat.node, from_, alias, words), request, words)

    @online
    @rule(n=some, to=targets, size=sizes)
    def post(self, n: int, to: list[int], size: int) -> None:
        seat = self.seat(n)
        whom, data = self.whom(seat, to), octets(size)
        judge = lambda: self.world.post(seat.node, whom, data)  # noqa: E731
        self.crowd.ask(seat, judge, posting(seat, whom, data), data)

    @online
    @rule(n=some, to=targets, noteto=targets, fornotself=st.booleans(), notesize=sizes, size=sizes)
    def post_notify(self, n: int, to: Any, noteto: Any, fornotself: bool, notesize: int, size: int) -> None:
        seat = self.seat(n)
        whom, noted = self.whom(seat, to), self.whom(seat, noteto)
        note, data = octets(notesize), octets(size)
        fornotself = fornotself and bool(whom)
        request = wire.PostNotify(
            id=seat.client.request_id(),
            to=wired(whom),
            datalen=len(note) + len(data),
            notelen=len(note),
            noteto=wired(noted),
            fornotself=fornotself,
        )
        judge = lambda: self.world.post_notify(seat.node, whom, noted, fornotself, note, data)  # noqa: E731
        self.crowd.ask(seat, judge, request, note + data)

    @online
    @rule(posts=st.lists(st.tuples(some, targets, sizes), min_size=2, max_size=12))
    def post_many(self, posts: list[tuple[int, Any, int]]) -> None:
        good = []
        for n, to, size in posts:
            seat = self.seat(n)
            whom = self.whom(seat, to)
            try:
                self.world.recipients(seat.node, whom)
            except Refused:
                continue
            good.append((seat, whom, octets(size)))
        self.crowd.burst(good)

    # groups

    @online
    @rule(n=some, m=some, to=some, new=st.booleans(), g=some, text=text)
    def invite(self, n: int, m: int, to: int, new: bool, g: int, text: str) -> None:
        seat = self.seat(n)
        gid = fresh("group") if new and len(self.world.groups) < 3 else self.gid(g)
        self.invite_to(seat, gid, self.own(seat, m), self.alias(to), text.encode())

    def invite_to(self, seat: Seat, gid: str, from_: str, to: str, text: bytes) -> None:
        request = wire.GroupInvite(seat.client.request_id(), gid, from_, to, len(text), 0, None)
        self.crowd.ask(seat, lambda: self.world.invite(seat.node, gid, from_, to, text), request, text)

    @online
    @rule(n=some, g=some, m=st.none() | some)
    def join(self, n: int, g: int, m: int | None) -> None:
        seat = self.seat(n)
        self.join_under(seat, self.gid(g), None if m is None else self.own(seat, m))

    def join_under(self, seat: Seat, gid: str, alias: str | None) -> None:
        request = wire.GroupEdit(seat.client.request_id(), "join", gid, alias)
        self.crowd.ask(seat, lambda: self.world.join(seat.node, gid, alias), request)

    @online
    @rule(n=some, g=some, m=some)
    def rename_in_group(self, n: int, g: int, m: int) -> None:
        seat, gid = self.seat(n), self.gid(g)
        alias = self.own(seat, m)
        request = wire.GroupEdit(seat.client.request_id(), "alias", gid, alias)
        self.crowd.ask(seat, lambda: self.world.rename(seat.node, gid, alias), request)

    @online
    @rule(n=some, g=some, m=some)
    def drop_from_group(self, n: int, g: int, m: int) -> None:
        seat, gid, alias = self.seat(n), self.gid(g), self.alias(m)
        request = wire.GroupEdit(seat.client.request_id(), "drop", gid, None, alias)
        self.crowd.ask(seat, lambda: self.world.drop(seat.node, gid, alias), request)

    # acknowledgements

    @online
    @rule(n=some, diligent=st.booleans())
    def diligence(self, n: int, diligent: bool) -> None:
        self.seat(n).diligent(diligent)
        self.crowd.read()

    @precondition(lambda self: any(seat.held for seat in self.crowd.online))
    @rule(n=some, which=st.lists(some, min_size=1, max_size=8), twice=st.booleans())
    def acknowledge(self, n: int, which: list[int], twice: bool) -> None:
        seat = pick([seat for seat in self.crowd.online if seat.held], n)
        for m in which:
            if seat.held:
                seat.ack(pick(seat.held, m), twice)
        self.crowd.read()

    @precondition(lambda self: any(seat.unseen for seat in self.crowd.online))
    @rule(n=some, which=st.lists(some, min_size=1, max_size=4))
    def acknowledge_unseen(self, n: int, which: list[int]) -> None:
        """What the window kept back, and another node of the member, say, has got: it does not come."""
        seat = pick([seat for seat in self.crowd.online if seat.unseen], n)
        for m in which:
            if seat.unseen:
                seat.ack_unseen(pick(seat.unseen, m))
        self.crowd.look()

    # links and the box

    @precondition(lambda self: bool(self.crowd.offline))
    @rule(n=some, diligent=st.booleans())
    def login(self, n: int, diligent: bool) -> None:
        self.crowd.login(pick(self.crowd.offline, n), diligent)

    @online
    @rule(n=some)
    def log_out(self, n: int) -> None:
        self.crowd.log_out(self.seat(n))

    @online
    @rule(n=some, certain=st.booleans())
    def hang_up(self, n: int, certain: bool) -> None:
        seat = self.seat(n)
        if certain:
            seat.look()
        self.crowd.hang_up(seat)

    @online
    @rule(n=some)
    def come_back_and_ask_again(self, n: int) -> None:
        seat = self.seat(n)
        self.crowd.hang_up(seat)
        self.crowd.login(seat)
        if seat.last is not None:
            self.crowd.again(seat)
        self.crowd.look()

    @online
    @rule(n=some, number=st.sampled_from(["0" * 16, "f" * 16, "0123456789abcdef", "no id"]))
    def nothing_comes_of_it(self, n: int, number: str) -> None:
        """Of a second link, of an ack of what is not there, of waiting."""
        self.crowd.is_taken(self.seat(n))
        self.seat(n).client.ack(number)
        self.crowd.look()

    @may_stop
    @rule(kill=st.booleans(), back=st.lists(st.booleans(), max_size=12))
    def stop(self, kill: bool, back: list[bool]) -> None:
        self.stops += 1
        (self.crowd.kill if kill else self.crowd.restart)()
        self.come_back(back)

    def come_back(self, diligent: list[bool]) -> None:
        """As many as there are words of how."""
        for seat, careful in zip(self.crowd.offline, diligent, strict=False):
            self.crowd.login(seat, careful)

    @may_stop
    @online
    @rule(n=some, to=targets, size=sizes, back=st.lists(st.booleans(), max_size=12))
    def kill_while_asked(self, n: int, to: Any, size: int, back: list[bool]) -> None:
        seat = self.seat(n)
        whom = [
            (kind, name)
            for kind, name in self.whom(seat, to)
            if kind != "with" and name not in (NOBODY, seat.node.member.uid)
        ]
        try:
            self.world.recipients(seat.node, whom)
        except Refused:
            whom = []
        self.stops += 1
        self.crowd.kill_while_asked(seat, whom, octets(size))
        self.come_back(back)


@pytest.fixture
def boxes() -> Iterator[Boxes]:
    boxes = Boxes()
    yield boxes
    print(boxes.words())
    boxes.close()


@pytest.mark.slow
@pytest.mark.e2e
def test_every_node_gets_what_the_protocol_says(boxes: Boxes) -> None:
    class Household_(Household):
        pass

    Household_.boxes = boxes
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if EXAMPLES else [])]
    run_state_machine_as_test(
        Household_,
        settings=settings(
            max_examples=EXAMPLES or 20,
            stateful_step_count=50,
            deadline=None,
            derandomize=not EXAMPLES,
            database=None,
            phases=phases,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
