"""Two real boxes in one network: one finds the other to join it, and they share a name."""

import json
import subprocess
import sys
import time

import pytest

from tests.discovery.lab import ROOT, Process

pytestmark = [pytest.mark.root, pytest.mark.e2e]

POCKET = [sys.executable, "-m", "appliance.cli"]


def say(machine, data, *words, code=0):
    command = ["ip", "netns", "exec", machine.namespace, *POCKET, *words, "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=90)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


@pytest.fixture
def boxes(lab, tmp_path):
    """Two boxes, still strangers; each a machine and its data folder."""
    made = []
    for name in ("a", "b"):
        machine, data = lab.machine(name), tmp_path / name
        serve = [*POCKET, "serve", "--data", str(data), "--name", "Home", "--listen", "0.0.0.0:4711"]
        Process(machine, *serve, "--set", f"peer.name={name}", "--set", "panel.show=none").line("ready")
        made.append((machine, data))
    return made


def in_sync(*boxes):
    deadline = time.monotonic() + 30
    while not all(json.loads(say(*box, "peer", "list", "--json"))["copies"] == len(boxes) for box in boxes):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.alone
def test_a_box_joins_without_an_address_and_the_name_moves_when_its_holder_is_gone(boxes):
    a, b = boxes
    say(*a, "member", "add", "Ann Smith")
    assert "has an invitation open" in say(*b, "peer", "join", "1482-1396", code=1)
    code = json.loads(say(*a, "peer", "invite", "--json"))["code"]
    joined = json.loads(say(*b, "peer", "join", code, "--json"))
    assert joined["members"] == 1 and joined["slot"] == 1
    in_sync(a, b)
    addresses = json.loads(say(*b, "pair", "code", "Ann Smith", "phone", "--json"))["addresses"]
    assert addresses == [f"={b[0].address}:4711", f"={a[0].address}:4711"]
    deadline = time.monotonic() + 30
    while True:
        taken = [json.loads(say(*box, "peer", "test-failover", "--seconds", "5", "--json")) for box in (a, b)]
        if all(result["host_taken_s"] is not None for result in taken):
            break
        assert time.monotonic() < deadline, taken
        in_sync(a, b)
    assert {result["host"] for result in taken} == {"home.local"}
    assert all(result["boxes"][0]["served"] for result in taken)
    held_by = [result["host_taken_s"] for result in taken]
    assert max(held_by) < 4, "another box takes the name in under 3 s"
