"""From a request on a link to its ack."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import trio

from appliance import wire
from appliance.session.intake import Intake, digest_of
from appliance.session.service import Service
from appliance.site import EMPTY, Decision, Node, Payload, Scene, decide
from appliance.store import DiskFull, Job, StoreBroken

KEY_OCTETS = 16
DIGEST_OCTETS = 32
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


class Client(Protocol):
    """A link, as its requests see it."""

    @property
    def service(self) -> Service: ...

    @property
    def backlog(self) -> int:
        """Frames that the client has yet to take, queued messages aside."""

    async def drained(self) -> None:
        """Until some of the backlog is gone."""

    async def next_data(self) -> wire.Data:
        """The next piece of a large request's data. Raises ``LinkLost``."""

    def send(self, frame: bytes) -> None:
        """Send a frame ahead of queued messages."""


class Requests:
    """The requests of one logged-in link. The reader calls ``take`` for each, in order; acks come in that
    order.
    """

    def __init__(self, link: Client, node: Node) -> None:
        store = link.service.store
        self._link = link
        self._store = store
        self._node = node
        self._lookup = store.has_keys(node.number)
        self._link_id = store.link_id()
        self._in_flight = 0
        self._idle = trio.Event()

    def end(self) -> None:
        """The link is gone: nobody waits for answers any more."""

    async def settled(self) -> None:
        """Until every request has its ack in the outbox."""
        while self._in_flight:
            await self._idle.wait()

    async def take(self, request: Acked) -> None:
        """Give a request to the store; its ack follows by itself. Returns when the next one may be read.

        Raises ``LinkLost`` if the client leaves in the middle of the data.
        """
        limit = self._link.service.settings.requests_in_flight
        while self._in_flight + self._link.backlog >= limit:
            await self._link.drained()
        if not isinstance(request, WithData):
            await self._submit(request, (), EMPTY.digest)
        elif isinstance(request, Large) and (problem := self._too_large(request)):
            self._refuse(request, problem)
            if not request.inline:
                await self._skip()
        elif request.inline:
            payloads = self._inline(request)
            await self._submit(request, payloads, _digest(payloads))
        elif isinstance(request, Large):
            await self._take_large(request)

    async def _take_large(self, request: Large) -> None:
        """Stream data to files. A refusal is told at once; the data is read all the same."""
        sizes = self._sizes(request)
        problem = self._store.disk.problem(request.datalen)
        if problem is not None and self._lookup:
            await self._repeat(request, sizes, problem)
            return
        if problem is not None:
            self._refuse(request, problem)
            await self._skip()
            return
        intake = Intake(self._store.blobs, sizes)
        try:
            await intake.fill(self._link.next_data)
            try:
                payloads = await intake.finish()
            except (DiskFull, StoreBroken) as error:
                self._refuse(request, str(error))
                return
            await self._missed(payloads)
            await self._submit(request, payloads, _digest(payloads))
            intake.handed_over()
        finally:
            intake.abort()

    def _too_large(self, request: Large) -> str | None:
        limit = self._link.service.settings.message_octets
        if request.datalen <= limit:
            return None
        return f"limit reached: a message has at most {limit} octets, this has {request.datalen}"

    def _sizes(self, request: Large) -> list[int]:
        """The parts of a large request's data."""
        if type(request) is wire.PostNotify:
            return [request.notelen, request.datalen - request.notelen]
        return [request.datalen]

    def _inline(self, request: WithData) -> tuple[Payload, ...]:
        if type(request) is wire.PostNotify:
            return Payload.of(request.data[: request.notelen]), Payload.of(request.data[request.notelen :])
        return (Payload.of(request.data),)

    async def _missed(self, payloads: tuple[Payload, ...]) -> None:
        """A box that is gone may have told of this request, but not given its files."""
        replica = self._store.replica
        for digest in replica.absent_blobs().keys() & {p.digest for p in payloads if p.data is None}:
            await replica.blob_here(digest)

    async def _repeat(self, request: Large, sizes: list[int], problem: str) -> None:
        """There is no room for the data, but the request may have been carried out on an earlier link."""
        digest = await digest_of(self._link.next_data, sizes)
        parts = {digest[at : at + DIGEST_OCTETS] for at in range(0, len(digest), DIGEST_OCTETS)}
        if parts & self._store.replica.absent_blobs().keys():  # nobody in reach has them
            self._refuse(request, problem)
            return
        await self._submit(request, (), digest, refusal=problem)

    async def _skip(self) -> None:
        while not (await self._link.next_data()).last:
            pass

    def _refuse(self, request: Acked, problem: str) -> None:
        self._store.counts.refused += 1
        self._link.send(wire.encode_ack(request.id, error=problem))

    async def _submit(
        self, request: Acked, payloads: tuple[Payload, ...], digest: bytes, refusal: str | None = None
    ) -> None:
        """``refusal``: what to answer unless the request was carried out before."""
        node = self._node
        fresh = Fresh.make() if type(request) is wire.UserEdit else None
        job = Job(
            partial(self._decide, request, payloads, fresh, refusal),
            partial(self._answer, request, payloads),
            node=node.number,
            link=self._link_id,
            key=hashlib.blake2b(request.head + digest, digest_size=KEY_OCTETS).digest(),
            lookup=self._lookup,
            takes_room=bool(payloads),
            octets=len(request.head) + sum(len(p.data) for p in payloads if p.data is not None),
            files=refusal is not None or any(p.data is None for p in payloads),
        )
        self._begin()
        await self._store.submit(job)

    def _begin(self) -> None:
        """A request is given to the store."""
        self._in_flight += 1

    def _end(self) -> None:
        """The store has answered it."""
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()
            self._idle = trio.Event()

    def _unpin(self, payloads: tuple[Payload, ...]) -> None:
        """Files that nobody names may go."""
        for payload in payloads:
            if payload.data is None:
                self._store.blobs.unpin(payload.digest)

    def _decide(
        self,
        request: Acked,
        payloads: tuple[Payload, ...],
        fresh: Fresh | None,
        refusal: str | None,
        scene: Scene,
    ) -> Decision:
        if refusal is not None:
            return Decision(error=refusal)
        if self._node.number not in self._store.site.nodes:
            return Decision(error="this device was dropped")
        return self._rule(scene, request, payloads, fresh)

    def _rule(
        self, scene: Scene, request: Acked, payloads: Sequence[Payload], fresh: Fresh | None
    ) -> Decision:
        return decide(scene, self._node, request, payloads, fresh)

    def _answer(self, request: Acked, payloads: tuple[Payload, ...], decision: Decision) -> None:
        """Called by the store after the commit, also when the link is gone."""
        self._unpin(payloads)
        if decision.error is not None:
            frame = wire.encode_ack(request.id, error=decision.error)
        elif decision.msgid:
            frame = wire.encode_ack(request.id, decision.msgid, decision.posted_ms)
        else:
            frame = wire.encode_ack(request.id)
        self._end()
        self._link.send(frame)
        if isinstance(request, wire.OhiEdit) and decision.error is None:
            self._announce(request)

    def _announce(self, request: wire.OhiEdit) -> None:
        """Change the presence list. Also when the request is only repeated: the list of then went with the
        link of then.
        """
        company = self._link.service.company
        uids = self._store.site.uids
        members = [uids[uid].number for uid in request.to if uid in uids]
        if request.type == "drop":
            company.withdraw(self._node.member, members)
        else:
            company.announce(self._node.member, members)


def _digest(payloads: tuple[Payload, ...]) -> bytes:
    return b"".join(payload.digest for payload in payloads)
