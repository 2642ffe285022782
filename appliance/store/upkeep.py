"""What the store does now and then: queues go to the tables after ``spill_weight`` changes or
``spill_every_s``, the log into the database, old traffic entries go, a ballast file keeps room for
acknowledgements.

Called by the owner, between commits.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping

from appliance.log import get_logger
from appliance.store import reading, relay
from appliance.store.blobs import Blobs
from appliance.store.cache import Cache
from appliance.store.cutting import Cutter
from appliance.store.database import Database, Write
from appliance.store.disk import Disk
from appliance.store.errors import DiskFull
from appliance.store.jobs import StoreSettings
from appliance.store.ledger import Ledger

log = get_logger(__name__)

CUT_EVERY_S = 600.0
FORGET_EVERY_S = 86_400.0
BALLAST_EVERY_S = 60.0
FULL_REST_S = 10.0
"""How long large writes are left alone after one found no space."""


class Upkeep:
    """``needed`` says up to which seq every other box of the site has each journal, by box id; None where
    there is no other box. ``kept`` says so of the last backup, None where there is none to wait for.
    """

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        blobs: Blobs,
        cache: Cache,
        disk: Disk,
        settings: StoreSettings,
        committed: Callable[[Write], None],
    ) -> None:
        self.trouble: str | None = None
        """What keeps the store from making anything durable, as of the last try; None if nothing does."""
        self.needed: Callable[[], Mapping[str, int] | None] = lambda: None
        self.kept: Callable[[], Mapping[str, int] | None] = lambda: None
        self.undo: Callable[[], Mapping[str, int] | None] = lambda: None
        """How far the journals were in the snapshot that an older version would go back to, or None."""
        self._database = database
        self._ledger = ledger
        self._cutter = Cutter(ledger)
        self._blobs = blobs
        self._cache = cache
        self._disk = disk
        self._settings = settings
        self._committed = committed
        self._last_spill = self._last_ballast = time.monotonic()
        self._rest_until = -math.inf
        self._last_forgotten = -math.inf
        self._last_cut = -math.inf  # soon: a box that is switched off often has to come to it, too

    @property
    def spill_weight(self) -> int:
        """How much a spill has to do: changes of the queues, and messages that may have no queue left."""
        return self._ledger.queues.weight + self._database.touched

    async def look(self) -> None:
        """Spill, cut, checkpoint, ballast, when they are due. Raises ``StoreBroken``."""
        now = time.monotonic()
        weight = self.spill_weight
        rested = now >= self._rest_until
        if weight and (
            (weight > self._settings.spill_weight and rested)
            or now - self._last_spill > self._settings.spill_every_s
        ):
            await self.spill()
        if self._blobs.has_loose:
            await self._remove_loose()
        if rested and self._database.checkpoint_due(self._disk.room().low):
            async with self._ledger.lock:
                try:
                    await self._ledger.thread(self._database.checkpoint)
                except DiskFull as error:
                    self._rest_until = now + FULL_REST_S
                    await self.make_room(error, "log not copied")
        if now - self._last_ballast > BALLAST_EVERY_S:
            self._last_ballast = now
            await self._ledger.thread(self._disk.set_ballast)

    async def spill(self) -> None:
        """Bring the queues to the tables, now. Raises ``StoreBroken``."""
        now = time.monotonic()
        self._last_spill = now
        async with self._ledger.lock:
            finished = self._ledger.queues.finished()
            try:
                spilled = await self._ledger.spill()
            except DiskFull as error:
                self._rest_until = now + FULL_REST_S
                await self.make_room(error, "queues not brought to the tables")
                return
            for msgid, *_ in finished:
                self._cache.drop(msgid)
            if now - self._last_cut > CUT_EVERY_S:
                await self._cut(now)
        await self._blobs.remove(spilled.blobs)

    async def make_room(self, error: DiskFull, what: str) -> None:
        """Something found no space: let go of the ballast, and empty the log into the database so that its
        room can be used anew. The caller holds the lock. Raises ``StoreBroken``.
        """
        self.trouble = str(error)
        freed = await self._ledger.thread(self._disk.drop_ballast)
        log.error("disk full", what=what, ballast="dropped" if freed else "gone already")
        with contextlib.suppress(DiskFull):
            await self._ledger.thread(self._database.checkpoint)

    def _limits(self) -> Mapping[str, int]:
        """Up to which seq entries may go: every other box has them, and the last backup."""
        limits = {box: head.seq for box, head in self._ledger.heads.items()}
        for there in (self.needed(), self.kept(), self.undo()):
            if there is not None:
                limits = {box: min(seq, there.get(box, 0)) for box, seq in limits.items()}
        return limits

    async def _cut(self, now: float) -> None:
        """Old entries go. A bit at a time: the next soon, if there is more. The caller holds the lock."""
        self._last_cut = now
        try:
            write, more = await self._cutter.cut(self._limits())
            self._committed(write)
            if more:
                self._last_cut = now - CUT_EVERY_S
            elif now - self._last_forgotten > FORGET_EVERY_S:
                self._last_forgotten = now
                await self._ledger.read(relay.forget, self._ledger.clock)
        except DiskFull as error:
            self._rest_until = now + FULL_REST_S
            await self.make_room(error, "journal not cut")

    async def _remove_loose(self) -> None:
        """Remove the blobs of requests that were refused, repeated or given up."""
        loose = self._blobs.take_loose() - {m.blob for m in self._ledger.queues.messages.values()}
        if loose:
            async with self._ledger.lock:
                unnamed = await self._ledger.read(reading.unnamed, loose)
            await self._blobs.remove(unnamed)
