"""Updates of this box: looked for, fetched, verified and handed to the system, by hand or by itself at night.
One thing at a time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from datetime import time as TimeOfDay
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import trio

from appliance.health import Health
from appliance.log import get_logger
from appliance.updating import plan
from appliance.updating.errors import NoSource, Unmanaged, UpdateError
from appliance.updating.fetching import Fetcher
from appliance.updating.gathering import Found, Gatherer, sources_of
from appliance.updating.handing import GIVEN_UP, Handing
from appliance.updating.notes import Place
from appliance.updating.peers import Peers
from appliance.updating.plan import Offer, Wish
from appliance.updating.system import Slots, System, by_hand
from appliance.updating.trial import KEEP_S, Trial
from appliance.updating.turning import Turning
from appliance.updating.versions import is_newer, order

log = get_logger(__name__)

LOOK_S = 1.0
LATE_S = 7 * 86400.0

LATE = "no updates could be looked for in {days:.0f} days: {problem}"
UNDER_WAY = "an update is under way: see   pocket update status"


@dataclass(frozen=True, slots=True)
class Settings:
    """``automatic``: every day at ``at``, or up to ``jitter_s`` later. ``room``: octets that the disk can
    take beside its reserve.
    """

    automatic: bool
    at: TimeOfDay
    jitter_s: float
    room: Callable[[], int]


class Names(Protocol):
    """The other boxes of the site."""

    def name(self, box: str) -> str: ...


class Updater:
    """``run`` in a task."""

    def __init__(
        self,
        settings: Settings,
        system: System,
        place: Place,
        gatherer: Gatherer,
        handing: Handing,
        peers: Peers,
        turning: Turning,
        trial: Trial,
        names: Names,
        health: Health,
    ) -> None:
        self.notes = handing.notes
        self.trial = trial
        self._settings = settings
        self._system = system
        self._place = place
        self._gatherer = gatherer
        self._handing = handing
        self._peers = peers
        self._turning = turning
        self._names = names
        self._health = health
        self._fetcher = Fetcher(place, settings.room)
        self._jitter_s = random.SystemRandom().uniform(0, settings.jitter_s)
        self._busy: str | None = None
        self._phase: str | None = None
        self._result: dict[str, Any] | None = None
        self._problem: str | None = None
        self._version: str | None = None
        self._failed = False
        self._asked = trio.Event()
        self._work: Callable[[], Any] | None = None
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Do what is asked for, and what is due, until ``end``. Raises ``StoreBroken``."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.trial.run)
                nursery.start_soon(self._turning.run)
                if self._system.is_managed:
                    nursery.start_soon(self._run)

    def end(self) -> None:
        """The box stops: before its store does. What is being fetched is gone on with later."""
        self._scope.cancel()

    async def _run(self) -> None:
        await self._told(self._handing.tidy)
        while True:
            if self.notes.request:
                await self._told(self._handing.settle)
                self._judge()
            if self._work is not None:
                await self._do(self._work)
            elif self._is_due():
                self.notes.tried = time.time()
                self._begin("install", partial(self._install, Wish(by_hand=False), None, False, True))
                continue
            await self._told(self._look_after)
            self._judge()
            with trio.move_on_after(LOOK_S):
                await self._asked.wait()
            self._asked = trio.Event()

    # what people say

    async def check(self, folder: Path | None) -> dict[str, Any]:
        """What there is. Raises ``UpdateError``."""
        slots = self._slots()
        found = await self._gatherer.look(slots.board, folder)
        offers = [offer for one in found for offer in one.offers]
        if offers and folder is None:
            await self._note_offers(offers, by_itself=False)
        offers.sort(key=lambda offer: (order(offer.version), -offer.rank), reverse=True)
        newest = offers[0] if offers else None
        return {
            "board": slots.board,
            "running": slots.running,
            "newest": newest.version if newest is not None else None,
            "source": newest.where if newest is not None else None,
            "newer": newest is not None and is_newer(newest.version, slots.running),
            "left_before": newest is not None and newest.version in self._handing.shunned(slots),
            "sources": [
                {
                    "source": one.source.where,
                    "versions": [offer.version for offer in one.offers][:10],
                    "problem": one.problem,
                }
                for one in found
            ],
        }

    def install(self, wish: Wish, folder: Path | None, alone: bool, restart: bool) -> None:
        """Begin with it. Raises ``UpdateError``."""
        self._slots()
        self._begin("install", partial(self._install, wish, folder, alone, restart))

    def rollback(self, alone: bool, restart: bool) -> None:
        """Begin to go back to the version before. Raises ``UpdateError``."""
        self._slots()
        self._begin("rollback", partial(self._rollback, alone, restart))

    async def seen(self) -> None:
        """Somebody knows what the last one came to. Raises ``UpdateError``."""
        if not self.notes.seen:
            self.notes.seen = True
            await self._handing.note()
            self._judge()

    def state(self) -> dict[str, Any]:
        """How it is, and what the last thing came to."""
        slots, notes, about = self._system.slots(), self.notes, self.trial.about
        if not self._system.is_managed:
            return {"managed": False, "do": by_hand()}
        holder = self._turning.holder
        work = slots.work if slots is not None else None
        return {
            "managed": True,
            "board": slots.board if slots is not None else None,
            "version": slots.running if slots is not None else None,
            "trial": slots.trial if slots is not None else None,
            "tries_left": slots.tries_left if slots is not None else None,
            "unproven": self.trial.problem,
            "held": self.trial.held,
            "other": slots.other.version if slots is not None else None,
            "other_state": slots.other.state if slots is not None else None,
            "given_up": list(slots.given_up) if slots is not None else [],
            "shunned": list(notes.shunned),
            "running": self._busy,
            "phase": self._phase or ("restarting" if notes.request else None),
            "target": self._version or notes.version or None,
            "file": self._fetcher.name if self._phase == "fetching" else None,
            "octets": self._fetcher.octets,
            "octets_total": self._fetcher.total,
            "percent": work.percent if work is not None and work.id == notes.request else 0,
            "result": self._result,
            "problem": self._problem,
            "automatic": self._settings.automatic,
            "at": f"{self._settings.at:%H:%M}",
            "url": self._gatherer.url,
            "checked": notes.checked,
            "newest": notes.newest or None,
            "newest_from": notes.newest_from or None,
            "last_problem": notes.problem,
            "turn": {"box": holder, "name": self._names.name(holder)} if holder is not None else None,
            "outcome": notes.outcome or None,
            "outcome_version": notes.outcome_version or None,
            "outcome_at": notes.outcome_at,
            "outcome_text": notes.outcome_text,
            "kept": self._peers.kept,
            "tables_before": about.schema if about is not None and about.kept else None,
            "tables_until": about.at + KEEP_S if about is not None and about.kept else None,
        }

    def figures(self) -> Mapping[str, Any]:
        """For `pocket status` and the metrics."""
        slots, notes = self._system.slots() if self._system.is_managed else None, self.notes
        running = slots.running if slots is not None else ""
        return {
            "firmware": running or None,
            "firmware_newest": notes.newest or None,
            "update": {
                "managed": self._system.is_managed,
                "trial": slots is not None and slots.trial,
                "available": bool(running and notes.newest and is_newer(notes.newest, running)),
                "under_way": bool(notes.request or self._busy),
                "given_up": notes.outcome == GIVEN_UP,
                "automatic": self._settings.automatic,
                "checked": notes.checked,
            },
        }

    # work

    def _slots(self) -> Slots:
        """Raises ``UpdateError``."""
        if not self._system.is_managed:
            raise Unmanaged("this machine was not started from an image: " + "; ".join(by_hand()))
        slots = self._system.slots()
        if slots is None:
            raise UpdateError("the system does not say how its slots are: try again in a moment")
        return slots

    def _begin(self, what: str, work: Callable[[], Any]) -> None:
        if self._busy is not None or self.notes.request:
            raise UpdateError(UNDER_WAY)
        self._busy, self._result, self._problem, self._version = what, None, None, None
        self._work = work
        self._asked.set()

    async def _do(self, work: Callable[[], Any]) -> None:
        try:
            self._result = await work()
            self._failed = False
        except (UpdateError, OSError) as error:
            self._problem, self._failed = str(error), True
            log.warning("no update", what=self._busy, error=str(error))
        finally:
            self._busy = self._work = self._phase = None

    async def _install(self, wish: Wish, folder: Path | None, alone: bool, restart: bool) -> dict[str, Any]:
        try:
            done = await self._take(wish, folder, alone, restart)
        except (UpdateError, OSError) as error:
            if not wish.by_hand:
                self.notes.problem = str(error)
                await self._handing.note()
            raise
        if not wish.by_hand:
            self.notes.problem = ""
            await self._handing.note()
        return done

    async def _take(self, wish: Wish, folder: Path | None, alone: bool, restart: bool) -> dict[str, Any]:
        self._phase = "looking"
        slots = self._slots()
        found = await self._gatherer.look(slots.board, folder)
        offers = [offer for one in found for offer in one.offers]
        if not offers and (wish.by_hand or any(one.problem for one in found)):
            raise NoSource(_nobody(found))
        if offers and folder is None:
            await self._note_offers(offers, by_itself=not wish.by_hand)
        offer = plan.choose(offers, wish, slots.running, self._handing.shunned(slots))
        if offer is None:
            return {"version": slots.running, "installed": False, "restarts": False}
        self._version, self._phase = offer.version, "fetching"
        log.info("an update is taken", version=offer.version, source=offer.where)
        files = await self._fetcher.fetch(offer, sources_of(offer, found))
        await self._have_turn(alone)
        try:
            await self._handing.install(offer, files, wish, restart, slots)
        except BaseException:
            await self._handing.left()
            raise
        return {"version": offer.version, "installed": True, "restarts": restart}

    async def _rollback(self, alone: bool, restart: bool) -> dict[str, Any]:
        slots = self._slots()
        entries = await trio.to_thread.run_sync(self._handing.can_go_back, slots)
        self._version = slots.other.version
        await self._have_turn(alone)
        try:
            await self._handing.rollback(restart, slots)
        except BaseException:
            await self._handing.left()
            raise
        return {"version": slots.other.version, "installed": True, "restarts": restart, "entries": entries}

    async def _have_turn(self, alone: bool) -> None:
        self._phase = "waiting for the turn"
        if not alone:
            await self._turning.take()
        self._phase = "installing"

    # by itself

    async def _look_after(self) -> None:
        """What was kept for others goes when there is no room; the snapshot, when it is old."""
        if self._peers.kept is not None and self._settings.room() <= 0:
            log.info("the payload for other boxes goes: the disk is full")
            await trio.to_thread.run_sync(self._peers.keep, None, "", "")
            await trio.to_thread.run_sync(self._place.forget_kept)
        await trio.to_thread.run_sync(self.trial.let_go, time.time())

    def _is_due(self) -> bool:
        if not self._settings.automatic or self.notes.request or not self.trial.passed.is_set():
            return False
        slots = self._system.slots()
        if slots is None or slots.trial:
            return False
        jitter, tried = self._jitter_s, self.notes.tried
        return plan.due(datetime.now(), self._settings.at, jitter, tried, self._failed)

    async def _note_offers(self, offers: list[Offer], by_itself: bool) -> None:
        newest = max(offers, key=lambda offer: (order(offer.version), -offer.rank))
        self.notes.newest, self.notes.newest_from = newest.version, newest.where
        self.notes.checked = time.time()
        if by_itself:
            self.notes.tried = self.notes.checked
        await self._handing.note()

    def _judge(self) -> None:
        notes, now = self.notes, time.time()
        gave_up = notes.outcome == GIVEN_UP and not notes.seen
        self._health.warn("update", notes.outcome_text if gave_up else None)
        late = None
        if self._settings.automatic and notes.problem and 0 < notes.checked < now - LATE_S:
            late = LATE.format(days=(now - notes.checked) / 86400, problem=notes.problem)
        self._health.warn("update late", late)

    async def _told(self, work: Callable[[], Any]) -> None:
        """What goes wrong with it is tried again."""
        try:
            await work()
        except (UpdateError, OSError) as error:
            log.warning("updates are not looked after", error=str(error))
            await trio.sleep(LOOK_S)


def _nobody(found: list[Found]) -> str:
    problems = [f"{one.source.where}: {one.problem}" for one in found if one.problem]
    if problems:
        return "; ".join(problems)
    return (
        "nobody has an update: no other box keeps one, no stick with one is mounted, and there is no address"
        " (updates.url). Name a folder:   pocket update install --from DIR"
    )
