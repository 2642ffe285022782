"""Promise: any box may lose its power at any moment; devices carry on within seconds, nothing is lost."""

from __future__ import annotations

import os
import random
import time

import pytest

from .home import SOAK, Home, spread, until

KILLS = int(os.environ.get("POCKET_KILLS", "20")) * SOAK
SEED = int(os.environ.get("POCKET_SEED", "1"))
KNOWN_S, LOCAL_S = 5.0, 10.0
"""Bounds for the next ack of clients that know all addresses, and of those that know the site's name."""

pytestmark = pytest.mark.slow


def test_whichever_box_is_killed_acks_go_on_and_nothing_is_lost_or_doubled(home: Home) -> None:
    chance = random.Random(SEED)
    crowd = home.people(known=4, local=2, seed=SEED)
    crowd.found(f"household {time.monotonic_ns()}")
    home.shelve(crowd, 0)
    home.shelve(crowd, 1)
    home.write(1.0)
    known: list[float] = []
    local: list[float] = []
    others: list[float] = []
    back: list[float] = []
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 0.8))
        crowd.hurry = True
        time.sleep(chance.uniform(0.05, 0.2))
        busy = [node.box for node in crowd.nodes if node.favourite is None and node.box]
        victim = chance.choice(sorted(home.boxes) + busy)
        there = {node: node.box == victim for node in crowd.nodes}
        now = time.monotonic()
        home.boxes[victim].kill9()
        crowd.hurry = False
        for node, hit in there.items():
            node.mark(now, anew=hit)
        until(lambda: all(node.took_s is not None for node in crowd.nodes), 2 * LOCAL_S, "acks go on")
        for node, hit in there.items():
            assert node.took_s is not None
            (others if not hit else known if node.favourite is not None else local).append(node.took_s)
        began = time.monotonic()
        home.boxes[victim].start()
        back.append(time.monotonic() - began)
    agreed = home.judge()
    print(
        f"\n{KILLS} kills; next ack where addresses are known: {spread(known)}; by the name alone:"
        f" {spread(local)}; of those at other boxes: {spread(others)}; ready again after {spread(back)};"
        f" all agree {agreed:.2f} s after the last answer\n{home.ledger.summary()}"
    )
    assert max(known) < KNOWN_S
    assert max(local) < LOCAL_S
    assert len(known) + len(local) > KILLS, "too few were hit"
