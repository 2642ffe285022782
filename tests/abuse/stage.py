"""A box, an honest household, and an attack: what the attack costs the others."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, Any

from tests.kit import Box
from tests.load import peak_mb, reset_peak, rss_mb

CALM_S = 0.8
"""How long the honest household is watched before an attack."""

LATENCY_FACTOR, LATENCY_FLOOR_MS = 10.0, 150.0
"""The median of the honest household's deliveries may become so many times what it was, or this if that is
more. A delivery takes some five turns of the box's loop; in a turn each link may use a few milliseconds; and
attackers, box and household share two cores here with whatever else runs. A box that lets one link go on as
long as it has something to say is at a second."""

LOGIN_MAX_MS = 3000.0
STATUS_MAX_S = 5.0
LOG_OCTETS_MAX = 400_000
"""A burst of 300 records of at most some 600 octets, and 2 a second; errors on top (see appliance/log)."""

READY_S = 60.0
SLACK_MB = 12.0
"""What a bound on memory leaves for a busy box: threads' stacks and arenas, commits, fragmentation."""


class Bystander:
    """The honest household (see bystander.py)."""

    def __init__(self, box: Box) -> None:
        command = [sys.executable, "-m", "tests.abuse.bystander", box.address[0], str(box.address[1])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._told: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        deadline = time.monotonic() + READY_S
        while not self._told:
            assert time.monotonic() < deadline and self._process.poll() is None, "no bystander"
            time.sleep(0.02)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.append(json.loads(line))

    def told(self, what: str, since: float, until: float) -> list[Any]:
        return [told[what] for told in list(self._told) if what in told and since <= told["at"] <= until]

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is self._process.stdin and pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass
class Report:
    """What an attack did (`done`, as the attackers tell it), and what others noticed. Milliseconds, MB."""

    done: dict[str, Any]
    calm_ms: float
    under_ms: float
    deliveries: int
    logins: list[float]
    failed: list[str]
    before_mb: float
    peak_mb: float
    status: dict[str, Any]
    log_octets: int

    def __str__(self) -> str:
        logins = f"{statistics.median(self.logins):.0f}" if self.logins else "-"
        return (
            f"deliveries of others: median {self.calm_ms:.1f} ms before, {self.under_ms:.1f} ms during;"
            f" logins {logins} ms; memory {self.before_mb:.1f} MB before, {self.peak_mb:.1f} MB at most;"
            f" {self.log_octets} octets of log; {self.done}"
        )


class Stage:
    def __init__(self, box: Box, bystander: Bystander) -> None:
        self.box = box
        self.bystander = bystander

    def attack(self, name: str, seconds: float = 2.0, **options: Any) -> Report:
        """Run an attack, and report; AssertionError if the household suffers too much by it, or if
        the box does not answer `status`, or logs without end."""
        box = self.box
        time.sleep(CALM_S)
        calm_from, calm_until = time.monotonic() - CALM_S, time.monotonic()
        reset_peak(box.pid)
        before_mb = rss_mb(box.pid)
        log_before = self._log_octets()
        host, port = box.address
        command = [sys.executable, "-m", "tests.abuse.attacks", name, host, str(port), str(seconds)]
        attackers = subprocess.Popen([*command, json.dumps(options)], stdout=subprocess.PIPE)
        try:
            assert attackers.stdout is not None
            self._expect_line(attackers.stdout, "under way")
            since = time.monotonic()
            time.sleep(seconds / 2)
            asked = time.monotonic()
            status = box.control("status")
            status_s = time.monotonic() - asked
            done = json.loads(attackers.stdout.readline() or b"null")
            until = time.monotonic()
            assert attackers.wait(20) == 0 and done is not None, f"the attack {name} failed"
        finally:
            attackers.kill()
            attackers.wait()
            if attackers.stdout is not None:
                attackers.stdout.close()
        told = self.bystander.told
        calm, under = told("delivery", calm_from, calm_until), told("delivery", since, until)
        report = Report(
            done,
            statistics.median(calm),
            statistics.median(under) if under else float("inf"),
            len(under),
            told("login", since, until),
            told("failed", since, until),
            before_mb,
            peak_mb(box.pid),
            status,
            self._log_octets() - log_before,
        )
        print(f"{name}: {report}")
        assert box.running, box.words()
        assert status_s < STATUS_MAX_S, f"status took {status_s:.1f} s"
        assert report.under_ms < max(LATENCY_FACTOR * report.calm_ms, LATENCY_FLOOR_MS), report
        assert not report.failed, report
        assert report.logins and max(report.logins) < LOGIN_MAX_MS, report
        assert report.log_octets < LOG_OCTETS_MAX, report
        return report

    def _expect_line(self, lines: IO[bytes], wanted: str) -> None:
        line = lines.readline().decode().strip()
        assert line == wanted, f"the attack did not begin: {line!r}"

    def _log_octets(self) -> int:
        return (self.box.folder / "stderr").stat().st_size
