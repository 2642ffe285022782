"""The benchmark runs, and would tell what is lost. It sets no times: those are for people to read."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from appliance import wire
from tests.bench import couple
from tests.kit import Client
from tests.load import PRESETS, Reactor, Tally, User
from tests.load.shims import have_compiler

pytestmark = pytest.mark.e2e

FIGURES = {
    "acked_per_s",
    "delivered_per_s",
    "ack_p50_ms",
    "ack_p99_ms",
    "cpu_ms_per_post",
    "write_kb_per_post",
    "syncs_per_post",
    "rss_peak_mb",
}
SLOW_MS = 20
DELAY_MS = 2.5
FAR_MS = 2000


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", "--quick", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def results(*arguments: str) -> dict[str, Any]:
    run = bench("--json", *arguments)
    assert run.returncode == 0, run.stderr
    return {result["scenario"]: result for result in json.loads(run.stdout)}


def test_every_scenario_has_its_figures_and_loses_nothing() -> None:
    measured = results("--no-slow-sync")
    assert measured.keys() == PRESETS.keys()
    for name, result in measured.items():
        assert result["ok"], result
        if name == "idle":
            assert result["kb_per_session"] > 0 and result["rss_before_mb"] > 10
            continue
        assert result.keys() >= FIGURES
        assert result["acked"] > 0 and result["syncs_per_post"] > 0 and result["rss_peak_mb"] > 10
        assert ("delivery_p50_ms" in result) == (name != "drain")
    assert measured["group"]["delivered"] == 99 * measured["group"]["acked"]


@pytest.mark.skipif(not have_compiler(), reason="needs a C compiler (gcc and libc6-dev)")
def test_a_slow_sync_is_waited_for_and_shared() -> None:
    run = bench("--scenario", "seq", "--slow-sync", str(SLOW_MS), "--json")
    assert run.returncode == 0, run.stderr
    (seq,) = json.loads(run.stdout)
    assert seq["sync_ms"] == SLOW_MS and seq["ack_p50_ms"] > SLOW_MS


def test_the_table_names_what_was_measured() -> None:
    run = bench("--scenario", "seq", "--no-slow-sync")
    assert run.returncode == 0, run.stderr
    assert "share" in run.stdout and "cores" in run.stdout and "syncs/post" in run.stdout
    assert any(line.startswith("seq ") for line in run.stdout.splitlines())


def test_the_load_generator_tells_what_is_wrong() -> None:
    """The judge judged: one post that was lost, one that came twice, one under another id, one damaged."""
    tally = Tally()
    reactor = Reactor()
    alice, bob = (User(reactor, ("", 0), tally, index) for index in range(2))
    alice.recipients = [bob]
    alice.up = True
    alice.link = wire.ClientLink()
    assert tally.verdict([alice, bob])["ok"]
    alice.msgids = [16, 32, 48, 0]
    bob.got = {(0, 1): 33, (0, 3): 64, (0, 9): 80}
    tally.duplicates = tally.corrupt = 1
    verdict = tally.verdict([alice, bob])
    assert not verdict["ok"]
    assert verdict["missing"] == 2 and verdict["msgid_mismatch"] == 1 and verdict["not_acked"] == 1
    assert verdict["unexpected"] == 1
    reactor.close()


FAKE = """#!/bin/sh
echo "$@" > "$0.args"
echo '{"ok":true,"acked":2,"acked_per_s":1}'
"""


def test_another_load_generator_may_be_used(tmp_path: Path) -> None:
    program = tmp_path / "load"
    program.write_text(FAKE)
    program.chmod(0o755)
    measured = results("--no-slow-sync", "--scenario", "attach20", "--load-program", str(program))
    assert measured["attach20"]["acked"] == 2 and measured["attach20"]["syncs_per_post"] >= 0
    given = Path(f"{program}.args").read_text().split()
    words = dict(zip(given[::2], given[1::2], strict=True))
    assert (words["-scenario"], words["-users"], words["-senders"], words["-n"]) == (
        "attach",
        "40",
        "20",
        "1",
    )
    assert words["-addr"].startswith("127.0.0.1:") and int(words["-pid"]) > 1


def test_a_generator_that_finds_fault_fails_the_run(tmp_path: Path) -> None:
    program = tmp_path / "load"
    program.write_text(FAKE + "exit 1\n")
    program.chmod(0o755)
    run = bench("--no-slow-sync", "--scenario", "seq", "--load-program", str(program))
    assert run.returncode == 1 and '"ok":true' in run.stderr


@pytest.mark.alone
def test_a_cable_takes_the_time_it_is_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as end, couple.cable(end.getsockname()[1], DELAY_MS) as port:
        near = connected(port)
        far, _ = end.accept()
        with near, far:
            trips = [round_trip_ms(near, far) for _ in range(20)]
    assert 2 * DELAY_MS <= min(trips) < 2 * DELAY_MS + 1, trips


def connected(port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def round_trip_ms(near: socket.socket, far: socket.socket) -> float:
    began = time.monotonic()
    near.sendall(b"x")
    far.sendall(far.recv(1))
    near.recv(1)
    return (time.monotonic() - began) * 1000


def test_only_boxes_are_far_from_each_other_and_members_are_near() -> None:
    with couple.boxes(1, "", FAR_MS) as (box,):
        began = time.monotonic()
        Client.register(box).close()
        assert (time.monotonic() - began) * 1000 < FAR_MS
