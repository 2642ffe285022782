"""Several boxes of one site, whatever happens to them: see judge.py for what holds in the end.

``make soak`` runs other schedules, and more; one that failed is run again with
``python -m tests.sim --seed NUMBER``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.sim.lab import Lab, lab
from tests.sim.schedule import run

AT_ONCE = 25
FIRST = range(1, 251, AT_ONCE)


@pytest.fixture(scope="module")
def place() -> Iterator[Lab]:
    with lab() as found:
        yield found


@pytest.fixture(scope="module")
def counts() -> Counter[str]:
    """What happened in all schedules of this module."""
    return Counter()


@pytest.mark.parametrize("first", FIRST)
def test_boxes_that_talked_are_the_same_and_nothing_that_two_had_is_lost(
    place: Lab, counts: Counter[str], first: int
) -> None:
    for seed in range(first, first + AT_ONCE):
        counts.update(run(place, seed).counts)


def test_all_that_matters_happened(counts: Counter[str]) -> None:
    """Or the schedules would show nothing."""
    if not counts["exchange"]:
        pytest.skip("the schedules were not run")
    rare = ("copies taken again", "old cards found", "revoke", "weeks", "lose", "power_cut", "crash_amid")
    assert all(counts[what] for what in rare), counts
    assert counts["at level 2"] > counts["answers"] / 10
    assert counts["repeated"] > 50


def test_a_schedule_is_the_same_each_time(place: Lab) -> None:
    once, again = run(place, 7), run(place, 7)
    assert once.trace == again.trace
    assert once.record.texts == again.record.texts
    assert [ask.request for ask in once.record.asks] == [ask.request for ask in again.record.asks]
