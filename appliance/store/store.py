"""The store: one owner task, one connection, group commit.

Theory of operation. Requests wait in the ``Inbox``, and what other boxes send. The owner takes all that
wait, has the ``Ledger`` decide and write them in one transaction, and then, and only then, tells everybody:
the requests' ``done``, and whoever delivers; where there are other boxes, when one of them has it too
(``Copies``). While a commit runs the next requests gather; as many as there are share the next one. A commit
that finds no space fails whole, and everybody in it is told; one that breaks otherwise ends the store.

Acknowledgements by nodes need no answer: they wait up to ``acks_delay_s`` for a commit that happens anyway.
Bringing the queues to the tables, and what else is due now and then, is in ``Upkeep``.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import trio
from msgspec import structs

from appliance.log import get_logger
from appliance.site import Decision, Limits, Message, Scene, Site
from appliance.site.facts import BoxRevoked
from appliance.store import accounts, reading
from appliance.store.arrivals import Arrival, BadEntries, Octets
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.copies import Copies
from appliance.store.database import DATABASE_NAME, Database, Write
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull, StoreBroken, StoreDamaged, StoreError, Unstorable
from appliance.store.healing import Healing
from appliance.store.inbox import Acks, Batch, Inbox
from appliance.store.jobs import Counts, Job, StoreSettings
from appliance.store.journal import KEY_NAME, BoxKey
from appliance.store.ledger import Ledger
from appliance.store.queues import Excluded, Queues
from appliance.store.replica import Replica
from appliance.store.taking import Checked
from appliance.store.upkeep import Upkeep

log = get_logger(__name__)

STOPPING = "the box is stopping"
MESSAGE_READ_OCTETS = 1 << 20
SLOW_COMMIT_S = 0.004
GATHER_SHARE = 0.1
FULL_RETRY_S = 1.0
ID_MAX = (1 << 63) - 1
"""The database knows no higher numbers, so no message has one."""
ONE_COPY = (
    "no other box is in reach, and this site is set to keep everything on two: see   pocket peer list"
    "   and the option peer.strict"
)
NOT_CONFIRMED = "no other box confirmed it in time: log in and send the same again, it is not done twice; "


class Store:
    """Use ``open``, then run ``run`` in a task; all else from the same trio run."""

    def __init__(self, folder: Path, settings: StoreSettings, gaps: bool = False) -> None:
        self.settings = settings
        self.disk = Disk(folder, settings.reserve_percent, settings.reserve_octets)
        self.blobs = Blobs(folder / "blobs", self.disk, self._ring)
        self.cache = Cache(settings.cache_octets)
        self.queues = Queues(settings.queue_messages, settings.queue_octets)
        self.copies = Copies(settings.second_copy_wait_s, self._ring)
        self.publish: Callable[[Sequence[Message]], None] = lambda messages: None
        self.on_dropped: Callable[[Sequence[int]], None] = lambda nodes: None
        self._key_path = folder / KEY_NAME
        self._database = self._open_database(folder / DATABASE_NAME)
        self._ledger = Ledger(self._database, self.queues, self.disk, gaps)
        self.replica = Replica(self._ledger, self.blobs, self._deliver, self._submit_batch)
        self.healing = Healing(folder, self._ledger, self.blobs, self.cache, self.replica)
        self.upkeep = Upkeep(
            self._database, self._ledger, self.blobs, self.cache, self.disk, settings, self._committed
        )
        self._inbox = Inbox()
        self._stopping = False
        self._failure: StoreError | None = None
        self._performing: set[trio.Event] = set()

    @classmethod
    def open(cls, folder: Path, settings: StoreSettings, limits: Limits, gaps: bool = False) -> Store:
        """Open the store in ``folder``, or make one. ``gaps``: it is a copy that other boxes' journals are
        read into from the beginning. Blocks. Raises ``StoreError``, ``SchemaError``, ``ValueError`` (the key
        is missing or another box's), ``OSError``.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = cls(folder, settings, gaps)
        opened = False
        try:
            store._database.read(store._load, limits)
            opened = True
        except LookupError as error:
            raise StoreBroken(f"the database does not fit together ({error!r}): restore a backup") from error
        finally:
            if not opened:
                store._database.connection.close()
        return store

    def _open_database(self, path: Path) -> Database:
        """On a full disk SQLite may lack the room even to open."""
        try:
            return Database(path)
        except StoreDamaged:
            raise
        except StoreError:
            if not self.disk.drop_ballast():
                raise
        log.error("disk full", what="opened without the ballast")
        return Database(path)

    def _load(self, connection: sqlite3.Connection, limits: Limits) -> None:
        known = {box for box, _ in reading.boxes(connection).values()}
        key = BoxKey.load(self._key_path) if known else BoxKey.load_or_create(self._key_path)
        if not known:
            self._database.add_box(0, key.box, key.public)
        elif key.box not in known:
            raise ValueError(
                "the key file and the database are of different boxes: restore both from the same backup"
            )
        if accounts.keep_up(connection):
            log.info("accounts made anew from the journal", reason="another version was here before")
        self._ledger.load(connection, key, limits, self.blobs.has)
        self.copies.head = self._ledger.head.seq
        self.blobs.prepare(reading.blobs(connection))
        self.disk.set_ballast()

    # what others call

    async def submit(self, job: Job) -> None:
        """Queue a request. Returns when it is queued; ``job.done`` is called after its commit, also if the
        caller is gone by then. Raises ``StoreError`` if the store has ended, or is about to.
        """
        if self._stopping:
            raise StoreError(STOPPING)
        if self._failure is None:
            await self._inbox.put(job)
        if self._failure is not None:
            raise self._failure

    async def perform(self, decide: Callable[[Scene], Decision]) -> Decision:
        """Queue a request that is not a client's, and wait for its commit. Cancelled, it may happen all the
        same. Raises ``StoreError`` if the store has ended: it may or may not have happened then.
        """
        answered = trio.Event()
        answers: list[Decision] = []

        def done(decision: Decision) -> None:
            answers.append(decision)
            answered.set()

        await self.submit(Job(decide, done))
        self._performing.add(answered)
        try:
            await answered.wait()
        finally:
            self._performing.discard(answered)
        if self._failure is not None and not answers:
            raise self._failure
        return answers[0]

    def ack(self, node: int, msgid: int, known: bool = True) -> None:
        """A node has a message. On stable storage with the next commit, within ``acks_delay_s``. ``known``:
        it is in the node's queue; else that is looked at, and nothing happens if it is not.
        """
        if msgid <= ID_MAX:
            self._inbox.ack(node, msgid, known)

    def awaits(self, node: int, msgid: int) -> bool:
        """Whether a message is in the recent part of a node's queue and not acknowledged by it."""
        return self.queues.is_recent(node, msgid) and not self._inbox.is_acked(node, msgid)

    def has_keys(self, node: int) -> bool:
        """Whether requests of the node, on a link before, may be sent again."""
        return node in self._ledger.keyed

    def link_id(self) -> int:
        """A number for a new link, never used before."""
        return self._ledger.scene.mint.id()

    async def pending(self, node: int, exclude: set[int], limit: int) -> tuple[list[Message], bool]:
        """The first messages of a node's queue in order, less ``exclude``: at most ``limit``, and about
        ``MESSAGE_READ_OCTETS`` in memory; and whether there may be more of them now.

        Those that wait for a second copy, or for their octets, are left out: they are published later. May
        include messages that were acknowledged since the call.
        """
        found: list[tuple[int, int]] = []
        pending = self.queues.nodes.get(node)
        if pending is not None and pending.on_disk > 0:
            async with self._ledger.lock:
                found = await self._ledger.read(reading.queued, node, self._left(node, exclude), limit + 1)
                pending = self.queues.nodes.get(node)
        left = self._left(node, exclude)
        recent = islice(pending.ids(left), limit + 1) if pending is not None else ()
        ids = sorted({*(row for row in found if row[1] not in left), *recent})
        msgids = [msgid for _, msgid in ids[:limit]]
        messages = await self.messages(msgids)
        if msgids and not messages and await self.healing.missing(node, msgids):
            return await self.pending(node, exclude, limit)
        return messages, len(found) > limit or len(messages) < len(ids)

    def _left(self, node: int, exclude: set[int]) -> Excluded:
        """What is not to be delivered to a node now."""
        acked = self._inbox.acked(node)
        return Excluded(exclude | acked, self.copies.held_ids, self.queues.absent)

    async def messages(self, msgids: Sequence[int]) -> list[Message]:
        """Messages by id, in the order asked for, up to about ``MESSAGE_READ_OCTETS``; those that are gone
        are left out.
        """
        cached = [self.cache.get(msgid) for msgid in msgids]
        found = [message for message in cached if message is not None]
        if len(found) == len(cached):
            return found
        if not found or cached[0] is None:
            async with self._ledger.lock:
                return await self._ledger.read(reading.read_messages, msgids, MESSAGE_READ_OCTETS)
        first_miss = cached.index(None)
        return found[:first_miss]

    async def probe(self) -> None:
        """Return if the store can write, sync and read. Raises ``DiskFull`` or another ``StoreError``."""
        if self._failure is not None:
            raise self._failure
        async with self._ledger.lock:
            try:
                await self._ledger.thread(self._database.probe, time.time_ns())
            except DiskFull as error:
                await self.upkeep.make_room(error, "probe")
                await self._ledger.thread(self._database.probe, time.time_ns())

    @property
    def site(self) -> Site:
        """The accounts."""
        return self._ledger.site

    @property
    def scene(self) -> Scene:
        return self._ledger.scene

    @property
    def key(self) -> BoxKey:
        return self._ledger.key

    @property
    def counts(self) -> Counts:
        return self._ledger.counts

    @property
    def syncs(self) -> int:
        """Since the start: of the database, and of attachments' files and folders."""
        return self._database.syncs + self.blobs.syncs

    @property
    def entries(self) -> int:
        """Entries that this box has made in its life."""
        return self._ledger.head.seq

    @property
    def trouble(self) -> str | None:
        """What keeps the store from making anything durable, as of the last try; None if nothing does."""
        return self.upkeep.trouble

    async def oldest(self, node: int | None = None) -> int:
        """The lowest id that the node, or any, has yet to acknowledge; 0 if there is none."""
        async with self._ledger.lock:
            on_disk = await self._ledger.read(reading.oldest, node)
        recent: Iterable[int]
        if node is None:
            recent = (m for m, message in self.queues.messages.items() if message.waiting > 0)
        else:
            pending = self.queues.nodes.get(node)
            recent = [m for ids in pending.recent for m in ids] if pending else ()
        return min((msgid for msgid in (on_disk, *recent) if msgid), default=0)

    def close(self) -> None:
        """Take no more requests; commit what waits, bring everything into the tables, and close. After this
        ``run`` returns.
        """
        self._stopping = True
        self._ring()

    # the owner

    async def run(self) -> None:
        """The owner task. Ends after ``close``. Raises ``StoreBroken`` if the disk fails: then stop the box
        and start it anew.
        """
        try:
            while not self._stopping or self._inbox:
                await self._wait()
                if self._inbox:
                    await self._cycle()
                self.copies.expire()
                await self.upkeep.look()
            self._end(StoreError(STOPPING))
            with trio.CancelScope(shield=True):
                await self.upkeep.spill()
                try:
                    await self._ledger.thread(self._database.close)
                except DiskFull as error:
                    log.warning("the log could not be copied into the database", error=str(error))
        except Exception as error:
            self._end(error if isinstance(error, StoreError) else StoreBroken(f"internal error: {error!r}"))
            raise

    def _end(self, failure: StoreError) -> None:
        """Take no more requests. Those that wait are told that they have not happened; of those in a commit
        that broke nobody knows, so they are told nothing.
        """
        self._failure = failure
        self.copies.end()
        for job in self._inbox.close():
            _answer(job, Decision(error=str(failure)))
        for batch in self._inbox.close_batches():
            batch.end(failure)
        for waiting in self._performing:
            waiting.set()

    def _submit_batch(self, batch: Batch) -> None:
        if self._failure is not None or self._stopping:
            batch.end(self._failure or StoreError(STOPPING))
        else:
            self._inbox.put_batch(batch)

    async def _wait(self) -> None:
        """Until there is something to do. Where a sync takes its time, the first request waits a moment for
        those right behind it: else it has a commit to itself, and they wait for the next.
        """
        idle = not self._inbox.jobs
        if not self._stopping and not self.blobs.has_loose:
            idle_s = self.settings.spill_every_s if self.upkeep.spill_weight else math.inf
            await self._inbox.wait(min(idle_s, self.copies.wait_left_s), self.settings.acks_delay_s)
        if idle and self._ledger.commit_s > SLOW_COMMIT_S:
            await trio.sleep(self._ledger.commit_s * GATHER_SHARE)

    async def _cycle(self) -> None:
        jobs, acks = self._inbox.take()
        batches = self._inbox.take_batches()
        if self.settings.strict and not self.copies.in_reach:
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
                self.upkeep.trouble = None
                return
            except BadEntries:
                await self._one_by_one(jobs, acks, batches)
                return
            except DiskFull as error:
                await self.upkeep.make_room(error, "commit refused")
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
                await self.upkeep.make_room(error, "commit refused")
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
        self.counts.failed_commits += 1
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
            self.cache.put(message)
        self._committed(write, checked)
        dropped = [number for job in jobs[:decided] for number in job.decision.dropped]
        if dropped or write.dropped_nodes:
            self.on_dropped([*dropped, *write.dropped_nodes])
        if decided or write.messages:
            self.copies.hold(
                {m.blob for m in write.messages if m.blob is not None},
                [m.msgid for m in write.messages],
                partial(self._tell, jobs[:decided], write.messages),
                decided,
            )
        self._deliver(taken.messages)
        for fact in write.changes:
            if isinstance(fact, BoxRevoked):
                self.copies.forget(fact.box)

    def _committed(self, write: Write, checked: Sequence[Checked] = ()) -> None:
        """Other boxes hear of it."""
        head = self._ledger.head.seq
        if head != self.copies.head:
            self.copies.committed(head)
        if self.replica.on_entries and write.entries:
            self._tell_boxes(write, checked)

    def _tell(self, jobs: list[Job], messages: list[Message], level_2: bool) -> None:
        for job in jobs:
            refused = self.settings.strict and not level_2 and job.key is not None
            unsure = refused and job.decision.error is None
            _answer(job, Decision(error=NOT_CONFIRMED + ONE_COPY) if unsure else job.decision)
        if self.copies.boxes:
            self._deliver(messages)  # some may have got them at another box meanwhile
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
        for listener in self.replica.on_entries:
            listener(news)

    def _deliver(self, messages: Sequence[Message]) -> None:
        """To those of their nodes that still wait for them."""
        here = []
        for message in messages:
            msgid = message.msgid
            nodes = tuple(
                node
                for node in message.nodes
                if self.queues.waits(node, msgid) and not self._inbox.is_acked(node, msgid)
            )
            if nodes:
                message = message if nodes == message.nodes else structs.replace(message, nodes=nodes)
                here.append(message)
                self.cache.put(message)
        if here:
            self.publish(here)

    def _ring(self) -> None:
        self._inbox.ring()


def _answer(job: Job, decision: Decision) -> None:
    """Whoever asked has no way to harm the others by how it takes the answer."""
    job.decision = decision
    try:
        job.done(decision)
    except Exception:
        log.exception("an answer could not be given")
