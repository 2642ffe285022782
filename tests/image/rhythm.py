"""What a light shows, told from when it went on and off: as a person tells it, by its rhythm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

STEADY_S = 4.0
"""Longer than any pattern is dark or lit in between."""
LOOK_S = 2.0
"""At least so long a rhythm is watched, and for two rounds."""
TOLERANCE, TOLERANCE_S = 0.25, 0.035
"""How far the median of an interval may be off: the machine is emulated, and so is its clock."""
FADE_S = 2.0
FADE_ERROR = 0.12
"""How far, on average, the brightness may be from that of a fade."""

Edge = tuple[float, int]
"""From this second on (of any clock) it was on (1) or off (0)."""


@dataclass(frozen=True)
class Rhythm:
    """On and off in turns for so many seconds, again and again."""

    name: str
    runs: tuple[Edge, ...]
    """Each as (seconds, level)."""

    @property
    def rounds(self) -> int:
        return max(2, math.ceil(LOOK_S / sum(seconds for seconds, _ in self.runs)))


SOLID = Rhythm("solid", ((math.inf, 1),))
DARK = Rhythm("dark", ((math.inf, 0),))
DOUBLE_PULSE = Rhythm("double pulse every 3 s", ((0.15, 1), (0.15, 0), (0.15, 1), (2.55, 0)))
ONE_HZ = Rhythm("1 Hz", ((0.5, 1), (0.5, 0)))
FOUR_HZ = Rhythm("4 Hz", ((0.125, 1), (0.125, 0)))
TEN_HZ = Rhythm("10 Hz", ((0.05, 1), (0.05, 0)))
SLOW = Rhythm("1 s on, 1 s off", ((1.0, 1), (1.0, 0)))
WINK = Rhythm("on, with a short gap every second", ((0.9, 1), (0.1, 0)))
RHYTHMS = (SOLID, DARK, DOUBLE_PULSE, ONE_HZ, FOUR_HZ, TEN_HZ, SLOW, WINK)


def shows(rhythm: Rhythm, edges: Sequence[Edge], until: float) -> bool:
    """Whether the rhythm can be seen somewhere in these edges, which were watched `until` then."""
    ends = [*(seconds for seconds, _ in edges[1:]), until]
    runs = [(end - begin, level) for (begin, level), end in zip(edges, ends, strict=True)]
    if math.isinf(rhythm.runs[0][0]):
        return any(seconds >= STEADY_S and level == rhythm.runs[0][1] for seconds, level in runs)
    whole = runs[1:-1]
    length = len(rhythm.runs) * rhythm.rounds
    return any(
        _fits(rhythm, whole[start : start + length])
        for start in range(len(whole) - length + 1)
        if whole[start][1] == rhythm.runs[0][1]
    )


def _fits(rhythm: Rhythm, runs: Sequence[Edge]) -> bool:
    for place, (seconds, _) in enumerate(rhythm.runs):
        typical = median(run for run, _ in runs[place :: len(rhythm.runs)])
        if abs(typical - seconds) > max(TOLERANCE * seconds, TOLERANCE_S):
            return False
    return True


def fades(shares: Sequence[tuple[float, float]]) -> bool:
    """Whether two rounds of a fade of FADE_S can be seen in these brightnesses (seconds, 0 to 1)."""
    for start in range(len(shares)):
        begin = shares[start][0]
        seen = [(at - begin, share) for at, share in shares[start:] if at - begin < 2 * FADE_S]
        if len(seen) < 10 or shares[-1][0] - begin < 2 * FADE_S:
            return False
        for phase in range(20):
            wrong = [abs(share - abs((at + phase * FADE_S / 20) % FADE_S - FADE_S / 2)) for at, share in seen]
            if sum(wrong) / len(wrong) < FADE_ERROR:
                return True
    return False
