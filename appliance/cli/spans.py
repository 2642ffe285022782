"""A span of time, as people type it: 30m, 12h, 90d."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

SPAN = re.compile(r"([0-9]{1,6})\s*(m|min|h|d|w|y)")
SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def span(low_s: int, high_s: int, example: str) -> Callable[[str], int]:
    """The type of an option: whole minutes to years, ``low_s`` to ``high_s``; its value is in seconds."""

    def read(text: str) -> int:
        found = SPAN.fullmatch(text.strip())
        if found is None:
            raise click.BadParameter(f"{text!r} is no span of time: write it as in {example}")
        seconds = int(found[1]) * SECONDS[found[2]]
        if not low_s <= seconds <= high_s:
            least, most = written(low_s), written(high_s)
            raise click.BadParameter(f"{text!r} is out of bounds: take {least} to {most}")
        return seconds

    return read


def written(seconds: int) -> str:
    """A span in its largest whole unit: 90 days are 90d."""
    for unit in ("y", "d", "h"):
        if seconds % SECONDS[unit] == 0:
            return f"{seconds // SECONDS[unit]}{unit}"
    return f"{seconds // 60}m"
