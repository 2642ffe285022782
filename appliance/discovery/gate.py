"""What comes from the network, at a bounded rate.

zeroconf 0.154 bounds what it keeps: packets of 8,966 octets, 10,000 records in its cache, 10,000 questions
remembered, 512 senders with 16 truncated packets each (72 MB, for half a second), names of at most 128
labels. It does not bound how much work it does, and it shares the interpreter with the box. So its sockets
get a gate: beyond the rate its thread sleeps, the socket's buffer fills, and the kernel drops the rest at
no cost. A flood then makes discovery slow, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from appliance.log import get_logger

log = get_logger(__name__)

PACKET_OCTETS = 256
"""What a packet costs beside its length."""

RATE_OCTETS_PER_S = 256 * 1024
"""Some 700 small packets or 28 of the largest; a home with a hundred devices has a tenth of it."""

BURST_OCTETS = 512 * 1024
"""Everybody announces at once after a power cut: 1,000 packets of 250 octets."""


WAIT_MAX_S = 0.1
"""Not even a packet of 64 KiB delays a goodbye for longer."""


class Bucket:
    """Octets that may be worked on. It fills at ``rate`` a second up to ``burst``."""

    def __init__(
        self,
        rate: float = RATE_OCTETS_PER_S,
        burst: float = BURST_OCTETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._level, self._at = burst, clock()

    def take(self, octets: int) -> float:
        """Take so many; the seconds to wait until they were there."""
        now = self._clock()
        self._level = min(self._burst, self._level + (now - self._at) * self._rate) - octets
        self._at = now
        return min(WAIT_MAX_S, max(0.0, -self._level / self._rate))


Tap = Callable[[bytes, tuple[Any, ...], asyncio.DatagramTransport], None]
"""Sees a packet, who sent it and the socket that it came by before the library does."""


class Gate(asyncio.DatagramProtocol):
    """Stands between a socket and the library, on the library's thread. Nothing gets out of it."""

    def __init__(
        self,
        inner: Any,
        bucket: Bucket,
        tap: Tap | None = None,
        transport: asyncio.DatagramTransport | None = None,
    ) -> None:
        self._inner = inner
        self._bucket = bucket
        self._tap, self._transport = tap, transport
        self._full = False

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        wait_s = self._bucket.take(len(data) + PACKET_OCTETS)
        if wait_s:
            if not self._full:
                log.warning("more mDNS packets than a home has: the rest is dropped", sender=str(addr[0]))
            time.sleep(wait_s)
        self._full = bool(wait_s)
        if self._tap is not None and self._transport is not None:
            self._give(partial(self._tap, data, addr, self._transport), addr)
        self._give(partial(self._inner.datagram_received, data, addr), addr)

    def _give(self, taker: Callable[[], None], addr: tuple[Any, ...]) -> None:
        try:
            taker()
        except Exception as error:
            log.warning("an mDNS packet was too much for the library", sender=str(addr[0]), error=repr(error))

    def error_received(self, exc: Exception) -> None:
        """A packet was not sent, mostly for want of a route. What matters is whether we hear ourselves."""
        log.debug("an mDNS packet was not sent", error=repr(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
