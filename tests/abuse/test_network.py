"""What only a real network shows: a cable that is cut, and a line that is long."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.kit import Box, Client, Quit

from .lab import Cable, Lab, possible

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.root,
    pytest.mark.alone,
    pytest.mark.skipif(not possible(), reason="needs root and /dev/net/tun"),
]

LOCKED_OUT_MAX_S = 20.0
ALIVE_S = 4.0
DELAY_S = 0.025
QUEUED = 2000
DRAIN_MIN_PER_S = 300


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab.place("home")
        yield lab


def at_home(lab: Lab, **arguments: str) -> Box:
    with lab.inside("home"):
        return Box(listen="0.0.0.0:0", **arguments)


def seen_from(box: Box, cable: Cable) -> Box:
    """The box's address at the near end of the cable."""
    box.address = (cable.addresses[0], box.address[1])
    return box


def test_a_cable_that_is_cut_locks_nobody_out_for_twenty_seconds(lab: Lab) -> None:
    """Two nodes are cut off at once: one that has nothing to get, and one to which a message is under way."""
    wifi, mobile = lab.cable("home", lab.place("wifi")), lab.cable("home", lab.place("mobile"))
    with at_home(lab) as box:
        seen_from(box, wifi)
        with lab.inside("wifi"):
            idle, busy = (
                Client.register(box, alias="the idle one"),
                Client.register(box, alias="the busy one"),
            )
        seen_from(box, mobile)
        with lab.inside("mobile"):
            newcomers = [member.other_node(member.node) for member in (idle, busy)]
            until = time.monotonic() + ALIVE_S
            while time.monotonic() < until:
                for newcomer in newcomers:
                    with pytest.raises(Quit, match="node already connected"):
                        newcomer.login()
            idle.post(b"the old link lives", to=busy)
            writer = Client.register(box)
            wifi.cut = True
            cut = time.monotonic()
            writer.post(b"under way", to=busy)
            took_s: list[float] = []
            for newcomer in newcomers:
                while not newcomer.alive:
                    try:
                        newcomer.login()
                    except Quit as refused:
                        assert refused.reason == "node already connected"
                        assert time.monotonic() - cut < LOCKED_OUT_MAX_S
                took_s.append(time.monotonic() - cut)
        newcomers[1].expect("delivery", from_=idle, data=b"the old link lives")
        newcomers[1].expect("delivery", from_=writer, data=b"under way")
        print(f"let in {' and '.join(f'{s:.1f} s' for s in took_s)} after the cut")


def test_a_queue_drains_fast_over_a_line_with_fifty_milliseconds_there_and_back(lab: Lab) -> None:
    far = lab.cable("home", lab.place("far"), DELAY_S)
    with at_home(lab) as box, lab.inside("far"):
        seen_from(box, far)
        began = time.monotonic()
        Client.register(box).close()
        round_trips = (time.monotonic() - began) / (2 * DELAY_S)
        assert 4 < round_trips < 8, "the line is not as long as it was to be"
        command = [sys.executable, "-m", "tests.load", "--scenario", "drain", "--window", "64"]
        command += ["--address", f"{box.address[0]}:{box.address[1]}", "--count", str(QUEUED)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stdout + run.stderr
        result = json.loads(run.stdout)
        assert result["delivered"] == QUEUED
        print(f"{result['delivered_per_s']} messages/s over {2000 * DELAY_S:.0f} ms")
        assert result["delivered_per_s"] > DRAIN_MIN_PER_S
