"""The first start of a version: what it has to prove, and who is not let in before that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import trio

from appliance.health import Health
from appliance.log import get_logger
from appliance.store import snapshot
from appliance.updating.proof import Proof, write_proof
from appliance.updating.system import Slots, System
from appliance.version import __version__

log = get_logger(__name__)

LOOK_S = 1.0
SLOTS_S = 30.0
"""How long the system may take to say how it is."""

KEEP_S = 7 * 86400.0
"""For so long an older version could go back without losing anything."""

ON_TRIAL = "version {version} is being tried: {problem}. Else the one before comes back"
WORKS = "it works, and the system is about to keep it"
HELD = (
    "no messages are taken yet: version {version} changed the tables and has yet to prove itself, so that"
    " going back loses nothing"
)


class Trial:
    """``run`` in a task. ``held`` says why clients are not let in now; None: they are."""

    def __init__(self, system: System, data: Path, proof: Proof, health: Health) -> None:
        self.about = snapshot.about(data)
        """Of the database as it was before this version changed it."""

        self._system = system
        self._data = data
        self._proof = proof
        self._health = health
        self.passed = trio.Event()
        """Set when this start need not prove anything more."""

        slots = system.slots()
        changed = self.about is not None and self.about.kept and not self.about.proven
        self.held: str | None = None
        if system.is_managed and changed and (slots is None or slots.trial):
            self.held = HELD.format(version=slots.running if slots is not None else __version__)

    @property
    def problem(self) -> str | None:
        """What is still to be proven; None if nothing is."""
        return None if self.passed.is_set() else self._proof.problem

    def heads(self) -> Mapping[str, int] | None:
        """How far the journals were in the snapshot, which is as long as they are to reach."""
        about = self.about
        return about.heads if about is not None and about.kept and about.done else None

    async def run(self) -> None:
        """Until it is proven, and the system knows. Raises ``StoreBroken``."""
        self._health.warn("update held", self.held)
        slots = await self._slots() if self._system.is_managed else None
        if self._system.is_managed and (slots is None or slots.trial):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._tell)
                    await self._proof.run()
                    scope.cancel()
        self._proof.problem = None
        await self._passed(slots)
        while slots is not None and slots.trial:
            self._warn(slots, WORKS)
            await trio.sleep(LOOK_S)
            slots = self._system.slots() or slots
        self._health.warn("update trial", None)

    async def _passed(self, slots: Slots | None) -> None:
        version = slots.running if slots is not None else __version__
        while True:
            try:
                if self._system.is_managed:
                    await trio.to_thread.run_sync(write_proof, version)
                await trio.to_thread.run_sync(snapshot.prove, self._data)
                break
            except OSError as error:
                log.warning("the proof cannot be written", error=str(error))
                await trio.sleep(LOOK_S)
        if slots is not None and slots.trial:
            log.info("proven", version=version)
        self.about = snapshot.about(self._data)
        self.held = None
        self._health.warn("update held", None)
        self.passed.set()

    async def _slots(self) -> Slots | None:
        """What the system says, which may take a moment after the start."""
        with trio.move_on_after(SLOTS_S):
            while (slots := self._system.slots()) is None:  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
            return slots
        log.warning("the system does not say how its slots are: this start is taken for a trial")
        return None

    async def _tell(self) -> None:
        while True:
            if (slots := self._system.slots()) is not None and self._proof.problem is not None:
                self._warn(slots, self._proof.problem)
            await trio.sleep(LOOK_S)

    def _warn(self, slots: Slots, problem: str) -> None:
        self._health.warn("update trial", ON_TRIAL.format(version=slots.running, problem=problem))

    def let_go(self, now: float) -> None:
        """Of the snapshot, when it is old enough. Blocks. Raises ``OSError``."""
        about = self.about
        if about is not None and about.kept and about.proven and not 0 <= now - about.at < KEEP_S:
            snapshot.drop(self._data)
            self.about = snapshot.about(self._data)
