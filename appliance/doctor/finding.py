"""What a look at one thing gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`topic` is one word or two. `do` is empty if it is `ok`."""

    topic: str
    ok: bool
    what: str
    do: str = ""


def well(topic: str, what: str) -> Finding:
    return Finding(topic, True, what)


def wrong(topic: str, what: str, do: str) -> Finding:
    return Finding(topic, False, what, do)
