"""Backups of this box: made when somebody says so and every day, looked through, and restored on a blank box.

One thing at a time is done to sticks. What the last backup came to is in DATA/backup.json; until the next one
the journals keep what it would lack, for ``HOLD_S``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as TimeOfDay
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from appliance.backup.errors import BackupError, StickError, WrongKey
from appliance.backup.places import Sticks
from appliance.health import Health
from appliance.log import get_logger
from appliance.site import set_recovery
from appliance.store import Store, StoreBroken, StoreError, write_synced

if TYPE_CHECKING:
    from appliance.backup.opening import Backup
    from appliance.backup.writing import Writer

log = get_logger(__name__)

FILE = "backup.json"
LOOK_S = 5.0
RETRY_S = 600.0
LATE_S = 3 * 86400.0
HOLD_S = 3 * 86400.0

LATE = "no backup was made for {days:.0f} days: {problem}"
UNSEEN = (
    "nobody has seen the recovery key, without which a backup is worthless: say   pocket recovery-key show  "
    " and write it down"
)
FOUND = (
    "there is a backup in {place}: to make this blank box what was backed up, say   pocket restore {place}"
)
BLANK = (
    "this box has a site of its own, with {what}: restoring a backup would lose that. To go on, reset it"
    " first:   pocket factory-reset"
)


class Notes(msgspec.Struct):
    """What is kept in DATA/backup.json. Times in seconds since the epoch, of the box's clock. ``since``: when
    automatic backups were switched on. ``heads``: how far each journal is in the last backup.
    """

    automatic: bool = False
    since: float = 0.0
    made: float = 0.0
    folder: str = ""
    octets: int = 0
    heads: dict[str, int] = {}
    problem: str = ""
    seen: str = ""
    """The id of the recovery key that somebody has been shown."""


@dataclass(frozen=True, slots=True)
class Settings:
    """``data``: the box's data folder. ``at``: when a backup is made each day, if that is wanted."""

    data: Path
    folder: Path | None
    search: tuple[Path, ...]
    at: TimeOfDay
    program: str = ""


def _noted(path: Path) -> Notes:
    """What was kept; nothing if that cannot be read: a backup is made then, and its folder tells the rest."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Notes)
    except (OSError, msgspec.DecodeError):
        return Notes()


class Keeper:
    """``has``: what this box would lose if it became another one, None if it is blank. ``restart``: have it
    start anew inside. ``gave_up``: why it did not become another one when it should have, or None.
    """

    def __init__(
        self,
        store: Store,
        health: Health,
        settings: Settings,
        has: Callable[[], str | None],
        restart: Callable[[], None],
        gave_up: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.notes = _noted(settings.data / FILE)
        self._store = store
        self._health = health
        self._settings = settings
        self._sticks = Sticks(settings.search, settings.folder)
        self._has = has
        self._restart = restart
        self._gave_up = gave_up
        self._busy: str | None = None
        self._writer: Writer | None = None
        self._octets = self._total = 0
        self._result: dict[str, Any] | None = None
        self._problem: str | None = None
        self._asked = trio.Event()
        self._work: Callable[[], Any] | None = None
        self._tried = 0.0
        self._restoring = False
        self._scope = trio.CancelScope()
        self._lock = trio.Lock()

    async def run(self) -> None:
        """Do what is asked for, and what is due, until ``end``. Raises ``StoreBroken``."""
        with self._scope:
            await self._run()

    def end(self) -> None:
        """The box stops: before its store does. What is being written is as if it had not begun."""
        self._scope.cancel()

    async def _run(self) -> None:
        self._tried = self.notes.made
        self._store.upkeep.kept = self._kept
        while True:
            if self._work is not None:
                await self._do(self._work)
            elif self._is_due():
                self._begin("make", partial(self._make, None))
                continue
            if self._has() is None:
                await self._look_for_backup()
            else:
                self._health.warn("restore", None)
            self._judge()
            with trio.move_on_after(LOOK_S):
                await self._asked.wait()
            self._asked = trio.Event()

    # what people say

    def make(self, named: Path | None) -> None:
        """Begin with a backup. Raises ``BackupError`` if something is under way."""
        self._begin("make", partial(self._make, named))

    def verify(self, place: Path | None, secret: bytes | None) -> None:
        """Begin to prove a backup, the newest one here or that in ``place``. Raises ``BackupError``."""
        self._begin("verify", partial(self._verify, place, secret))

    def state(self) -> dict[str, Any]:
        """What is under way, and what the last thing came to."""
        writer = self._writer
        progress = writer.progress if writer is not None else None
        return {
            "running": self._busy,
            "phase": progress.phase if progress is not None else None,
            "anew": progress.anew if progress is not None else None,
            "entries": progress.entries if progress is not None else 0,
            "entries_total": progress.entries_total if progress is not None else 0,
            "octets": progress.octets if progress is not None else self._octets,
            "octets_total": progress.total if progress is not None else self._total,
            "result": self._result,
            "problem": self._problem,
            "automatic": self.notes.automatic,
            "at": f"{self._settings.at:%H:%M}",
            "made": self.notes.made,
            "folder": self.notes.folder,
            "size": self.notes.octets,
            "last_problem": self.notes.problem,
        }

    async def listed(self, place: Path | None) -> list[dict[str, Any]]:
        """What backups there are on the sticks, or in a folder. Raises ``BackupError``."""
        from appliance.backup.stick import find

        look = self._sticks.backups if place is None else partial(find, place)
        found = []
        for folder in await trio.to_thread.run_sync(look):
            about = await trio.to_thread.run_sync(folder.about)
            if about is not None:
                found.append({"folder": str(folder.path), **msgspec.to_builtins(about)})
        own = self._store.replica.own
        return [{**one, "own": one["box"] == own} for one in found]

    async def set_automatic(self, on: bool) -> None:
        """Raises ``BackupError``."""
        self.notes.automatic, self.notes.since = on, time.time()
        await self._note()
        self._judge()

    async def secret(self, renew: bool = False) -> bytes:
        """The secret of the site's recovery key, made if there is none; ``renew``: another one. Raises
        ``StoreError``.
        """
        from appliance.backup import keys

        if renew or self._store.site.recovery is None:
            await self._store.perform(partial(set_recovery, secret=keys.new_secret(), renew=renew))
        known = self._store.site.recovery
        assert known is not None
        return known[0]

    async def shown(self, key: str) -> None:
        """Somebody has seen the recovery key with this id. Raises ``BackupError``."""
        self.notes.seen = key
        await self._note()
        self._judge()

    async def look(self, place: Path, secret: bytes) -> Backup:
        """The newest backup in ``place`` that a recovery key opens. Raises ``BackupError``."""
        from appliance.backup.opening import choose

        return await trio.to_thread.run_sync(choose, place, secret)

    async def restore(self, place: Path, secret: bytes) -> str:
        """Become a new box of the site that is in the backup; its id. When this returns, this box is about to
        start anew, and then fetches everything. Raises ``BackupError``.
        """
        from appliance.backup import keys, restoring

        if (what := self._has()) is not None:
            raise BackupError(BLANK.format(what=what))
        backup = await self.look(place, secret)
        if self._restoring:
            raise BackupError("a backup is being restored already: wait a moment")
        self._restoring = True
        try:
            box = await trio.to_thread.run_sync(restoring.begin, self._settings.data, backup)
        except (OSError, ValueError) as error:
            self._restoring = False
            raise BackupError(f"this box cannot be restored: {error}") from error
        with suppress(BackupError):
            await self.shown(keys.key_id(secret))
        log.warning("restoring", site=backup.state.site, made=backup.state.made, box=box)
        self._restart()
        return box

    def figures(self) -> Mapping[str, Any]:
        """For `pocket status` and the metrics."""
        notes = self.notes
        return {"backup": {"made": notes.made, "octets": notes.octets, "automatic": notes.automatic}}

    # work

    def _begin(self, what: str, work: Callable[[], Any]) -> None:
        if self._busy is not None:
            raise BackupError("a backup is being made or looked through already: see   pocket backup list")
        self._busy, self._result, self._problem = what, None, None
        self._octets = self._total = 0
        self._work = work
        self._asked.set()

    async def _do(self, work: Callable[[], Any]) -> None:
        making = self._busy == "make"
        try:
            self._result = await work()
        except StoreBroken:
            raise
        except (BackupError, StoreError, OSError) as error:
            self._problem = str(error)
            told = log.debug if making and self._problem == self.notes.problem else log.warning
            told("backup failed", what=self._busy, error=str(error))
        finally:
            self._busy = self._work = self._writer = None
        if making:
            self.notes.problem = self._problem or ""
            with suppress(BackupError):
                await self._note()

    async def _make(self, named: Path | None) -> dict[str, Any]:
        from appliance.backup.writing import Writer

        self._tried = time.time()
        secret = await self.secret()
        place = await trio.to_thread.run_sync(self._sticks.to_write_to, named)
        began = time.monotonic()
        writer = self._writer = Writer(
            self._store, self._settings.data, secret, place, self._settings.program
        )
        state = await writer.run()
        notes = self.notes
        notes.made, notes.folder, notes.octets = state.made, str(writer.folder.path), state.octets
        notes.heads = {box: head.seq for box, head in state.heads.items()}
        took = time.monotonic() - began
        log.info("backup made", folder=notes.folder, octets=state.octets, took_s=round(took, 1))
        return {
            "folder": notes.folder,
            "octets": state.octets,
            "messages": state.messages,
            "attachments": len(state.files),
            "anew": writer.progress.anew,
            "took_s": round(took, 1),
        }

    async def _verify(self, place: Path | None, secret: bytes | None) -> dict[str, Any]:
        from appliance.backup.opening import choose
        from appliance.backup.pacing import each

        if place is None:
            found = await trio.to_thread.run_sync(self._sticks.backups)
            if not found:
                raise StickError("there is no backup on any stick that is mounted: name its folder")
            place = found[0].path
        backup = await trio.to_thread.run_sync(choose, place, secret or await self.secret())
        state = backup.state
        self._total = state.octets
        await each(backup.check(), self._read)
        return {
            "folder": str(backup.folder.path),
            "site": state.site,
            "made": state.made,
            "octets": state.octets,
            "members": state.members,
            "messages": state.messages,
            "attachments": len(state.files),
        }

    def _read(self, octets: int) -> None:
        self._octets += octets

    # by itself

    def _is_due(self) -> bool:
        """Each day at the hour that is set; again after a while where that failed."""
        if not self.notes.automatic or self._has() is None:
            return False
        now = datetime.now()
        last = datetime.combine(now.date(), self._settings.at)
        if last > now:
            last -= timedelta(days=1)
        if last.timestamp() <= self.notes.made <= now.timestamp():
            return False
        since = time.time() - self._tried  # below 0: the clock was wrong then
        return self._tried < last.timestamp() or not 0 <= since <= RETRY_S

    def _judge(self) -> None:
        notes, now = self.notes, time.time()
        late = None
        since = max((at for at in (notes.made, notes.since) if at <= now), default=now)
        if notes.automatic and now - since > LATE_S:
            days = (now - since) / 86400
            late = LATE.format(days=days, problem=notes.problem or "the box was off, or its clock was wrong")
        self._health.warn("backup", late)
        self._health.warn(
            "recovery key", UNSEEN if (notes.made or notes.automatic) and not self._seen else None
        )

    @property
    def _seen(self) -> bool:
        """Whether somebody has been shown the recovery key on this box."""
        recovery = self._store.site.recovery
        if recovery is None or not self.notes.seen:
            return False
        from appliance.backup import keys

        return keys.key_id(recovery[0]) == self.notes.seen

    def _kept(self) -> Mapping[str, int] | None:
        notes = self.notes
        held = notes.automatic and 0 <= time.time() - notes.made < HOLD_S
        return notes.heads if held else None

    async def _look_for_backup(self) -> None:
        """A blank box: a stick with a backup and the recovery key beside it is what it is to become."""
        if (problem := self._gave_up()) is not None:
            self._health.warn("restore", problem)
            return
        found = await trio.to_thread.run_sync(self._sticks.backups)
        for folder in found:
            typed = await trio.to_thread.run_sync(self._sticks.key_beside, folder)
            if typed and not self._restoring:
                from appliance.backup import keys

                try:
                    await self.restore(folder.path, keys.typed(typed))
                    return
                except WrongKey:
                    continue
                except BackupError as error:
                    self._health.warn("restore", f"the backup in {folder.path} cannot be restored: {error}")
                    return
        place = found[0].path if found else None
        self._health.warn("restore", FOUND.format(place=place) if place is not None else None)

    async def _note(self) -> None:
        path = self._settings.data / FILE
        try:
            async with self._lock:
                await trio.to_thread.run_sync(write_synced, path, msgspec.json.encode(self.notes))
        except OSError as error:
            raise BackupError(f"{path} cannot be written: {error}") from error
