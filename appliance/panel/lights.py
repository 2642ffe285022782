"""All lights of the panel: one task decides what each shows, and a lane for each carries it there.

    drive ---- wants ----> lane ---- value ----> lamp (in a worker thread)

A lane holds only the latest thing wanted (its bound is one): a lamp that is slower than its pattern misses
steps, and one that hangs or fails stops nobody but itself. One that failed is opened again after a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from datetime import time as time_of_day

import trio

from appliance import log as logs
from appliance.panel.lamps import Lamp, Leave
from appliance.panel.settings import Night, PanelError, Role
from appliance.panel.signs import COMPARE, Condition, Shown, Sign, choose, dimming
from appliance.panel.worker import Backoff, Worker

log = logs.get_logger(__name__)

TICK_S = 0.05
"""How often the box's health is looked at. With the way through a lane, a change shows within 0.25 s."""

BLOCKED_S = 2.0
"""A lamp that takes longer than this is said to hang."""

LEAVE_S = 0.7
"""What leaving all lamps may take in all."""


class Lane:
    """The way to one lamp."""

    def __init__(self, lamp: Lamp) -> None:
        self.lamp = lamp
        self.trouble: str | None = None
        self._worker = Worker(lamp.quick)
        self._wanted: Hashable = None
        self._written: Hashable = None
        self._wake = trio.Event()
        self._busy_since: float | None = None
        self._open = False
        # A call that was abandoned may still be on its way when the lamp is left: whoever is second waits,
        # and nothing is written after that.
        self._lock = threading.Lock()
        self._left = False

    def want(self, shown: Shown) -> None:
        value = self.lamp.value(shown)
        if value != self._wanted:
            self._wanted = value
            self._wake.set()

    @property
    def complaint(self) -> str | None:
        """What is wrong with the lamp now, and what to do."""
        if self._busy_since is not None and trio.current_time() - self._busy_since > BLOCKED_S:
            return f"the {self.lamp.name} does not answer: look at its wiring or driver; start the box again"
        return self.trouble

    async def run(self) -> None:
        """Carry what is wanted, until cancelled. Nothing that the lamp does comes out of here."""
        backoff = Backoff()
        while True:
            while self._wanted == self._written:
                self._wake = trio.Event()
                await self._wake.wait()
            value = self._wanted
            try:
                self._busy_since = trio.current_time()
                await self._worker.call(self._put, value)
            except Exception as error:
                self._busy_since, self._written = None, None
                self._complain(error)
                await backoff.sleep()
            else:
                self._busy_since, self._written = None, value
                if self.trouble is not None:
                    log.info("light works again", light=self.lamp.name)
                    self.trouble = None

    async def leave(self, how: Leave) -> None:
        """Leave the lamp as `how` says, unless it hangs or fails. Nothing is put after that."""
        try:
            # A worker of its own: the other one may hang.
            await Worker(self.lamp.quick).call(self._leave, how)
        except Exception as error:
            log.warning("light could not be left", light=self.lamp.name, error=str(error))

    def _put(self, value: Hashable) -> None:
        with self._lock:
            if self._left:
                return
            try:
                if not self._open:
                    self.lamp.open()
                self._open = True
                self.lamp.put(value)
            except BaseException:
                self._open = False
                raise

    def _leave(self, how: Leave) -> None:
        with self._lock:
            self._left = True
            self.lamp.leave(how)

    def _complain(self, error: Exception) -> None:
        trouble = f"the {self.lamp.name} does not work: {str(error) or type(error).__name__}"
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if isinstance(error, PanelError | OSError):
            log.warning("light does not work", light=self.lamp.name, error=str(error))
        else:
            log.exception("light does not work", light=self.lamp.name)


class Lights:
    """Shows `condition` on `lamps`. `warn` is told what is wrong with the lamps, None when nothing is."""

    def __init__(
        self,
        lamps: Sequence[Lamp],
        condition: Condition,
        warn: Callable[[str | None], None],
        night: Night | None = None,
        now: Callable[[], time_of_day] = lambda: datetime.now().time(),
        held: Callable[[], Sign | None] = lambda: None,
    ) -> None:
        self.lanes = [Lane(lamp) for lamp in lamps]
        self._condition = condition
        self._warn = warn
        self._night = night
        self._now = now
        self._held = held
        self._override: tuple[Sign, float] | None = None
        self._since: dict[Role, tuple[Sign, float]] = {}
        self._complaint: str | None = None

    def show(self, sign: Sign, seconds: float) -> None:
        """Show `sign` on all lights for so long, whatever else there is to show."""
        self._override = (sign, trio.current_time() + seconds)

    async def run(self) -> None:
        """Drive the lamps until cancelled. `leave` has to follow."""
        async with trio.open_nursery() as nursery:
            for lane in self.lanes:
                nursery.start_soon(lane.run)
            told = False
            while True:
                now = trio.current_time()
                wait_s = self._draw(now)
                self._tell(again=not told)
                told = True
                await trio.sleep_until(now + min(wait_s, TICK_S))

    async def leave(self, how: Leave) -> None:
        """Leave all lamps as `how` says, within LEAVE_S; those that hang are left alone."""
        with trio.move_on_after(LEAVE_S) as scope:
            scope.shield = True
            async with trio.open_nursery() as nursery:
                for lane in self.lanes:
                    nursery.start_soon(lane.leave, how)

    def _draw(self, now: float) -> float:
        """Let every lane know what it has to show at `now`. Returns the seconds until the next edge."""
        if self._override is not None and now >= self._override[1]:
            self._override = None
        override = None if self._override is None else self._override[0]
        held = self._held()
        clock = self._now()
        reasons, comparison = self._condition.reasons, self._condition.comparison
        notes = dict.fromkeys(("warning", "error"), reasons[0] if reasons else "")
        if comparison is not None:
            notes[COMPARE.key] = comparison.digits + (", yes here" if comparison.yes else "")
        wait_s = TICK_S
        for lane in self.lanes:
            role = lane.lamp.role
            sign = choose(role, self._condition, override, held)
            shown_sign, since = self._since.get(role, (None, now))
            if shown_sign is not sign:
                since = now
                self._since[role] = (sign, since)
            if sign.key == COMPARE.key and comparison is not None and sign is not COMPARE:
                since = comparison.began  # in step with the other box, whatever was shown meanwhile
            level, left_s = sign.pattern.at(now - since)
            wait_s = min(wait_s, left_s)
            dim = dimming(sign, self._night, clock) if lane.lamp.at_night else 1.0
            lane.want(Shown(sign, level, dim, notes.get(sign.key, "")))
        return wait_s

    def _tell(self, again: bool) -> None:
        """Warn of what is wrong, or no more; `again`: also of what was told before."""
        complaints = [complaint for lane in self.lanes if (complaint := lane.complaint) is not None]
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        told = complaints[0] + more if complaints else None
        if again or told != self._complaint:
            self._complaint = told
            self._warn(told)
