"""Who holds the site's name, on a clock that jumps: two to four boxes, with packets that get lost."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.discovery.keeper import (
    ALONE_S,
    ASKS,
    CHECK_S,
    GAP_S,
    KNOWN_MAX,
    MEET_S,
    NEAR_S,
    STRANGER_S,
    Ask,
    Claim,
    Goodbye,
    Keeper,
    Willing,
)
from appliance.discovery.wording import Note

DELAY_S = 0.002
OTHER = bytes([192, 0, 2, 99])


class Network:
    """Boxes "a", "b"... with an address each. Who is in ``cut`` hears nobody and is heard by nobody."""

    def __init__(self, boxes, loss=0.0, loss_of_one=None, seed=0):
        self.now = 0.0
        self.random, self.loss = random.Random(seed), loss
        self.loss_of_one = loss_of_one
        """Of what is said to one box."""
        self.keepers: dict[str, Keeper] = {}
        self.willing = dict.fromkeys(boxes, Willing.YES)
        self.cut: set[str] = set()
        self.due: dict[str, float] = {}
        self.packets: list[tuple[float, int, str, str, Note]] = []
        self.sent: list[tuple[float, str, object]] = []
        for box in boxes:
            self.boot(box)

    def address(self, box):
        return frozenset([bytes([10, 0, 0, ord(box[0])])])

    def boot(self, box):
        self.keepers[box] = keeper = Keeper(8 * box)
        keeper.here(self.address(box), self.address(box), self.now)
        self.due[box] = self.now

    def kill(self, box):
        del self.keepers[box], self.due[box]

    def run(self, seconds):
        end = self.now + seconds
        while True:
            packet_at = self.packets[0][0] if self.packets else end
            box = min(self.due, key=lambda each: self.due[each], default=None)
            step_at = self.due[box] if box else end
            self.now = max(self.now, min(packet_at, step_at))
            if self.now >= end:
                self.now = end
                return self
            if box and step_at <= packet_at:
                self.step(box)
            else:
                _, _, sender, to, note = heapq.heappop(self.packets)
                if to in self.keepers and (sender in self.cut) == (to in self.cut):
                    self.keepers[to].hear(note, (sender,), self.now)
                    if note.asked and self.keepers[to].held:
                        self.send(to, sender, self.note(to, question=False, says="holds"))
                    self.step(to)

    def step(self, box):
        acts, due_s = self.keepers[box].step(self.willing[box], self.now)
        self.due[box] = self.now + max(due_s, 1e-3)
        for act in acts:
            self.sent.append((self.now, box, act))
            if isinstance(act, Claim):
                self.send(box, None, self.note(box, question=False, says="holds"))
            elif isinstance(act, Goodbye):
                self.send(box, None, self.note(box, question=False, says="holds", gone=True))
            elif isinstance(act, Ask):
                to = str(act.to[0]) if act.to else None
                self.send(box, to, self.note(box, question=True, says=act.says))

    def note(self, box, *, question, says, gone=False):
        return Note(
            question=question,
            asked=frozenset([255]) if question else frozenset(),
            box=8 * box,
            says=says,
            gone=gone,
            addresses=frozenset() if gone else self.address(box),
        )

    def send(self, sender, to, note):
        loss = self.loss_of_one if to and self.loss_of_one is not None else self.loss
        for each in [to] if to else list(self.keepers):
            if each != sender and self.random.random() >= loss:
                heapq.heappush(
                    self.packets, (self.now + DELAY_S, self.random.getrandbits(64), sender, each, note)
                )

    def claims(self):
        """Who claimed the name."""
        return {box for _, box, act in self.sent if isinstance(act, Claim)}

    @property
    def holders(self):
        return "".join(sorted(box for box, keeper in self.keepers.items() if keeper.held))


def test_of_boxes_that_start_at_once_the_lowest_id_holds_the_name_after_the_questions():
    network = Network("cab")
    assert network.run(ASKS * GAP_S - 0.1).holders == ""
    assert network.run(0.2).holders == "a"
    assert {keeper.holder for keeper in network.keepers.values()} == {"aaaaaaaa"}
    assert network.claims() == {"a"}


@pytest.mark.parametrize("after", [0.0, 0.1, 0.2, 0.3, 0.4, 0.49])
def test_when_the_holder_dies_the_lowest_of_the_others_takes_it_in_time(after):
    network = Network("abcd").run(3 + after)
    network.kill("a")
    network.sent.clear()
    network.run(CHECK_S + ASKS * GAP_S + 0.05)
    assert network.holders == "b"
    assert network.claims() == {"b"}


def test_a_goodbye_moves_it_after_one_question():
    network = Network("abc").run(3)
    network.sent.clear()
    network.willing["a"] = Willing.NO
    network.step("a")
    assert network.run(GAP_S + 0.05).holders == "b"
    assert network.claims() == {"b"}
    network.willing["a"] = Willing.YES
    assert network.run(60).holders == "b"


def test_nothing_moves_for_an_hour_and_little_is_said():
    network = Network("abc").run(3)
    network.sent.clear()
    network.run(600)
    assert network.holders == "a"
    everybody = [box for _, box, act in network.sent if not (isinstance(act, Ask) and act.to)]
    assert all(isinstance(act, Ask) for _, _, act in network.sent)
    assert set(everybody) == {"a"}
    assert len(everybody) <= 600 / MEET_S + 1
    assert len(network.sent) - len(everybody) <= 2 * 600 / CHECK_S + 2


@pytest.mark.parametrize("seed", range(3))
def test_a_wifi_that_loses_much_of_what_is_said_to_everybody_does_not_move_it(seed):
    network = Network("ab", seed=seed).run(3)
    network.loss, network.loss_of_one = 0.3, 0.02
    network.sent.clear()
    assert network.run(1800).holders == "a"
    assert not [act for _, _, act in network.sent if isinstance(act, Goodbye)]


def test_a_box_that_is_alone_says_less():
    network = Network("a").run(3)
    network.sent.clear()
    network.run(600)
    assert len(network.sent) <= 600 / ALONE_S + 1


def test_who_comes_back_leaves_it_where_it_is():
    network = Network("ab").run(3)
    network.kill("a")
    network.run(3)
    network.boot("a")
    assert network.run(30).holders == "b"


def test_of_two_holders_that_meet_the_lower_keeps_it_and_says_so_and_the_other_takes_back_its_address():
    network = Network("ab")
    network.cut.add("b")
    assert network.run(60).holders == "ab"
    network.sent.clear()
    network.cut.clear()
    assert network.run(ALONE_S + 0.1).holders == "a"
    claims = [(box, act.gone) for _, box, act in network.sent if isinstance(act, Claim)]
    assert ("a", network.address("b")) in claims
    assert "b" not in [box for box, _ in claims]
    [goodbye] = [(box, act.addresses) for _, box, act in network.sent if isinstance(act, Goodbye)]
    assert goodbye == ("b", network.address("b"))


def test_who_cannot_serve_leaves_it_to_who_can_and_holds_it_if_there_is_nobody_else():
    network = Network("ab").run(3)
    network.willing["a"] = Willing.LAST
    assert network.run(1).holders == "b"
    network.willing["b"] = Willing.LAST
    assert network.run(60).holders == "b", "neither can serve: it stays"
    network.kill("b")
    assert network.run(NEAR_S).holders == ""
    assert network.run(2).holders == "a"
    network.boot("b")
    network.willing["b"] = Willing.YES
    assert network.run(2).holders == "b"


def test_two_that_cannot_serve_do_not_hand_it_to_and_fro():
    network = Network("abc")
    network.cut.add("c")
    network.willing["b"] = Willing.LAST
    assert network.run(20).holders == "ac"
    network.kill("a")
    network.run(0.7)
    network.willing["c"] = Willing.LAST
    network.run(2)
    network.cut.clear()
    assert len(network.run(2 * NEAR_S).holders) == 1
    network.sent.clear()
    network.run(60)
    assert not [act for _, _, act in network.sent if isinstance(act, Goodbye)]


def test_who_is_not_willing_never_holds_it_and_takes_it_soon_when_it_is():
    network = Network("a")
    network.willing["a"] = Willing.NO
    assert network.run(60).holders == ""
    network.willing["a"] = Willing.YES
    network.step("a")
    assert network.run(2 * GAP_S).holders == "a"


def strange(*addresses):
    return Note(question=False, addresses=frozenset(addresses))


def test_a_stranger_that_was_there_first_keeps_it_and_is_asked_after_now_and_then():
    network = Network("a")
    a = network.keepers["a"]
    network.run(0.4)
    for _ in range(4):
        a.hear(strange(OTHER), ("stranger",), network.now)
        network.sent.clear()
        assert network.run(STRANGER_S + 0.1).holders == ""
        assert (a.holder, set(a.stranger)) == ("", {OTHER})
        assert [act for _, _, act in network.sent if not isinstance(act, Ask)] == []
        assert len(network.sent) <= 2
    network.run(ASKS * GAP_S)
    assert (network.holders, a.stranger) == ("a", frozenset())
    assert Claim(frozenset([OTHER])) in [act for _, _, act in network.sent]


def test_a_stray_packet_takes_nothing_and_is_answered_with_a_claim():
    network = Network("a").run(3)
    a = network.keepers["a"]
    network.sent.clear()
    for _ in range(3):
        a.hear(strange(OTHER), ("stranger",), network.now)
        network.step("a")
        network.run(0.005)
    assert network.run(1).holders == "a"
    assert (3.0, "a", Ask("holds", unicast=False)) in network.sent
    assert Claim(frozenset()) in [act for _, _, act in network.sent]


def test_a_stranger_that_insists_gets_it_without_a_fight():
    network = Network("a").run(3.2)
    a = network.keepers["a"]
    network.sent.clear()
    for _ in range(2):
        a.hear(strange(OTHER), ("stranger",), network.now)
        network.step("a")
        network.run(0.1)
    assert (network.holders, a.holder) == ("", "")
    assert [type(act) for _, _, act in network.sent] == [Ask, Goodbye]


def test_what_a_router_passes_on_of_our_own_and_of_the_sites_boxes_is_no_stranger():
    network = Network("ab").run(3)
    for box in "ab":
        for address in (network.address("a"), network.address("b")):
            for _ in range(3):
                network.keepers[box].hear(strange(*address), ("router",), network.now)
                network.run(0.1)
    assert network.run(1).holders == "a"
    assert network.keepers["b"].holder == "aaaaaaaa"


def test_another_address_is_claimed_and_the_old_one_taken_back():
    network = Network("a").run(3)
    network.sent.clear()
    network.keepers["a"].here(frozenset([OTHER]), frozenset([OTHER]), network.now)
    network.step("a")
    assert network.sent[0][2] == Claim(network.address("a"))
    assert network.holders == "a"


def test_what_is_kept_of_others_is_bounded():
    keeper = Keeper("bbbbbbbb")
    for number in range(3 * KNOWN_MAX):
        address = number.to_bytes(4, "big")
        keeper.hear(Note(False, box="aaaaaaaa", says="holds", addresses=frozenset([address])), (), 0.0)
    assert len(keeper._known) == KNOWN_MAX


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_happens_there_is_one_holder_soon_after_and_it_stays(data):
    network = Network(
        "abcd"[: data.draw(st.integers(1, 4))],
        loss=data.draw(st.sampled_from([0.0, 0.1, 0.3])),
        seed=data.draw(st.integers(0, 999)),
    )
    everybody = list(network.keepers)
    for _ in range(data.draw(st.integers(1, 6))):
        box = data.draw(st.sampled_from(everybody))
        what = data.draw(st.sampled_from(["kill", "boot", "cut", "heal", *Willing]))
        if what == "kill" and box in network.keepers:
            network.kill(box)
        elif what == "boot" and box not in network.keepers:
            network.boot(box)
        elif what == "cut":
            network.cut.add(box)
        elif what == "heal":
            network.cut.discard(box)
        elif isinstance(what, Willing):
            network.willing[box] = what
        network.run(data.draw(st.sampled_from([0.1, 0.6, 2.0, 20.0])))
    network.cut.clear()
    network.loss = 0.0
    network.run(ALONE_S + NEAR_S + 2)
    able = [box for box in network.keepers if network.willing[box] is not Willing.NO]
    assert len(network.holders) == min(1, len(able)), (network.holders, able)
    holder = network.holders
    for _ in range(20):
        assert network.run(0.5).holders == holder
