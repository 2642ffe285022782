"""What came from one peer and is to be absorbed: gathered into batches, each of which is one commit.

An entry whose octets come in parts is put together first: it is stored with them, in the same commit.

Bounds: of such an entry ``PARTS_OCTETS``; a batch has ``BATCH_OCTETS`` and ``BATCH_ENTRIES``, or is one frame
or one such entry. When ``full``, whoever reads has to wait; a peer that keeps to its window never makes it
so, but for entries that are larger than that.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct, structs

from appliance.replication.errors import BadFrame
from appliance.replication.events import Entries, Messages, Reached
from appliance.replication.interface import Arrival, Octets, Position
from appliance.replication.stream import WINDOW_OCTETS

BATCH_OCTETS: Final = 1 << 20
BATCH_ENTRIES: Final = 1000
HELD_OCTETS_MAX: Final = 2 * WINDOW_OCTETS
PARTS_OCTETS: Final = 8 << 20


class Work(Struct, frozen=True):
    """Absorb the entries, then confirm how far these boxes' entries are here. ``reached``: what to note after
    that.
    """

    arrivals: list[Arrival]
    live: bool
    confirm: set[str]
    reached: dict[str, Position] | None = None


class Intake:
    def __init__(self) -> None:
        self.epoch = 0
        self._queue: deque[Entries | Reached] = deque()
        self._octets = 0
        self._parts_due = 0
        self._first: Entries
        """What the parts that are due belong to."""
        self._parts: list[Octets] = []
        self._parts_octets = 0
        self._skipping = False

    @property
    def full(self) -> bool:
        return self._octets > HELD_OCTETS_MAX

    def __bool__(self) -> bool:
        return bool(self._queue)

    def put(self, event: Entries | Messages | Reached) -> None:
        """Raises ``BadFrame`` if parts are missing, or none are due, or they are too large."""
        if isinstance(event, Messages):
            self._put_part(event)
            return
        if self._parts_due:
            raise BadFrame("octets of an entry are missing")
        self._skipping = event.epoch != self.epoch
        if isinstance(event, Entries) and event.follow:
            if len(event.arrivals) != 1:
                raise BadFrame("parts that belong to several entries")
            self._parts_due, self._first = event.follow, event
            self._parts, self._parts_octets = [], event.octets
        elif not self._skipping:
            self._append(event)

    def _put_part(self, event: Messages) -> None:
        if not self._parts_due:
            raise BadFrame("octets that belong to no entry")
        self._parts_due -= 1
        if self._skipping:
            return
        self._parts += event.messages
        self._parts_octets += event.octets
        if self._parts_octets > PARTS_OCTETS:
            raise BadFrame("an entry with more octets than is allowed")
        if not self._parts_due:
            [arrival] = self._first.arrivals
            whole = structs.replace(arrival, octets=(*arrival.octets, *self._parts))
            self._append(structs.replace(self._first, arrivals=[whole], octets=self._parts_octets))
            self._parts = []

    def _append(self, event: Entries | Reached) -> None:
        if isinstance(event, Entries):
            self._octets += event.octets
        self._queue.append(event)

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
            event = self._queue[0]
            if isinstance(event, Reached):
                if arrivals:
                    break
                self._queue.popleft()
                return Work([], True, set(), event.positions)
            if arrivals and (
                octets + event.octets > BATCH_OCTETS or len(arrivals) + len(event.arrivals) > BATCH_ENTRIES
            ):
                break
            self._queue.popleft()
            self._octets -= event.octets
            arrivals += event.arrivals
            octets += event.octets
            live = live and event.live
        return Work(arrivals, live, {arrival.box for arrival in arrivals}) if arrivals else None
