"""Follows the archives: what comes in is put into the index, what goes is taken out.

An archive is a queue (``node``) of messages that several boxes make, each in order of its own ids: so there
is a mark for each box (``slot``), up to which its messages are in. That is not all. Octets of a message may
come after those of later ones, history may be added, and what the archive lets go of leaves no trace but
that it is not there any more. So numbers are compared: where the index has not as many as the queue, and
once a day in any case, the ids of both are laid side by side.

It is done in small batches with pauses of several times as long, so that whoever is served does not notice;
and not for each message that comes, but after ``index_every_s``, when there are many, or when somebody
searches: each batch writes some 70 KiB, however small it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from appliance.log import get_logger
from appliance.mail.content import needed, read
from appliance.mail.errors import MailError
from appliance.mail.index import Entry
from appliance.mail.places import Place, all_places, slots
from appliance.mail.settings import MailSettings
from appliance.mail.shelf import Shelf
from appliance.site import Message
from appliance.store import FileDamaged, Store, StoreError

log = get_logger(__name__)

BATCH: Final = 256
BATCH_OCTETS: Final = 4 << 20
"""What one commit of the index takes in at most, of messages and of octets, with 384 KiB for the last one."""
IDS: Final = 4096
REST: Final = 4.0
"""A pause is so many times as long as the batch before it took."""
REST_MIN_S: Final = 0.02
COMPARE_EVERY_S: Final = 86400.0
RETRY_S: Final = 60.0
LOOK_S: Final = 10.0

INTERNAL: Final = (
    "internal error: archives cannot be searched as they should be: see   pocket log --level error"
)

Size = tuple[int, int]
"""Messages and octets of a queue."""


class Indexer:
    """``run`` it in a task. ``trouble`` says why the index is not brought up to date, None if it is;
    ``warn`` is told.
    """

    def __init__(
        self, store: Store, shelf: Shelf, settings: MailSettings, warn: Callable[[str | None], None]
    ) -> None:
        self.trouble: str | None = None
        self._store = store
        self._shelf = shelf
        self._warn = warn
        self._every_s = settings.index_every_s
        self._done: dict[int, Size] = {}
        self._compared: dict[int, float] = {}
        self._wanted = trio.Event()
        self._round = trio.Event()
        self._renewed = 0

    def size(self, node: int) -> Size:
        """Of an archive."""
        pending = self._store.queues.nodes.get(node)
        return (pending.count, pending.octets) if pending is not None else (0, 0)

    def is_behind(self, nodes: Sequence[int]) -> bool:
        """Whether there is something in these archives that the index has not."""
        return self._renewed != self._shelf.renewed or any(
            self._done.get(node) != self.size(node) for node in nodes
        )

    async def catch_up(self, nodes: Sequence[int], limit_s: float) -> None:
        """Have the index brought up to date, and wait for that, but not longer than ``limit_s``."""
        with trio.move_on_after(limit_s):
            while self.is_behind(nodes):
                self._wanted.set()
                await self._round.wait()
                if self.trouble is not None:
                    return

    async def run(self) -> None:
        """Until cancelled. Raises ``StoreError`` if the store has ended."""
        while True:
            self._wanted = trio.Event()
            try:
                self._store.check()  # what waits for nothing reads nothing, and would not notice
                await self._go()
                self.trouble = None
            except MailError as error:
                if self.trouble is None:
                    log.warning("the index of the archives is not up to date", error=str(error))
                self.trouble = str(error)
            except StoreError:
                raise
            except Exception:
                log.exception("the index of the archives cannot be brought up to date")
                self.trouble = INTERNAL
            finally:
                self._round.set()
                self._round = trio.Event()
            self._warn(self.trouble)
            await self._wait()

    async def _wait(self) -> None:
        """Until it is time, or somebody wants it, or there is enough for a batch."""
        began, every_s = trio.current_time(), self._every_s if self.trouble is None else RETRY_S
        while (left_s := began + every_s - trio.current_time()) > 0 and not self._wanted.is_set():
            with trio.move_on_after(min(left_s, LOOK_S)):
                await self._wanted.wait()
            if self.trouble is None and self._is_much():
                return

    def _is_much(self) -> bool:
        """Whether an archive has gone, or there are enough messages for a batch that the index has not."""
        nodes = {place.node for place in all_places(self._store.site)}
        waiting = sum(max(0, self.size(node)[0] - self._done.get(node, (0, 0))[0]) for node in nodes)
        return waiting >= BATCH or bool(self._done.keys() - nodes)

    async def _go(self) -> None:
        known = await self._shelf.use(self._shelf.index.nodes)
        if self._renewed != self._shelf.renewed:
            self._renewed = self._shelf.renewed
            self._done.clear()
        room = self._store.disk.room()
        if room.free < room.reserve / 2:
            raise MailError("the disk is nearly full: what comes now is not searched until there is room")
        here = list(all_places(self._store.site))
        for place in here:
            size = self.size(place.node)
            if self._done.get(place.node) != size or self._is_due(place.node):
                await self._follow(place)
                self._done[place.node] = size
        nodes = {place.node for place in here}
        await self._forget(known - nodes)
        for node in self._done.keys() - nodes:
            del self._done[node]

    def _is_due(self, node: int) -> bool:
        return trio.current_time() - self._compared.get(node, trio.current_time()) > COMPARE_EVERY_S

    async def _follow(self, place: Place) -> None:
        """Take in what is new, and compare if that does not make it the same."""
        node = place.node
        index = self._shelf.index
        marks = await self._shelf.use(index.marks, node)
        for slot in slots(self._store.site):
            after = marks.get(slot, 0)
            while messages := await self._store.relay.archived(node, slot, after, BATCH):
                after = messages[-1].msgid
                await self._take(node, messages, slot)
        differ = await self._shelf.use(index.count, node) != self.size(node)[0]
        if differ or node not in self._compared or self._is_due(node):
            await self._compare(node)
            self._compared[node] = trio.current_time()

    async def _take(self, node: int, messages: Sequence[Message], slot: int | None = None) -> None:
        """Put messages into the index. ``slot``: they are the next ones of that box."""
        began = trio.current_time()
        some: list[tuple[Message, bytes]] = []
        octets = 0
        for message in messages:
            first = await first_octets(self._store, message)
            some.append((message, first))
            octets += len(message.head) + len(first)
            if octets >= BATCH_OCTETS:
                await self._add(node, some, slot)
                await self._rest(began)
                began, some, octets = trio.current_time(), [], 0
        await self._add(node, some, slot)
        if len(messages) == BATCH:
            await self._rest(began)

    async def _add(self, node: int, some: Sequence[tuple[Message, bytes]], slot: int | None) -> None:
        if some:
            marks = {} if slot is None else {(node, slot): some[-1][0].msgid}
            entries = (Entry(node, m.msgid, read(m.head, first, m.size)) for m, first in some)
            await self._shelf.use(self._shelf.index.add, entries, marks)

    async def _rest(self, began: float) -> None:
        await trio.sleep(max(REST_MIN_S, REST * (trio.current_time() - began)))

    async def _compare(self, node: int) -> None:
        """Lay the ids of the archive and of the index side by side."""
        index, after = self._shelf.index, 0
        while True:
            began = trio.current_time()
            theirs = await self._store.relay.archived_ids(node, after, IDS)
            ours = await self._shelf.use(index.ids, node, after, IDS)
            ends = [ids[-1] for ids in (theirs, ours) if len(ids) == IDS]
            end = min(ends, default=None)
            there = {msgid for msgid in theirs if end is None or msgid <= end}
            here = {msgid for msgid in ours if end is None or msgid <= end}
            gone, new = sorted(here - there), sorted(there - here)
            for at in range(0, len(gone), BATCH):
                await self._shelf.use(index.remove, node, gone[at : at + BATCH])
                await self._rest(began)
                began = trio.current_time()
            await self._fetch(node, new)
            if end is None:
                return
            after = end
            await self._rest(began)

    async def _fetch(self, node: int, msgids: list[int]) -> None:
        while msgids:
            messages = await self._store.messages(msgids[:BATCH])
            if messages:
                await self._take(node, messages)
            last = messages[-1].msgid if messages else msgids[:BATCH][-1]
            msgids = [msgid for msgid in msgids if msgid > last]

    async def _forget(self, gone: set[int]) -> None:
        """Take out archives that are no more."""
        index = self._shelf.index
        for node in gone:
            while ids := await self._shelf.use(index.ids, node, 0, BATCH):
                began = trio.current_time()
                await self._shelf.use(index.remove, node, ids)
                await self._rest(began)
            await self._shelf.use(index.forget, node)
            self._compared.pop(node, None)
        if gone and not await self._shelf.use(index.nodes):
            await self._shelf.use(index.renew)


async def first_octets(store: Store, message: Message) -> bytes:
    """As many of a message's data as ``read`` looks at; none if their file cannot be read now."""
    wanted = needed(message.head, message.size)
    if message.data is not None or message.blob is None:
        return (message.data or b"")[:wanted]
    found = bytearray()
    try:
        async with store.blobs.download(message.blob, message.size) as download:
            while len(found) < wanted and (piece := await download.read()):
                found += piece[: wanted - len(found)]
    except FileDamaged as error:
        log.warning("an attachment cannot be read", message=message.msgid, error=str(error))
        return b""
    return bytes(found)
