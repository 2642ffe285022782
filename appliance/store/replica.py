"""The store as other boxes see it: what is here, what they send, what they lack."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import trio

from appliance.log import get_logger
from appliance.site import TRAFFIC, Message
from appliance.site.boxes import Gone
from appliance.site.facts import BoxAdded, Sent, decode_facts
from appliance.store import reading
from appliance.store.arrivals import Arrival, BadEntries, Gap, Octets, Positions
from appliance.store.blobs import Blobs
from appliance.store.digest import state_digest
from appliance.store.inbox import Batch
from appliance.store.ledger import Ledger
from appliance.store.order import Order
from appliance.store.taking import Checked, check, fits

log = get_logger(__name__)

ABSENT_MAX = 1000
CHECKED_AT_ONCE = 16
"""Arrivals that are looked at before others get their turn: some 3 ms."""
CLOCK_STEP = 16
"""Between two ids of one box."""


class Replica:
    """``on_entries`` are called after each commit with what is new, this box's own and what it took in, in
    that order everywhere; ``on_blob`` with the SHA-256 of a file that has come, however it did. They must not
    block or raise.
    """

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        publish: Callable[[list[Message]], None],
        submit: Callable[[Batch], None],
        order: Order,
    ) -> None:
        self.on_entries: list[Callable[[Sequence[Arrival]], None]] = []
        self.on_blob: list[Callable[[bytes], None]] = []
        self.trusted: dict[str, bytes] = {}
        """Keys of boxes, besides those that the site knows: a copy begins with nothing."""
        self._ledger = ledger
        self._submit = submit
        self._order = order
        self._blobs = blobs
        self._publish = publish

    @property
    def own(self) -> str:
        """This box's id."""
        return self._ledger.key.box

    def positions(self) -> Positions:
        """What is on stable storage here."""
        return self._ledger.positions

    async def digest_at(self, box: str, seq: int) -> bytes | None:
        """The digest of an entry; None if it is not here (any more)."""
        number = self._ledger.numbers.get(box)
        if number is None:
            return None
        async with self._ledger.lock:
            entry = await self._ledger.read(reading.entry_at, number, seq)
        return entry.digest() if entry is not None else None

    async def read(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]:
        """The next entries of all boxes beyond ``after`` (0 for boxes that are not in it), in the order of
        their clocks, up to about ``max_octets``; at least one if there is any. Raises ``Gap``.
        """
        return await self._read(after, max_octets, skip=False)

    async def read_all(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]:
        """The same, for a copy: what is not here any more is skipped."""
        return await self._read(after, max_octets, skip=True)

    async def _read(self, after: Mapping[str, int], max_octets: int, skip: bool) -> list[Arrival]:
        numbers = {
            number: after.get(box, 0)
            for box, number in self._ledger.numbers.items()
            if box in self._ledger.heads and after.get(box, 0) < self._ledger.heads[box].seq
        }
        if not numbers:
            return []
        async with self._ledger.lock:
            return await self._ledger.read(read_arrivals, numbers, max_octets, skip)

    async def introductions(self) -> dict[str, Arrival]:
        """By box, the entry with which it was taken into the site, without octets."""
        async with self._ledger.lock:
            found = await self._ledger.read(reading.introductions)
        return {box: Arrival.of(entry) for box, entry in found.items()}

    async def absorb(self, arrivals: Sequence[Arrival], source: str) -> None:
        """Take in what box ``source`` sent. Everything new of it is on stable storage when this returns.
        Raises ``BadEntries`` (nothing was taken), ``DiskFull`` or another ``StoreError``. Cancelled, it may
        happen all the same.

        From a revoked box nothing is taken. Entries of a revoked box that another one has are, whatever their
        number: that one had them before it heard of it, and what it built on them must mean the same here.
        """
        known = self._ledger.site.boxes.get(source)
        if known is not None and known.cut is not None:
            raise BadEntries(f"box {source} was put out of this site")
        checked = await self._check(arrivals)
        if checked:
            batch = Batch(checked, source)
            self._submit(batch)
            await batch.done.wait()
            if batch.error is not None:
                raise batch.error

    async def _check(self, arrivals: Sequence[Arrival]) -> list[Checked]:
        site = self._ledger.site
        keys = self.trusted | {self.own: self._ledger.key.public}
        keys |= {box.box: box.public for box in site.boxes.values()}
        checked: list[Checked] = []
        for count, arrival in enumerate(arrivals):
            head = self._ledger.heads.get(arrival.box)
            if head is not None and arrival.seq <= head.seq:
                continue
            public = keys.get(arrival.box)
            if public is None:
                raise BadEntries(f"entry {arrival.seq} is of box {arrival.box}, which is not of this site")
            one = check(arrival, public)
            checked.append(one)
            for fact in one.facts:
                if isinstance(fact, BoxAdded):
                    keys.setdefault(fact.box, fact.public)
            if count % CHECKED_AT_ONCE == CHECKED_AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
        return checked

    async def adopt(self, arrivals: Sequence[Arrival]) -> None:
        """Say in this box's own journal, entry for entry, what was said in another one, and have it on stable
        storage. Of a copy only: nothing else may be written to that journal meanwhile. Raises as ``absorb``.
        """
        head = self._ledger.head
        seq, prev = head.seq, head.digest
        clock = max(self._ledger.clock, *(head.clock for head in self._ledger.heads.values()))
        adopted: list[Arrival] = []
        for arrival in arrivals:
            seq, clock = seq + 1, clock + CLOCK_STEP
            entry = self._ledger.key.sign(seq, clock, arrival.kind, prev, arrival.body)
            prev = entry.digest()
            adopted.append(Arrival.of(entry, arrival.octets))
        await self.absorb(adopted, self.own)

    # octets and files that are lacking

    def absent(self) -> int:
        """Pending messages of which the octets or the file are not here; ``ABSENT_MAX``: or more."""
        return sum(1 for _ in islice((a for a in self._ledger.queues.absent.values() if a.nodes), ABSENT_MAX))

    def absent_blobs(self) -> dict[bytes, int]:
        """Size, by SHA-256, of the files that pending messages want and that are not here."""
        return {
            absent.blob: absent.size
            for absent in self._ledger.queues.absent.values()
            if absent.blob is not None and absent.nodes
        }

    def absent_messages(self) -> list[int]:
        """Pending messages whose octets are not here."""
        return [
            msgid for msgid, absent in self._ledger.queues.absent.items() if not absent.head and absent.nodes
        ]

    def lacking(self) -> list[int]:
        """Pending messages of which the octets or the file are not here."""
        return [msgid for msgid, absent in self._ledger.queues.absent.items() if absent.nodes]

    async def gone(self, msgids: Sequence[int]) -> list[Gone]:
        """What is known of those of the messages that are ``lacking``."""
        async with self._ledger.lock:
            facts = await self._ledger.read(reading.sent_again, msgids)
        absent = self._ledger.queues.absent
        return [
            Gone(fact.msgid, fact.sender, fact.size, tuple(sorted(absent[fact.msgid].nodes)))
            for fact in facts
            if fact.msgid in absent and absent[fact.msgid].nodes
        ]

    async def octets(self, msgids: Sequence[int]) -> list[Octets]:
        """Those of the messages that are here."""
        async with self._ledger.lock:
            return await self._ledger.read(reading.octets, msgids)

    async def give_octets(self, given: Sequence[Octets]) -> None:
        """Octets of absent messages. Those that nobody waits for any more are left alone. Raises
        ``BadEntries`` if they are not what was accepted, ``StoreError``.
        """
        absent = self._ledger.queues.absent
        for octets in given:
            wanted = absent.get(octets.msgid)
            if wanted is not None and not fits(octets, wanted.size, wanted.blob, wanted.digest):
                raise BadEntries(
                    f"the octets of message {octets.msgid:016x} are not those that were accepted"
                )
        async with self._ledger.lock:
            lacking = [o for o in given if o.msgid in absent and not absent[o.msgid].head]
            if lacking:
                await self._ledger.thread(self._ledger.database.fill, lacking)
            for octets in lacking:
                if octets.msgid in absent:
                    absent[octets.msgid].head = True
            await self._present([octets.msgid for octets in lacking])

    def blob_moves(self, sha: bytes) -> None:
        """Some of a file has come."""
        self._order.moved(sha)

    async def blob_here(self, sha: bytes) -> None:
        """A file is in its place, and synced: the messages that name it can go out."""
        async with self._ledger.lock:
            named = [m for m, absent in self._ledger.queues.absent.items() if absent.blob == sha]
            await self._present(named)
        for listener in self.on_blob:
            listener(sha)

    async def _present(self, msgids: Sequence[int]) -> None:
        """The caller holds the lock."""
        queues = self._ledger.queues
        nodes: dict[int, tuple[int, ...]] = {}
        for msgid in msgids:
            absent = queues.absent.get(msgid)
            if absent is not None and absent.head and (absent.blob is None or self._blobs.has(absent.blob)):
                nodes[msgid] = tuple(queues.present(msgid).nodes)
        if nodes:
            rows = await self._ledger.read(reading.read_messages, list(nodes), 1 << 62)
            self._publish([_with_nodes(message, nodes[message.msgid]) for message in rows])

    async def named_blobs(self) -> set[bytes]:
        """The files that messages name, by their SHA-256; some may not be here."""
        async with self._ledger.lock:
            return await self._ledger.read(reading.blobs)

    def saw_clock(self, clock: int) -> None:
        """The clock of another box: ours goes on above it."""
        self._ledger.scene.mint.saw(clock)

    async def state_digest(self) -> str:
        """The state of the site in 64 hex digits: the same on all boxes that have told each other
        everything."""
        async with self._ledger.lock:
            return await self._ledger.read(state_digest, self._ledger.queues)

    @property
    def clock(self) -> int:
        """The clock of this box's ids."""
        return self._ledger.clock

    def clock_of(self, box: str) -> int:
        """That of the newest entry of a box that is here; of a box without one, when it came to the site."""
        head, known = self._ledger.heads.get(box), self._ledger.site.boxes.get(box)
        return head.clock if head is not None else known.at if known is not None else 0


def _with_nodes(message: Message, nodes: tuple[int, ...]) -> Message:
    return Message(
        message.msgid,
        message.rank,
        message.head,
        message.size,
        message.data,
        message.blob,
        message.sender,
        nodes,
    )


def read_arrivals(
    connection: sqlite3.Connection, after: dict[int, int], max_octets: int, skip: bool
) -> list[Arrival]:
    known = {number: box for number, box in reading.boxes(connection).items() if number in after}
    due = {known[number][0]: seq + 1 for number, seq in after.items()}
    found: list[Arrival] = []
    for entry in reading.read_entries(connection, known, after):
        if entry.seq != due[entry.box] and not skip:
            raise Gap(entry.box)
        due[entry.box] = entry.seq + 1
        found_facts = decode_facts(entry.body) if entry.kind == TRAFFIC else []
        sent = [fact.msgid for fact in found_facts if isinstance(fact, Sent)]
        arrival = Arrival.of(entry, tuple(reading.octets(connection, sent)))
        found.append(arrival)
        max_octets -= arrival.size
        if max_octets <= 0:
            break
    return found
