"""A trial tells the patterns of a light apart."""

import math
import random

import pytest

from tests.image import rhythm
from tests.image.look import listening
from tests.image.rhythm import RHYTHMS, fades, shows


def seen(shown, seconds, jitter_s=0.0):
    """The edges of a light that shows this for so long, looked at by somebody who is late at random."""
    chance = random.Random(1)
    edges, at = [(0.0, 1 - shown.runs[0][1])], 0.3
    while at < seconds:
        for run, level in shown.runs:
            edges.append((at + chance.uniform(0, jitter_s), level))
            at += run
    return [edge for edge in edges if edge[0] < seconds], seconds


@pytest.mark.parametrize("shown", RHYTHMS, ids=lambda each: each.name)
def test_each_rhythm_is_told_from_all_others(shown):
    for jitter_s in (0.0, 0.02):
        assert [each for each in RHYTHMS if shows(each, *seen(shown, 14.0, jitter_s))] == [shown]


def test_a_rhythm_is_seen_among_others():
    edges = [(0.0, 0)]
    for begin, shown in ((1.0, rhythm.SOLID), (6.0, rhythm.TEN_HZ), (9.0, rhythm.ONE_HZ)):
        edges += [(begin + at, level) for at, level in seen(shown, 3.0)[0]]
    assert shows(rhythm.TEN_HZ, edges, 12.0) and not shows(rhythm.FOUR_HZ, edges, 12.0)


def test_moments_are_not_enough():
    for shown in RHYTHMS:
        assert not shows(shown, *seen(shown, 1.5))
        assert not shows(shown, [(0.0, 1)], 1.0)


def test_a_fade_is_no_blinking():
    times = [each / 10 for each in range(80)]
    assert fades([(at, abs(at % 2 - 1)) for at in times])
    assert not fades([(at, abs(at % 2 - 1)) for at in times[:30]])
    for period_s in (0.25, 1.0, 2.0, math.inf):
        assert not fades([(at, float(at % period_s < period_s / 2)) for at in times])


def test_who_listens_for_others():
    told = [
        "udp UNCONN 0 0 0.0.0.0:5353 0.0.0.0:*",
        "udp UNCONN 0 0 127.0.0.1:323 0.0.0.0:*",
        "udp UNCONN 0 0 [fe80::1]%eth0:546 [::]:*",
        "udp UNCONN 0 0 10.0.2.15%eth0:68 0.0.0.0:*",
        "tcp LISTEN 0 128 [::]:4433 [::]:*",
        "tcp LISTEN 0 128 [::1]:25 [::]:*",
        "tcp LISTEN 0 128 *:8080 *:*",
    ]
    assert listening("\n".join(told)) == {("udp", 5353), ("tcp", 4433), ("tcp", 8080)}
