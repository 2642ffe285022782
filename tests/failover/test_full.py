"""Promise: one box's disk is full; the other goes on, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .home import Home, HomeBox, until

DISK_MIB = 96

pytestmark = pytest.mark.slow


def fill(box: HomeBox) -> Path:
    """Somebody else takes all the room on the box's disk, again and again, so that its own reserve goes."""
    filler = box.data / "filler"
    with filler.open("ab", buffering=0) as file:
        while (room := os.statvfs(box.data)).f_bavail:
            try:
                file.write(bytes(min(room.f_bavail * room.f_frsize, 1 << 20)))
            except OSError:
                break
    return filler


def says_full(box: HomeBox) -> bool:
    return any("disk" in reason for reason in box.status["reasons"])


def test_one_full_disk_stops_nobody_and_loses_nothing(new_home: Callable[..., Home]) -> None:
    home = new_home("ab", disk_mib={"b": DISK_MIB})
    crowd = home.people(known=4, local=0)
    home.shelve(crowd, 0)
    home.write(1.0)
    full, other = home.boxes["b"], home.boxes["a"]
    filler = fill(full)
    filled_at = time.monotonic()
    said_s = until(lambda: says_full(full), 10, "the full box says so")
    warned_s = until(
        lambda: fill(full) and other.status["copies"] == 1, 20, "the other says that there is one copy"
    )
    time.sleep(3.0)
    at_other = [node for node in crowd.nodes if node.box == "a"]
    for node in at_other:
        node.mark(time.monotonic(), anew=False)
    assert at_other, "clients whose box is full went nowhere"
    until(lambda: all(node.took_s is not None for node in at_other), 5, "the other box goes on")
    refused = dict(home.ledger.refused)
    assert any("disk" in error for error in refused), refused
    time.sleep(max(0.0, filled_at + 6 - time.monotonic()))
    filler.unlink()
    caught_up_s = home.in_sync()
    until(lambda: not says_full(full), 10, "the box says no more that its disk is full")
    before = home.ledger.refused.total()
    time.sleep(1.0)
    assert home.ledger.refused.total() == before, home.ledger.refused
    home.judge()
    print(
        f"\nsaid so after {said_s:.1f} s, the other that there is one copy {warned_s:.1f} s later; caught up"
        f" {caught_up_s:.1f} s after there was room\n{home.ledger.summary()}"
    )
