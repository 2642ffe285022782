"""Promise: what two boxes had survives the loss of one; a blank box takes the dead one's place."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.abuse.lab import Cable

from .home import Home, spread, until

DELAY_S = 0.05

pytestmark = pytest.mark.slow


def test_a_box_is_destroyed_revoked_and_replaced_and_nothing_is_lost(far: tuple[Home, Cable]) -> None:
    home, cable = far
    lost, first = home.boxes["a"], home.boxes["b"]
    cable.delay_s = DELAY_S  # what is acknowledged before it is there has no way out of the box that burns
    crowd = home.people(known=2, local=2)
    home.shelve(crowd, 0)
    home.write(2.0)
    crowd.hurry = True
    time.sleep(0.5)
    alone, there = lost.status["one_copy_acks"], [node for node in crowd.nodes if node.box == "a"]
    before = home.ledger.resent
    lost.kill9()
    at = time.monotonic()
    shutil.rmtree(lost.data)
    crowd.hurry = False
    for node in crowd.nodes:
        node.mark(at, anew=node in there)
    assert alone == 0, "the load was too much for this machine: some was on one disk only"
    until(lambda: all(node.took_s is not None for node in crowd.nodes), 15, "acks go on")
    assert home.ledger.resent - before > len(there), "too little was on its way"
    assert first.pocket("peer", "revoke", "a", "--yes")["box"] == lost.id
    del home.boxes["a"]
    lost.close()
    replacement = home.add("a")
    began = time.monotonic()
    replacement.join(first)
    joined_s = time.monotonic() - began
    in_sync_s = home.in_sync()
    time.sleep(1.0)
    cable.delay_s = 0.0
    home.judge()
    took = [node.took_s for node in crowd.nodes if node.took_s is not None]
    print(
        f"\nnext ack {spread(took)}; joined in its place in {joined_s:.1f} s, in sync {in_sync_s:.1f} s"
        f" later, all under load\n{home.ledger.summary()}"
    )
    listed = {box["box"]: box["state"] for box in first.control("peer.list")["boxes"]}
    assert listed == {lost.id: "revoked", first.id: "here", replacement.id: "in sync"}
