"""Versions: one to four numbers with dots."""

from __future__ import annotations

import re

VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}")
PARTS = 4


def is_version(text: str) -> bool:
    return VERSION.fullmatch(text) is not None


def order(text: str) -> tuple[int, ...]:
    """What versions are compared by: missing numbers are 0; what is no version comes before all."""
    if not is_version(text):
        return ()
    parts = [int(part) for part in text.split(".")]
    return tuple(parts + [0] * (PARTS - len(parts)))


def is_newer(version: str, than: str) -> bool:
    return order(version) > order(than)
