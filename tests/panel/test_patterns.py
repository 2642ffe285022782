"""Patterns: the rhythms that design and README promise."""

from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.health import ROUND_S
from appliance.panel import patterns
from appliance.panel.patterns import EARLY_S, PATTERNS, RAMP_S, Pattern

# When a plain LED changes within one period, by the table in the README: on at first, unless it says dark.
RHYTHMS = [
    (patterns.SOLID, inf, []),
    (patterns.DARK, inf, []),
    (patterns.DOUBLE_PULSE, 3.0, [0.15, 0.3, 0.45]),
    (patterns.SLOW_BLINK, 1.0, [0.5]),
    (patterns.FAST_BLINK, 0.25, [0.125]),
    (patterns.FLICKER, 0.1, [0.05]),
    (patterns.WINK, 1.0, [0.9]),
    (patterns.ONE_FLASH, 1.0, [0.1]),
    (patterns.TWO_FLASHES, 1.0, [0.1, 0.2, 0.3]),
    (patterns.THREE_FLASHES, 1.0, [0.1, 0.2, 0.3, 0.4, 0.5]),
    (
        patterns.EXAMPLE,
        18.0,
        [
            edge
            for beat, bit in enumerate(f"{482913:020b}")
            for edge in (beat * 0.8, beat * 0.8 + (0.6 if bit == "1" else 0.2))
        ][1:],
    ),
]


def level(pattern: Pattern, t: float) -> float:
    return pattern.at(t)[0]


@pytest.mark.parametrize(("pattern", "period_s", "edges"), RHYTHMS, ids=lambda v: getattr(v, "name", None))
def test_a_pattern_has_its_rhythm(pattern, period_s, edges):
    assert pattern.period_s == pytest.approx(period_s)
    lit = pattern is not patterns.DARK
    for turn in range(3):
        begins = 0.0 if period_s == inf else turn * period_s
        now_lit = lit
        for edge in edges:
            assert level(pattern, begins + edge - 0.001) == now_lit
            now_lit = not now_lit
            assert level(pattern, begins + edge) == now_lit


def test_pairing_fades_up_and_down_in_two_seconds():
    assert [round(level(patterns.FADE, t), 3) for t in (0, 0.25, 0.5, 1.0, 1.25, 1.75, 2.0)] == [
        0, 0.25, 0.5, 1, 0.75, 0.25, 0,
    ]  # fmt: skip
    assert patterns.FADE.at(0.3)[1] <= RAMP_S


def test_every_pattern_is_in_the_list_and_in_the_table():
    listed = {id(value) for value in vars(patterns).values() if isinstance(value, Pattern)}
    assert {id(pattern) for pattern in PATTERNS} == listed
    assert {id(row[0]) for row in RHYTHMS} | {id(patterns.FADE)} == listed


def test_two_numbers_have_lights_that_differ_in_every_round_and_for_long_enough_to_be_seen():
    for one, other in ((0, 1), (0, 1 << 19), (482913, 482912), (999999, 0)):
        rounds = [[level(patterns.beats(number), i / 100) for i in range(1800)] for number in (one, other)]
        apart = sum(a != b for a, b in zip(*rounds, strict=True))
        assert apart == 40 * (one ^ other).bit_count()
    assert patterns.beats(0).period_s == pytest.approx(ROUND_S)


def test_a_plain_led_can_tell_all_patterns_apart():
    seen = {tuple(level(p, i / 100) >= 0.5 for i in range(600)): p.name for p in PATTERNS}
    assert len(seen) == len(PATTERNS)


@given(st.sampled_from(PATTERNS), st.floats(0, 1e6))
def test_looking_again_when_told_misses_no_edge(pattern, t):
    value, wait_s = pattern.at(t)
    assert 0 <= value <= 1
    assert wait_s > 0
    if pattern is not patterns.FADE:
        for part in (0.1, 0.5, 0.9):
            assert pattern.at(t + max(0.0, min(wait_s, 10) - 2 * EARLY_S) * part)[0] == value


@given(st.sampled_from(PATTERNS), st.integers(0, 10_000))
def test_a_clock_that_wakes_a_little_early_gets_on(pattern, turns):
    """Else a task that sleeps until the edge would spin."""
    t = 0.0
    for _ in range(min(turns, 50)):
        wait_s = pattern.at(t)[1]
        if wait_s == inf:
            return
        assert wait_s > 1e-9
        t += wait_s * (1 - 1e-12)
    assert not isclose(t, 0) or turns == 0
