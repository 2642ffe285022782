"""What an archive lets go of, so that each member's stay within their share of the disk.

The oldest attachments go first; only when there are none left, the oldest bodies; and when there is nothing
but heads, the oldest messages as a whole. A message of which something goes is replaced in the archive by one
with the same head and what is left of its data (``site.relaying.trim``).

When the disk is nearly full, whoever keeps most gives up attachments too, before new messages have to be
refused; but no texts: something else may be filling the disk.

Of several boxes only the one that leads does it, for all of them. Where two did, because they did not see
each other, an archive has a message twice: one of the two goes. What a device has yet to get is left alone:
it would not make room, because the device's queue has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from appliance.log import get_logger
from appliance.mail.content import read
from appliance.mail.errors import MailError
from appliance.mail.index import Entry, Part, Weight
from appliance.mail.indexer import Indexer, first_octets
from appliance.mail.places import all_places, places
from appliance.mail.settings import MailSettings
from appliance.mail.shelf import Shelf
from appliance.site import Message, Payload
from appliance.site.relaying import trim
from appliance.store import DiskFull, FileDamaged, Store, StoreError
from appliance.wire import INLINE_MAX

log = get_logger(__name__)

LOOK_EVERY_S: Final = 60.0
CATCH_UP_S: Final = 20.0
TWICE_EVERY: Final = 60
"""After so many looks: once an hour."""
BATCH: Final = 16
"""Messages that are trimmed at the same time, so that they share commits."""
HEAD_OCTETS: Final = 1024
"""What a message takes beside its data: the head, rows, and a part of the journal."""
LOW_WATER: Final = 0.95
"""Down to this share of the budget, so that the next message does not begin it anew."""
PARTS: Final[Sequence[Part]] = ("files", "body", "all")


class Budget:
    """``run`` it in a task. ``leads`` says whether this box does it for all."""

    def __init__(
        self,
        store: Store,
        shelf: Shelf,
        settings: MailSettings,
        indexer: Indexer,
        leads: Callable[[], bool],
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._settings = settings
        self._indexer = indexer
        self._leads = leads

    def limit(self) -> int:
        """What one member's archives may take, in octets."""
        share = int(self._store.disk.room().total * self._settings.budget_percent / 100)
        return min(share, self._settings.budget_octets)

    def used(self, member: int) -> int:
        """What they take, in octets; files that are named twice count twice."""
        octets = 0
        for place in places(self._store.site, member):
            count, size = self._indexer.size(place.node)
            octets += size + count * HEAD_OCTETS
        return octets

    async def run(self) -> None:
        """Until cancelled. Raises ``StoreError`` if the store has ended."""
        looks = 0
        while True:
            await trio.sleep(LOOK_EVERY_S)
            if not self._leads():
                continue
            try:
                await self.look()
                if looks % TWICE_EVERY == 0:
                    await self.drop_copies()
            except MailError:
                continue  # the indexer says what is wrong
            except StoreError:
                raise
            except Exception:
                log.exception("archives cannot be made smaller")
            looks += 1

    async def look(self) -> None:
        """Make room now, where some is needed. Raises ``MailError``, ``StoreError``."""
        limit = self.limit()
        used = {member: self.used(member) for member in list(self._store.site.members)}
        for member, octets in used.items():
            if octets > limit:
                await self._shrink(member, octets - int(limit * LOW_WATER), PARTS)
        wanted = self._pressure()
        if wanted > 0 and used:
            most = max(used, key=lambda member: used[member])
            if used[most] > 0:
                await self._shrink(most, wanted, PARTS[:1])

    async def drop_copies(self) -> None:
        """Let go of what archives have twice. Raises as ``look``."""
        for place in list(all_places(self._store.site)):
            for msgid in await self._shelf.use(self._shelf.index.twice, place.node):
                gone = partial(trim, node=place.node, msgid=msgid, head=b"", payload=None)
                await self._store.perform(gone)
                await self._shelf.use(self._shelf.index.remove, place.node, [msgid])

    def _pressure(self) -> int:
        """Octets that are missing on the disk before it is as full as new messages are refused at."""
        room = self._store.disk.room()
        return room.needed + room.reserve // 4 - room.free

    async def _shrink(self, member: int, octets: int, parts: Sequence[Part]) -> None:
        """Make ``octets`` of room, if there is so much to be had of these parts."""
        freed, messages = 0, 0
        nodes = [place.node for place in places(self._store.site, member)]
        await self._indexer.catch_up(nodes, CATCH_UP_S)  # a site may send a lot between two rounds
        for part in parts:
            after = 0
            while freed < octets:
                oldest = await self._shelf.use(self._shelf.index.oldest, nodes, part, after, BATCH)
                if not oldest:
                    break
                after = oldest[-1].number
                chosen = _enough(await self._free(oldest), part, octets - freed)
                done = await self._let_go(chosen, part)
                freed += sum(_gain(weight, part) for weight in done)
                messages += len(done)
        if messages:
            log.info(
                "archives made smaller",
                member=self._store.site.members[member].uid,
                messages=messages,
                octets=freed,
            )

    async def _free(self, weights: Sequence[Weight]) -> list[Weight]:
        """Those that no device has yet to get."""
        awaited: set[tuple[int, int]] = set()
        for node in {weight.node for weight in weights}:
            msgids = [weight.msgid for weight in weights if weight.node == node]
            awaited.update((node, msgid) for msgid in await self._store.relay.awaited(node, msgids))
        return [weight for weight in weights if (weight.node, weight.msgid) not in awaited]

    async def _let_go(self, weights: Sequence[Weight], part: Part) -> list[Weight]:
        """Let go of a part of these messages; returns those of which that is on stable storage."""
        done: list[Weight] = []
        new: list[Entry] = []

        async def one(weight: Weight) -> None:
            entry = await self._replace(weight, part)
            if entry is not None:
                done.append(weight)
                new.append(entry)

        async with trio.open_nursery() as nursery:
            for weight in weights:
                nursery.start_soon(one, weight)
        for node in {weight.node for weight in done}:
            gone = [weight.msgid for weight in done if weight.node == node]
            await self._shelf.use(self._shelf.index.remove, node, gone)
        await self._shelf.use(self._shelf.index.add, [entry for entry in new if entry.msgid])
        return done

    async def _replace(self, weight: Weight, part: Part) -> Entry | None:
        """The message as it is from now on, with id 0 if it is gone; None if nothing has changed."""
        node = weight.node
        found = await self._store.messages([weight.msgid])
        if not found:
            return None
        message = found[0]
        first = await first_octets(self._store, message)
        content = await trio.to_thread.run_sync(read, message.head, first, message.size)
        if part == "all":
            decision = await self._store.perform(lambda scene: trim(scene, node, message.msgid, b"", None))
            return Entry(node, 0, content) if decision.error is None else None
        keep = content.body_at + (content.body_kept if part == "files" else 0)
        if keep >= message.size:
            return None
        try:
            payload = await beginning(self._store, message, keep)
        except (DiskFull, FileDamaged):
            return None
        try:
            decision = await self._store.perform(
                lambda scene: trim(scene, node, message.msgid, message.head, payload)
            )
        finally:
            if payload.data is None:
                self._store.blobs.unpin(payload.digest)
        if decision.error is not None:
            return None
        left = await trio.to_thread.run_sync(read, message.head, first[:keep], keep)
        return Entry(node, decision.msgid, left)


async def beginning(store: Store, message: Message, octets: int) -> Payload:
    """The first octets of a message's data; a file of them is pinned. Raises ``FileDamaged``,
    ``StoreError``."""
    if message.data is not None or message.blob is None:
        return Payload.of((message.data or b"")[:octets])
    async with store.blobs.download(message.blob, message.size) as download:
        if octets <= INLINE_MAX:
            data = bytearray()
            while len(data) < octets and (piece := await download.read()):
                data += piece[: octets - len(data)]
            return Payload.of(bytes(data))
        upload = store.blobs.upload()
        try:
            while upload.size < octets and (piece := await download.read()):
                await upload.write([memoryview(piece)[: octets - upload.size]])
            return await upload.finish()
        finally:
            upload.abort()


def _gain(weight: Weight, part: Part) -> int:
    if part == "files":
        return weight.files_octets
    return weight.body_octets if part == "body" else weight.kept + HEAD_OCTETS


def _enough(weights: Sequence[Weight], part: Part, octets: int) -> list[Weight]:
    """The first ones that make so much room together."""
    chosen = []
    for weight in weights:
        if octets <= 0:
            break
        octets -= _gain(weight, part)
        chosen.append(weight)
    return chosen
