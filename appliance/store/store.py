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

import sqlite3
import time
from collections.abc import Callable, Container, Sequence
from itertools import islice
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.site import Decision, Limits, Message, Scene, Site
from appliance.store import accounts, reading
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.copies import Copies
from appliance.store.database import DATABASE_NAME, Database, Write
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull, StoreBroken, StoreDamaged, StoreError
from appliance.store.healing import Healing
from appliance.store.inbox import Batch, Inbox
from appliance.store.jobs import Counts, Job, StoreSettings
from appliance.store.journal import KEY_NAME, BoxKey
from appliance.store.ledger import Ledger
from appliance.store.order import Order
from appliance.store.owner import Owner
from appliance.store.queues import Excluded, Queues
from appliance.store.relay import Relay
from appliance.store.replica import Replica
from appliance.store.upkeep import Upkeep

log = get_logger(__name__)

MESSAGE_READ_OCTETS = 1 << 20
ID_MAX = (1 << 63) - 1
"""The database knows no higher numbers, so no message has one."""


class Store:
    """Use ``open``, then run ``run`` in a task; all else from the same trio run."""

    def __init__(self, folder: Path, settings: StoreSettings, gaps: bool = False) -> None:
        self.settings = settings
        self.disk = Disk(folder, settings.reserve_percent, settings.reserve_octets)
        self.blobs = Blobs(folder / "blobs", self.disk, self._ring)
        self.cache = Cache(settings.cache_octets)
        self.queues = Queues(settings.queue_messages, settings.queue_octets)
        self.copies = Copies(settings.second_copy_wait_s, self._ring)
        self.order = Order(lambda: self.queues.absent, trio.current_time)
        self._key_path = folder / KEY_NAME
        self._database = self._open_database(folder / DATABASE_NAME)
        self._ledger = Ledger(self._database, self.queues, self.disk, gaps)
        self._inbox = Inbox()
        self.upkeep = Upkeep(
            self._database, self._ledger, self.blobs, self.cache, self.disk, settings, self._committed
        )
        self.replica = Replica(self._ledger, self.blobs, self._deliver, self._submit_batch, self.order)
        self.relay = Relay(self._ledger)
        self.healing = Healing(folder, self._ledger, self.blobs, self.cache, self.replica)
        self._owner = Owner(
            self._ledger,
            self._inbox,
            self.copies,
            self.order,
            self.cache,
            self.blobs,
            self.upkeep,
            settings,
            self.replica.on_entries,
            self.relay,
        )

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
        await self._owner.submit(job)

    async def perform(self, decide: Callable[[Scene], Decision]) -> Decision:
        """Queue a request that is not a client's, and wait for its commit. Cancelled, it may happen all the
        same. Raises ``StoreError`` if the store has ended: it may or may not have happened then.
        """
        answered = trio.Event()
        answers: list[Decision] = []

        def done(decision: Decision) -> None:
            answers.append(decision)
            answered.set()

        await self._owner.perform(Job(decide, done), answered)
        if self._owner.failure is not None and not answers:
            raise self._owner.failure
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

        Those that wait for a second copy, for their octets or for an earlier one are left out: they are
        published later. May include messages that were acknowledged since the call.
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

    def _left(self, node: int, exclude: set[int]) -> Container[int]:
        """What is not to be delivered to a node now."""
        some = exclude | self._inbox.acked(node)
        held, absent = self.copies.held_ids, self.queues.absent
        return Excluded(some, held, absent, self.order.held) if held or absent or self.order.held else some

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

    def check(self) -> None:
        """Raises ``StoreError`` if the store has ended."""
        if self._owner.failure is not None:
            raise self._owner.failure

    async def probe(self) -> None:
        """Return if the store can write, sync and read. Raises ``DiskFull`` or another ``StoreError``."""
        self.check()
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
        """The lowest id that the node, or any device, has yet to acknowledge; 0 if there is none."""
        queues, nodes = self.queues.nodes, self.site.nodes
        asked = [n for n in queues if n in nodes and nodes[n].role == "device"] if node is None else [node]
        waiting = {n: pending for n in asked if (pending := queues.get(n)) is not None and pending.count}
        async with self._ledger.lock:
            stored = [n for n, pending in waiting.items() if pending.on_disk]
            on_disk = await self._ledger.read(reading.oldest_of, stored) if stored else 0
            recent = [min(ids) for pending in waiting.values() for ids in pending.recent if ids]
        return min((msgid for msgid in (on_disk, *recent) if msgid), default=0)

    def close(self) -> None:
        """Take no more requests; commit what waits, bring everything into the tables, and close. After this
        ``run`` returns.
        """
        self._owner.close()

    async def run(self) -> None:
        """The owner task. Ends after ``close``. Raises ``StoreBroken`` if the disk fails: then stop the box
        and start it anew.
        """
        await self._owner.run()

    @property
    def publish(self) -> Callable[[Sequence[Message]], None]:
        """Called with messages that are durable and are to be delivered to ``message.nodes``."""
        return self._owner.publish

    @publish.setter
    def publish(self, publish: Callable[[Sequence[Message]], None]) -> None:
        self._owner.publish = publish

    @property
    def on_dropped(self) -> Callable[[Sequence[int]], None]:
        """Called with nodes that are no more."""
        return self._owner.on_dropped

    @on_dropped.setter
    def on_dropped(self, on_dropped: Callable[[Sequence[int]], None]) -> None:
        self._owner.on_dropped = on_dropped

    def _ring(self) -> None:
        self._inbox.ring()

    def _committed(self, write: Write) -> None:
        self._owner.committed(write)

    def _deliver(self, messages: Sequence[Message]) -> None:
        self._owner.deliver(messages)

    def _submit_batch(self, batch: Batch) -> None:
        self._owner.submit_batch(batch)
