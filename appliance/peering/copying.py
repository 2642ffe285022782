"""The copy of a box that joins: how far it is, in words, and what becomes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.peering.folder import COPY, Joining, prepare_copy
from appliance.peering.naming import note_lost
from appliance.peering.tail import say_tail
from appliance.replication.copying import Copier, CopyProgress, Source, Spoiled
from appliance.replication.errors import Code
from appliance.replication.identity import Identity
from appliance.store import Store
from appliance.store.journal import KEY_NAME
from appliance.version import __version__

log = get_logger(__name__)

GIVE_UP_S = 30.0
"""For how long all boxes have to say that this one is none of the site's."""
LOOK_EVERY_S = 0.5
NONE_OF_THEM = (Code.UNKNOWN, Code.REVOKED)


class Copying:
    """``folder`` is the box's data folder, ``open_copy`` opens the store in a folder as a copy; it blocks."""

    def __init__(self, folder: Path, facts: Joining, open_copy: Callable[[Path], Store]) -> None:
        self.gave_up: str | None = None
        """Why this box cannot join; None if it can."""
        self._folder = folder
        self._facts = facts
        self._open_copy = open_copy
        self._copier: Copier | None = None
        self._store: Store | None = None

    @property
    def text(self) -> str:
        """How far it is."""
        return "joining: beginning" if self._copier is None else told(self._copier.progress, self._names)

    @property
    def problem(self) -> str | None:
        """What keeps it from going on."""
        return None if self._copier is None else self._copier.progress.problem

    async def run(self) -> bool:
        """Until the copy is complete and closed; False if it never will be. Cancelled, what came so far
        stays. Raises ``OSError``, ``StoreError``, ``ValueError``.
        """
        while True:
            copy = await trio.to_thread.run_sync(prepare_copy, self._folder)
            identity = await trio.to_thread.run_sync(Identity.load, copy / KEY_NAME)
            self._copier = Copier(
                identity,
                self._sources,
                copy,
                partial(self._open, copy),
                settle=self._settle,
                own_seq=lambda: self._facts.own_seq,
                program=__version__,
            )
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, self._copier, nursery.cancel_scope)
                    await self._copier.run()
                    nursery.cancel_scope.cancel()
                return self.gave_up is None
            except* Spoiled as group:
                log.warning("the copy is begun anew", reason=str(group.exceptions[0]))
            self._copier = None
            await trio.to_thread.run_sync(shutil.rmtree, self._folder / COPY)

    async def _settle(self) -> None:
        """All else is here: what this box has from its time as another one goes on top."""
        if self._store is None:
            return
        if self._facts.of:
            await say_tail(self._folder, self._facts.of, self._store)
        if was := self._facts.of or (self._facts.again and self._store.replica.own):
            await note_lost(self._folder, was, self._store)

    def _open(self, copy: Path) -> Store:
        store = self._store = self._open_copy(copy)
        store.replica.trusted.update({box.box: box.public for box in self._facts.boxes})
        return store

    def _sources(self) -> list[Source]:
        """The boxes that may be asked, that which let us in first."""
        boxes = [box for box in self._facts.boxes if box.cut is None and box.addresses]
        boxes.sort(key=lambda box: (box.box != self._facts.host, box.slot))
        return [Source(box.box, box.public, tuple(box.addresses)) for box in boxes]

    @property
    def _names(self) -> dict[str, str]:
        return {box.box: box.name for box in self._facts.boxes}

    async def _watch(self, copier: Copier, scope: trio.CancelScope) -> None:
        """Give up if this box is none of the site's. One that was before keeps trying; one that was another
        one goes back to that, and asks anew.
        """
        since = trio.current_time()
        while True:
            await trio.sleep(LOOK_EVERY_S)
            now = trio.current_time()
            lasting = self._facts.again or (self._facts.of and copier.refused == Code.REVOKED)
            if copier.refused not in NONE_OF_THEM or lasting:
                since = now
            elif now - since > GIVE_UP_S:
                self.gave_up = f"this box did not get into {self._facts.site}: {copier.progress.problem}"
                scope.cancel()
                return


def told(progress: CopyProgress, names: dict[str, str]) -> str:
    """How far a copy is, for people."""
    source = names.get(progress.source, progress.source)
    left = "" if progress.seconds_left is None else f", {_span(progress.seconds_left)} left"
    match progress.phase:
        case "entries":
            share = progress.entries / max(progress.entries_total, 1)
            return f"joining: {share:.0%} of the journal, {_size(progress.octets)} from {source}{left}"
        case "attachments":
            size = f"{_size(progress.octets)} of {_size(progress.octets_total)}"
            return f"joining: attachments, {size} from {source}{left}"
        case "following" | "complete":
            return "joining: everything is here"
        case _:
            return f"joining: connecting{f', {progress.problem}' if progress.problem else ''}"


def _size(octets: int) -> str:
    return f"{octets / (1 << 20):,.1f} MiB"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
