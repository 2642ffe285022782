"""The store: one owner task, one connection, group commit.

Theory of operation. Requests wait in ``_jobs``. The owner takes all that wait, decides them one after the
other against the state in memory, writes their facts, messages and rows in one transaction in a worker
thread, and then, and only then, tells everybody: the requests' ``done``, and whoever delivers. While a
commit runs the next requests gather; as many as there are share the next one. The decisions are made by the
owner alone, so the state in memory is ahead of the disk only while a commit runs; if the commit fails the
state is read back from the tables and every request of the batch is told.

Acknowledgements by nodes need no answer: they wait up to ``acks_delay_s`` for a commit that happens anyway.

Bounds. Requests waiting: ``JOBS_OCTETS`` of data in all (``submit`` blocks beyond), each link limits its
own number. Acknowledgements waiting: one per message in flight. Queues in memory: ``spill_weight`` changes,
then they go to the tables.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.site import LASTING, TRAFFIC, Decision, Limits, Message, Mint, Scene, Site, encode_facts
from appliance.site.facts import Acked, Inherited, NodeDropped, Requested, Sent
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.database import DAY_MS, Database, Write
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull, StoreBroken
from appliance.store.journal import GENESIS, BoxKey, Entry
from appliance.store.queues import Done, Queues

T = TypeVar("T")

log = get_logger(__name__)

JOBS_OCTETS = 32 << 20
MESSAGE_READ_OCTETS = 1 << 20
CUT_EVERY_S = 600.0
BALLAST_EVERY_S = 60.0
BATCH_JOBS = 1000
FULL_RETRY_S = 1.0
DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Seconds, octets, counts."""

    acks_delay_s: float = 0.05
    spill_every_s: float = 30.0
    spill_weight: int = 20_000
    cache_octets: int = 16 << 20
    queue_messages: int = 100_000
    queue_octets: int = 8 << 30
    reserve_percent: float = 5.0
    reserve_octets: int = 512 << 20


class Job:
    """A request that waits for its commit.

    ``decide`` is called by the owner with the scene; ``done`` after the commit, or with an error; it must
    not block or raise. ``key`` (with ``node`` and ``link``) is what a repetition is recognised by;
    ``lookup`` says that the node may have sent this on an earlier link. ``takes_room``: refused while the
    disk is low. ``octets`` is the memory that the job holds.
    """

    __slots__ = ("decide", "decision", "done", "key", "link", "lookup", "node", "octets", "takes_room")

    def __init__(
        self,
        decide: Callable[[Scene], Decision],
        done: Callable[[Decision], None],
        *,
        node: int = 0,
        link: int = 0,
        key: bytes | None = None,
        lookup: bool = False,
        takes_room: bool = False,
        octets: int = 0,
    ) -> None:
        self.decide = decide
        self.done = done
        self.node = node
        self.link = link
        self.key = key
        self.lookup = lookup
        self.takes_room = takes_room
        self.octets = octets
        self.decision = Decision()


@dataclass(slots=True)
class Counts:
    """Since the start."""

    commits: int = 0
    requests: int = 0
    messages: int = 0
    refused: int = 0
    repeated: int = 0
    acks: int = 0
    failed_commits: int = 0


class Store:
    """Use ``open``, then run ``run`` in a task; all else from the same trio run."""

    def __init__(self, folder: Path, key: BoxKey, settings: StoreSettings, limits: Limits) -> None:
        self.settings = settings
        self.key = key
        self.site = Site()
        self.counts = Counts()
        self.disk = Disk(folder, settings.reserve_percent, settings.reserve_octets)
        self.blobs = Blobs(folder / "blobs", self.disk)
        self.cache = Cache(settings.cache_octets)
        self.queues = Queues(settings.queue_messages, settings.queue_octets)
        self.publish: Callable[[Sequence[Message]], None] = lambda messages: None
        self.on_dropped: Callable[[Sequence[int]], None] = lambda nodes: None
        self._database = Database(folder / "pocket.db", box=0)
        self._limiter = trio.CapacityLimiter(1)
        self._lock = trio.Lock()
        self._jobs: list[Job] = []
        self._jobs_octets = 0
        self._room = trio.Event()
        self._acks: dict[int, list[int]] = {}
        self._acks_in_commit: dict[int, list[int]] = {}
        self._bell = trio.Event()
        self._job_bell = trio.Event()
        self._stopping = False
        self._failure: StoreBroken | None = None
        self._trouble: str | None = None
        self._keyed: set[int] = set()
        self._last_spill = self._last_cut = self._last_ballast = time.monotonic()
        self._last_commit = float("-inf")
        self._load(limits)

    @classmethod
    def open(cls, folder: Path, settings: StoreSettings, limits: Limits) -> Store:
        """Open the store in ``folder``, or make one. Blocks. Raises ``StoreError``, ``SchemaError``,
        ``ValueError``, ``OSError``.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(folder, BoxKey.load_or_create(folder / "box.key"), settings, limits)

    def _load(self, limits: Limits) -> None:
        database = self._database
        boxes = database.boxes()
        if not boxes:
            database.add_box(0, self.key.box, self.key.public)
        elif boxes.get(0, ("", b""))[0] != self.key.box:
            raise ValueError(
                "the key file and the database are of different boxes: restore both from the same backup"
            )
        last = database.last_entry()
        self._seq = last.seq if last else 0
        self._prev = last.digest() if last else GENESIS
        self._spilled_seq = database.meta("spilled")
        self._read_site()
        database.load_queues(self.queues)
        spilled = database.sweep()
        for sender, size in spilled.removed:
            self.queues.stored[sender] = max(0, self.queues.stored.get(sender, 0) - size)
        self.blobs.prepare(database.blobs())
        mint = Mint(last.clock if last else 0, box=0)
        self.scene = Scene(self.site, mint, limits, self.queues)
        self.scene.at(time.time_ns())
        self._keyed = database.keyed_nodes(self.scene.now_ms // DAY_MS - 1)
        self._keyed.update(node for node, _ in self.queues.requests)
        self.disk.set_ballast()

    def _read_site(self) -> None:
        """Make the state in memory what the tables say. The object stays the same: others hold it."""
        fresh = Site()
        for fact in self._database.lasting():
            fresh.apply(fact)
        fresh.last_number = max(fresh.last_number, self._database.meta("last_number"))
        self.site.__dict__.update(fresh.__dict__)

    # what others call

    async def submit(self, job: Job) -> None:
        """Queue a request. Returns when it is queued; ``job.done`` is called after its commit, also if the
        caller is gone by then.
        """
        while self._jobs_octets > JOBS_OCTETS:
            await self._room.wait()
        self._jobs_octets += job.octets
        self._jobs.append(job)
        self._bell.set()
        self._job_bell.set()

    async def perform(self, decide: Callable[[Scene], Decision]) -> Decision:
        """Queue a request that is not a client's, and wait for its commit. Cancelled, it may happen all the
        same.
        """
        finished = trio.Event()
        job = Job(decide, lambda decision: finished.set())
        await self.submit(job)
        await finished.wait()
        return job.decision

    def ack(self, node: int, msgid: int) -> None:
        """A node has a message. On stable storage with the next commit, within ``acks_delay_s``."""
        self._acks.setdefault(node, []).append(msgid)
        self.counts.acks += 1
        self._bell.set()

    def has_keys(self, node: int) -> bool:
        """Whether requests of the node, on a link before, may be sent again."""
        return node in self._keyed

    def link_id(self) -> int:
        """A number for a new link, never used before."""
        return self.scene.mint.id()

    async def pending(self, node: int, exclude: set[int], limit: int) -> list[Message]:
        """The first messages of a node's queue in order, less ``exclude``: at most ``limit``, and about
        ``MESSAGE_READ_OCTETS`` in memory.

        May include messages acknowledged moments ago, if they are not in ``exclude``.
        """
        pending = self.queues.nodes.get(node)
        if pending is None:
            return []
        exclude = exclude.union(self._acks.get(node, ()), self._acks_in_commit.get(node, ()))
        ids: list[tuple[int, int]] = []
        if pending.on_disk > 0:
            async with self._lock:
                ids = await self._thread(self._database.queued, node, exclude, limit)
        ids = sorted({*ids, *islice(pending.ids(exclude), limit)})[:limit]
        return await self.messages([msgid for _, msgid in ids])

    def has_more(self, node: int, known: int) -> bool:
        """Whether the node's queue has more than ``known`` messages, those acknowledged but not yet
        committed left out.
        """
        pending = self.queues.nodes.get(node)
        acked = len(self._acks.get(node, ())) + len(self._acks_in_commit.get(node, ()))
        return pending is not None and pending.count - acked > known

    async def messages(self, msgids: Sequence[int]) -> list[Message]:
        """Messages by id, in the order asked for, up to about ``MESSAGE_READ_OCTETS``; those that are gone
        are left out.
        """
        cached = [self.cache.get(msgid) for msgid in msgids]
        found = [message for message in cached if message is not None]
        if len(found) == len(cached):
            return found
        if not found or cached[0] is None:
            async with self._lock:
                return await self._thread(self._database.read_messages, msgids, MESSAGE_READ_OCTETS)
        first_miss = cached.index(None)
        return found[:first_miss]

    async def probe(self) -> None:
        """Return if the store has worked within the last ``period``, or works now. Raises ``StoreError``."""
        if self._failure is not None:
            raise self._failure
        async with self._lock:
            await self._thread(self._database.probe, time.time_ns())

    @property
    def last_commit(self) -> float:
        """When the last commit was, in ``time.monotonic`` seconds."""
        return self._last_commit

    @property
    def syncs(self) -> int:
        return self._database.syncs

    @property
    def entries(self) -> int:
        """Entries that this box has made in its life."""
        return self._seq

    @property
    def trouble(self) -> str | None:
        """What keeps the store from making anything durable, as of the last try; None if nothing does."""
        return self._trouble

    async def oldest(self, node: int | None = None) -> int:
        """The lowest id that the node, or any, has yet to acknowledge; 0 if there is none."""
        async with self._lock:
            on_disk = await self._thread(self._database.oldest, node)
        recent: Iterator[int]
        if node is None:
            recent = (msgid for msgid, message in self.queues.messages.items() if message.waiting > 0)
        else:
            pending = self.queues.nodes.get(node)
            recent = (msgid for _, msgid in pending.ids(set())) if pending else iter(())
        return min((msgid for msgid in (on_disk, next(recent, 0)) if msgid), default=0)

    def close(self) -> None:
        """Commit what waits, bring everything into the tables, and close. After this ``run`` returns."""
        self._stopping = True
        self._bell.set()
        self._job_bell.set()

    # the owner

    async def run(self) -> None:
        """The owner task. Ends after ``close``. Raises ``StoreBroken`` if the disk fails: then stop the box
        and start it anew.
        """
        try:
            while not self._stopping or self._jobs or self._acks:
                await self._wait()
                if self._jobs or self._acks:
                    await self._cycle()
                await self._upkeep()
            with trio.CancelScope(shield=True):
                await self._spill()
                await self._thread(self._database.close)
        except StoreBroken as error:
            self._failure = error
            for job in self._jobs:
                job.done(Decision(error=str(error)))
            raise

    async def _wait(self) -> None:
        """Until there is something to do."""
        if not self._jobs and not self._acks and not self._stopping:
            with trio.move_on_after(self.settings.spill_every_s if self.queues.weight else math.inf):
                await self._bell.wait()
        if not self._jobs and self._acks and not self._stopping:
            with trio.move_on_after(self.settings.acks_delay_s):
                await self._job_bell.wait()

    async def _cycle(self) -> None:
        self._bell = trio.Event()
        self._job_bell = trio.Event()
        jobs, self._jobs = self._jobs[:BATCH_JOBS], self._jobs[BATCH_JOBS:]
        self._jobs_octets -= sum(job.octets for job in jobs)
        acks, self._acks, self._acks_in_commit = self._acks, {}, self._acks
        self._room.set()
        self._room = trio.Event()
        try:
            await self._try(jobs, acks)
        finally:
            self._acks_in_commit = {}

    async def _try(self, jobs: list[Job], acks: dict[int, list[int]]) -> None:
        async with self._lock:
            try:
                await self._commit(jobs, acks)
                self._trouble = None
                return
            except DiskFull as error:
                self._trouble = str(error)
                self._put_back(acks)
                await self._failed(jobs, str(error))
                freed = await self._thread(self.disk.drop_ballast)
                log.error("disk full", what="commit refused", ballast="dropped" if freed else "gone already")
            except sqlite3.IntegrityError as error:
                self._put_back(acks)
                log.error("a request broke a rule of the database", error=str(error), requests=len(jobs))
                await self._thread(self._read_site)
                for job in jobs:
                    try:
                        await self._commit([job], {})
                    except sqlite3.IntegrityError:
                        await self._failed([job], "internal error: the request could not be stored")
                return
        if not jobs:
            if self._stopping:
                self._acks.clear()
            await trio.sleep(FULL_RETRY_S)

    def _put_back(self, acks: dict[int, list[int]]) -> None:
        for node, msgids in acks.items():
            self._acks.setdefault(node, [])[:0] = msgids

    async def _failed(self, jobs: list[Job], error: str) -> None:
        self.counts.failed_commits += 1
        await self._thread(self._read_site)
        for job in jobs:
            job.decision = Decision(error=error)
            job.done(job.decision)

    async def _commit(self, jobs: list[Job], acks: dict[int, list[int]]) -> None:
        """Decide, write, tell."""
        scene, queues = self.scene, self.queues
        scene.at(time.time_ns())
        lookups = [
            (job.node, job.key)
            for job in jobs
            if job.lookup and job.key and (job.node, job.key) not in queues.requests
        ]
        on_disk = (
            await self._thread(self._database.find_requests, scene.now_ms // DAY_MS, lookups)
            if lookups
            else {}
        )
        write = Write()
        traffic: list[Acked | Sent | Inherited | Requested] = []
        for node, msgids in acks.items():
            traffic.append(Acked(node, tuple(msgids)))
            write.acks += [(node, msgid) for msgid in msgids if not queues.is_recent(node, msgid)]
        low = self.disk.room().low
        keys: dict[tuple[int, bytes], Job] = {}
        dropped: list[int] = []
        for job in jobs:
            decision = job.decision = self._decide(job, on_disk, low)
            if decision.error is not None and not decision.lasting:
                continue
            for fact in decision.lasting:
                self.site.apply(fact)
            write.lasting += decision.lasting
            traffic += decision.traffic
            write.messages += decision.messages
            dropped += decision.dropped
            if job.key is not None and decision.posted_ms and not decision.repeated:
                traffic.append(Requested(job.node, job.key, decision.msgid, decision.posted_ms))
                keys[job.node, job.key] = job
        write.inherits = [(fact.node, fact.source) for fact in traffic if type(fact) is Inherited]
        for kind, facts in ((LASTING, write.lasting), (TRAFFIC, traffic)):
            if facts:
                write.entries.append(
                    self._entry(kind, encode_facts(facts), len(write.entries), write.entries)
                )
        if write.entries:
            written = await self._thread(self._database.commit, write)
            self._seq += len(write.entries)
            self._prev = write.entries[-1].digest()
            self._last_commit = time.monotonic()
            self.counts.commits += 1
            for change in written.queues:
                queues.loaded(*change)
            for fact in write.lasting:
                if type(fact) is NodeDropped:
                    queues.node_dropped(fact.node)
            for fact in traffic:
                if type(fact) is Requested:
                    queues.requested(fact, keys[fact.node, fact.key].link)
                    self._keyed.add(fact.node)
                else:
                    queues.apply(fact)
        for job in jobs:
            job.done(job.decision)
        self.counts.requests += len(jobs)
        self.counts.messages += len(write.messages)
        for message in write.messages:
            self.cache.put(message)
        self.publish(write.messages)
        if dropped:
            self.on_dropped(dropped)

    def _decide(self, job: Job, on_disk: dict[tuple[int, bytes], Done], low: bool) -> Decision:
        if job.key is not None and job.lookup:
            key = (job.node, job.key)
            done = self.queues.requests.get(key) or on_disk.get(key)
            if done is not None and done.link != job.link:
                self.counts.repeated += 1
                return Decision(msgid=done.msgid, posted_ms=done.posted_ms, repeated=True)
        if low and job.takes_room:
            decision = Decision(error=self.disk.problem(0) or "disk full: try again later")
        else:
            try:
                decision = job.decide(self.scene)
            except Exception:
                log.exception("a request could not be judged")
                decision = Decision(error="internal error: the request could not be judged")
        if decision.error is not None:
            self.counts.refused += 1
        return decision

    def _entry(self, kind: int, body: bytes, ahead: int, before: list[Entry]) -> Entry:
        prev = before[-1].digest() if before else self._prev
        entry, _ = self.key.sign(self._seq + ahead + 1, self.scene.mint.last, kind, prev, body)
        return entry

    async def _upkeep(self) -> None:
        """Spill, cut, checkpoint, ballast, when they are due."""
        now = time.monotonic()
        queues = self.queues
        if queues.weight and (
            queues.weight > self.settings.spill_weight or now - self._last_spill > self.settings.spill_every_s
        ):
            await self._spill()
        if self._database.checkpoint_due:
            async with self._lock:
                try:
                    await self._thread(self._database.checkpoint)
                except DiskFull as error:
                    log.warning("the log could not be copied into the database", error=str(error))
        if now - self._last_ballast > BALLAST_EVERY_S:
            self._last_ballast = now
            await self._thread(self.disk.set_ballast)

    async def _spill(self) -> None:
        now = time.monotonic()
        self._last_spill = now
        cut = None
        if now - self._last_cut > CUT_EVERY_S:
            self._last_cut = now
            cut = self.scene.mint.last - DAY_NS
        queues = self.queues
        async with self._lock:
            try:
                spilled = await self._thread(
                    self._database.spill, queues, self._seq, self.scene.now_ms // DAY_MS, cut
                )
            except DiskFull as error:
                log.error("the queues could not be brought to the tables", error=str(error))
                await self._thread(self.disk.drop_ballast)
                return
            for msgid, *_ in queues.finished():
                self.cache.drop(msgid)
            queues.spilled(spilled.removed)
        await self.blobs.remove(spilled.blobs)

    async def _thread(self, function: Callable[..., T], *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)
