"""From a request on a link to its ack."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from appliance import wire
from appliance.site import EMPTY, OFFLINE, ONLINE, Decision, Node, Payload, Scene, decide
from appliance.store import PIECE_OCTETS, Blobs, DiskFull, Job, StoreBroken, StoreError, Upload
from appliance.wire import reasons

if TYPE_CHECKING:
    from appliance.session.link import Link

ID_CHARS_MAX = 8192
"""An id goes back in the ack's header, where a character may take six octets."""

KEY_OCTETS = 16
Large = wire.Post | wire.PostNotify
WithData = Large | wire.Ping | wire.GroupInvite
Acked = WithData | wire.UserEdit | wire.OhiEdit | wire.GroupEdit
"""Requests that get an ack."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new node's password, and for a new account its uid."""

    uid: str
    password: str
    secret: bytes

    @classmethod
    def make(cls) -> Fresh:
        password = wire.b32encode(secrets.token_bytes(25))
        return cls(wire.b32encode(secrets.token_bytes(20)), password, secret_of(password))


def secret_of(password: str) -> bytes:
    """What is stored of a node's password: it has 200 bits, so one fast hash is enough (TMTP revision 1,
    section 1).
    """
    return hashlib.sha256(password.encode()).digest()


class Requests:
    """The requests of one logged-in link. The reader calls ``take`` for each, in order; acks come in that
    order.
    """

    def __init__(self, link: Link, node: Node) -> None:
        store = link.service.store
        self._link = link
        self._store = store
        self._node = node
        self._lookup = store.has_keys(node.number)
        self._link_id = store.link_id()
        self._in_flight = 0
        self._idle = trio.Event()

    async def settled(self) -> None:
        """Until every request has its ack in the outbox."""
        while self._in_flight:
            await self._idle.wait()

    async def take(self, request: Acked) -> None:
        """Give a request to the store; its ack follows by itself. Returns when the next one may be read.

        Raises ``RemoteProtocolError`` for an id that no ack could carry, ``LinkLost`` if the client leaves
        in the middle of the data.
        """
        if len(request.id) > ID_CHARS_MAX:
            raise wire.RemoteProtocolError(reasons.INVALID_HEADER)
        limit = self._link.service.settings.requests_in_flight
        while self._in_flight + self._link.backlog >= limit:
            await self._link.drained()
        if not isinstance(request, WithData):
            await self._submit(request, (), EMPTY.digest)
        elif request.inline:
            payloads = _inline(request)
            await self._submit(request, payloads, _digest(payloads))
        elif isinstance(request, Large):
            await self._take_large(request)

    async def _take_large(self, request: Large) -> None:
        """Stream data to files. A refusal is told at once; the data is read all the same."""
        limit = self._link.service.settings.message_octets
        problem = None
        if request.datalen > limit:
            problem = f"limit reached: a message has at most {limit} octets, this has {request.datalen}"
        problem = problem or self._store.disk.problem(request.datalen)
        if problem is not None:
            self._refuse(request, problem)
            await self._skip()
            return
        sizes = [request.datalen]
        if type(request) is wire.PostNotify:
            sizes = [request.notelen, request.datalen - request.notelen]
        intake = Intake(self._store.blobs, sizes)
        try:
            await intake.fill(self._link.next_data)
            try:
                payloads = await intake.finish()
            except (DiskFull, StoreBroken) as error:
                self._refuse(request, str(error))
                return
            await self._submit(request, payloads, _digest(payloads))
            intake.handed_over()
        finally:
            intake.abort()

    async def _skip(self) -> None:
        while not (await self._link.next_data()).last:
            pass

    def _refuse(self, request: Acked, problem: str) -> None:
        self._store.counts.refused += 1
        self._link.send(wire.encode_ack(request.id, error=problem))

    async def _submit(self, request: Acked, payloads: tuple[Payload, ...], digest: bytes) -> None:
        node = self._node
        fresh = Fresh.make() if type(request) is wire.UserEdit else None
        job = Job(
            partial(self._decide, request, payloads, fresh),
            partial(self._answer, request, payloads),
            node=node.number,
            link=self._link_id,
            key=hashlib.blake2b(request.head + digest, digest_size=KEY_OCTETS).digest(),
            lookup=self._lookup,
            takes_room=bool(payloads),
            octets=sum(len(p.data) for p in payloads if p.data is not None),
        )
        self._in_flight += 1
        await self._store.submit(job)

    def _decide(
        self, request: Acked, payloads: tuple[Payload, ...], fresh: Fresh | None, scene: Scene
    ) -> Decision:
        if self._node.number not in self._store.site.nodes:
            return Decision(error="this device was dropped")
        return decide(scene, self._node, request, payloads, fresh)

    def _answer(self, request: Acked, payloads: tuple[Payload, ...], decision: Decision) -> None:
        """Called by the store after the commit, also when the link is gone."""
        for payload in payloads:
            if payload.data is None:
                self._store.blobs.unpin(payload.digest)
        if decision.error is not None:
            frame = wire.encode_ack(request.id, error=decision.error)
        elif decision.msgid:
            frame = wire.encode_ack(request.id, decision.msgid, decision.posted_ms)
        else:
            frame = wire.encode_ack(request.id)
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()
            self._idle = trio.Event()
        self._link.send(frame)
        presence = self._link.service.presence
        if decision.announced is not None:
            self._link.tell(presence.announce(self._node.member, decision.announced), ONLINE)
        if decision.withdrawn is not None:
            self._link.tell(presence.withdraw(self._node.member, decision.withdrawn), OFFLINE)


class Intake:
    """Sorts the octets of a large request into its parts: each a file, or in memory if it is small.

    Two tasks, so that the next octets are received while the last are written. Bound: three times
    ``PIECE_OCTETS`` - gathered, handed over, being written.
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
                    while gathered < PIECE_OCTETS and not last:
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


def _inline(request: wire.Post | wire.PostNotify | wire.Ping | wire.GroupInvite) -> tuple[Payload, ...]:
    if type(request) is wire.PostNotify:
        return Payload.of(request.data[: request.notelen]), Payload.of(request.data[request.notelen :])
    return (Payload.of(request.data),)


def _digest(payloads: tuple[Payload, ...]) -> bytes:
    return b"".join(payload.digest for payload in payloads)
