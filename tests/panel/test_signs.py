"""Signs: every health shows as what it is, and the more important first."""

from datetime import time
from itertools import pairwise

import pytest

from appliance.health import Comparison, Health
from appliance.panel import patterns, signs
from appliance.panel.settings import ROLES, Night
from appliance.panel.signs import WALK, choose, dimming

from .kit import Mood


def mood(**wanted) -> Mood:
    health = Mood()
    for name, value in wanted.items():
        setattr(health, name, value)
    return health


STATUS = [
    ({"copies": 2}, patterns.SOLID),
    ({"copies": 3}, patterns.SOLID),
    ({"copies": 1}, patterns.DOUBLE_PULSE),
    ({"state": "warning", "copies": 2}, patterns.SLOW_BLINK),
    ({"pairing": True, "copies": 2}, patterns.FADE),
    ({"state": "error", "copies": 2}, patterns.FAST_BLINK),
    ({"identifying": True}, patterns.FLICKER),
    ({"state": "starting"}, patterns.WINK),
    ({"state": "stopping"}, patterns.WINK),
    ({"state": "stopped"}, patterns.DARK),
]
OTHERS = [
    ("mail", {"mail_waiting": 0}, patterns.DARK),
    ("mail", {"mail_waiting": 1}, patterns.SOLID),
    ("relay", {"relay": "none"}, patterns.DARK),
    ("relay", {"relay": "online"}, patterns.SOLID),
    ("relay", {"relay": "offline"}, patterns.SLOW_BLINK),
    ("peer", {"peer": "none"}, patterns.DARK),
    ("peer", {"peer": "in sync"}, patterns.SOLID),
    ("peer", {"peer": "behind"}, patterns.SLOW_BLINK),
    ("peer", {"peer": "away"}, patterns.DOUBLE_PULSE),
    ("alarm", {}, patterns.DARK),
    ("alarm", {"state": "warning"}, patterns.SLOW_BLINK),
    ("alarm", {"state": "error"}, patterns.FAST_BLINK),
]


@pytest.mark.parametrize(("role", "wanted", "pattern"), [("status", *row) for row in STATUS] + OTHERS)
def test_every_health_has_its_pattern(role, wanted, pattern):
    assert choose(role, mood(**wanted)).pattern is pattern


def test_the_real_health_is_understood():
    health = Health()
    assert choose("status", health) is signs.STARTING
    health.serving()
    assert choose("status", health) is signs.ONE_COPY
    health.copies = 2
    assert choose("status", health) is signs.TWO_COPIES
    health.warn("disk", "full")
    assert choose("status", health) is signs.WARNING
    health.pair_for(60)
    assert choose("status", health) is signs.PAIRING
    health.fail("store", "broken")
    assert choose("status", health) is signs.ERROR
    health.identify()
    assert choose("status", health) is signs.IDENTIFY
    health.identify(0)
    health.stopping()
    assert choose("status", health) is signs.STOPPING
    health.stopped()
    assert choose("status", health) is signs.STOPPED


# From the most important on; each also holds for all that come after it.
PRECEDENCE = [
    ({"override": signs.ERROR}, signs.ERROR),
    ({"identifying": True}, signs.IDENTIFY),
    ({"held": signs.HELD}, signs.HELD),
    ({"comparison": Comparison(482913, 0.0)}, signs.compare(482913)),
    ({"state": "error"}, signs.ERROR),
    ({"pairing": True}, signs.PAIRING),
    ({"state": "warning"}, signs.WARNING),
    ({"copies": 1}, signs.ONE_COPY),
    ({"copies": 2}, signs.TWO_COPIES),
]


@pytest.mark.parametrize(("upper", "lower"), list(pairwise(PRECEDENCE)), ids=lambda v: v[1].key)
def test_the_more_important_sign_wins(upper, lower):
    wanted = {**lower[0], **upper[0]}
    given = {name: wanted.pop(name, None) for name in ("override", "held")}
    assert choose("status", mood(**wanted), **given) is upper[1]


@pytest.mark.parametrize("role", ROLES)
def test_stopped_is_dark_on_every_led(role):
    health = mood(state="stopped", pairing=True, mail_waiting=3, relay="offline", peer="away", copies=2)
    assert choose(role, health) is signs.STOPPED


def test_a_number_is_compared_on_the_status_led_of_a_box_that_runs():
    health = mood(comparison=Comparison(5, 0.0), copies=2)
    assert choose("status", health).pattern is patterns.beats(5)
    assert choose("alarm", health) is signs.NOTHING
    health.state = "stopping"
    assert choose("status", health) is signs.STOPPING


@pytest.mark.parametrize("role", ROLES)
def test_no_other_state_of_the_box_is_dark_on_the_status_led(role):
    for state in ("starting", "serving", "warning", "error", "stopping"):
        for copies in (1, 2):
            assert choose("status", mood(state=state, copies=copies)).pattern is not patterns.DARK


@pytest.mark.parametrize("role", ROLES)
def test_answers_to_a_person_show_on_every_led(role):
    assert choose(role, mood(identifying=True)) is signs.IDENTIFY
    assert choose(role, mood(), held=signs.HELD_5) is signs.HELD_5


def test_the_walk_shows_every_pattern_once_with_its_meaning():
    assert sorted(s.pattern.name for s in WALK) == sorted(p.name for p in patterns.PATTERNS)
    assert all(sign.words for sign in WALK)
    assert len({sign.key for sign in WALK}) == len(WALK)


NIGHT = Night(start=time(22), end=time(7), brightness=0.1)
LOUD_ONLY = Night(start=time(22), end=time(7), brightness=0.1, alarms=False)


@pytest.mark.parametrize(
    ("night", "now", "dark"),
    [
        (NIGHT, time(21, 59, 59), False),
        (NIGHT, time(22), True),
        (NIGHT, time(23, 59, 59), True),
        (NIGHT, time(0), True),
        (NIGHT, time(6, 59, 59), True),
        (NIGHT, time(7), False),
        (NIGHT, time(12), False),
        (Night(start=time(1), end=time(5)), time(0, 59), False),
        (Night(start=time(1), end=time(5)), time(1), True),
        (Night(start=time(1), end=time(5)), time(4, 59), True),
        (Night(start=time(1), end=time(5)), time(5), False),
    ],
)
def test_the_night_lasts_from_its_start_to_its_end(night, now, dark):
    assert (dimming(signs.TWO_COPIES, night, now) < 1) == dark


@pytest.mark.parametrize(
    ("sign", "night", "factor"),
    [
        (signs.TWO_COPIES, NIGHT, 0.1),
        (signs.ONE_COPY, NIGHT, 0.1),
        (signs.MAIL, NIGHT, 0.1),
        (signs.WARNING, NIGHT, 1),
        (signs.ERROR, NIGHT, 1),
        (signs.WARNING, LOUD_ONLY, 0.1),
        (signs.ERROR, LOUD_ONLY, 0.1),
        (signs.PAIRING, LOUD_ONLY, 1),
        (signs.IDENTIFY, LOUD_ONLY, 1),
        (signs.HELD_5, LOUD_ONLY, 1),
        (signs.STOPPING, LOUD_ONLY, 1),
        (signs.TWO_COPIES, None, 1),
    ],
)
def test_at_night_only_what_may_shows(sign, night, factor):
    assert dimming(sign, night, time(3)) == factor
