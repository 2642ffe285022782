"""The latest records, in memory, for `pocket log`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

RING_RECORDS = 2000
"""A record has some 300 octets as a rule, so the ring some 2 MiB; the most is 24 fields of 512 characters
each."""

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Ring:
    """Not locked: its owner is."""

    def __init__(self, records: int = RING_RECORDS) -> None:
        self._records: deque[Mapping[str, Any]] = deque(maxlen=records)

    def add(self, record: Mapping[str, Any]) -> None:
        self._records.append(record)

    def recent(self, lines: int, level: str, after: int) -> list[dict[str, Any]]:
        floor = LEVELS.get(level, 0)
        found = (
            record
            for record in reversed(self._records)
            if record["n"] > after and LEVELS[record["level"]] >= floor
        )
        return [dict(record) for record in islice(found, max(0, lines))][::-1]
