"""What the journals say, in memory, and how they grow: decide, write, and only then know.

A commit takes in what other boxes say, then decides the requests that wait. Both are made against the
accounts in memory, which are ahead of the disk only while the commit runs. If it fails the accounts are
read back from the tables. The queues change after the commit.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.site import Decision, Limits, Mint, Scene, Site, encode_facts
from appliance.site.facts import (
    Acked,
    Extended,
    Inherited,
    NodeDropped,
    Requested,
    Sent,
)
from appliance.store import accounts, keys, reading, twins
from appliance.store.absorbing import take_in
from appliance.store.arrivals import Position, Positions
from appliance.store.database import Database, Spilled, Write, Written
from appliance.store.disk import Disk
from appliance.store.errors import StoreError, Unstorable
from appliance.store.inbox import Acks
from appliance.store.inheriting import expand
from appliance.store.jobs import Counts, Job
from appliance.store.journal import NO_ENTRY, BoxKey, Head
from appliance.store.portions import portions
from appliance.store.queues import Done, Queues
from appliance.store.taking import Checked, Taken, Taking

T = TypeVar("T")
RequestKey = tuple[int, bytes]
"""Node, and a digest of the request's octets."""

log = get_logger(__name__)

DAY_NS = 86_400_000_000_000
COMMIT_MAX_S = 0.1
COMMITS_AVERAGED = 8
UNSURE_MAX = 4096


class Ledger:
    """``load`` it first. All async methods want ``lock`` held: there is one connection. ``gaps``: this is a
    copy of a journal of which old entries may be gone.
    """

    key: BoxKey
    scene: Scene
    taking: Taking
    number: int

    def __init__(self, database: Database, queues: Queues, disk: Disk, gaps: bool = False) -> None:
        self.database = database
        self.queues = queues
        self.site = Site()
        self.counts = Counts()
        self.lock = trio.Lock()
        self.heads: dict[str, Head] = {}
        self.numbers: dict[str, int] = {}
        self.keyed: set[int] = set()
        self.unsure: dict[RequestKey, None] = {}
        """Requests that were carried out and not acknowledged, because no other box confirmed them: the same
        on the same link is no new one. The newest ``UNSURE_MAX``.
        """
        self.commit_s = 0.0
        self.gaps = gaps
        self.spill_clock = 0
        """Keys of requests that are in entries below it may be in the tables."""
        self._key_age = keys.Age()
        self._disk = disk
        self._limiter = trio.CapacityLimiter(1)

    def load(
        self, connection: sqlite3.Connection, key: BoxKey, limits: Limits, files: Callable[[bytes], bool]
    ) -> Spilled:
        """Read everything from the tables and the end of the journals; returns what a crash had left
        behind. ``files`` says whether a blob is here. Blocks. Raises ``LookupError`` if the tables do not
        fit together.
        """
        self.key = key
        known = reading.boxes(connection)
        self.numbers = {box: number for number, (box, _) in known.items()}
        self.number = self.numbers[key.box]
        for number, entry in reading.newest(connection).items():
            self.heads[known[number][0]] = Head(entry.seq, entry.digest(), entry.clock)
        self.read_site(connection)
        acked = reading.acked(connection) if self.gaps else None
        reading.load_queues(connection, self.queues, files, acked)
        spilled = self.database.sweep()
        for sender, size in spilled.removed:
            self.queues.stored[sender] = max(0, self.queues.stored.get(sender, 0) - size)
        clock = max((head.clock for head in self.heads.values()), default=0)
        clock = max(clock, reading.last_keys(connection))
        self.spill_clock = clock
        own = self.site.boxes.get(key.box)
        slot = own.slot if own is not None else 0
        self.scene = Scene(self.site, Mint(clock, box=slot), limits, self.queues)
        self.scene.at(time.time_ns())
        self.taking = Taking(self.site, self.queues, slot, files, acked)
        self.keyed = reading.keyed_nodes(connection, self.keys_since)
        self.keyed.update(node for node, _ in self.queues.requests)
        return spilled

    def read_site(self, connection: sqlite3.Connection) -> None:
        """Make the accounts in memory what the tables say. The object stays the same: others hold it."""
        fresh = Site()
        for fact in accounts.read(connection):
            if not fresh.apply(fact):
                raise LookupError(fact)
        fresh.last_number = max(fresh.last_number, reading.meta(connection, "last_number"))
        self.site.__dict__.update(fresh.__dict__)

    @property
    def head(self) -> Head:
        """Of this box's journal."""
        return self.heads.get(self.key.box, NO_ENTRY)

    @property
    def positions(self) -> Positions:
        return {box: Position(head.seq, head.digest) for box, head in self.heads.items()}

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

    @property
    def keys_since(self) -> int:
        """The day from which on keys of requests are kept."""
        return self._key_age.since(self.today, self.scene.mint.now_ns // DAY_NS, time.monotonic())

    async def commit(
        self, jobs: Sequence[Job], acks: Acks, arrivals: Sequence[Checked] = ()
    ) -> tuple[Write, int, Taken]:
        """Take in ``arrivals``, decide ``jobs`` and write; the decisions are in the jobs. Returns what was
        written, how many of the jobs that were (the others have to go with the next commit), and what is to
        be done about the arrivals.

        Raises ``StoreBroken``; or ``BadEntries``, ``DiskFull`` or ``Unstorable``, and nothing has happened:
        ``read_site``.
        """
        self.scene.at(time.time_ns())
        write = Write()
        try:
            taken = await take_in(self, arrivals, write) if arrivals else Taken()
            repeated = await self._find_repeated(jobs, write)
            for node, msgids in acks.items():
                await self._note_acks(node, msgids, write)
            await twins.note(self, acks, taken.twins, write)
            links, decided = self._decide_all(jobs, repeated, write)
            await expand(self, write)
            written = await self.record(write)
        except StoreError:
            raise
        except Exception as error:
            raise Unstorable(repr(error)) from error
        self._apply(write, written, links)
        self.counts.requests += decided
        self.counts.messages += len(write.messages)
        return write, decided, taken

    async def spill(self) -> Spilled:
        """Bring the recent part of the queues to the tables. Raises as ``commit``."""
        heads = {self.numbers[box]: head.seq for box, head in self.heads.items()}
        self.spill_clock = self.scene.mint.id()
        since = self.keys_since
        if self.queues.requests:
            self._key_age.wrote(self.today, time.monotonic())
        spilled = await self.thread(
            self.database.spill, self.queues, heads, self.spill_clock, self.today, since
        )
        self.queues.spilled(spilled.removed)
        return spilled

    async def thread(self, function: Callable[..., T], *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def read(self, function: Callable[..., T], *args: object) -> T:
        """Call with the connection, in a worker thread. Raises ``StoreBroken``."""
        return await self.thread(self.database.read, function, *args)

    def note_unsure(self, node: int, key: bytes) -> None:
        """It was carried out, and its client is told that it may not have been."""
        self.unsure[node, key] = None
        if len(self.unsure) > UNSURE_MAX:
            del self.unsure[next(iter(self.unsure))]

    async def record(self, write: Write) -> Written:
        """Put it into the journal and the tables; nothing if there is nothing."""
        self._make_entries(write)
        if write.empty:
            return Written()
        began = time.monotonic()
        written = await self.thread(self.database.commit, write)
        took_s = min(time.monotonic() - began, COMMIT_MAX_S)
        self.commit_s += (took_s - self.commit_s) / COMMITS_AVERAGED
        for number, box, _ in write.boxes:
            self.numbers[box] = number
        for _, entry in write.entries:
            self.heads[entry.box] = Head(entry.seq, entry.digest(), entry.clock)
        self.counts.commits += 1
        return written

    async def _note_acks(self, node: int, msgids: Mapping[int, bool], write: Write) -> None:
        """Of those that are known to be in the node's queue, or are there."""
        queues = self.queues
        if not queues.absent and all(msgids.values()):
            write.traffic.append(Acked(node, tuple(msgids), itself=True))
            write.acks += [(node, msgid) for msgid in msgids if not queues.is_recent(node, msgid)]
            return
        stored = [msgid for msgid in msgids if not queues.is_recent(node, msgid)]
        doubtful = [msgid for msgid in stored if not msgids[msgid] and msgid not in queues.absent]
        pending = queues.nodes.get(node)
        there: set[int] = set()
        if doubtful and pending is not None and pending.on_disk > 0:
            found = await self.read(reading.in_queues, [(node, msgid) for msgid in doubtful])
            there.update(msgid for _, msgid in found)
        strange = set(doubtful) - there
        for msgid in stored:
            absent = queues.absent.get(msgid)
            if absent is None:
                if msgid not in strange:
                    write.acks.append((node, msgid))
            elif node in absent.nodes:
                write.quiet_acks.append((node, msgid))
            else:
                strange.add(msgid)
        acked = tuple(msgid for msgid in msgids if msgid not in strange)
        if acked:
            write.traffic.append(Acked(node, acked, itself=True))

    async def _find_repeated(self, jobs: Sequence[Job], write: Write) -> dict[RequestKey, Done]:
        """What those requests came to that were carried out before, on another link or unsure."""
        recent = self.queues.requests
        arrived = {
            (fact.node, fact.key): Done(fact.msgid, fact.posted_ms, 0, fact.others, fact.made)
            for fact in write.effects
            if isinstance(fact, Requested)
        }
        unsure = self.unsure
        keys = [(job, (job.node, job.key)) for job in jobs if job.key is not None]
        keys = [(job, key) for job, key in keys if job.lookup or key in unsure]
        on_disk = [key for _, key in keys if key not in recent]
        found = await self.read(reading.find_requests, self.keys_since, on_disk) if on_disk else {}
        for job, key in keys:
            done = arrived.get(key) or recent.get(key) or found.get(key)
            if done is not None and (done.link != job.link or key in unsure):
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
            job.repeated = done is not None
            if done is not None:
                self.counts.repeated += 1
                self.unsure.pop((job.node, job.key or b""), None)
                job.decision = Decision(msgid=done.msgid, posted_ms=done.posted_ms)
                continue
            decision = job.decision = self._decide(job, low)
            if decision.dropped and any(isinstance(fact, Inherited) for fact in write.traffic):
                return links, at
            for fact in decision.lasting:
                write.changes += self.site.apply(fact)
            write.lasting += decision.lasting
            write.traffic += decision.traffic
            write.messages += decision.messages
            if decision.relay:
                write.traffic += decision.relay
                write.relay += decision.relay
            if decision.acks:
                self.release(decision.acks, write)
            if key is not None and decision.error is None:
                sent = decision.messages
                others: tuple[int, ...] = ()
                if len(sent) != 1 or sent[0].msgid != decision.msgid:
                    others = tuple(m.msgid for m in sent if m.msgid != decision.msgid)
                write.traffic.append(
                    Requested(*key, decision.msgid, decision.posted_ms, others, decision.node)
                )
                links[key] = job.link
        return links, len(jobs)

    def release(self, acks: Iterable[tuple[int, int]], write: Write, itself: bool = False) -> None:
        """Nodes need messages no more (node, msgid); ``itself`` as in ``Acked``."""
        by_node: dict[int, list[int]] = {}
        for node, msgid in sorted(acks):
            if node not in self.site.nodes:
                continue
            by_node.setdefault(node, []).append(msgid)
            if not self.queues.is_recent(node, msgid):
                rows = write.quiet_acks if msgid in self.queues.absent else write.acks
                rows.append((node, msgid))
        write.traffic += [Acked(node, tuple(msgids), itself) for node, msgids in by_node.items()]

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
        """Sign what this box says: lasting facts first."""
        write.clock = self.scene.mint.last
        head = self.head
        digests = {fact.msgid: fact.digest for fact in write.traffic if isinstance(fact, Sent)}
        write.fresh += [
            (m.msgid, m.rank, m.sender, m.size, m.blob, m.head, m.data, digests[m.msgid])
            for m in write.messages
        ]
        for kind, facts in portions(write):
            seq, prev = head.seq + 1, head.digest
            entry = self.key.sign(seq, self.scene.mint.id(), kind, prev, encode_facts(facts))
            write.entries.append((self.number, entry))
            if facts is write.traffic:
                write.sent[seq] = list(digests)
            else:
                write.sent[seq] = [fact.msgid for fact in facts if isinstance(fact, Sent)]
            head = Head(seq, entry.digest(), entry.clock)

    def _apply(self, write: Write, written: Written, links: dict[RequestKey, int]) -> None:
        """The commit has happened: bring the queues up to it."""
        queues = self.queues
        for effect in write.effects:
            queues.apply(effect)
            if isinstance(effect, Requested):
                self.keyed.add(effect.node)
        for change in written.queues:
            queues.loaded(*change)
        for lasting in write.lasting:
            if isinstance(lasting, NodeDropped):
                queues.node_dropped(lasting.node)
        for fact in write.traffic:
            if type(fact) is Sent:
                queues.sent(fact)
            elif isinstance(fact, Requested):
                queues.requested(fact, links[fact.node, fact.key])
                self.keyed.add(fact.node)
            elif isinstance(fact, Extended):
                if fact.msgid in queues.messages or fact.msgid in queues.absent:
                    queues.sent(fact)
            elif isinstance(fact, Acked):
                queues.acked(fact)
            elif isinstance(fact, Sent):
                queues.sent(fact)
