"""A membership's outbox, on its way to the site.

    outbox (queue ``out``) -> Flow -> next_parcel -> link ~~> site ~~> answered -> recorder -> one commit:
    the outcome, the item out of the outbox, and what the other devices get

Each item goes out under the id that it has here, with the same octets each time, so that a site that knows
repeated requests does nothing twice. What the site said is durable before it is forgotten here; after a
break before that the item is sent again, unless it is seen that the site has it (``doubts``). ``Outbound``
lives as long as the membership; links come and go.

Bounds: the flow's; of what is in flight the data of up to 64 KiB each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import msgspec
import trio

from appliance import wire
from appliance.log import get_logger
from appliance.relay.doubts import Doubts
from appliance.relay.echo import Copy, copies, is_open, shown
from appliance.relay.errors import NoRoom, UpstreamBroke
from appliance.relay.flow import Flow
from appliance.relay.likeness import Likenesses
from appliance.relay.parts import Taken, take
from appliance.relay.upstream import Parcel, Upstream, said
from appliance.site import Decision, Echo, Message, Scene, relay_answered
from appliance.site.relaying import with_room
from appliance.store import FileDamaged, Item, Job, Store

log = get_logger(__name__)

SENT_MAX = 4096
"""Ids of own requests at the site that are kept in mind."""

ONE_BY_ONE = 4
DAMAGED = "the attachment was damaged on the disk of the box: send it again"
TOO_LONG = "the request does not fit in a header as this box writes it"
ID_MAX = (1 << 63) - 1


@dataclass(slots=True)
class Reply:
    """What the site said to an item. ``told``: the devices know. ``own``: its message came to the node that
    asked.
    """

    item: Item
    upid: int
    posted_ms: int
    error: str
    told: bool = False
    own: bool = False


class Outbound:
    """``may_send`` says whether this box is to send an item; ``stored`` whether a message of the site was
    taken in as somebody else's; ``on_done`` is told requests that were carried out.
    """

    def __init__(
        self,
        store: Store,
        membership: int,
        pipeline: int,
        may_send: Callable[[Item], bool],
        stored: Callable[[int], bool],
        on_done: Callable[[wire.Request], None],
    ) -> None:
        self.flow = Flow(pipeline)
        self.sent: OrderedDict[int, Item] = OrderedDict()
        """Items that were answered lately, by their ids at the site."""
        self.copied: OrderedDict[int, None] = OrderedDict()
        """Those ids of which a copy that comes to this node is for the device."""
        self.problem: Exception | None = None
        self._store = store
        self._membership = membership
        self._may_send = may_send
        self._stored = stored
        self._on_done = on_done
        self._new: set[int] = set()
        self._loaded = False
        self._upstream: Upstream | None = None
        self._requests: dict[int, tuple[wire.Request, Message]] = {}
        self._likenesses = Likenesses()
        self.doubts = Doubts(store, membership, self.flow, self.load, self._read)
        self._replies: list[Reply] = []
        self._came = self._given = 0
        """Replies in this life, and those of them that the store was given."""
        self._bell = trio.Event()
        self._change = trio.Event()
        store.relay.on_outcome.append(self._outcome)

    def forget(self) -> None:
        """The membership is no more."""
        self._store.relay.on_outcome.remove(self._outcome)

    # what others call

    def push(self, msgid: int) -> None:
        """A new item is in the outbox, on stable storage; or what is in an old one has come."""
        self.flow.here(msgid)
        self._new.add(msgid)
        self._wake()

    def began(self, upstream: Upstream) -> None:
        """There is a link. Nothing goes out before ``open``."""
        self._upstream = upstream
        self.flow.present()
        self.doubts.began()

    def close(self) -> None:
        """Nothing goes out from now on."""
        self.flow.closed = True

    def open(self) -> None:
        """What was sent before, and what others have sent, has been seen."""
        self.flow.closed = False
        self._wake()

    def ended(self) -> None:
        """The link is gone."""
        self._upstream = None
        self.flow.broke()
        self._requests = {m: r for m, r in self._requests.items() if m in self.flow.answered}

    async def load(self) -> None:
        """Know what is in the outbox."""
        if not self._loaded:
            for item in await self._store.relay.items(self._membership):
                self.flow.add(item, tried=True)
            self._loaded = True
        await self._take_new()

    async def changed(self, seconds: float) -> None:
        """Until an outcome is on stable storage, or something like it happens; at most so long."""
        with trio.move_on_after(seconds):
            await self._change.wait()

    def _wake(self) -> None:
        if self._upstream is not None:
            self._upstream.wake()

    async def _take_new(self) -> None:
        while self._new:
            new = set(self._new)
            if len(new) <= ONE_BY_ONE:
                found = [item for msgid in new if (item := await self._store.relay.item(msgid))]
            else:
                found = await self._store.relay.items(self._membership)
            self._new -= new  # not before: the link's end may cancel this anywhere above
            own = self._store.scene.mint.box
            for item in found:
                if not item.answered:
                    self.flow.add(item, tried=item.msgid % 16 != own or item.msgid not in new)

    def _outcome(self, outcome: object) -> None:
        """An item was answered: here, or to another box."""
        msgid = getattr(outcome, "msgid", 0)
        if msgid in self.flow:
            self._settle(msgid)

    def _settle(self, msgid: int) -> None:
        self.flow.settled(msgid)
        self.flow.present()
        self._requests.pop(msgid, None)
        self._likenesses.forget(msgid)
        self.doubts.forget(msgid)
        self._change.set()
        self._change = trio.Event()
        self._wake()

    # sending

    async def next_parcel(self) -> Parcel | None:
        """What the link sends next."""
        await self.load()
        while True:
            item = self.flow.next(self._may_send)
            upstream = self._upstream
            if item is None or upstream is None or upstream.wire.state is not wire.State.LOGGED_IN:
                return None
            if await self._is_twin(item):
                continue
            known = await self._read(item)
            if known is None:
                self.flow.absent(item.msgid)
                continue
            if item.msgid not in self.flow or self.flow.closed:
                continue  # answered meanwhile, or not to go now
            request, message = known
            await self._compare(item, known)
            if item.msgid not in self.flow or self.flow.closed:
                continue
            other = self._likenesses.of(item.msgid)
            if other:
                self.flow.like(item.msgid, other)
                continue
            self.flow.sent(item.msgid)
            head = self._encoded(upstream, item, request)
            if head is None:
                self._reply(item.msgid, 0, 0, TOO_LONG)
                continue
            self._requests[item.msgid] = known
            return Parcel(item.msgid, head, message.size, message.data, message.blob)

    async def _compare(self, item: Item, known: tuple[wire.Request, Message]) -> None:
        """Know what an item looks like, and those before it that have yet to go."""
        for earlier in self.flow.before(item.msgid):
            if earlier.msgid in self._likenesses:
                continue
            found = await self._read(earlier)
            if found is not None and earlier.msgid in self.flow:
                self._likenesses.add(earlier.msgid, *found)
        if item.msgid in self.flow:
            self._likenesses.add(item.msgid, *known)

    def _encoded(self, upstream: Upstream, item: Item, request: wire.Request) -> bytes | None:
        """The frame head of an item; None if it is too long."""
        problem = ""
        for form in (shown(request, self._uid), request):
            again = msgspec.structs.replace(form, id=wire.format_id(item.msgid), head=b"")
            try:
                return upstream.wire.encode(again)
            except wire.LocalProtocolError as error:
                problem = str(error)
        log.warning("a request cannot be passed on", membership=self._membership, error=problem)
        return None

    async def _is_twin(self, item: Item) -> bool:
        """Whether another box had the same request from the device, and that one counts: its answer is this
        one's, too, and later requests of the device wait for it.
        """
        twin = await self._store.relay.twin(item)
        if twin is not None and twin.answered:
            self.flow.tried.add(item.msgid)
            self._reply(item.msgid, twin.upid, twin.posted_ms, twin.error, told=True)
        elif await self._store.relay.is_due(item):
            return False
        elif twin is not None and await self._store.relay.is_due(twin):
            self.flow.absent(item.msgid)
        else:
            self._settle(item.msgid)
        return True

    async def damaged(self, parcel: Parcel, error: FileDamaged) -> None:
        """The file of a request is not what it was. Another box may have it; without one the device is told,
        so that what it wrote later can go.
        """
        assert parcel.blob is not None
        await self._store.healing.blob_damaged(parcel.blob, why=str(error))
        if not self._store.copies.boxes:
            self._reply(parcel.item, 0, 0, DAMAGED)

    async def _read(self, item: Item) -> tuple[wire.Request, Message] | None:
        found = await self._store.messages([item.msgid])
        if not found or item.msgid in self._store.queues.absent:
            return None
        return wire.request_of(found[0].head), found[0]

    # answers

    def answered(self, reply: wire.AckReply) -> bool:
        """The site has answered something; False if that was no item. Raises ``UpstreamBroke``."""
        msgid = wire.parse_id(reply.id) if len(reply.id) == 16 else None
        if msgid is None or msgid not in self.flow.in_flight:
            return False
        upid = reply.msgid or 0
        if upid > ID_MAX:
            raise UpstreamBroke("the site gave an id that is too high")
        try:
            posted_ms = wire.parse_posted(reply.posted) if upid else 0
        except ValueError as error:
            raise UpstreamBroke(f"the site answered a request without the time: {error}") from error
        self._reply(msgid, 0 if reply.error else upid, posted_ms, said(reply.error or ""))
        return True

    def seen(self, item: Item, upid: int, posted_ms: int, own: bool = False) -> None:
        """What comes of an item came to us: so the site has it, and this is its answer. ``own``: it came to
        the node that asked.
        """
        self._reply(item.msgid, upid, posted_ms, "", own=own)

    @property
    def _uid(self) -> str:
        membership = self._store.site.memberships.get(self._membership)
        return membership.uid if membership is not None else ""

    def _reply(
        self, msgid: int, upid: int, posted_ms: int, error: str, told: bool = False, own: bool = False
    ) -> None:
        item = self.flow.answer(msgid)
        if item is not None:
            if upid and not told:
                self.sent[upid] = item
                request = self._requests.get(msgid)
                if request is not None and is_open(request[0], self._uid):
                    self.copied[upid] = None
                for kept in (self.sent, self.copied):
                    while len(kept) > SENT_MAX:
                        kept.popitem(last=False)
            self._replies.append(Reply(item, upid, posted_ms, error, told, own))
            self._came += 1
            self._bell.set()
            self._wake()

    async def record(self) -> None:
        """The recording task of a link: brings answers to the disk."""
        while True:
            while self._replies:
                replies = list(self._replies)
                upids = [upid for reply in replies for upid in (reply.upid, reply.item.msgid) if reply.upid]
                known = await self._store.relay.known(self._membership, upids) if upids else {}
                for reply in replies:
                    await self._record(reply, known)
            await self._bell.wait()
            self._bell = trio.Event()

    async def _record(self, reply: Reply, known: Collection[int]) -> None:
        item = reply.item
        if item.msgid not in self.flow:
            self._was_given(reply)  # another box has said it
            return
        echoes: list[tuple[Copy, Taken]] = []
        found = self._requests.get(item.msgid) or await self._read(item)
        try:
            uid = self._store.site.memberships[self._membership].uid
            made = []
            if found is not None and not reply.told:
                made = copies(found[0], uid, item.msgid, reply.upid, reply.posted_ms)
            for copy in made:
                assert found is not None
                if copy.upid in known or self._stored(copy.upid):
                    continue
                try:
                    echoes.append((copy, await take(self._store.blobs, found[1], copy.part)))
                except FileDamaged as error:  # the site has it; the other devices do without
                    assert found[1].blob is not None
                    await self._store.healing.blob_damaged(found[1].blob, why=str(error))
            job = Job(
                partial(self._decide, reply, echoes),
                partial(self._done, reply, found[0] if found is not None else None, echoes),
                octets=sum(len(copy.head) + len(taken.payload.data or b"") for copy, taken in echoes),
            )
            await self._store.submit(job)
        except BaseException:
            self._release(echoes)
            raise
        self._was_given(reply)

    def _was_given(self, reply: Reply) -> None:
        self._replies.remove(reply)
        self._given += 1
        self._change.set()
        self._change = trio.Event()

    async def caught_up(self) -> None:
        """Until the store was given all answers that have come: what the site says after them is to be after
        what the other devices get of them.
        """
        came = self._came
        while self._given < came:
            await self._change.wait()

    def _release(self, echoes: list[tuple[Copy, Taken]]) -> None:
        for _, taken in echoes:
            taken.release(self._store.blobs)

    def _decide(self, reply: Reply, echoes: list[tuple[Copy, Taken]], scene: Scene) -> Decision:
        membership = scene.site.memberships.get(self._membership)
        made = []
        item = reply.item
        if membership is not None:
            for copy, taken in echoes:
                payload = taken.payload
                room = with_room(scene, membership, payload.size)
                nodes = tuple(
                    n for n in room if n != item.node or (reply.own if copy.own is None else copy.own)
                )
                made.append(Echo(copy.op, copy.upid, copy.head, payload, nodes))
        return relay_answered(
            scene, self._membership, item.msgid, reply.upid, reply.posted_ms, reply.error, made
        )

    def _done(
        self,
        reply: Reply,
        request: wire.Request | None,
        echoes: list[tuple[Copy, Taken]],
        decision: Decision,
    ) -> None:
        """Called by the store."""
        self._release(echoes)
        if decision.error is not None:
            self.flow.unrecorded(reply.item.msgid)
            self.problem = NoRoom(decision.error)
        elif request is not None and not reply.error:
            self._on_done(request)
