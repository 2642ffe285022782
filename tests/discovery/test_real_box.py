"""`pocket serve` is found by `pocket find` on another machine, and pairing is seen from there."""

import json
import subprocess
import sys

import pytest

from tests.discovery.lab import ROOT, Process

pytestmark = [pytest.mark.root, pytest.mark.e2e]

POCKET = [sys.executable, "-m", "appliance.cli"]


def say(machine, *words):
    command = ["ip", "netns", "exec", machine.namespace, *POCKET, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_box_is_found_by_its_name(lab, tmp_path):
    a, b = lab.machine("a"), lab.machine("b")
    serve = [*POCKET, "serve", "--data", str(tmp_path), "--name", "Müller", "--listen", "0.0.0.0:4711"]
    box = Process(a, *serve)
    box.line("ready")
    (found,) = json.loads(say(b, "find", "--json"))
    assert (found["name"], found["port"], found["pairing"]) == ("Müller", 4711, False)
    assert a.address in found["addresses"]
    say(a, "pair", "open", "--data", str(tmp_path))
    (found,) = json.loads(say(b, "find", "--json"))
    assert found["pairing"]
    assert f"={a.address}:4711" in say(b, "find")


def test_a_box_that_only_this_machine_reaches_is_not_announced(lab, tmp_path):
    a, b = lab.machine("a"), lab.machine("b")
    box = Process(a, *POCKET, "serve", "--data", str(tmp_path), "--listen", "127.0.0.1:4711")
    box.line("ready")
    assert json.loads(say(b, "find", "--json", "--seconds", "2")) == []
