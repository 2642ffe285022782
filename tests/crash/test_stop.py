"""SIGTERM under load: orderly, in time, and nothing acknowledged is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from .household import Household
from .test_kill import verify

pytestmark = pytest.mark.e2e

STOPS = 4
STOP_MAX_S = 5.0
BACK_S = 30.0


def test_an_orderly_stop_under_load_takes_less_than_five_seconds_and_loses_nothing(
    household: Callable[..., Household],
) -> None:
    home = household(seed=6)
    for _ in range(STOPS):
        home.live(0.4)
        took_s = terminate(home)
        assert took_s < STOP_MAX_S, f"the stop took {took_s:.1f} s"
        print(f"stopped in {took_s:.2f} s")
        home.read_out()
        home.box.start()
        home.come_back(BACK_S)
        verify(home)


def terminate(home: Household) -> float:
    """Stop the box while everybody goes on writing; how long that took, in seconds."""
    status: list[int] = []
    began = time.monotonic()
    stopper = threading.Thread(target=lambda: status.append(home.box.terminate()))
    home.ending = True
    stopper.start()
    while stopper.is_alive():
        home.live(0.01)
    stopper.join()
    home.ending = False
    assert status == [0], home.box.words()
    return time.monotonic() - began
