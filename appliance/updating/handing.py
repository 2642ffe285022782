"""What is handed to the system, and what becomes of it, over restarts of the box and of the machine.

What was asked is in DATA/update/notes.json before the system hears of it, and is judged by what the system
says whenever the box looks (``settling``): so it does not matter how often both start in between, or why.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from appliance.log import get_logger
from appliance.store import schema, snapshot
from appliance.updating import settling
from appliance.updating.errors import UpdateError
from appliance.updating.notes import SHUNNED_MAX, Before, Notes, Place, Request
from appliance.updating.peers import Peers
from appliance.updating.plan import Offer, Wish
from appliance.updating.system import Slots, System
from appliance.updating.trial import Trial
from appliance.updating.turning import Turning
from appliance.updating.versions import is_newer

log = get_logger(__name__)

NOTES = "notes.json"
BEFORE = "before.json"
LOOK_S = 1.0
STUCK_S = 1800.0
"""The system has said nothing new for so long."""

INSTALLED, GIVEN_UP, WENT_BACK, FAILED = "installed", "given up", "went back", "failed"

GAVE_UP = (
    "version {version} was tried and did not prove itself: {running} runs again, with everything.   pocket"
    " update status   tells, and ends this warning"
)
BACK_NOTHING = "there is no other version to go back to"
BACK_LOST = (
    "version {version} cannot read the data that this one has made, and {why}: going back would lose what"
    " came since. If it has to be: copy the data folder away, flash {version} anew, and restore a backup"
)


class Others(Protocol):
    """The other boxes of the site."""

    def linked(self) -> list[str]: ...


class Handing:
    """``network``: whether there is one. ``room``: octets that the disk can take beside its reserve."""

    def __init__(
        self,
        system: System,
        place: Place,
        peers: Peers,
        turning: Turning,
        trial: Trial,
        others: Others,
        network: Callable[[], bool],
        room: Callable[[], int],
    ) -> None:
        self.notes = place.read(NOTES, Notes) or Notes()
        self._system = system
        self._place = place
        self._peers = peers
        self._turning = turning
        self._trial = trial
        self._others = others
        self._network = network
        self._room = room
        self._moved: tuple[object, float] = (None, 0.0)

    # what is asked for

    async def install(
        self, offer: Offer, files: Mapping[str, Path], wish: Wish, restart: bool, slots: Slots
    ) -> None:
        """Hand over files that are whole and right. Returns when they are installed. Raises
        ``UpdateError``.
        """
        await trio.to_thread.run_sync(self._stage, offer, files)
        id = secrets.token_hex(8)
        request = Request("install", offer.version, wish.downgrade, wish.again, restart, id)
        await self._hand_over(request, slots)

    async def rollback(self, restart: bool, slots: Slots) -> None:
        """Have the version before started again. Raises ``UpdateError``."""
        assert slots.other.version is not None
        await trio.to_thread.run_sync(self._place.unstage)
        request = Request("rollback", slots.other.version, True, False, restart, secrets.token_hex(8))
        await self._hand_over(request, slots)

    def can_go_back(self, slots: Slots) -> int:
        """How many entries of the journals the version before has to take over. Blocks. Raises
        ``UpdateError`` if there is no going back.
        """
        version, state = slots.other.version, slots.other.state
        if version is None or state == "empty":
            raise UpdateError(BACK_NOTHING)
        if state != "good":
            raise UpdateError(f"the other version, {version}, is {state}: there is nothing to go back to")
        about = self._trial.about
        if about is None or about.to != schema.VERSION or is_newer(version, slots.running):
            return 0
        if not about.kept:
            raise UpdateError(BACK_LOST.format(version=version, why="what it could is not kept any more"))
        count, gap = snapshot.gained(self._place.folder.parent, about.heads)
        if gap is not None:
            why = f"some entries of box {gap} are not here any more"
            raise UpdateError(BACK_LOST.format(version=version, why=why))
        return count

    async def left(self) -> None:
        """It did not come to it, or may not have: if so, other boxes may go."""
        if not self.notes.request:
            with suppress(UpdateError), trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await self._turning.give_back()

    def _stage(self, offer: Offer, files: Mapping[str, Path]) -> None:
        self._place.begin_staging(offer.sums, offer.signature)
        for name, path in files.items():
            path.rename(self._place.staged / name)

    async def _hand_over(self, request: Request, slots: Slots) -> None:
        """Ask the system, and follow what it does."""
        before = Before(slots.running, self._others.linked(), self._network(), time.time())
        await trio.to_thread.run_sync(self._place.write, BEFORE, before)
        notes = self.notes
        notes.request, notes.want, notes.version = request.id, request.want, request.version
        notes.before, notes.again, notes.armed, notes.starts = slots.running, request.again, False, 0
        await self.note()
        await trio.to_thread.run_sync(self._place.ask, request)
        while notes.request == request.id and not notes.armed:
            await self.settle()
            await trio.sleep(LOOK_S / 4)
        if not notes.armed:
            raise UpdateError(notes.outcome_text or "the system did not install it")
        log.info("installed", version=request.version, restarts=request.restart)

    # what becomes of it

    async def settle(self) -> None:
        """Judge what was asked for, by what the system says now. Raises ``UpdateError``, ``OSError``."""
        slots, notes = self._system.slots(), self.notes
        if slots is None:
            return
        asked = await trio.to_thread.run_sync(self._place.asked)
        verdict, why = settling.settle(notes, slots, asked is not None and asked.id == notes.request)
        work = slots.work
        if work.id == notes.request and work.state == "installed" and not notes.armed:
            notes.armed = True
            await self.note()
        match verdict:
            case "start":
                notes.starts += 1
                await self.note()
                await self._system.start()
                await trio.sleep(LOOK_S)
            case "wait" if self._is_stuck(work) and not notes.armed:
                await self._over(FAILED, "the system has said nothing for half an hour: see its log")
            case "wait" | "trial":
                pass
            case "installed" if self._trial.passed.is_set():
                await self._keep(slots)
                await self._over(INSTALLED, f"{notes.version} came after {notes.before}")
            case "went back" if self._trial.passed.is_set():
                self._shun(notes.before)
                await self._over(WENT_BACK, f"to {notes.version}, from {notes.before}")
            case "given up":
                self._shun(notes.version)
                text = GAVE_UP.format(version=notes.version, running=slots.running)
                await self._over(GIVEN_UP, text)
            case "failed":
                await self._over(FAILED, why)

    def _is_stuck(self, said: object) -> bool:
        now = time.monotonic()
        if said != self._moved[0]:
            self._moved = said, now
        return now - self._moved[1] > STUCK_S

    async def _over(self, outcome: Any, text: str) -> None:
        """First what was staged goes, then the turn, then it is not under way any more."""
        notes = self.notes
        log.info("an update is over", outcome=outcome, version=notes.version, text=text)
        await trio.to_thread.run_sync(self._place.unstage)
        await self._turning.give_back()
        notes.outcome, notes.outcome_version, notes.outcome_text = outcome, notes.version, text
        notes.outcome_at, notes.seen = time.time(), outcome != GIVEN_UP
        notes.request = notes.want = notes.version = notes.before = ""
        await self.note()

    def _shun(self, version: str) -> None:
        self.notes.shunned = [*(v for v in self.notes.shunned if v != version), version][-SHUNNED_MAX:]

    def shunned(self, slots: Slots) -> list[str]:
        """What is not taken again by itself."""
        return [*slots.given_up, *self.notes.shunned]

    async def _keep(self, slots: Slots) -> None:
        """The payload of what runs, for the other boxes, if there is as much room again."""
        with suppress(OSError):
            if self._room() > await trio.to_thread.run_sync(self._staged_octets):
                await trio.to_thread.run_sync(self._place.keep)
                await trio.to_thread.run_sync(self._peers.keep, self._place.kept, slots.board, slots.running)

    def _staged_octets(self) -> int:
        return sum(path.stat().st_size for path in self._place.staged.iterdir())

    async def tidy(self) -> None:
        """At the start: what nobody asked for any more goes; a turn that is of no use is given back."""
        if not self.notes.request:
            await trio.to_thread.run_sync(self._place.unstage)
            await self._turning.give_back()
        slots = self._system.slots()
        if slots is not None and self._place.kept.is_dir():
            try:
                keep = partial(self._peers.keep, self._place.kept, slots.board, slots.running)
                await trio.to_thread.run_sync(keep)
            except OSError as error:
                log.warning("the payload that was kept cannot be read", error=str(error))
            if self._peers.kept is None:
                await trio.to_thread.run_sync(self._place.forget_kept)

    async def note(self) -> None:
        """Keep the notes. Raises ``UpdateError``."""
        try:
            await trio.to_thread.run_sync(self._place.write, NOTES, self.notes)
        except OSError as error:
            raise UpdateError(f"{self._place.folder / NOTES} cannot be written: {error.strerror}") from error
