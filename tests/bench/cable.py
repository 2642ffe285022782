"""A cable between two boxes that takes its time: `python -m tests.bench.cable FROM TO MS` forwards what comes
to port FROM of 127.0.0.1 to port TO, MS milliseconds later in each direction.
"""

from __future__ import annotations

import math
import sys
from collections import deque

import trio

RECEIVE_OCTETS = 256 << 10
UNDER_WAY = 4096
"""Pieces on the way, in each direction of a connection."""


async def carry(source: trio.SocketStream, to: trio.SocketStream, delay_s: float) -> None:
    """Until one of them ends."""
    way: deque[tuple[float, bytes]] = deque()
    news = trio.Event()

    async def arrive() -> None:
        nonlocal news
        while True:
            while not way:
                await news.wait()
                news = trio.Event()
            due, piece = way.popleft()
            await trio.sleep_until(due)
            if not piece:
                return
            await to.send_all(piece)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(arrive)
        piece = b"begin"
        while piece:
            while len(way) >= UNDER_WAY:  # noqa: ASYNC110
                await trio.sleep(0.001)
            piece = await source.receive_some(RECEIVE_OCTETS)
            way.append((trio.current_time() + delay_s, bytes(piece)))
            news.set()


async def main(port: int, target: int, delay_s: float) -> None:
    async def connected(caller: trio.SocketStream) -> None:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", target) as called:
                for stream in (caller, called):
                    stream.setsockopt(6, 1, 1)  # TCP_NODELAY
                async with trio.open_nursery() as nursery:
                    for ends in ((caller, called), (called, caller)):
                        nursery.start_soon(one_way, *ends, nursery.cancel_scope)
        except OSError:
            return

    async def one_way(source: trio.SocketStream, to: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            await carry(source, to, delay_s)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    await trio.serve_tcp(connected, port, host="127.0.0.1")


if __name__ == "__main__":
    assert math.isfinite(float(sys.argv[3]))
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000)
