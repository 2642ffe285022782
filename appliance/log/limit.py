"""How much may be logged: what a hostile client can provoke must not wear out the card.

Two token buckets. Each event (logger, level and text) has its own: EVENT_BURST records at once, then one
every 1 / EVENT_PER_S seconds. All together have one of ALL_BURST and ALL_PER_S, which errors pass without
paying. What is left out is counted, and the next record of the same event says how many there were
(`suppressed`). Debug records are not limited: who turns them on wants all of them.

The most that can be written for ever: ALL_PER_S = 2 records/s of some 300 octets, 52 MB a day; one event
alone, errors too, EVENT_PER_S = 0.25, 6.5 MB a day. Memory: EVENTS_MAX buckets of some 200 octets, 100 KiB.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

EVENT_BURST = 30
EVENT_PER_S = 0.25
ALL_BURST = 300
ALL_PER_S = 2.0
EVENTS_MAX = 512


@dataclass(slots=True)
class Bucket:
    """Tokens that come back at a steady rate, up to a burst."""

    burst: float
    per_s: float
    tokens: float
    at_s: float
    suppressed: int = 0

    def has_token(self, now_s: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        return self.tokens >= 1


class Limit:
    """Who may be logged now. `clock` gives seconds that only rise."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = Bucket(ALL_BURST, ALL_PER_S, ALL_BURST, clock())
        self._events: OrderedDict[Hashable, Bucket] = OrderedDict()

    def admit(self, event: Hashable, urgent: bool) -> int | None:
        """None: leave this record out. Else how many of its event were left out since the last one let in."""
        now_s = self._clock()
        bucket = self._events.get(event)
        if bucket is None:
            bucket = self._events[event] = Bucket(EVENT_BURST, EVENT_PER_S, EVENT_BURST, now_s)
            if len(self._events) > EVENTS_MAX:
                self._events.popitem(last=False)
        self._events.move_to_end(event)
        if not bucket.has_token(now_s) or not (self._all.has_token(now_s) or urgent):
            bucket.suppressed += 1
            return None
        bucket.tokens -= 1
        if not urgent:
            self._all.tokens -= 1
        suppressed, bucket.suppressed = bucket.suppressed, 0
        return suppressed
