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

import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.site import LASTING, TRAFFIC, Decision, Limits, Message, Mint, Scene, Site, encode_facts
from appliance.site.facts import Acked, Inherited, NodeDropped, Requested
from appliance.store import reading
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.database import DATABASE_NAME, Database, Write, Written
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull, StoreBroken, StoreError, Unstorable
from appliance.store.jobs import Counts, Job, StoreSettings
from appliance.store.journal import GENESIS, KEY_NAME, BoxKey
from appliance.store.queues import Done, Queues

T = TypeVar("T")
RequestKey = tuple[int, bytes]
"""Node, and a digest of the request's octets."""
Acks = dict[int, dict[int, None]]
"""By node the ids of messages, each once and in order."""

log = get_logger(__name__)

JOBS_OCTETS = 32 << 20
MESSAGE_READ_OCTETS = 1 << 20
CUT_EVERY_S = 600.0
BALLAST_EVERY_S = 60.0
BATCH_JOBS = 1000
SLOW_COMMIT_S = 0.004
GATHER_SHARE = 0.1
COMMIT_MAX_S = 0.1
COMMITS_AVERAGED = 8
FULL_RETRY_S = 1.0
FULL_REST_S = 10.0
"""How long large writes are left alone after one found no space."""

DAY_NS = 86_400_000_000_000


class Store:
    """Use ``open``, then run ``run`` in a task; all else from the same trio run."""

    key: BoxKey

    def __init__(self, folder: Path, settings: StoreSettings) -> None:
        self.settings = settings
        self.site = Site()
        self.counts = Counts()
        self.disk = Disk(folder, settings.reserve_percent, settings.reserve_octets)
        self.blobs = Blobs(folder / "blobs", self.disk, self._wake)
        self.cache = Cache(settings.cache_octets)
        self.queues = Queues(settings.queue_messages, settings.queue_octets)
        self.publish: Callable[[Sequence[Message]], None] = lambda messages: None
        self.on_dropped: Callable[[Sequence[int]], None] = lambda nodes: None
        self._key_path = folder / KEY_NAME
        self._database = self._open_database(folder / DATABASE_NAME)
        self._limiter = trio.CapacityLimiter(1)
        self._lock = trio.Lock()
        self._jobs: list[Job] = []
        self._jobs_octets = 0
        self._room = trio.Event()
        self._acks: Acks = {}
        self._acks_in_commit: Acks = {}
        self._bell = trio.Event()
        self._job_bell = trio.Event()
        self._commit_s = 0.0
        self._stopping = False
        self._failure: StoreError | None = None
        self._performing: set[trio.Event] = set()
        self._trouble: str | None = None
        self._keyed: set[int] = set()
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
        try:
            store._database.read(store._load, limits)
        except LookupError as error:
            raise StoreBroken(f"the database does not fit together ({error!r}): restore a backup") from error
        finally:
            if not hasattr(store, "scene"):
                store._database.connection.close()
        return store

    def _open_database(self, path: Path) -> Database:
        """On a full disk SQLite may lack the room even to open."""
        try:
            return Database(path, box=0)
        except StoreError:
            if not self.disk.drop_ballast():
                raise
        log.error("disk full", what="opened without the ballast")
        return Database(path, box=0)

    def _load(self, connection: sqlite3.Connection, limits: Limits) -> None:
        database = self._database
        box, _ = reading.boxes(connection).get(0, reading.NOBODY)
        self.key = BoxKey.load(self._key_path) if box else BoxKey.load_or_create(self._key_path)
        if not box:
            database.add_box(0, self.key.box, self.key.public)
        elif box != self.key.box:
            raise ValueError(
                "the key file and the database are of different boxes: restore both from the same backup"
            )
        last = reading.last_entry(connection, database.box)
        self._seq = last.seq if last else 0
        self._prev = last.digest() if last else GENESIS
        self._spilled_seq = reading.meta(connection, "spilled")
        self._read_site(connection)
        reading.load_queues(connection, self.queues)
        spilled = database.sweep()
        for sender, size in spilled.removed:
            self.queues.stored[sender] = max(0, self.queues.stored.get(sender, 0) - size)
        self.blobs.prepare(reading.blobs(connection))
        mint = Mint(last.clock if last else 0, box=0)
        self.scene = Scene(self.site, mint, limits, self.queues)
        self.scene.at(time.time_ns())
        self._keyed = reading.keyed_nodes(connection, self._today - 1)
        self._keyed.update(node for node, _ in self.queues.requests)
        self.disk.set_ballast()

    def _read_site(self, connection: sqlite3.Connection) -> None:
        """Make the state in memory what the tables say. The object stays the same: others hold it."""
        fresh = Site()
        for fact in reading.read_lasting(connection):
            fresh.apply(fact)
        fresh.last_number = max(fresh.last_number, reading.meta(connection, "last_number"))
        self.site.__dict__.update(fresh.__dict__)

    # what others call

    async def submit(self, job: Job) -> None:
        """Queue a request. Returns when it is queued; ``job.done`` is called after its commit, also if the
        caller is gone by then. Raises ``StoreError`` if the store has ended.
        """
        while self._jobs_octets > JOBS_OCTETS and self._failure is None:
            await self._room.wait()
        if self._failure is not None:
            raise self._failure
        self._jobs_octets += job.octets
        self._jobs.append(job)
        self._bell.set()
        self._job_bell.set()

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
        self._acks.setdefault(node, {})[msgid] = None
        self.counts.acks += 1
        self._bell.set()

    def awaits(self, node: int, msgid: int) -> bool:
        """Whether a message is in the recent part of a node's queue and not acknowledged by it."""
        return (
            self.queues.is_recent(node, msgid)
            and msgid not in self._acks.get(node, ())
            and msgid not in self._acks_in_commit.get(node, ())
        )

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
                ids = await self._read(reading.queued, node, exclude, limit)
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
                return await self._read(reading.read_messages, msgids, MESSAGE_READ_OCTETS)
        first_miss = cached.index(None)
        return found[:first_miss]

    async def probe(self) -> None:
        """Return if the store can write, sync and read. Raises ``DiskFull`` or another ``StoreError``."""
        if self._failure is not None:
            raise self._failure
        async with self._lock:
            try:
                await self._thread(self._database.probe, time.time_ns())
            except DiskFull as error:
                await self._make_room(error, "probe")
                await self._thread(self._database.probe, time.time_ns())

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
            on_disk = await self._read(reading.oldest, node)
        recent: Iterable[int]
        if node is None:
            recent = islice((m for m, message in self.queues.messages.items() if message.waiting > 0), 1)
        else:
            pending = self.queues.nodes.get(node)
            recent = [next(iter(ids)) for ids in pending.recent if ids] if pending else ()
        return min((msgid for msgid in (on_disk, *recent) if msgid), default=0)

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
            self._end(StoreError("the box is stopping"))
            with trio.CancelScope(shield=True):
                await self._spill()
                try:
                    await self._thread(self._database.close)
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
        for job in self._jobs:
            _answer(job, Decision(error=str(failure)))
        self._jobs.clear()
        self._room.set()
        for waiting in self._performing:
            waiting.set()

    async def _wait(self) -> None:
        """Until there is something to do. Where a sync takes its time, the first request waits a moment for
        those right behind it: else it has a commit to itself, and they wait for the next.
        """
        idle = not self._jobs
        if not self._jobs and not self._acks and not self._stopping and not self.blobs.has_loose:
            self._bell = trio.Event()
            with trio.move_on_after(self.settings.spill_every_s if self._spill_weight else math.inf):
                await self._bell.wait()
        if not self._jobs and self._acks and not self._stopping:
            with trio.move_on_after(self.settings.acks_delay_s):
                await self._job_bell.wait()
        if idle and self._commit_s > SLOW_COMMIT_S:
            await trio.sleep(self._commit_s * GATHER_SHARE)

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

    async def _try(self, jobs: list[Job], acks: Acks) -> None:
        async with self._lock:
            try:
                await self._commit(jobs, acks)
                self._trouble = None
                return
            except DiskFull as error:
                await self._make_room(error, "commit refused")
                await self._failed(jobs, str(error))
                if jobs and acks and await self._acks_alone(acks):
                    return
                self._put_back(acks)
            except Unstorable as error:
                log.error("a request could not be stored", error=str(error), requests=len(jobs))
                await self._one_by_one(jobs, acks)
                return
        if not jobs:
            if self._stopping:
                self._acks.clear()
            await trio.sleep(FULL_RETRY_S)

    async def _acks_alone(self, acks: Acks) -> bool:
        """Requests that take room must not keep the queues from draining."""
        try:
            await self._commit([], acks)
        except DiskFull:
            return False
        return True

    async def _one_by_one(self, jobs: list[Job], acks: Acks) -> None:
        """Something in a commit cannot be stored: find out what it is. The acks go first: the requests may
        count on them.
        """
        await self._read(self._read_site)
        todo: list[tuple[list[Job], Acks]] = [([], acks), *(([job], {}) for job in jobs)]
        for one, with_acks in todo:
            try:
                await self._commit(one, with_acks)
            except DiskFull as error:
                await self._make_room(error, "commit refused")
                await self._failed(one, str(error))
                self._put_back(with_acks)
            except Unstorable:
                await self._failed(one, "internal error: the request could not be stored")
            self._acks_in_commit = {}

    async def _make_room(self, error: DiskFull, what: str) -> None:
        """Something found no space: let go of the ballast, and empty the log into the database so that its
        room can be used anew. The caller holds the lock.
        """
        self._trouble = str(error)
        freed = await self._thread(self.disk.drop_ballast)
        log.error("disk full", what=what, ballast="dropped" if freed else "gone already")
        with contextlib.suppress(DiskFull):
            await self._thread(self._database.checkpoint)

    def _put_back(self, acks: Acks) -> None:
        for node, msgids in acks.items():
            self._acks[node] = msgids | self._acks.get(node, {})
        self._acks_in_commit = {}

    async def _failed(self, jobs: list[Job], error: str) -> None:
        self.counts.failed_commits += 1
        await self._read(self._read_site)
        for job in jobs:
            _answer(job, Decision(error=error))

    async def _commit(self, jobs: list[Job], acks: Acks) -> None:
        """Decide, write, tell. Raises ``StoreBroken``; or ``DiskFull`` or ``Unstorable``, and nothing has
        happened.
        """
        self.scene.at(time.time_ns())
        repeated = await self._find_repeated(jobs)
        write = Write()
        for node, msgids in acks.items():
            write.traffic.append(Acked(node, tuple(msgids)))
            write.acks += [(node, msgid) for msgid in msgids if not self.queues.is_recent(node, msgid)]
        try:
            links = self._decide_all(jobs, repeated, write)
            self._make_entries(write)
            written = await self._write(write) if write.entries else Written()
        except StoreError:
            raise
        except Exception as error:
            raise Unstorable(repr(error)) from error
        if write.entries:
            self._seq += len(write.entries)
            self._prev = write.entries[-1].digest()
            self.counts.commits += 1
            self._apply(write, written, links)
        self.counts.requests += len(jobs)
        self.counts.messages += len(write.messages)
        for job in jobs:
            _answer(job, job.decision)
        for message in write.messages:
            self.cache.put(message)
        self.publish(write.messages)
        dropped = [number for job in jobs for number in job.decision.dropped]
        if dropped:
            self.on_dropped(dropped)

    async def _write(self, write: Write) -> Written:
        began = time.monotonic()
        written = await self._thread(self._database.commit, write)
        took_s = min(time.monotonic() - began, COMMIT_MAX_S)
        self._commit_s += (took_s - self._commit_s) / COMMITS_AVERAGED
        return written

    async def _find_repeated(self, jobs: list[Job]) -> dict[RequestKey, Done]:
        """What those requests came to that were carried out before, on another link."""
        recent = self.queues.requests
        keys = [(job, (job.node, job.key)) for job in jobs if job.lookup and job.key is not None]
        on_disk = [key for _, key in keys if key not in recent]
        found = await self._read(reading.find_requests, self._today, on_disk) if on_disk else {}
        for job, key in keys:
            done = recent.get(key) or found.get(key)
            if done is not None and done.link != job.link:
                found[key] = done
            else:
                found.pop(key, None)
        return found

    def _decide_all(
        self, jobs: list[Job], repeated: dict[RequestKey, Done], write: Write
    ) -> dict[RequestKey, int]:
        """Fill ``write`` with what the requests come to. Returns the links of those whose keys are kept."""
        low = self.disk.room().low
        links: dict[RequestKey, int] = {}
        for at, job in enumerate(jobs):
            key = (job.node, job.key) if job.key is not None else None
            done = repeated.get(key) if key is not None else None
            if done is not None:
                self.counts.repeated += 1
                job.decision = Decision(msgid=done.msgid, posted_ms=done.posted_ms)
                continue
            decision = job.decision = self._decide(job, low)
            if decision.dropped and any(isinstance(fact, Inherited) for fact in write.traffic):
                self._postpone(jobs, at)
                break
            for fact in decision.lasting:
                self.site.apply(fact)
            write.lasting += decision.lasting
            write.traffic += decision.traffic
            write.messages += decision.messages
            if key is not None and decision.error is None:
                write.traffic.append(Requested(*key, decision.msgid, decision.posted_ms))
                links[key] = job.link
        return links

    def _postpone(self, jobs: list[Job], at: int) -> None:
        """Leave ``jobs`` from ``at`` on to the next commit. In a commit all lasting facts come first, so a
        device that is dropped must not share one with a device that inherited its queue before.
        """
        later = jobs[at:]
        del jobs[at:]
        self._jobs[:0] = later
        self._jobs_octets += sum(job.octets for job in later)

    def _decide(self, job: Job, low: bool) -> Decision:
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

    def _make_entries(self, write: Write) -> None:
        """Sign what goes into the journal: lasting facts first."""
        clock = self.scene.mint.last
        for kind, facts in ((LASTING, write.lasting), (TRAFFIC, write.traffic)):
            if facts:
                seq = self._seq + len(write.entries) + 1
                prev = write.entries[-1].digest() if write.entries else self._prev
                write.entries.append(self.key.sign(seq, clock, kind, prev, encode_facts(facts)))

    def _apply(self, write: Write, written: Written, links: dict[RequestKey, int]) -> None:
        """The commit has happened: bring the queues up to it."""
        queues = self.queues
        for change in written.queues:
            queues.loaded(*change)
        for lasting in write.lasting:
            if isinstance(lasting, NodeDropped):
                queues.node_dropped(lasting.node)
        for fact in write.traffic:
            if isinstance(fact, Requested):
                queues.requested(fact, links[fact.node, fact.key])
                self._keyed.add(fact.node)
            else:
                queues.apply(fact)

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
            async with self._lock:
                try:
                    await self._thread(self._database.checkpoint)
                except DiskFull as error:
                    self._rest_until = now + FULL_REST_S
                    await self._make_room(error, "log not copied")
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
                spilled = await self._thread(self._database.spill, queues, self._seq, self._today, cut)
            except DiskFull as error:
                self._rest_until = now + FULL_REST_S
                await self._make_room(error, "queues not brought to the tables")
                return
            for msgid, *_ in queues.finished():
                self.cache.drop(msgid)
            queues.spilled(spilled.removed)
        await self.blobs.remove(spilled.blobs)

    @property
    def _spill_weight(self) -> int:
        """How much a spill has to do: changes of the queues, and messages that may have no queue left."""
        return self.queues.weight + self._database.touched

    async def _remove_loose(self) -> None:
        """Remove the blobs of requests that were refused, repeated or given up."""
        loose = self.blobs.take_loose() - {message.blob for message in self.queues.messages.values()}
        if loose:
            async with self._lock:
                unnamed = await self._read(reading.unnamed, loose)
            await self.blobs.remove(unnamed)

    def _wake(self) -> None:
        self._bell.set()

    @property
    def _today(self) -> int:
        """The day, by the clock of the ids: it never goes back, so no request is forgotten because the clock
        does.
        """
        mint = self.scene.mint
        return max(mint.now_ns, mint.last) // DAY_NS

    async def _thread(self, function: Callable[..., T], *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def _read(self, function: Callable[..., T], *args: object) -> T:
        """Call with the connection, in a worker thread. Raises ``StoreBroken``. The caller holds the lock."""
        return await self._thread(self._database.read, function, *args)


def _answer(job: Job, decision: Decision) -> None:
    """Whoever asked has no way to harm the others by how it takes the answer."""
    job.decision = decision
    try:
        job.done(decision)
    except Exception:
        log.exception("an answer could not be given")
