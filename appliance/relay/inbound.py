"""What comes from a membership's site, on its way to the disk.

    link -> reader: large data to files -> queue -> sorter: known? ours? -> one commit for many -> ack

The site hears that we have a message when it is on stable storage, on another box, too, where there is one;
what is not acknowledged it sends again. So what is *open* (taken from the link and not acknowledged) is
remembered over the end of a link: else it would be stored twice. In order: once a message is refused nothing
behind it is taken until a new link brings it again. What is too large ever to be taken does not stand in
the way: devices get a letter in its place.

Bounds: ``window_messages`` and ``window_octets`` of what is open, of large data ``Blobs.piece_octets``.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from appliance import wire
from appliance.log import get_logger
from appliance.relay.barrier import Barrier
from appliance.relay.echo import SHOWN_MAX
from appliance.relay.errors import NoRoom, RelayError, UpstreamBroke
from appliance.relay.letters import beginning_size, letter
from appliance.relay.settings import RelaySettings
from appliance.relay.upstream import Upstream
from appliance.session.intake import Intake
from appliance.site import Decision, Payload, Scene, relay_in
from appliance.store import Job, Store, StoreError

log = get_logger(__name__)

ID_MAX = (1 << 63) - 1
"""The database knows no higher numbers. Ids are nanoseconds since 1970, which reach this in 2262."""

MEMBERS_SHARE = 8
"""One in so many parts of the disk's reserve is free beside it for members of this site alone. Archives have
begun to let go of attachments before that (``mail.budget``).
"""

LATELY_MAX = 4096
ACK_TYPE = "ok"


async def _nothing_to_wait_for(message: wire.Message) -> None:
    return


@dataclass(slots=True)
class Incoming:
    """A message with all its data. ``pinned``: the data are a file that nobody names yet. ``came``: when, in
    trio's time.
    """

    message: wire.Message
    payload: Payload
    pinned: bool
    came: float

    @property
    def upid(self) -> int:
        return self.message.id

    @property
    def octets(self) -> int:
        """Of memory."""
        return len(self.message.head) + len(self.payload.data or b"")


class Inbound:
    """Lives as long as the membership; links come and go."""

    def __init__(self, store: Store, membership: int, settings: RelaySettings) -> None:
        self.barrier = Barrier()
        self.received = 0
        self.settled: Callable[[wire.Message], Awaitable[None]] = _nothing_to_wait_for
        """Waits until it is durable whose a message is, if that is about to be."""
        self.lately: OrderedDict[int, None] = OrderedDict()
        """Ids of messages by the member that were stored lately as somebody else's."""
        self.copied: OrderedDict[int, None] = OrderedDict()
        """Of those that were stored lately for one device."""
        self._store = store
        self._membership = membership
        self._settings = settings
        self._open: dict[int, int] = {}
        self._octets = 0
        self._queue: deque[Incoming] = deque()
        self._upstream: Upstream | None = None
        self._problem: RelayError | None = None
        self._refused = ""
        self._bell = trio.Event()
        self._room = trio.Event()
        self._failed = trio.Event()

    # links

    def began(self, upstream: Upstream, now: float) -> None:
        """There is a link."""
        self._upstream = upstream
        self._problem = None
        self._refused = ""
        self._failed = trio.Event()
        self.barrier.began(now)

    def ended(self) -> None:
        """It is gone: what was not handed to the store comes again."""
        self._upstream = None
        while self._queue:
            incoming = self._queue.popleft()
            self._close(incoming.upid)
            self._unpin(incoming)

    @property
    def idle(self) -> bool:
        """Whether everything that came is acknowledged."""
        return not self._open

    async def failure(self) -> None:
        """Until something could not be stored: raises it."""
        await self._failed.wait()
        if self._problem is not None:
            raise self._problem

    # the reader's side

    async def take(self, upstream: Upstream, message: wire.Message) -> None:
        """A message, whose large data follows on the link. Returns when the next may be read."""
        if message.id > ID_MAX:
            raise UpstreamBroke("the site gave an id that is too high")
        self.barrier.came(trio.current_time())
        if message.id in self._open:
            await self._skip(upstream, message)
            await upstream.brought_nothing()
            return
        while self._is_full():
            await self._room.wait()
        if message.inline:
            payload, pinned = Payload.of(message.data), False
            message.data = b""
        elif await self._is_needless(message):
            await self._skip(upstream, message)
            self._ack(message.id)
            return
        elif (too_large := self._too_large(message)) is not None:
            await self._pass_over(upstream, message, *too_large)
            return
        else:
            payload, pinned = await self._receive(upstream, message), True
        self._add(Incoming(message, payload, pinned, trio.current_time()))

    def _add(self, incoming: Incoming) -> None:
        self._open[incoming.upid] = incoming.octets
        self._octets += incoming.octets
        self._queue.append(incoming)
        self._bell.set()

    async def _is_needless(self, message: wire.Message) -> bool:
        """Whether its data need not even be received. What another box has stored may be on its way here, and
        that box may die.
        """
        await self.settled(message)
        known = (await self._store.relay.known(self._membership, [message.id])).get(message.id)
        return known is not None and known not in self._store.replica.lacking()

    def _is_full(self) -> bool:
        return bool(self._open) and (
            len(self._open) >= self._settings.window_messages or self._octets >= self._settings.window_octets
        )

    async def _skip(self, upstream: Upstream, message: wire.Message) -> None:
        if not message.inline:
            while not (await upstream.next_data()).last:
                pass

    def _too_large(self, message: wire.Message) -> tuple[str, str] | None:
        """Why a message can never be taken, and what would help; None if it can, if need be when there is
        room again.
        """
        most, room = self._settings.message_octets, self._store.disk.room()
        if message.from_ == self._uid:
            most = max(most, SHOWN_MAX)  # what we had it show us
        if message.datalen > most:
            return f"more than {most:,}, as relay.message_octets says", "set that higher"
        if message.datalen + room.needed > room.total:
            return f"more than the disk of the box, which has {room.total:,}", "give it a larger one"
        return None

    async def _pass_over(self, upstream: Upstream, message: wire.Message, why: str, remedy: str) -> None:
        """Take a letter in place of a message. The site hears that we have it as soon as the letter is
        durable, for its data may come for hours; and once more when they have come, if it did not listen
        before.
        """
        log.warning("a message is too large", membership=self._membership, octets=message.datalen)
        beginning, last = b"", False
        while not last and len(beginning) < beginning_size(message):
            data = await upstream.next_data()
            beginning, last = beginning + data.octets, data.last
        instead = letter(message, beginning, why, remedy)
        self._add(Incoming(instead, Payload.of(instead.data), False, trio.current_time()))
        while not last:
            last = (await upstream.next_data()).last
        if message.id not in self._open:
            self._ack(message.id)

    async def _receive(self, upstream: Upstream, message: wire.Message) -> Payload:
        """Large data goes to a file while it comes."""
        self._check_disk(message)
        intake = Intake(self._store.blobs, [message.datalen])
        try:
            await intake.fill(upstream.next_data)
            try:
                (payload,) = await intake.finish()
            except StoreError as error:
                raise NoRoom(str(error)) from error
            if payload.digest in self._store.replica.absent_blobs():
                await self._store.replica.blob_here(payload.digest)
            intake.handed_over()
        finally:
            intake.abort()
        return payload

    def _check_disk(self, message: wire.Message) -> None:
        """Raises ``NoRoom``, while members of this site still have some: no other site may take it all."""
        disk = self._store.disk
        room = disk.room(0.0)  # in a second a site can fill what members have to themselves
        problem = disk.problem(message.datalen + room.reserve // MEMBERS_SHARE)
        if problem is not None:
            raise NoRoom(f"a message of {message.datalen} octets waits there: {problem}")

    # the sorter's side

    async def next_batch(self) -> list[Incoming]:
        """All that has come and is not sorted yet; waits until there is something."""
        while not self._queue:
            await self._bell.wait()
            self._bell = trio.Event()
        return list(self._queue)

    async def known(self, batch: list[Incoming]) -> dict[int, int]:
        """Those that were taken in before."""
        return await self._store.relay.known(self._membership, [incoming.upid for incoming in batch])

    def done_with(self, incoming: Incoming) -> None:
        """There is nothing to store of the first of the queue."""
        assert self._queue.popleft() is incoming
        self._unpin(incoming)
        self._finish(incoming.upid)

    async def store(
        self, incoming: Incoming, nodes: tuple[int, ...] | None = None, known: bool = False
    ) -> None:
        """Give the first of the queue to the store, for ``nodes``; None: for all, and to be kept. It is
        acknowledged when it is durable. ``known``: it was stored before, for others. Raises ``NoRoom``.
        """
        if nodes is None:
            self._check_disk(incoming.message)
        job = Job(
            partial(self._decide, incoming, nodes, known),
            partial(self._stored, incoming),
            octets=incoming.octets,
        )
        await self._store.submit(job)
        assert self._queue.popleft() is incoming
        if incoming.message.from_ == self._uid and (nodes is None or nodes):
            kept = self.lately if nodes is None else self.copied
            kept[incoming.upid] = None
            while len(kept) > LATELY_MAX:
                kept.popitem(last=False)

    @property
    def _uid(self) -> str:
        membership = self._store.site.memberships.get(self._membership)
        return membership.uid if membership is not None else ""

    def _decide(
        self, incoming: Incoming, nodes: tuple[int, ...] | None, known: bool, scene: Scene
    ) -> Decision:
        """What is refused is noted at once: the next messages may be in the same commit."""
        if not self._refused:
            self._refused = self._store.disk.problem(0) or ""
        if self._refused:
            return Decision(error=self._refused)
        message, payload = incoming.message, incoming.payload
        decision = relay_in(
            scene, self._membership, message.id, message.op, message.head, payload, nodes, known
        )
        self._refused = decision.error or ""
        return decision

    def _stored(self, incoming: Incoming, decision: Decision) -> None:
        """Called by the store."""
        self._unpin(incoming)
        if decision.error is None:
            self.received += 1
            self._finish(incoming.upid)
            self.barrier.stored(incoming.upid)
            return
        self.lately.pop(incoming.upid, None)
        self.copied.pop(incoming.upid, None)
        self._close(incoming.upid)
        self._refused = self._refused or decision.error
        if self._problem is None:
            self._problem = NoRoom(decision.error)
            self._failed.set()

    def _unpin(self, incoming: Incoming) -> None:
        if incoming.pinned:
            incoming.pinned = False
            self._store.blobs.unpin(incoming.payload.digest)

    def _finish(self, upid: int) -> None:
        self._close(upid)
        self._ack(upid)

    def _close(self, upid: int) -> None:
        self._octets -= self._open.pop(upid, 0)
        self._room.set()
        self._room = trio.Event()

    def _ack(self, upid: int) -> None:
        """Tell the site. Also on a later link than the one it came on."""
        if self._upstream is not None and self._upstream.wire.state is wire.State.LOGGED_IN:
            self.barrier.came(trio.current_time())
            self._upstream.say(wire.Ack(wire.format_id(upid), ACK_TYPE))
