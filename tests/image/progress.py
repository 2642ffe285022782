"""What a trial says while it goes on: each step with its time, and where to look when one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BEGAN = time.monotonic()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is tried, how long it took, and how it ended."""
    began, outcome = time.monotonic(), "FAILED"
    try:
        yield
        outcome = "ok"
    finally:
        now = time.monotonic()
        print(f"{now - BEGAN:5.0f} s  {outcome:6} {what} ({now - began:.1f} s)", flush=True)


def tell(what: str) -> None:
    print(f"{time.monotonic() - BEGAN:5.0f} s         {what}", flush=True)


def report(what: str, seconds: float) -> None:
    tell(f"{what} {seconds:.0f} s")


def until(holds: Callable[[], object], what: str, patience_s: float = 60.0, pause_s: float = 0.5) -> None:
    """Wait until that holds; AssertionError with `what` if it does not in time."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not in {patience_s:.0f} s"
        time.sleep(pause_s)
