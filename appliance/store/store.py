"""The store: one owner task, one connection, group commit.

Theory of operation. Requests wait in the ``Inbox``. The owner takes all that wait, has the ``Ledger`` decide
and write them in one transaction, and then, and only then, tells everybody: the requests' ``done``, and
whoever delivers. While a commit runs the next requests gather; as many as there are share the next one. A
commit that finds no space fails whole, and everybody in it is told; one that breaks otherwise ends the store.

Acknowledgements by nodes need no answer: they wait up to ``acks_delay_s`` for a commit that happens anyway.
The queues in memory go to the tables after ``spill_weight`` changes, or ``spill_every_s``.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.site import Decision, Limits, Message, Scene, Site
from appliance.store import reading
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.database import DATABASE_NAME, Database
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull, StoreBroken, StoreDamaged, StoreError, Unstorable
from appliance.store.inbox import Acks, Inbox
from appliance.store.jobs import Counts, Job, StoreSettings
from appliance.store.journal import KEY_NAME, BoxKey
from appliance.store.ledger import DAY_NS, Ledger
from appliance.store.queues import Queues

log = get_logger(__name__)

STOPPING = "the box is stopping"
MESSAGE_READ_OCTETS = 1 << 20
CUT_EVERY_S = 600.0
CUT_AFTER_NS = DAY_NS
CARRY_AFTER_NS = 7 * DAY_NS
BALLAST_EVERY_S = 60.0
SLOW_COMMIT_S = 0.004
GATHER_SHARE = 0.1
FULL_RETRY_S = 1.0
FULL_REST_S = 10.0
"""How long large writes are left alone after one found no space."""


class Store:
    """Use ``open``, then run ``run`` in a task; all else from the same trio run."""

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self.settings = settings
        self.disk = Disk(folder, settings.reserve_percent, settings.reserve_octets)
        self.blobs = Blobs(folder / "blobs", self.disk, self._ring)
        self.cache = Cache(settings.cache_octets)
        self.queues = Queues(settings.queue_messages, settings.queue_octets)
        self.publish: Callable[[Sequence[Message]], None] = lambda messages: None
        self.on_dropped: Callable[[Sequence[int]], None] = lambda nodes: None
        self._key_path = folder / KEY_NAME
        self._database = self._open_database(folder / DATABASE_NAME)
        self._ledger = Ledger(self._database, self.queues, self.disk)
        self._inbox = Inbox()
        self._stopping = False
        self._failure: StoreError | None = None
        self._performing: set[trio.Event] = set()
        self._trouble: str | None = None
        self._last_spill = self._last_ballast = time.monotonic()
        self._rest_until = -math.inf
        self._last_cut = -math.inf  # soon: a box that is switched off often has to come to it, too

    @classmethod
    def open(cls, folder: Path, settings: StoreSettings, limits: Limits) -> Store:
        """Open the store in ``folder``, or make one. Blocks. Raises ``StoreError``, ``SchemaError``,
        ``ValueError`` (the key is missing or another box's), ``OSError``.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = cls(folder, settings)
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
            return Database(path, box=0)
        except StoreDamaged:
            raise
        except StoreError:
            if not self.disk.drop_ballast():
                raise
        log.error("disk full", what="opened without the ballast")
        return Database(path, box=0)

    def _load(self, connection: sqlite3.Connection, limits: Limits) -> None:
        box, _ = reading.boxes(connection).get(0, reading.NOBODY)
        key = BoxKey.load(self._key_path) if box else BoxKey.load_or_create(self._key_path)
        if not box:
            self._database.add_box(0, key.box, key.public)
        elif box != key.box:
            raise ValueError(
                "the key file and the database are of different boxes: restore both from the same backup"
            )
        self._ledger.load(connection, key, limits)
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

    def ack(self, node: int, msgid: int) -> None:
        """A node has a message. On stable storage with the next commit, within ``acks_delay_s``."""
        self._inbox.ack(node, msgid)
        self.counts.acks += 1

    def awaits(self, node: int, msgid: int) -> bool:
        """Whether a message is in the recent part of a node's queue and not acknowledged by it."""
        return self.queues.is_recent(node, msgid) and msgid not in self._inbox.acked(node)

    def has_keys(self, node: int) -> bool:
        """Whether requests of the node, on a link before, may be sent again."""
        return node in self._ledger.keyed

    def link_id(self) -> int:
        """A number for a new link, never used before."""
        return self._ledger.scene.mint.id()

    async def pending(self, node: int, exclude: set[int], limit: int) -> list[Message]:
        """The first messages of a node's queue in order, less ``exclude``: at most ``limit``, and about
        ``MESSAGE_READ_OCTETS`` in memory.

        May include messages acknowledged moments ago, if they are not in ``exclude``.
        """
        pending = self.queues.nodes.get(node)
        if pending is None:
            return []
        exclude = exclude | self._inbox.acked(node)
        ids: list[tuple[int, int]] = []
        if pending.on_disk > 0:
            async with self._ledger.lock:
                ids = await self._ledger.read(reading.queued, node, exclude, limit)
        ids = sorted({*ids, *islice(pending.ids(exclude), limit)})[:limit]
        return await self.messages([msgid for _, msgid in ids])

    def has_more(self, node: int, known: int) -> bool:
        """Whether the node's queue has more than ``known`` messages, those acknowledged but not yet
        committed left out.
        """
        pending = self.queues.nodes.get(node)
        return pending is not None and pending.count - len(self._inbox.acked(node)) > known

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
                await self._make_room(error, "probe")
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
        return self._ledger.seq

    @property
    def trouble(self) -> str | None:
        """What keeps the store from making anything durable, as of the last try; None if nothing does."""
        return self._trouble

    async def oldest(self, node: int | None = None) -> int:
        """The lowest id that the node, or any, has yet to acknowledge; 0 if there is none."""
        async with self._ledger.lock:
            on_disk = await self._ledger.read(reading.oldest, node)
        recent: Iterable[int]
        if node is None:
            recent = islice((m for m, message in self.queues.messages.items() if message.waiting > 0), 1)
        else:
            pending = self.queues.nodes.get(node)
            recent = [next(iter(ids)) for ids in pending.recent if ids] if pending else ()
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
                await self._upkeep()
            self._end(StoreError(STOPPING))
            with trio.CancelScope(shield=True):
                await self._spill()
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
        for job in self._inbox.close():
            _answer(job, Decision(error=str(failure)))
        for waiting in self._performing:
            waiting.set()

    async def _wait(self) -> None:
        """Until there is something to do. Where a sync takes its time, the first request waits a moment for
        those right behind it: else it has a commit to itself, and they wait for the next.
        """
        idle = not self._inbox.jobs
        if not self._stopping and not self.blobs.has_loose:
            idle_s = self.settings.spill_every_s if self._spill_weight else math.inf
            await self._inbox.wait(idle_s, self.settings.acks_delay_s)
        if idle and self._ledger.commit_s > SLOW_COMMIT_S:
            await trio.sleep(self._ledger.commit_s * GATHER_SHARE)

    async def _cycle(self) -> None:
        jobs, acks = self._inbox.take()
        try:
            await self._try(jobs, acks)
        finally:
            self._inbox.settled()

    async def _try(self, jobs: list[Job], acks: Acks) -> None:
        async with self._ledger.lock:
            try:
                await self._commit(jobs, acks)
                self._trouble = None
                return
            except DiskFull as error:
                await self._make_room(error, "commit refused")
                await self._failed(jobs, str(error))
                self._inbox.put_back(acks)
            except Unstorable as error:
                log.error("a request could not be stored", error=str(error), requests=len(jobs))
                await self._one_by_one(jobs, acks)
                return
        if not jobs:
            if self._stopping:
                self._inbox.acks.clear()
            await trio.sleep(FULL_RETRY_S)

    async def _one_by_one(self, jobs: list[Job], acks: Acks) -> None:
        """Something in a commit cannot be stored: find out what it is. The acks go first: the requests may
        count on them.
        """
        await self._ledger.read(self._ledger.read_site)
        todo: list[tuple[list[Job], Acks]] = [([], acks), *(([job], {}) for job in jobs)]
        for one, with_acks in todo:
            try:
                await self._commit(one, with_acks)
            except DiskFull as error:
                await self._make_room(error, "commit refused")
                await self._failed(one, str(error))
                self._inbox.put_back(with_acks)
            except Unstorable:
                await self._failed(one, "internal error: the request could not be stored")
            self._inbox.settled()

    async def _make_room(self, error: DiskFull, what: str) -> None:
        """Something found no space: let go of the ballast, and empty the log into the database so that its
        room can be used anew. The caller holds the lock.
        """
        self._trouble = str(error)
        freed = await self._ledger.thread(self.disk.drop_ballast)
        log.error("disk full", what=what, ballast="dropped" if freed else "gone already")
        with contextlib.suppress(DiskFull):
            await self._ledger.thread(self._database.checkpoint)

    async def _failed(self, jobs: list[Job], error: str) -> None:
        self.counts.failed_commits += 1
        await self._ledger.read(self._ledger.read_site)
        for job in jobs:
            _answer(job, Decision(error=error))

    async def _commit(self, jobs: list[Job], acks: Acks) -> None:
        """Decide, write, tell. Raises ``StoreBroken``; or ``DiskFull`` or ``Unstorable``, and nothing has
        happened.
        """
        write, decided = await self._ledger.commit(jobs, acks)
        self._inbox.postpone(jobs[decided:])
        for job in jobs[:decided]:
            _answer(job, job.decision)
        for message in write.messages:
            self.cache.put(message)
        self.publish(write.messages)
        dropped = [number for job in jobs[:decided] for number in job.decision.dropped]
        if dropped:
            self.on_dropped(dropped)

    async def _upkeep(self) -> None:
        """Spill, cut, checkpoint, ballast, when they are due."""
        now = time.monotonic()
        weight = self._spill_weight
        rested = now >= self._rest_until
        if weight and (
            (weight > self.settings.spill_weight and rested)
            or now - self._last_spill > self.settings.spill_every_s
        ):
            await self._spill()
        if self.blobs.has_loose:
            await self._remove_loose()
        if rested and self._database.checkpoint_due(self.disk.room().low):
            async with self._ledger.lock:
                try:
                    await self._ledger.thread(self._database.checkpoint)
                except DiskFull as error:
                    self._rest_until = now + FULL_REST_S
                    await self._make_room(error, "log not copied")
        if now - self._last_ballast > BALLAST_EVERY_S:
            self._last_ballast = now
            await self._ledger.thread(self.disk.set_ballast)

    async def _spill(self) -> None:
        now = time.monotonic()
        self._last_spill = now
        cut = None
        if now - self._last_cut > CUT_EVERY_S:
            self._last_cut = now
            cut = self._ledger.clock - CUT_AFTER_NS
        async with self._ledger.lock:
            finished = self.queues.finished()
            try:
                spilled = await self._ledger.spill(cut)
            except DiskFull as error:
                self._rest_until = now + FULL_REST_S
                await self._make_room(error, "queues not brought to the tables")
                return
            for msgid, *_ in finished:
                self.cache.drop(msgid)
            if spilled.uncut:
                self._last_cut = now - CUT_EVERY_S
            elif cut is not None:
                await self._carry(now)
        await self.blobs.remove(spilled.blobs)

    async def _carry(self, now: float) -> None:
        """Old entries go though something of theirs is pending. A bit at a time: the next soon, if there is
        more. The caller holds the lock.
        """
        try:
            if await self._ledger.carry(self._ledger.clock - CARRY_AFTER_NS):
                self._last_cut = now - CUT_EVERY_S
        except DiskFull as error:
            self._rest_until = now + FULL_REST_S
            await self._make_room(error, "journal not cut")

    @property
    def _spill_weight(self) -> int:
        """How much a spill has to do: changes of the queues, and messages that may have no queue left."""
        return self.queues.weight + self._database.touched

    async def _remove_loose(self) -> None:
        """Remove the blobs of requests that were refused, repeated or given up."""
        loose = self.blobs.take_loose() - {message.blob for message in self.queues.messages.values()}
        if loose:
            async with self._ledger.lock:
                unnamed = await self._ledger.read(reading.unnamed, loose)
            await self.blobs.remove(unnamed)

    def _ring(self) -> None:
        self._inbox.ring()


def _answer(job: Job, decision: Decision) -> None:
    """Whoever asked has no way to harm the others by how it takes the answer."""
    job.decision = decision
    try:
        job.done(decision)
    except Exception:
        log.exception("an answer could not be given")
