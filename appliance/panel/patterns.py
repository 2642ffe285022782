"""The shapes in time that a light can have: data, and brightness as a function of time.

They are told apart by their rhythm alone, so one LED of any colour is enough. A plain LED shows what is
half as bright or brighter as on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import NamedTuple

from appliance.health import BEAT_S, BEATS, PAUSE_S

RAMP_S = 0.05
"""A ramp moves in steps of this length."""

EARLY_S = 1e-6
"""A clock that wakes us this much before an edge is taken to be there."""


class Step(NamedTuple):
    """For `seconds` the brightness goes from `start` to `end`."""

    seconds: float
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps that repeat for ever. `name` is what a person would call it."""

    name: str
    steps: tuple[Step, ...]

    @property
    def period_s(self) -> float:
        return sum(step.seconds for step in self.steps)

    def at(self, t: float) -> tuple[float, float]:
        """The brightness (0 to 1) `t` seconds after the pattern began, and in how many seconds, above 0,
        to look again.
        """
        rest = (t + EARLY_S) % self.period_s
        for step in self.steps:
            left = step.seconds - rest
            if left > 0:
                if step.start == step.end:
                    return step.start, left + EARLY_S
                level = step.start + (step.end - step.start) * rest / step.seconds
                return min(1.0, max(0.0, level)), min(left + EARLY_S, RAMP_S)
            rest -= step.seconds
        return self.steps[-1].end, EARLY_S


def _on(seconds: float) -> Step:
    return Step(seconds, 1.0, 1.0)


def _off(seconds: float) -> Step:
    return Step(seconds, 0.0, 0.0)


def _flashes(count: int, every_s: float) -> tuple[Step, ...]:
    """`count` short flashes at the beginning of each `every_s` seconds."""
    flashes = (_on(FLASH_S), _off(FLASH_S)) * count
    return (*flashes[:-1], _off(every_s - FLASH_S * (2 * count - 1)))


@lru_cache(maxsize=4)
def beats(number: int) -> Pattern:
    """A number as people compare it on two lights: a flash begins on each beat, long for a one, the highest
    first; and a pause. Two that differ go out at different times.
    """
    flashes = (LONG if number >> bit & 1 else SHORT for bit in reversed(range(BEATS)))
    steps = (step for flash in flashes for step in (_on(flash), _off(BEAT_S - flash)))
    return Pattern(f"{BEATS} flashes, long and short", (*steps, _off(PAUSE_S)))


FLASH_S = 0.1
SHORT, LONG = BEAT_S / 4, 3 * BEAT_S / 4

DARK = Pattern("off", (_off(inf),))
SOLID = Pattern("solid", (_on(inf),))
DOUBLE_PULSE = Pattern("double pulse every 3 s", (_on(0.15), _off(0.15), _on(0.15), _off(2.55)))
SLOW_BLINK = Pattern("1 Hz", (_on(0.5), _off(0.5)))
FAST_BLINK = Pattern("4 Hz", (_on(0.125), _off(0.125)))
FADE = Pattern("2 s fade", (Step(1.0, 0.0, 1.0), Step(1.0, 1.0, 0.0)))
FLICKER = Pattern("10 Hz", (_on(0.05), _off(0.05)))
WINK = Pattern("on, with a short gap every second", (_on(0.9), _off(0.1)))
ONE_FLASH = Pattern("one flash a second", _flashes(1, 1.0))
TWO_FLASHES = Pattern("two flashes a second", _flashes(2, 1.0))
THREE_FLASHES = Pattern("three flashes a second", _flashes(3, 1.0))
EXAMPLE = beats(482913)

PATTERNS: tuple[Pattern, ...] = (
    SOLID,
    DOUBLE_PULSE,
    SLOW_BLINK,
    FAST_BLINK,
    FADE,
    FLICKER,
    WINK,
    ONE_FLASH,
    TWO_FLASHES,
    THREE_FLASHES,
    EXAMPLE,
    DARK,
)
