"""A box of the simulation: files, a clock, and a real store on them for as long as it is switched on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from trio.testing import wait_all_tasks_blocked

from appliance.replication.judging import Restored
from appliance.site import Limits
from appliance.store import Arrival, Position, Store, StoreSettings, reading
from appliance.store.journal import KEY_NAME, BoxKey
from tests.sim.lab import Lab

if TYPE_CHECKING:
    from tests.sim.line import Line

SETTINGS = StoreSettings(acks_delay_s=0.005, spill_every_s=3600.0, reserve_percent=0.0, reserve_octets=0)
LIMITS = Limits(disk_octets_per_member=1 << 40)
SPILLS_SEEN = 3
Told = Callable[["Box", Sequence[Arrival]], None]
"""Hears of what a box has committed."""


class Box:
    """``name`` is for people who read a schedule. ``gone``: its disk is lost, or it was found to be a copy.
    ``on``: it takes part. ``turned``:
    its clock was. ``telling``: the level of the answers that its store gives at this moment.
    """

    def __init__(self, lab: Lab, name: str, seed: str, told: Told) -> None:
        self.lab = lab
        self.name = name
        self.folder = lab.folder / seed / name
        self.folder.mkdir(parents=True)
        private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest())
        (self.folder / KEY_NAME).write_bytes(private.private_bytes_raw())
        self.key = BoxKey(private)
        self.id = self.key.box
        self.skew_ns = 0
        self.on = False
        self.gone = False
        self.lines: set[Line] = set()
        self.met: dict[str, float] = {}
        self.confirmed: dict[str, dict[str, int]] = {}
        """When other boxes were last met, and what they said that they have."""
        self.wants_copy = False
        self.turned = False
        self.telling: bool | None = None
        self._told = told
        self._nursery: trio.Nursery
        self._scope: trio.CancelScope
        self._ended: trio.Event
        self.store: Store

    def __repr__(self) -> str:
        return self.name

    @property
    def positions(self) -> Mapping[str, Position]:
        return self.store.replica.positions()

    @property
    def now_s(self) -> float:
        return self.lab.wall.ns / 1e9

    def seq(self, box: str) -> int:
        """How far this box has the journal of another."""
        position = self.positions.get(box)
        return position.seq if position is not None else 0

    def has(self, box: str, seq: int) -> bool:
        return self.on and self.seq(box) >= seq

    # on and off

    async def open(self, nursery: trio.Nursery, gaps: bool = False) -> None:
        """Switch it on. ``gaps``: to fill it with a copy."""
        self._nursery = nursery
        token = self.lab.wall.own.set(lambda: self.skew_ns)
        try:
            store = self.store = Store.open(self.folder, SETTINGS, LIMITS, gaps)
            store.upkeep.needed = self._needed
            if not gaps:
                store.replica.on_entries.append(lambda arrivals: self._told(self, arrivals))
            tell_first = store.copies._tell_first

            def noted(level_2: bool) -> None:
                self.telling = level_2
                tell_first(level_2)
                self.telling = None

            setattr(store.copies, "_tell_first", noted)  # noqa: B010
            self._scope, self._ended = trio.CancelScope(), trio.Event()
            nursery.start_soon(self._own, store, self._scope, self._ended)
        finally:
            self.lab.wall.own.reset(token)
        self.on = not gaps
        for other in self.confirmed:
            store.copies.reach(other, False)
        if not gaps:
            ledger = store._ledger
            entries = reading.read_entries(store._database.connection, {ledger.number: (self.id, b"")})
            self._told(self, [Arrival.of(entry) for entry in entries])  # a crash left some untold
        await wait_all_tasks_blocked()

    async def _own(self, store: Store, scope: trio.CancelScope, ended: trio.Event) -> None:
        with scope:
            await store.run()
        ended.set()

    async def close(self) -> None:
        """Switch it off as one should."""
        self.cut_lines()
        self.on = False
        self.store.close()
        await self._ended.wait()

    async def crash(self) -> None:
        """Its process is killed."""
        self.cut_lines()
        self.on = False
        self._scope.cancel()
        await self._ended.wait()
        self.store._database.connection.close()

    async def reopen(self) -> None:
        await self.open(self._nursery)

    async def power_cut(self) -> None:
        """Go on with the files as they are at this moment."""
        copy = self.save("cut")
        await self.put_back(copy)

    def save(self, name: str) -> Path:
        """A copy of the card as it is."""
        copy = self.folder.with_name(f"{self.name}.{name}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.folder, copy, ignore=shutil.ignore_patterns("*-shm", f"{self.name}.*"))
        return copy

    async def put_back(self, copy: Path) -> None:
        """Go on with a copy of the card."""
        await self.crash()
        shutil.rmtree(self.folder)
        shutil.copytree(copy, self.folder)
        await self.reopen()

    async def lose(self) -> None:
        """Nothing is left of it."""
        await self.crash()
        self.gone = True
        shutil.rmtree(self.folder)

    async def spill(self) -> None:
        self.store.upkeep._last_spill = float("-inf")
        for _ in range(SPILLS_SEEN):
            self.store._ring()
            await wait_all_tasks_blocked()

    # what its links tell it

    def cut_lines(self) -> None:
        for line in list(self.lines):
            line.cut()

    def heard(self, other: Box, positions: Mapping[str, int]) -> None:
        """Another box has this on stable storage."""
        self.met[other.id] = self.now_s
        known = self.confirmed.setdefault(other.id, {})
        for box, seq in positions.items():
            known[box] = max(seq, known.get(box, 0))

    def _needed(self) -> Mapping[str, int] | None:
        """What may be cut: what all have who were met in the last 90 days. Of what this box says itself, only
        what some other box has."""
        boxes = self.store.site.boxes
        others = [box for box in boxes if box != self.id and boxes[box].cut is None]
        if not others:
            return None
        active = [box for box in others if self.now_s - self.met.get(box, 0.0) < 90 * 86_400]
        needed = {
            box: min((self.confirmed.get(o, {}).get(box, 0) for o in active), default=1 << 60)
            for box in self.positions
        }
        given = max((self.confirmed.get(o, {}).get(self.id, 0) for o in others), default=0)
        needed[self.id] = min(needed[self.id], given) if self.id in needed else given
        return needed


__all__ = ["Box", "Restored"]
