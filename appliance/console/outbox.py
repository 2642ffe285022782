"""What is to be sent on one port, whether anybody reads it or not.

One task sends (`run`). Others put octets in: `put` never waits; `send` waits for room, so that a word that
has much to say goes at the speed of the port. A port that takes nothing for STALL_S is one that nobody
reads: what waits is dropped, and more is dropped at once, until it takes octets again; then the first thing
on it is a notice of how much is missing.
"""

from __future__ import annotations

from typing import Protocol

import trio

OUT_OCTETS_MAX = 16 << 10
SEND_OCTETS_MAX = OUT_OCTETS_MAX // 2
"""Up to here `send` fills; the other half is for `put`: echo, prompts, packets."""

CHUNK_OCTETS = 512
STALL_S = 5.0


class Sink(Protocol):
    """Where octets go: a port."""

    async def writable(self) -> None: ...

    def write(self, octets: bytes) -> int: ...


class Outbox:
    """Holds at most OUT_OCTETS_MAX, and a notice."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._dropped = 0
        self._stalled = False
        self._news = trio.Event()
        self._moved = trio.Event()

    @property
    def waiting(self) -> int:
        """Octets that are not sent yet."""
        return len(self._octets)

    def put(self, octets: bytes) -> None:
        """Send this, at some time. If there is no room, what waited before it is dropped."""
        if not octets:
            return
        if self._stalled or len(octets) > OUT_OCTETS_MAX:
            self._dropped += len(octets)
        else:
            if len(self._octets) + len(octets) > OUT_OCTETS_MAX:
                self._drop()
            self._octets += octets
        self._news.set()

    async def send(self, octets: bytes) -> None:
        """Send this; returns when there was room for all of it, or nobody reads. If it is cancelled, some
        of it may be sent.
        """
        for start in range(0, len(octets), CHUNK_OCTETS):
            while len(self._octets) + CHUNK_OCTETS > SEND_OCTETS_MAX and not self._stalled:
                with trio.move_on_after(STALL_S) as patience:
                    await self._moved.wait()
                if patience.cancelled_caught:
                    self._stalled = True
                    self._drop()
            self.put(octets[start : start + CHUNK_OCTETS])
        await trio.lowlevel.checkpoint()

    async def run(self, sink: Sink) -> None:
        """Send what is put in, until cancelled or until the port is gone (then it raises what `sink`
        does).
        """
        while True:
            if not self._octets and not self._dropped:
                self._news = trio.Event()
                await self._news.wait()
            await sink.writable()
            if self._dropped:
                self._octets[:0] = b"\r\n[%d octets are missing here: nobody read them]\r\n" % self._dropped
                self._dropped = 0
                self._stalled = False
            written = sink.write(bytes(self._octets[:CHUNK_OCTETS]))
            del self._octets[:written]
            if written:
                self._moved.set()
                self._moved = trio.Event()
            else:
                await trio.sleep(0.01)

    def _drop(self) -> None:
        self._dropped += len(self._octets)
        self._octets.clear()
        self._news.set()
