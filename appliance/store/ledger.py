"""What the journal says, in memory, and how it grows: decide, write, and only then know.

The decisions of a commit are made against the accounts in memory, which are ahead of the disk only while the
commit runs. If it fails the accounts are read back from the tables. The queues change after the commit.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.site import LASTING, TRAFFIC, Decision, Limits, Mint, Scene, Site, decode_facts, encode_facts
from appliance.site.facts import Acked, Carried, Inherited, NodeDropped, Requested, Sent
from appliance.store import reading
from appliance.store.database import Database, Spilled, Write, Written
from appliance.store.disk import Disk
from appliance.store.errors import StoreError, Unstorable
from appliance.store.inbox import Acks
from appliance.store.jobs import Counts, Job
from appliance.store.journal import GENESIS, BoxKey
from appliance.store.queues import Done, Queues

T = TypeVar("T")
RequestKey = tuple[int, bytes]
"""Node, and a digest of the request's octets."""

log = get_logger(__name__)

DAY_NS = 86_400_000_000_000
COMMIT_MAX_S = 0.1
COMMITS_AVERAGED = 8
CARRY_OCTETS = 1 << 20


class Ledger:
    """``load`` it first. All async methods want ``lock`` held: there is one connection."""

    key: BoxKey
    scene: Scene

    def __init__(self, database: Database, queues: Queues, disk: Disk) -> None:
        self.database = database
        self.queues = queues
        self.site = Site()
        self.counts = Counts()
        self.lock = trio.Lock()
        self.seq = 0
        self.keyed: set[int] = set()
        self.commit_s = 0.0
        self._prev = GENESIS
        self._disk = disk
        self._limiter = trio.CapacityLimiter(1)

    def load(self, connection: sqlite3.Connection, key: BoxKey, limits: Limits) -> Spilled:
        """Read everything from the tables and the end of the journal; returns what a crash had left behind.
        Blocks. Raises ``LookupError`` if the tables do not fit together.
        """
        self.key = key
        last = reading.last_entry(connection, self.database.box)
        if last is not None:
            self.seq, self._prev = last.seq, last.digest()
        self.read_site(connection)
        reading.load_queues(connection, self.queues)
        spilled = self.database.sweep()
        for sender, size in spilled.removed:
            self.queues.stored[sender] = max(0, self.queues.stored.get(sender, 0) - size)
        mint = Mint(last.clock if last else 0, box=self.database.box)
        self.scene = Scene(self.site, mint, limits, self.queues)
        self.scene.at(time.time_ns())
        self.keyed = reading.keyed_nodes(connection, self.today - 1)
        self.keyed.update(node for node, _ in self.queues.requests)
        return spilled

    def read_site(self, connection: sqlite3.Connection) -> None:
        """Make the accounts in memory what the tables say. The object stays the same: others hold it."""
        fresh = Site()
        for fact in reading.read_lasting(connection):
            fresh.apply(fact)
        fresh.last_number = max(fresh.last_number, reading.meta(connection, "last_number"))
        self.site.__dict__.update(fresh.__dict__)

    @property
    def clock(self) -> int:
        """The time by the clock of the ids, in ns, as of the last commit: it never goes back, so nothing is
        forgotten because the box's clock does.
        """
        mint = self.scene.mint
        return max(mint.now_ns, mint.last)

    @property
    def today(self) -> int:
        return self.clock // DAY_NS

    async def commit(self, jobs: Sequence[Job], acks: Acks) -> tuple[Write, int]:
        """Decide and write; the decisions are in the jobs. Returns what was written, and how many of the jobs
        that were: the others have to go with the next commit.

        Raises ``StoreBroken``; or ``DiskFull`` or ``Unstorable``, and nothing has happened: ``read_site``.
        """
        self.scene.at(time.time_ns())
        repeated = await self._find_repeated(jobs)
        write = Write()
        for node, msgids in acks.items():
            write.traffic.append(Acked(node, tuple(msgids)))
            write.acks += [(node, msgid) for msgid in msgids if not self.queues.is_recent(node, msgid)]
        try:
            links, decided = self._decide_all(jobs, repeated, write)
            written = await self._record(write)
        except StoreError:
            raise
        except Exception as error:
            raise Unstorable(repr(error)) from error
        self._apply(write, written, links)
        self.counts.requests += decided
        self.counts.messages += len(write.messages)
        return write, decided

    async def spill(self, cut: int | None) -> Spilled:
        """Bring the recent part of the queues to the tables. Raises as ``commit``."""
        spilled = await self.thread(self.database.spill, self.queues, self.seq, self.today, cut)
        self.queues.spilled(spilled.removed)
        return spilled

    async def carry(self, clock: int) -> bool:
        """Say again what is pending of the oldest traffic below ``clock``, and remove its entries. Returns
        whether there may be more. Raises as ``commit``.
        """
        box = self.database.box
        entries = await self.read(reading.old_traffic, box, clock, CARRY_OCTETS)
        if not entries:
            return False
        sent = {
            fact.msgid: fact
            for entry in entries
            for fact in decode_facts(entry.body)
            if isinstance(fact, Sent)
        }
        waiting = await self.read(reading.waiting_nodes, list(sent))
        write = Write(cut=entries[-1].seq * reading.PLACES + box)
        for msgid, nodes in waiting.items():
            fact = sent[msgid]
            write.traffic.append(
                Carried(msgid, fact.rank, fact.sender, fact.digest, fact.size, nodes, fact.blob)
            )
        await self._record(write)
        return True

    async def thread(self, function: Callable[..., T], *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """Call with the connection, in a worker thread. Raises ``StoreBroken``."""
        return await self.thread(self.database.read, function, *args)

    async def _record(self, write: Write) -> Written:
        """Put it into the journal and the tables; nothing if there is nothing."""
        self._make_entries(write)
        if not write.entries and not write.cut:
            return Written()
        began = time.monotonic()
        written = await self.thread(self.database.commit, write)
        took_s = min(time.monotonic() - began, COMMIT_MAX_S)
        self.commit_s += (took_s - self.commit_s) / COMMITS_AVERAGED
        for entry in write.entries:
            self.seq, self._prev = entry.seq, entry.digest()
        self.counts.commits += 1
        return written

    async def _find_repeated(self, jobs: Sequence[Job]) -> dict[RequestKey, Done]:
        """What those requests came to that were carried out before, on another link."""
        recent = self.queues.requests
        keys = [(job, (job.node, job.key)) for job in jobs if job.lookup and job.key is not None]
        on_disk = [key for _, key in keys if key not in recent]
        found = await self.read(reading.find_requests, self.today, on_disk) if on_disk else {}
        for job, key in keys:
            done = recent.get(key) or found.get(key)
            if done is not None and done.link != job.link:
                found[key] = done
            else:
                found.pop(key, None)
        return found

    def _decide_all(
        self, jobs: Sequence[Job], repeated: dict[RequestKey, Done], write: Write
    ) -> tuple[dict[RequestKey, int], int]:
        """Fill ``write`` with what the requests come to. Returns the links of those whose keys are kept, and
        how many requests it came to: in a commit all lasting facts come first, so a device that is dropped
        must not share one with a device that inherited its queue before.
        """
        low = self._disk.room().low
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
                return links, at
            for fact in decision.lasting:
                self.site.apply(fact)
            write.lasting += decision.lasting
            write.traffic += decision.traffic
            write.messages += decision.messages
            if key is not None and decision.error is None:
                write.traffic.append(Requested(*key, decision.msgid, decision.posted_ms))
                links[key] = job.link
        return links, len(jobs)

    def _decide(self, job: Job, low: bool) -> Decision:
        if low and job.takes_room:
            decision = Decision(error=self._disk.problem(0) or "disk full: try again later")
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
                seq = self.seq + len(write.entries) + 1
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
                self.keyed.add(fact.node)
            else:
                queues.apply(fact)
