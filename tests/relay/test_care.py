"""When a site is called again, on a clock that jumps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.relay.care import BROKE_S, BUSY_LONGEST_S, LASTING_S, NO_ROOM_S, Care, Why
from appliance.relay.settings import RelaySettings

SETTINGS = RelaySettings()
DAY_S = 86_400.0


def care(chance: float = 1.0) -> Care:
    return Care(SETTINGS, lambda: chance)


def fail(one: Care, now: float, why: Why = Why.LOST) -> float:
    """One more try that came to nothing; the pause."""
    one.calling()
    one.ended(now, why, "it broke")
    return one.next_at - now


def test_pauses_double_up_to_the_longest():
    one = care()
    pauses = [fail(one, 0.0) for _ in range(12)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_after_days_of_absence_the_pauses_are_longer_still():
    one = care()
    for _ in range(10):
        fail(one, 0.0)
    assert fail(one, SETTINGS.absent_after_s - 1) == SETTINGS.retry_longest_s
    assert fail(one, SETTINGS.absent_after_s + 1) == SETTINGS.absent_retry_s


def test_a_link_that_lasted_starts_the_pauses_anew_and_one_that_did_not_does_not():
    one = care()
    for _ in range(5):
        fail(one, 0.0)
    one.linked(100.0)
    one.ended(101.0, Why.LOST)
    assert one.next_at == 101.0 + 32
    one.linked(200.0)
    one.ended(200.0 + LASTING_S, Why.LOST)
    assert one.next_at == 200.0 + LASTING_S + 1


@given(st.floats(0, 1), st.integers(0, 30))
def test_a_pause_is_at_random_between_half_and_all_of_what_it_would_be(chance: float, failures: int):
    full, some = care(1.0), care(chance)
    for _ in range(failures):
        fail(full, 0.0)
        fail(some, 0.0)
    whole, part = fail(full, 0.0), fail(some, 0.0)
    assert 0.5 * whole <= part <= whole


def test_memberships_do_not_call_all_at_once_when_the_box_starts():
    starts = []
    for chance in (0.0, 0.5, 1.0):
        one = care(chance)
        one.start(10.0)
        starts.append(one.next_at)
    assert starts[0] == 10.0 and all(a < b for a, b in pairwise(starts))


def test_while_a_site_takes_us_for_logged_in_it_is_asked_soon_and_often():
    one = care()
    pauses = [fail(one, 0.0, Why.BUSY) for _ in range(12)]
    assert pauses[0] <= 3 and max(pauses) == BUSY_LONGEST_S


@pytest.mark.parametrize(("why", "shortest"), [(Why.BROKE, BROKE_S), (Why.NO_ROOM, NO_ROOM_S)])
def test_some_troubles_do_not_go_away_at_once(why: Why, shortest: float):
    assert fail(care(), 0.0, why) == shortest


def test_a_refusal_is_tried_three_times_and_then_a_person_has_to_look():
    one = care()
    assert fail(one, 0.0, Why.REFUSED) < math.inf
    assert fail(one, 1.0, Why.REFUSED) < math.inf
    assert fail(one, 2.0, Why.REFUSED) == math.inf
    assert one.halted == "it broke"
    one.poke(3.0)
    assert one.next_at == math.inf
    one.resume(4.0)
    assert (one.halted, one.next_at) == ("", 4.0)


def test_refusals_with_a_login_in_between_do_not_add_up():
    one = care()
    for now in range(10):
        fail(one, float(now), Why.REFUSED)
        one.linked(now + 0.5)
        one.ended(now + 0.6, Why.LOST)
    assert not one.halted


def test_another_certificate_halts_at_once():
    one = care()
    assert fail(one, 0.0, Why.CHANGED) == math.inf
    assert one.halted


def test_a_metered_membership_looks_in_every_so_many_minutes():
    for chance, minutes in ((0.0, 27.0), (0.5, 30.0), (1.0, 33.0)):
        one = care(chance)
        one.linked(0.0)
        one.ended(10.0, Why.LEFT, metered_min=30.0)
        assert one.next_at == pytest.approx(10.0 + 60 * minutes)
    assert one.failing_since is None


def test_there_is_no_call_while_there_is_a_link():
    one = care()
    one.start(0.0)
    one.calling()
    assert one.next_at == math.inf
    one.linked(1.0)
    one.poke(2.0)
    assert one.next_at == math.inf


def test_how_long_it_has_been_failing_counts_from_the_first_failure():
    one = care()
    fail(one, 5.0)
    fail(one, 50.0)
    assert one.failing_since == 5.0
    one.linked(60.0)
    one.ended(200.0, Why.LOST)
    assert one.failing_since == 200.0


@given(st.lists(st.tuples(st.sampled_from(list(Why)), st.floats(0, DAY_S)), max_size=60), st.floats(0, 1))
def test_whatever_happens_there_is_a_next_call_or_a_reason_for_none(
    story: list[tuple[Why, float]], chance: float
):
    one, now = care(chance), 0.0
    one.start(now)
    for why, later in story:
        now += later
        one.calling()
        one.ended(now, why, "text", metered_min=5.0)
        assert one.next_at >= now
        assert (one.next_at == math.inf) is bool(one.halted)
        if one.halted:
            one.resume(now)
