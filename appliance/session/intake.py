"""A large request's data on its way to files."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import trio

from appliance import wire
from appliance.site import Payload
from appliance.store import Blobs, StoreError, Upload


class Intake:
    """Sorts the octets of a large request into its parts: each a file, or in memory if it is small.

    Two tasks, so that the next octets are received while the last are written. Bound: three times
    ``Blobs.piece_octets`` - gathered, handed over, being written.
    """

    def __init__(self, blobs: Blobs, sizes: list[int]) -> None:
        self._blobs = blobs
        self._parts: list[Upload | bytearray] = [
            blobs.upload() if size > wire.INLINE_MAX else bytearray() for size in sizes
        ]
        self._left = list(sizes)
        self._at = 0
        self._pinned: list[bytes] = []
        self._problem: StoreError | None = None

    async def fill(self, next_data: Callable[[], Awaitable[wire.Data]]) -> None:
        """Take the data in to its end. What goes wrong with writing it is told by ``finish``."""
        send, receive = trio.open_memory_channel[list[bytes]](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_all, receive)
            async with send:
                last = False
                while not last:
                    pieces: list[bytes] = []
                    gathered = 0
                    while gathered < self._blobs.piece_octets and not last:
                        data = await next_data()
                        pieces.append(data.octets)
                        gathered += len(data.octets)
                        last = data.last
                    await send.send(pieces)

    async def _write_all(self, receive: trio.MemoryReceiveChannel[list[bytes]]) -> None:
        async with receive:
            async for pieces in receive:
                if self._problem is None:
                    try:
                        await self._write(pieces)
                    except StoreError as error:
                        self._problem = error

    async def _write(self, pieces: list[bytes]) -> None:
        pending = [memoryview(piece) for piece in pieces]
        while pending:
            here, pending = self._split(pending)
            part = self._parts[self._at]
            if isinstance(part, bytearray):
                for piece in here:
                    part += piece
            else:
                await part.write(here)
            self._left[self._at] -= sum(map(len, here))
            if not self._left[self._at] and pending:
                self._at += 1

    def _split(self, pieces: list[memoryview]) -> tuple[list[memoryview], list[memoryview]]:
        """What of the pieces is of the present part, and the rest."""
        room = self._left[self._at]
        here: list[memoryview] = []
        for at, piece in enumerate(pieces):
            if len(piece) > room:
                if room:
                    here.append(piece[:room])
                return here, [piece[room:], *pieces[at + 1 :]]
            here.append(piece)
            room -= len(piece)
        return here, []

    async def finish(self) -> tuple[Payload, ...]:
        """All parts, the files synced and pinned. Raises ``DiskFull`` or ``StoreBroken``."""
        if self._problem is not None:
            raise self._problem
        payloads = []
        for part in self._parts:
            if isinstance(part, bytearray):
                payloads.append(Payload.of(bytes(part)))
            else:
                payloads.append(await part.finish())
                self._pinned.append(payloads[-1].digest)
        return tuple(payloads)

    def handed_over(self) -> None:
        """The store has the request: its answer unpins the files."""
        self._pinned.clear()

    def abort(self) -> None:
        """Remove what is not finished, unpin what was not handed over."""
        for part in self._parts:
            if isinstance(part, Upload):
                part.abort()
        for digest in self._pinned:
            self._blobs.unpin(digest)


async def digest_of(next_data: Callable[[], Awaitable[wire.Data]], sizes: list[int]) -> bytes:
    """Take the data in, keep none of it, and return the SHA-256 of its parts, one after the other."""
    hashes = [hashlib.sha256() for _ in sizes]
    left = list(sizes)
    at, last = 0, False
    while not last:
        data = await next_data()
        octets, last = memoryview(data.octets), data.last
        while octets:
            if not left[at]:
                at += 1
            piece, octets = octets[: left[at]], octets[left[at] :]
            hashes[at].update(piece)
            left[at] -= len(piece)
    return b"".join(part.digest() for part in hashes)
