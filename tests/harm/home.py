"""A real box with members who write to each other, while something is done to one of its edges."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import tests.kit.box
from tests.kit import Box, Refused
from tests.load import peak_mb, reset_peak, rss_mb

CALM_S = 0.3
"""How long the neighbours are watched before."""

WORST_S = 2.0
"""No message takes longer, whatever is done to an edge."""

MEDIAN_S, P99_S = 0.05, 0.5
"""Nor do half of them take longer than this, or 99 of 100. Calm it is 1 ms and up to 10; box, neighbours and
attackers share two cores here."""

SLACK_MB = 16.0
"""What a busy box may take more: threads' stacks and arenas, the library of an edge, 300 messages a test."""

STOP_S = 5.0
STATUS_S = 5.0
SOON_S = 10.0

BENT = [sys.executable, "-m", "tests.harm.bent"]


class BentBox(Box):
    """A box whose hardware breaks and heals on command (see bent.py), or is broken from the start."""

    def __init__(self, *, pulled: str = "", inside: Sequence[str] = (), **arguments: Any) -> None:
        """``inside`` is the beginning of the command that starts it."""
        self._pulled = pulled
        self._command = [*inside, *BENT]
        super().__init__(**arguments)

    @property
    def levers(self) -> Path:
        return self.folder / "levers"

    def start(self) -> None:
        self.levers.mkdir(exist_ok=True)
        if self._pulled:
            self.pull(self._pulled)
        command, environment = self._command, {"HARM_LEVERS": str(self.levers)}
        with mock.patch.object(tests.kit.box, "COMMAND", command), mock.patch.dict("os.environ", environment):
            super().start()

    def pull(self, lever: str) -> None:
        (self.levers / lever).touch()

    def release(self, lever: str) -> None:
        (self.levers / lever).unlink()


class Neighbours:
    """See neighbours.py."""

    def __init__(self, inside: Sequence[str]) -> None:
        command = [*inside, sys.executable, "-m", "tests.harm.neighbours"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def begin(self, port: int) -> None:
        """Register at the box on this port of 127.0.0.1, and write from now on."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{port}\n")
        assert self._process.stdout.readline() == '{"ready": true}\n', "no neighbours"

    def end(self) -> dict[str, Any]:
        """Wait until all that they have posted has come; what happened."""
        told, _ = self._process.communicate("end\n", timeout=60)
        found: dict[str, Any] = json.loads(told)
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Home:
    """`box` has been serving its neighbours for a moment."""

    def __init__(self, box: Box, neighbours: Neighbours) -> None:
        self.box = box
        self._neighbours = neighbours
        neighbours.begin(box.address[1])
        time.sleep(CALM_S)
        self._since = self._until = 0.0
        self._before_mb = 0.0

    @contextlib.contextmanager
    def attacked(self, seconds: float = 0.0) -> Iterator[None]:
        """What is done inside is the attack, which lasts for so long at least. The box answers at its end."""
        reset_peak(self.box.pid)
        self._before_mb = rss_mb(self.box.pid)
        self._since = time.monotonic()
        yield
        time.sleep(max(0.0, self._since + seconds - time.monotonic()))
        self._until = time.monotonic()
        assert self.box.running, self.box.words()
        assert self._answer()["state"] in ("serving", "warning")
        asked_s = time.monotonic() - self._until
        assert asked_s < STATUS_S, f"status took {asked_s:.1f} s"

    def _answer(self) -> dict[str, Any]:
        """Its status; it is asked again while it is busy with those who have just left."""
        while True:
            try:
                return self.status()
            except (Refused, ConnectionError):
                if time.monotonic() > self._until + STATUS_S:
                    raise
                time.sleep(0.05)

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = self.box.control("status")
        return told

    def warns(self, *texts: str) -> None:
        """Wait until one of the reasons of the box's state has all of these texts in it."""
        self._wait(
            lambda reasons: any(all(text in reason for text in texts) for reason in reasons),
            f"no warning with {texts}",
        )

    def says(self, text: str) -> None:
        """Wait until this is in the box's log."""
        deadline = time.monotonic() + SOON_S
        while text not in self.box.words():
            assert time.monotonic() < deadline, self.box.words()
            time.sleep(0.02)

    def is_whole(self) -> None:
        """Wait until nothing is wrong with the box."""
        self._wait(lambda reasons: not reasons, "the warning stays")

    def _wait(self, true: Callable[[list[str]], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SOON_S
        while not true(reasons := self.status()["reasons"]):
            assert time.monotonic() < deadline, f"{otherwise}: {reasons}\n{self.box.words()}"
            time.sleep(0.05)

    def has_not_suffered(self, memory_mb: float = 0.0) -> None:
        """All messages came, in order and in time; the box has grown by no more than this and SLACK_MB; and
        it ends orderly.
        """
        told = self._neighbours.end()
        grown_mb = peak_mb(self.box.pid) - self._before_mb
        began = time.monotonic()
        status = self.box.terminate()
        stop_s = time.monotonic() - began
        calm_s = [took for sent, took in told["deliveries"] if sent < self._since]
        deliveries_s = [took for sent, took in told["deliveries"] if self._since <= sent <= self._until]
        acks_s = [took for sent, took in told["acks"] if self._since <= sent <= self._until]
        print(
            f"p99 of {len(calm_s)} deliveries before {1000 * p99(calm_s):.0f} ms, of {len(deliveries_s)}"
            f" during {1000 * p99(deliveries_s):.0f} ms (median {1000 * statistics.median(deliveries_s):.0f},"
            f" worst {1000 * max(deliveries_s):.0f}), of acks {1000 * p99(acks_s):.0f} ms; "
            f"{grown_mb:.1f} MB more; stopped in {stop_s:.1f} s"
        )
        assert not told["wrong"], told["wrong"]
        assert told["posted"] == told["acknowledged"] == told["delivered"], told
        assert len(deliveries_s) > 50 * (self._until - self._since), "the attack took the neighbours' breath"
        assert max(*deliveries_s, *acks_s) < WORST_S
        assert statistics.median(deliveries_s) < MEDIAN_S
        assert p99(deliveries_s) < P99_S and p99(acks_s) < P99_S
        assert grown_mb < memory_mb + SLACK_MB
        assert status == 0, self.box.words()
        assert stop_s < STOP_S


def p99(samples: list[float]) -> float:
    return sorted(samples)[int(0.99 * len(samples))]
