"""What came from one peer and is to be absorbed: gathered into batches, each of which is one commit.

Bounds: a batch has ``BATCH_OCTETS`` and ``BATCH_ENTRIES``, or is one frame. When ``full``, whoever reads has
to wait; a peer that keeps to its window never makes it so, but for entries that are larger than that.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from appliance.replication.errors import BadFrame
from appliance.replication.events import Entries, Messages, Reached
from appliance.replication.interface import Arrival, Octets, Position
from appliance.replication.stream import WINDOW_OCTETS

BATCH_OCTETS: Final = 1 << 20
BATCH_ENTRIES: Final = 1000
HELD_OCTETS_MAX: Final = 2 * WINDOW_OCTETS


class Work(Struct, frozen=True):
    """Absorb the entries, give the octets, then confirm how far these boxes' entries are here. ``reached``:
    what to note after that.
    """

    arrivals: list[Arrival]
    messages: list[Octets]
    live: bool
    confirm: set[str]
    reached: dict[str, Position] | None = None


class Intake:
    def __init__(self) -> None:
        self.epoch = 0
        self._queue: deque[tuple[Entries | Messages | Reached, bool]] = deque()
        self._octets = 0
        self._parts_due = 0
        self._skipping = False
        self._unconfirmed: set[str] = set()
        """Boxes whose entries are absorbed while parts are missing."""

    @property
    def full(self) -> bool:
        return self._octets > HELD_OCTETS_MAX

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, event: Entries | Messages | Reached) -> None:
        """Raises ``BadFrame`` if parts are missing, or none are due."""
        if isinstance(event, Messages):
            if not self._parts_due:
                raise BadFrame("octets that belong to no entry")
            self._parts_due -= 1
            if self._skipping:
                return
        elif self._parts_due:
            raise BadFrame("octets of an entry are missing")
        else:
            self._skipping = event.epoch != self.epoch
            if isinstance(event, Entries):
                self._parts_due = event.follow
            if self._skipping:
                return
        if not isinstance(event, Reached):
            self._octets += event.octets
        self._queue.append((event, not self._parts_due))

    def begin_anew(self, epoch: int) -> None:
        """Forget what waits. Only entries of this epoch count from here on: the peer sent others before it
        was asked to begin anew.
        """
        self.epoch = epoch
        self._skipping = True
        self._queue.clear()
        self._octets = 0

    def take(self) -> Work | None:
        """The next batch; None if there is nothing."""
        arrivals: list[Arrival] = []
        octets = 0
        live = True
        while self._queue:
            event, whole = self._queue[0]
            if isinstance(event, Entries) and arrivals:
                too_large = octets + event.octets > BATCH_OCTETS
                if too_large or len(arrivals) + len(event.arrivals) > BATCH_ENTRIES or not whole:
                    break
            elif arrivals:
                break
            self._queue.popleft()
            if isinstance(event, Reached):
                return Work([], [], True, set(), event.positions)
            self._octets -= event.octets
            if isinstance(event, Messages):
                return Work([], event.messages, True, self._unconfirmed if whole else set())
            arrivals += event.arrivals
            octets += event.octets
            live = live and event.live
            if not whole:
                self._unconfirmed = {arrival.box for arrival in arrivals}
                return Work(arrivals, [], live, set())
        return Work(arrivals, [], live, {arrival.box for arrival in arrivals}) if arrivals else None
