"""Ids rise, and nothing is lost, whatever the clock says: a Pi has none until the network gives it one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.load.shims import wrong_clock

from .household import Household
from .test_kill import AWAY, verify

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler (gcc and libc6-dev)"),
]

YEAR_S = 365 * 86400
TWENTY_HOURS_S = 20 * 3600
LIFE_S = 0.3
BACK_S = 30.0


def test_ids_rise_when_the_clock_is_set_back_by_a_year_and_forward_again(
    household: Callable[..., Household], tmp_path: Path
) -> None:
    home = household(seed=3)
    for offset_s in (-YEAR_S, -2 * YEAR_S, -YEAR_S, 0):
        home.live(LIFE_S)
        home.box.kill9()
        home.read_out()
        before = home.ledger.highest
        with wrong_clock(tmp_path, offset_s):
            home.box.start()
        home.come_back(BACK_S)
        home.live(LIFE_S)
        home.settle(BACK_S)
        assert home.ledger.highest > before
        wrong_by_s = home.box.control("status")["started"] - time.time()
        assert abs(wrong_by_s - offset_s) < 300, "the box's clock is not as wrong as it was to be"
        verify(home)


def test_ids_rise_when_the_clock_was_a_year_ahead(
    household: Callable[..., Household], tmp_path: Path
) -> None:
    """What is worse: with ids of the future behind it, the box counts up from there."""
    with wrong_clock(tmp_path, YEAR_S):
        home = household(seed=4)
    home.live(LIFE_S)
    home.box.kill9()
    home.read_out()
    assert home.ledger.highest > time.time_ns() + YEAR_S // 2 * 10**9
    home.box.start()
    home.come_back(BACK_S)
    home.live(LIFE_S)
    home.settle(BACK_S)
    verify(home)


def test_a_box_that_is_off_for_most_of_each_day_forgets_old_entries_and_loses_nothing(
    household: Callable[..., Household], tmp_path: Path
) -> None:
    """Each life begins twenty hours after the one before: what is a day old may be cut from the journal,
    but no request is so old that it may not be sent again."""
    home = household(seed=5)
    home.send_away(AWAY, quiet=True)
    cut = 0
    for day in range(1, 6):
        home.live(LIFE_S)
        home.box.kill9()
        home.read_out()
        with wrong_clock(tmp_path, day * TWENTY_HOURS_S):
            home.box.start()
        home.come_back(BACK_S)
        made = home.box.control("status")["store"]["entries"]
        verified = home.box.control("journal.verify")
        assert verified["ok"], verified["problems"]
        cut += verified["entries"] < made
    assert cut, "nothing was ever cut from the journal"
    home.box.kill9()
    home.read_out()
    with wrong_clock(tmp_path, 6 * TWENTY_HOURS_S):
        home.box.start()
    home.call_back(AWAY)
    home.come_back(BACK_S)
