"""What was said on the links of the scripted site, in order."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame. `at_s` is on time.monotonic's clock, `link` the number of the link, from 1. `came`: to the
    site; otherwise from it. `op`: a request's name (Post), or a message's op (delivery). `size`: of its data.
    """

    at_s: float
    link: int
    uid: str
    node: str
    came: bool
    op: str
    head: bytes
    size: int

    @property
    def header(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.head[4:].decode("utf-8", "replace"))
        return found


@dataclass
class Record:
    """Frames and ends of links. With `keep` off, only counts."""

    keep: bool = True
    entries: list[Entry] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    ends: list[tuple[int, str]] = field(default_factory=list)
    """Links that are over, and why."""
    links: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, link: int, uid: str, node: str, came: bool, op: str, head: bytes, size: int = 0) -> None:
        with self._changed:
            if self.keep:
                self.entries.append(Entry(time.monotonic(), link, uid, node, came, op, head, size))
            self.counts[op] += 1
            self._changed.notify_all()

    def begin(self) -> int:
        with self._changed:
            self.links += 1
            self._changed.notify_all()
            return self.links

    def end(self, link: int, why: str) -> None:
        with self._changed:
            self.ends.append((link, why))
            self._changed.notify_all()

    def find(self, op: str, uid: str = "", link: int = 0) -> list[Entry]:
        """All frames with this op, of this member, on this link."""
        with self._changed:
            return [
                entry
                for entry in self.entries
                if entry.op == op and uid in ("", entry.uid) and link in (0, entry.link)
            ]

    def wait(self, true: Callable[[], Any], within_s: float, wanted: str) -> None:
        """Until it is true, which is asked whenever something was said."""
        deadline = time.monotonic() + within_s
        with self._changed:
            while not true():
                left = deadline - time.monotonic()
                assert left > 0, f"not within {within_s} s: {wanted}; said: {dict(self.counts)}, {self.ends}"
                self._changed.wait(min(left, 0.25))
