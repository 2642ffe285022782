"""What the panel's tests share: a health that says what it is told, a lamp that remembers, pins without
hardware."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import trio
from trio.testing import MockClock

from appliance.health import Health, State
from appliance.panel import Actions
from appliance.panel.lamps import Lamp, Leave
from appliance.panel.pins import Pins
from appliance.panel.settings import Role
from appliance.panel.signs import Shown


class Mood(Health):
    """Health by decree."""

    state: State = "serving"
    pairing: bool = False
    identifying: bool = False

    @property
    def told(self) -> dict[str, str]:
        return self._warnings


@dataclass
class Asked:
    """Actions that note that they were asked for."""

    names: list[str] = field(default_factory=list)
    error: Exception | None = None
    takes_s: float = 0.0

    @property
    def actions(self) -> Actions:
        return Actions(self._note("pairing"), self._note("shutdown"), self._note("factory reset"))

    def _note(self, name: str) -> Callable[[], Any]:
        async def action() -> None:
            self.names.append(name)
            await trio.sleep(self.takes_s)
            if self.error is not None:
                raise self.error

        return action


class Memory(Lamp):
    """Remembers when it was given what. `trouble` is raised, or run, at each put."""

    def __init__(self, role: Role = "status", quick: bool = True, name: str = "lamp") -> None:
        super().__init__(name, role)
        self.quick = quick
        self.opened = 0
        self.puts: list[tuple[float, Hashable]] = []
        self.signs: list[str] = []
        self.left: Leave | None = None
        self.trouble: Exception | Callable[[], None] | None = None

    def value(self, shown: Shown) -> Hashable:
        if self.signs[-1:] != [shown.sign.key]:
            self.signs.append(shown.sign.key)
        return shown.lit

    def open(self) -> None:
        self.opened += 1

    def put(self, value: Hashable) -> None:
        if isinstance(self.trouble, Exception):
            raise self.trouble
        if self.trouble is not None:
            self.trouble()
        self.puts.append((time.monotonic(), value))

    def leave(self, how: Leave) -> None:
        self.left = how


def mock_pins() -> Pins:
    return Pins("mock")


def pin(pins: Pins, number: int) -> Any:
    """The mock pin: `state`, `drive_low`, `drive_high`."""
    return pins.factory().pin(number)


def run_jumping(main: Callable[[], Any]) -> Any:
    """Run `main` on a clock that jumps whenever everybody waits. For what uses no threads."""
    return trio.run(main, clock=MockClock(autojump_threshold=0))
