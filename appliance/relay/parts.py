"""Parts of a request's data, as payloads of messages of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from appliance import wire
from appliance.relay.echo import Part
from appliance.session.intake import Intake
from appliance.site import EMPTY, Message, Payload
from appliance.store import Blobs


@dataclass(frozen=True, slots=True)
class Taken:
    """``pinned``: the file has to be unpinned when a message names it, or will not."""

    payload: Payload
    pinned: bool = False

    def release(self, blobs: Blobs) -> None:
        if self.pinned:
            blobs.unpin(self.payload.digest)


async def take(blobs: Blobs, message: Message, part: Part) -> Taken:
    """That part of a message's data. All of a file stays that file, which the message keeps for as long as it
    is in a queue; of less a new one is made. Raises ``StoreError``.
    """
    if not part.size:
        return Taken(EMPTY)
    if message.blob is None:
        assert message.data is not None
        return Taken(Payload.of(message.data[part.start : part.start + part.size]))
    if part.size == message.size:
        return Taken(Payload(message.size, message.blob, None))
    intake = Intake(blobs, [part.size])
    try:
        async with blobs.download(message.blob, message.size) as file:
            await intake.fill(_Cut(file.read, part).next_data)
        (payload,) = await intake.finish()
        intake.handed_over()
    finally:
        intake.abort()
    return Taken(payload, pinned=payload.data is None)


async def digest_of(blobs: Blobs, message: Message, part: Part) -> bytes:
    """The SHA-256 of that part. Raises ``StoreError``."""
    if message.blob is None:
        assert message.data is not None
        return hashlib.sha256(message.data[part.start : part.start + part.size]).digest()
    if part.size == message.size:
        return message.blob
    made = hashlib.sha256()
    async with blobs.download(message.blob, message.size) as file:
        cut = _Cut(file.read, part)
        last = False
        while not last:
            data = await cut.next_data()
            made.update(data.octets)
            last = data.last
    return made.digest()


class _Cut:
    """The pieces of a file that are of a part, which has at least one octet."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], part: Part) -> None:
        self._read = read
        self._before = part.start
        self._left = part.size

    async def next_data(self) -> wire.Data:
        while True:
            piece = await self._read()
            skipped = min(self._before, len(piece))
            self._before -= skipped
            piece = piece[skipped : skipped + self._left]
            if piece:
                self._left -= len(piece)
                return wire.Data(piece, last=not self._left)
