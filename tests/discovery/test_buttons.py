"""Two real boxes in one network, and a hand on the button of each: they find each other and become one site,
unless somebody else in the network answers as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.control import ControlError, call
from tests.discovery.lab import ROOT, Machine, Process

pytestmark = [pytest.mark.root, pytest.mark.e2e]

CONFIG = """
name = "Home"
listen = "0.0.0.0:4711"
[peer]
name = "{name}"
[panel]
pins = "mock"
show = "leds"
[[panel.led]]
pin = 17
[panel.button]
pin = 23
"""
SHORT_S = 0.15
ROUND_S = 7.5
"""A round as `hand` has it, and some."""
FIND_S = 25.0


class Handy:
    """A box with a hand on its button."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.data = machine, folder / machine.name
        config = folder / f"{machine.name}.toml"
        config.write_text(CONFIG.format(name=machine.name))
        serve = ["serve", "--data", str(self.data), "--config", str(config)]
        self.process: Process = machine.start(sys.executable, "-m", "tests.discovery.hand", *serve)
        self.process.line("ready")

    def press(self, times: int = 1) -> None:
        for _ in range(times):
            self.process.tell(str(SHORT_S))
            time.sleep(4 * SHORT_S)

    def ask(self, word: str, **args: Any) -> Any:
        return call(self.data, word, args)

    @property
    def status(self) -> Any:
        return self.ask("status")

    @property
    def reasons(self) -> str:
        return " ".join(self.status["reasons"])

    def edges(self) -> list[tuple[int, float]]:
        """What the LED did up to now, and when."""
        facts = self.process.facts + self.process.listen(0.2)
        return [(fact["lit"], fact["at"]) for fact in facts if "lit" in fact]


def until(what: Callable[[], Any], within_s: float = FIND_S) -> Any:
    deadline = time.monotonic() + within_s
    while True:
        try:
            if found := what():
                return found
        except ControlError:
            pass
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.1)


def is_with(one: tuple[int, float], other: tuple[int, float]) -> bool:
    """Whether a person would say that both lights did this together: two numbers are 0.15 s apart in this."""
    return one[0] == other[0] and abs(one[1] - other[1]) < 0.1


def pair_a_phone(box: Handy, machine: Machine) -> Any:
    """With a code, from another machine; what it is given."""
    made = box.ask("pair.code", member="Ann Smith", label="phone")
    join = [
        sys.executable,
        "-m",
        "appliance.cli",
        "pair",
        "join",
        made["addresses"][0],
        made["code"],
        "--json",
    ]
    command = ["ip", "netns", "exec", machine.namespace, *join]
    return json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=30).stdout)


@pytest.fixture
def boxes(lab, tmp_path) -> tuple[Handy, Handy]:
    """One with a site, and a blank one."""
    site, blank = (Handy(lab.machine(name), tmp_path) for name in ("a", "b"))
    site.ask("member.add", alias="Ann Smith")
    return site, blank


@pytest.mark.alone
def test_a_hand_on_both_buttons_makes_one_site_of_two_boxes(boxes):
    site, blank = boxes
    site.press()
    blank.press()
    until(lambda: all(box.status["comparison"] for box in boxes))
    shown = [box.ask("peer.list")["comparison"]["digits"] for box in boxes]
    assert shown[0] == shown[1]
    began = time.monotonic()
    assert pair_a_phone(site, blank.machine)["site"] == "Home", "devices come in meanwhile as ever"
    time.sleep(max(0.0, began + ROUND_S - time.monotonic()))
    lights = [box.edges() for box in boxes]
    seen = [edge for edge in lights[0] if began + 0.5 < edge[1] < began + 5]
    alone = [edge for edge in seen if not any(is_with(edge, other) for other in lights[1])]
    assert len(seen) > 20 and len(alone) < 3, (seen, alone)
    for box in (blank, site):
        assert len(site.ask("peer.list")["boxes"]) == 1
        box.press(2)
    until(lambda: blank.status.get("members") == 1 and blank.ask("peer.list")["copies"] == 2, 60)
    assert until(lambda: site.ask("peer.list")["copies"] == 2)
    assert blank.status["fingerprint"] == site.status["fingerprint"]
    assert blank.status["comparison"] is None and site.status["comparison"] is None
    assert "no box was paired" not in site.reasons + blank.reasons


def test_where_somebody_in_the_network_answers_as_well_nothing_is_paired(boxes, lab, tmp_path):
    site, blank = boxes
    impostor = lab.machine("c").start(sys.executable, "-m", "tests.discovery.impostor", str(tmp_path / "c"))
    impostor.wait("serving")
    site.press()
    until(lambda: site.status["pairing_open_s"])
    time.sleep(1)
    blank.press()
    impostor.wait("guest", FIND_S)
    until(lambda: "no box was paired" in blank.reasons)
    assert "2 boxes with a site" in blank.reasons
    until(lambda: "2 boxes with a site" in site.reasons)
    for box in boxes:
        box.press(2)
    time.sleep(1)
    assert not [fact for fact in impostor.listen(0.5) + impostor.facts if "card" in fact]
    assert not (blank.data / "joining").exists() and len(site.ask("peer.list")["boxes"]) == 1
    assert blank.status["members"] == 0


def test_somebody_who_answers_alone_is_refused_by_one_press(boxes, lab, tmp_path):
    site, blank = boxes
    impostor = lab.machine("c").start(sys.executable, "-m", "tests.discovery.impostor", str(tmp_path / "c"))
    impostor.wait("serving")
    blank.press()
    until(lambda: blank.status["comparison"])
    assert site.status["comparison"] is None
    blank.press()
    until(lambda: "says no" in blank.reasons)
    assert blank.status["pairing_open_s"] > 60, "for phones it is open as it was"
    assert not [fact for fact in impostor.listen(0.5) + impostor.facts if "card" in fact]
