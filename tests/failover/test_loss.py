"""Promise: what two boxes had survives the loss of one; a blank box takes the dead one's place."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import pytest

from .home import Home, until

pytestmark = pytest.mark.slow


def test_a_box_is_destroyed_revoked_and_replaced_and_nothing_is_lost(new_home: Callable[..., Home]) -> None:
    home = new_home()
    crowd = home.people(known=3, local=1)
    home.shelve(crowd, 0)
    home.write(2.0)
    lost = home.boxes["c"]
    crowd.hurry = True
    time.sleep(0.3)
    alone = lost.status["one_copy_acks"]
    lost.kill9()
    shutil.rmtree(lost.data)
    crowd.hurry = False
    at = time.monotonic()
    for node in crowd.nodes:
        node.mark(at, anew=node.box == "c")
    assert alone == 0, "the load was too much for this machine: some was on one disk only"
    until(lambda: all(node.took_s is not None for node in crowd.nodes), 10, "acks go on")
    first = home.boxes["a"]
    told = first.pocket("peer", "revoke", "c", "--yes")
    assert told["box"] == lost.id
    del home.boxes["c"]
    lost.close()
    home.in_sync()
    replacement = home.add("c")
    began = time.monotonic()
    replacement.join(first)
    joined_s = time.monotonic() - began
    in_sync_s = home.in_sync()
    time.sleep(1.0)
    home.judge()
    print(
        f"\njoined in its place in {joined_s:.1f} s, in sync {in_sync_s:.1f} s later, all under load"
        f"\n{home.ledger.summary()}"
    )
    listed = {box["box"]: box["state"] for box in first.control("peer.list")["boxes"]}
    assert listed == {
        lost.id: "revoked",
        first.id: "here",
        home.boxes["b"].id: "in sync",
        replacement.id: "in sync",
    }
