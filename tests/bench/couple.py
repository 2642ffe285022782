"""Boxes of one site, paired as people do it, perhaps with a cable between them that takes its time."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.kit import Box, free_port

READY_S = 60.0


@contextlib.contextmanager
def cable(target: int, delay_ms: float) -> Iterator[int]:
    """A port that leads to `target`, `delay_ms` away."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.cable", str(port), str(target), str(delay_ms)]
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def boxes(count: int, config: str, delay_ms: float) -> Iterator[list[Box]]:
    """`count` boxes, in sync; the load goes to the first."""
    with contextlib.ExitStack() as stack:
        found: list[Box] = []
        for _ in range(count):
            own, port = config, free_port()
            if delay_ms:
                far = stack.enter_context(cable(port, delay_ms))
                own += f'[peer]\naddresses = ["=127.0.0.1:{far}"]\n'
            box = stack.enter_context(Box(config=own, listen=f"127.0.0.1:{port}"))
            box.address = "127.0.0.1", port  # members are near: it says the far one
            found.append(box)
        for box in found[1:]:
            invited = found[0].control("peer.invite")
            box.control("peer.join", code=invited["code"], addresses=invited["addresses"])
        _wait(found)
        yield found


def _wait(found: list[Box]) -> None:
    """Until all have everything."""
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            if all(box.control("peer.list")["copies"] == len(found) for box in found):
                return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(found)} boxes did not come together in {READY_S:.0f} s")
        time.sleep(0.1)
