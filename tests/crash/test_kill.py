"""Promise: an acknowledged message survives, whenever the box is killed; nothing comes twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from .household import Household

KILLS = int(os.environ.get("POCKET_KILLS", "50"))
SEED = int(os.environ.get("POCKET_SEED", "1"))
"""For longer and other runs: POCKET_KILLS=1000 POCKET_SEED=7 make test TESTS=tests/crash"""

LIFE_S = (0.02, 0.6)
START_KILLS_EVERY = 5
START_S = 0.5
VERIFY_EVERY = 5
AWAY, AWAY_FOR = 2, 10
"""This device is off for some lives at a time: its queue outlives them in the tables."""

BACK_S = 30.0

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_what_was_acknowledged_survives_fifty_kills_and_comes_once(
    household: Callable[..., Household],
) -> None:
    home = household(SEED)
    chance = random.Random(SEED)
    for kill in range(KILLS):
        if kill % AWAY_FOR == 0:
            home.send_away(AWAY)
        elif kill % AWAY_FOR == AWAY_FOR - 1:
            home.call_back(AWAY)
        if kill % START_KILLS_EVERY == START_KILLS_EVERY - 1:
            home.live(0.2)
            home.box.kill9()
            home.read_out()
            kill_while_starting(home, chance.uniform(0.05, START_S))
        else:
            home.live(chance.uniform(*LIFE_S))
            home.box.kill9()
            home.read_out()
        home.box.start()
        home.come_back(BACK_S)
        if kill % VERIFY_EVERY == 0:
            verify(home)
    verify(home)
    ledger = home.ledger
    print(
        f"{KILLS} kills: {ledger.promises} acknowledged requests, {ledger.received} messages received,"
        f" {ledger.repeated} again after a kill, {len(home.devices)} nodes"
    )
    assert ledger.promises > 50 * KILLS, "too little was going on"


def kill_while_starting(home: Household, after_s: float) -> None:
    """Start the box and kill it before it is ready, or just after."""

    def kill() -> None:
        time.sleep(after_s)
        os.kill(home.box.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        home.box.start()
    except AssertionError as stopped:
        assert "before it was ready" in str(stopped), stopped
    finally:
        killer.join()
    home.box.stop(signal.SIGKILL)


def verify(home: Household) -> None:
    verified = home.box.control("journal.verify")
    assert verified["ok"], verified["problems"]
