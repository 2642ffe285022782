"""Who may come in: the window, the codes, and that whoever shows it knows."""

from __future__ import annotations

import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.health import Health
from appliance.pairing import CODES
from appliance.session.pairing import BEGINNINGS_MAX, CODE_S, NotNow, Offer, Pairing

ANN, PHONE = 16, "phone"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told:
    """Whoever shows whether somebody may come in: knows no more than it is told, and the time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0

    def __call__(self, seconds: float) -> None:
        self._until = self._clock() + seconds

    @property
    def open_s(self) -> float:
        return max(0.0, self._until - self._clock())


class Room:
    def __init__(self, mode="pairing") -> None:
        self.clock = Clock()
        self.told = Told(self.clock)
        self.pairing = Pairing(mode, self.told, self.clock)

    def guess(self, offer, right):
        self.pairing.judge(self.pairing.begin(offer.code.number, "node"), right)


@pytest.fixture
def room():
    return Room()


def test_the_window_closes_behind_whom_it_was_opened_for_and_codes_stay_good(room):
    room.pairing.open_for(120)
    offer = room.pairing.offer(ANN, PHONE)
    room.pairing.close_window()
    assert room.pairing.problem() is not None and not room.pairing.open_s
    assert room.pairing.left_s(offer) == room.told.open_s == CODE_S
    room.guess(offer, True)
    assert not room.told.open_s


def test_health_shows_the_window_and_the_codes():
    health = Health()
    pairing = Pairing("pairing", health.pair_for)
    assert not health.pairing
    pairing.open_for(60)
    assert health.pairing
    pairing.close()
    assert not health.pairing
    offer = pairing.offer(ANN, PHONE)
    assert health.pairing
    pairing.judge(pairing.begin(1, "node"), right=True)
    assert not health.pairing
    pairing.ended(offer, paired=True)
    pairing.open_for(0.05)
    assert health.pairing
    time.sleep(0.06)
    assert not pairing.open_s and not health.pairing


def test_a_code_opens_no_window_for_strangers(room):
    room.pairing.offer(ANN, PHONE)
    assert room.pairing.problem() is not None
    assert room.told.open_s == CODE_S


def test_what_closes_first_does_not_close_the_other(room):
    room.pairing.offer(ANN, PHONE)
    room.pairing.open_for(60)
    assert room.told.open_s == CODE_S
    with pytest.raises(NotNow):
        room.guess(room.pairing.offers[0], right=False)
    assert room.told.open_s == 60
    room.pairing.open_for(CODE_S * 2)
    room.guess(room.pairing.offer(ANN, PHONE), right=True)
    assert room.told.open_s == CODE_S * 2


def test_a_code_is_good_once(room):
    offer = room.pairing.offer(ANN, PHONE)
    room.guess(offer, right=True)
    for right in (True, False):
        with pytest.raises(NotNow):
            room.guess(offer, right)
    room.pairing.ended(offer, paired=True)
    assert offer.state == "paired"


def test_one_of_two_guests_with_the_same_code_gets_in(room):
    offer = room.pairing.offer(ANN, PHONE)
    first, second = (room.pairing.begin(1, "node") for _ in range(2))
    room.pairing.judge(first, right=True)
    with pytest.raises(NotNow):
        room.pairing.judge(second, right=True)
    assert offer.state == "given"


def test_a_wrong_guess_ends_the_code_also_for_who_has_begun(room):
    room.pairing.offer(ANN, PHONE)
    first, second = (room.pairing.begin(1, "node") for _ in range(2))
    with pytest.raises(NotNow, match="wrong code"):
        room.pairing.judge(first, right=False)
    with pytest.raises(NotNow, match="void"):
        room.pairing.judge(second, right=True)


def test_three_codes_are_told_apart_by_their_numbers(room):
    offers = [room.pairing.offer(ANN, f"device {n}") for n in range(CODES)]
    assert [offer.code.number for offer in offers] == [1, 2, 3]
    assert [offer.code.digits[0] for offer in offers] == ["1", "2", "3"]
    room.guess(offers[1], right=True)
    assert room.pairing.offer(ANN, "another").code.number == 2


def test_after_three_wrong_guesses_pairing_has_to_be_opened_again(room):
    for _ in range(CODES):
        with pytest.raises(NotNow):
            room.guess(room.pairing.offer(ANN, PHONE), right=False)
    room.clock.now += 10
    with pytest.raises(NotNow, match="wait 290 s"):
        room.pairing.offer(ANN, PHONE)
    room.pairing.open_for(1)
    room.pairing.offer(ANN, PHONE)


def test_a_code_ends_by_itself(room):
    offer = room.pairing.offer(ANN, PHONE)
    begun = room.pairing.begin(1, "node")
    room.clock.now += CODE_S
    assert room.told.open_s == 0
    with pytest.raises(NotNow):
        room.pairing.judge(begun, right=True)
    with pytest.raises(NotNow, match="no such code"):
        room.pairing.begin(1, "node")
    assert room.pairing.offer(ANN, PHONE) is not offer


def test_closing_takes_the_codes_back(room):
    offer = room.pairing.offer(ANN, PHONE)
    room.pairing.close()
    with pytest.raises(NotNow):
        room.guess(offer, right=True)


def test_what_was_begun_before_pairing_was_closed_gets_nothing(room):
    room.pairing.offer(ANN, PHONE)
    begun = room.pairing.begin(1, "node")
    room.pairing.close()
    with pytest.raises(NotNow):
        room.pairing.judge(begun, right=True)


def test_a_code_that_is_only_begun_with_is_void_after_a_while(room):
    offer = room.pairing.offer(ANN, PHONE)
    for _ in range(BEGINNINGS_MAX):
        room.pairing.begin(1, "node")
    with pytest.raises(NotNow, match="10 times"):
        room.pairing.begin(1, "node")
    assert offer.state == "void" and room.told.open_s == 0


def test_a_code_is_for_what_it_was_made_for(room):
    room.pairing.offer(ANN, PHONE)
    with pytest.raises(NotNow, match="'peer'"):
        room.pairing.begin(1, "peer")


def test_nobody_gets_in_where_registration_is_closed():
    room = Room("closed")
    for ask in (lambda: room.pairing.open_for(60), lambda: room.pairing.offer(ANN, PHONE)):
        with pytest.raises(NotNow, match="closed by the configuration"):
            ask()
    assert room.told.open_s == 0 and room.pairing.problem() is not None


class Pairings(RuleBasedStateMachine):
    """Whatever people and guests do: what is shown is true, and nobody gets more than three wrong guesses in
    five minutes without somebody opening pairing or closing it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.room = Room()
        self.begun: list[Offer] = []
        self.wrong_at: list[float] = []

    @rule(seconds=st.sampled_from([0.5, 30, 150, 299.5, 301]))
    def time_passes(self, seconds):
        self.room.clock.now += seconds

    @rule(seconds=st.sampled_from([1, 120, 600]))
    def open(self, seconds):
        self.room.pairing.open_for(seconds)
        self.wrong_at.clear()

    @rule()
    def close(self):
        self.room.pairing.close()
        self.wrong_at.clear()

    @rule()
    def ask_for_a_code(self):
        live = [o for o in self.room.pairing.offers if self.room.pairing.left_s(o)]
        recent = [at for at in self.wrong_at if at > self.room.clock.now - CODE_S]
        try:
            offer = self.room.pairing.offer(ANN, PHONE)
        except NotNow:
            assert len(live) + len(recent) >= CODES
        else:
            assert offer.code.number not in [o.code.number for o in live]

    @rule(number=st.integers(0, 9))
    def begin(self, number):
        try:
            self.begun.append(self.room.pairing.begin(number, "node"))
        except NotNow:
            return
        assert self.room.pairing.left_s(self.begun[-1])

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), right=st.booleans())
    def guess(self, data, right):
        offer = self.begun.pop(data.draw(st.integers(0, len(self.begun) - 1)))
        live = self.room.pairing.left_s(offer) > 0 and offer in self.room.pairing.offers
        try:
            self.room.pairing.judge(offer, right)
        except NotNow:
            assert not (live and right)
            if live:
                self.wrong_at.append(self.room.clock.now)
            return
        assert live and right
        self.room.pairing.ended(offer, paired=data.draw(st.booleans()))

    @invariant()
    def what_is_shown_is_true(self):
        pairing = self.room.pairing
        assert self.room.told.open_s == max([pairing.open_s, *map(pairing.left_s, pairing.offers)])

    @invariant()
    def guesses_are_few(self):
        assert len([at for at in self.wrong_at if at > self.room.clock.now - CODE_S]) <= CODES


TestPairings = Pairings.TestCase
TestPairings.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
