"""The owner task: takes all that waits, has it decided and written in one commit, and then tells everybody.

Requests are answered, and messages delivered, when another box has them too or has not said so in time
(`copies`); other boxes hear at once. A commit that finds no space fails whole, and everybody in it is told.
In one that holds something that cannot be stored it is found out what that is. Anything else ends the
store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter

import trio
from msgspec import structs

from appliance.log import get_logger
from appliance.site import Decision, Message
from appliance.site.facts import BoxRevoked
from appliance.store.arrivals import Arrival, BadEntries, Octets
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.copies import Copies
from appliance.store.database import Write
from appliance.store.errors import DiskFull, StoreBroken, StoreError, Unstorable
from appliance.store.inbox import Acks, Batch, Inbox
from appliance.store.jobs import Job, StoreSettings
from appliance.store.ledger import Ledger
from appliance.store.order import Order
from appliance.store.queues import AbsentSent
from appliance.store.relay import Relay
from appliance.store.taking import Checked
from appliance.store.upkeep import Upkeep

log = get_logger(__name__)

STOPPING = "the box is stopping"
SLOW_COMMIT_S = 0.004
GATHER_SHARE = 0.1
FULL_RETRY_S = 1.0
ONE_COPY = (
    "no other box is in reach, and this site is set to keep everything on two: see   pocket peer list"
    "   and the option peer.strict"
)

NOT_CONFIRMED = "no other box confirmed it in time: send the same again, it is not done twice; "


class Owner:
    """``run`` it in a task. ``publish`` is told the messages that are to be delivered, ``on_dropped`` the
    nodes that are no more, ``on_entries`` what is new for other boxes.
    """

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        copies: Copies,
        order: Order,
        cache: Cache,
        blobs: Blobs,
        upkeep: Upkeep,
        settings: StoreSettings,
        on_entries: list[Callable[[Sequence[Arrival]], None]],
        relay: Relay,
    ) -> None:
        self.publish: Callable[[Sequence[Message]], None] = lambda messages: None
        self.on_dropped: Callable[[Sequence[int]], None] = lambda nodes: None
        self.failure: StoreError | None = None
        self._ledger = ledger
        self._inbox = inbox
        self._copies = copies
        self._order = order
        self._cache = cache
        self._blobs = blobs
        self._upkeep = upkeep
        self._settings = settings
        self._on_entries = on_entries
        self._relay = relay
        self._stopping = False
        self._performing: set[trio.Event] = set()

    async def submit(self, job: Job) -> None:
        """As ``Store.submit``."""
        if self._stopping:
            raise StoreError(STOPPING)
        if self.failure is None:
            await self._inbox.put(job)
        if self.failure is not None:
            raise self.failure

    async def perform(self, job: Job, answered: trio.Event) -> None:
        """Queue a request whose ``done`` sets ``answered``, and wait for that, or the end. Raises
        ``StoreError``.
        """
        await self.submit(job)
        self._performing.add(answered)
        try:
            await answered.wait()
        finally:
            self._performing.discard(answered)

    def submit_batch(self, batch: Batch) -> None:
        """Queue what another box sent."""
        if self.failure is not None or self._stopping:
            batch.end(self.failure or StoreError(STOPPING))
        else:
            self._inbox.put_batch(batch)

    def close(self) -> None:
        """As ``Store.close``."""
        self._stopping = True
        self._inbox.ring()

    async def run(self) -> None:
        """The owner task. Ends after ``close``. Raises ``StoreBroken`` if the disk fails: then stop the box
        and start it anew.
        """
        try:
            while not self._stopping or self._inbox:
                await self._wait()
                if self._inbox:
                    await self._cycle()
                self._copies.expire()
                self._release_held()
                await self._upkeep.look()
            self._end(StoreError(STOPPING))
            with trio.CancelScope(shield=True):
                await self._upkeep.spill()
                try:
                    await self._ledger.thread(self._ledger.database.close)
                except DiskFull as error:
                    log.warning("the log could not be copied into the database", error=str(error))
        except Exception as error:
            self._end(error if isinstance(error, StoreError) else StoreBroken(f"internal error: {error!r}"))
            raise

    def _end(self, failure: StoreError) -> None:
        """Take no more requests. Those that wait are told that they have not happened; of those in a commit
        that broke nobody knows, so they are told nothing.
        """
        self.failure = failure
        self._copies.end()
        for job in self._inbox.close():
            _answer(job, Decision(error=str(failure)))
        for batch in self._inbox.close_batches():
            batch.end(failure)
        for waiting in self._performing:
            waiting.set()

    async def _wait(self) -> None:
        """Until there is something to do. Where a sync takes its time, the first request waits a moment for
        those right behind it: else it has a commit to itself, and they wait for the next.
        """
        idle = not self._inbox.jobs
        if not self._stopping and not self._blobs.has_loose:
            idle_s = self._settings.spill_every_s if self._upkeep.spill_weight else math.inf
            await self._inbox.wait(
                min(idle_s, self._copies.wait_left_s, self._order.left_s), self._settings.acks_delay_s
            )
        if idle and self._ledger.commit_s > SLOW_COMMIT_S:
            await trio.sleep(self._ledger.commit_s * GATHER_SHARE)

    async def _cycle(self) -> None:
        jobs, acks = self._inbox.take()
        batches = self._inbox.take_batches()
        if self._settings.strict and not self._copies.in_reach:
            jobs = self._refuse(jobs)
        try:
            await self._try(jobs, acks, batches)
        except BaseException:
            for batch in batches:
                batch.end(StoreError(STOPPING))
            raise
        finally:
            self._inbox.settled()

    def _refuse(self, jobs: list[Job]) -> list[Job]:
        """Requests of clients have to wait for a second box; what the owner does at the box is done."""
        for job in jobs:
            if job.key is not None:
                _answer(job, Decision(error=ONE_COPY))
        return [job for job in jobs if job.key is None]

    async def _try(self, jobs: list[Job], acks: Acks, batches: list[Batch]) -> None:
        checked = [one for batch in batches for one in batch.checked]
        async with self._ledger.lock:
            try:
                await self._commit(jobs, acks, checked)
                for batch in batches:
                    batch.end()
                self._upkeep.trouble = None
                return
            except BadEntries:
                await self._one_by_one(jobs, acks, batches)
                return
            except DiskFull as error:
                await self._upkeep.make_room(error, "commit refused")
                await self._failed(jobs, str(error))
                for batch in batches:
                    batch.end(error)
                self._inbox.put_back(acks)
            except Unstorable as error:
                log.error("a request could not be stored", error=str(error), requests=len(jobs))
                await self._one_by_one(jobs, acks, batches)
                return
        if not jobs:
            if self._stopping:
                self._inbox.acks.clear()
            await trio.sleep(FULL_RETRY_S)

    async def _one_by_one(self, jobs: list[Job], acks: Acks, batches: list[Batch]) -> None:
        """Something in a commit cannot be stored: find out what it is. The acks go first: the requests may
        count on them.
        """
        await self._ledger.read(self._ledger.read_site)
        for batch in batches:
            await self._one_batch(batch)
        todo: list[tuple[list[Job], Acks]] = [([], acks), *(([job], {}) for job in jobs)]
        for one, with_acks in todo:
            try:
                await self._commit(one, with_acks)
            except DiskFull as error:
                await self._upkeep.make_room(error, "commit refused")
                await self._failed(one, str(error))
                self._inbox.put_back(with_acks)
            except Unstorable:
                await self._failed(one, "internal error: the request could not be stored")
            self._inbox.settled()

    async def _one_batch(self, batch: Batch) -> None:
        try:
            await self._commit([], {}, batch.checked)
            batch.end()
        except (BadEntries, DiskFull) as error:
            await self._ledger.read(self._ledger.read_site)
            batch.end(error)
        except Unstorable as error:
            log.error("what another box sent could not be stored", box=batch.source, error=str(error))
            await self._ledger.read(self._ledger.read_site)
            batch.end(BadEntries(f"entries of box {batch.source} cannot be stored here: {error}"))

    async def _failed(self, jobs: list[Job], error: str) -> None:
        self._ledger.counts.failed_commits += 1
        await self._ledger.read(self._ledger.read_site)
        for job in jobs:
            _answer(job, Decision(error=error))

    async def _commit(self, jobs: list[Job], acks: Acks, checked: Sequence[Checked] = ()) -> None:
        """Decide, write, tell. Raises ``StoreBroken``; or ``BadEntries``, ``DiskFull`` or ``Unstorable``, and
        nothing has happened.
        """
        write, decided, taken = await self._ledger.commit(jobs, acks, checked)
        self._inbox.postpone(jobs[decided:])
        for message in write.messages:
            self._cache.put(message)
        self.committed(write, checked)
        dropped = [number for job in jobs[:decided] for number in job.decision.dropped]
        if dropped or write.dropped_nodes:
            self.on_dropped([*dropped, *write.dropped_nodes])
        if decided or write.messages:
            self._copies.hold(
                {m.blob for m in write.messages if m.blob is not None},
                [m.msgid for m in write.messages],
                partial(self._tell, jobs[:decided], write.messages),
                decided,
                any(job.files and job.repeated for job in jobs[:decided]),
            )
        for effect in write.effects:
            if isinstance(effect, AbsentSent):
                self._order.begin(effect.fact)
        self.deliver(taken.messages)
        self._relay.told(write.relay)
        for fact in write.changes:
            if isinstance(fact, BoxRevoked):
                self._copies.forget(fact.box)

    def committed(self, write: Write, checked: Sequence[Checked] = ()) -> None:
        """Other boxes hear of it."""
        head = self._ledger.head.seq
        if head != self._copies.head:
            self._copies.committed(head)
        if self._on_entries and write.entries:
            self._tell_boxes(write, checked)

    def _tell(self, jobs: list[Job], messages: list[Message], level_2: bool) -> None:
        for job in jobs:
            refused = self._settings.strict and not level_2 and job.key is not None
            unsure = refused and job.decision.error is None
            if unsure and job.key is not None:
                self._ledger.note_unsure(job.node, job.key)
            _answer(job, Decision(error=NOT_CONFIRMED + ONE_COPY) if unsure else job.decision)
        if self._copies.boxes:
            self.deliver(messages)  # some may have got them at another box meanwhile
        else:
            self.publish(messages)

    def _tell_boxes(self, write: Write, checked: Sequence[Checked]) -> None:
        """What is new, in the order of the commit."""
        arrived = {id(one.entry): one.arrival for one in checked}
        octets = {m.msgid: Octets(m.msgid, m.head, m.data) for m in write.messages}
        news = []
        for _, entry in write.entries:
            arrival = arrived.get(id(entry))
            if arrival is None:
                sent = [octets[msgid] for msgid in write.sent.get(entry.seq, ()) if msgid in octets]
                arrival = Arrival.of(entry, tuple(sent))
            news.append(arrival)
        for listener in self._on_entries:
            listener(news)

    def deliver(self, messages: Sequence[Message]) -> None:
        """To those of their nodes that still wait for them."""
        here = []
        for message in messages:
            msgid = message.msgid
            nodes = tuple(
                node
                for node in message.nodes
                if self._ledger.queues.waits(node, msgid) and not self._inbox.is_acked(node, msgid)
            )
            if nodes:
                message = message if nodes == message.nodes else structs.replace(message, nodes=nodes)
                here.append(message)
                self._cache.put(message)
        go = self._order.keep(here)
        if free := self._free():  # what was held back is earlier than some of what has just come
            go = sorted([*go, *free], key=attrgetter("msgid"))
        if go:
            self.publish(go)

    def _release_held(self) -> None:
        if free := self._free():
            self.publish(free)

    def _free(self) -> list[Message]:
        """What was held back for an earlier message that is here now, or did not come in time."""
        waits = self._ledger.queues.waits
        return [
            structs.replace(m, nodes=tuple(node for node in m.nodes if waits(node, m.msgid)))
            for m in self._order.release()
        ]


def _answer(job: Job, decision: Decision) -> None:
    """Whoever asked has no way to harm the others by how it takes the answer."""
    job.decision = decision
    try:
        job.done(decision)
    except Exception:
        log.exception("an answer could not be given")
