"""Which entries go to one peer, and in which order: a causal one, whatever happens meanwhile.

Theory of operation. What the peer lacks is read from the database, in clock order, which is a causal order.
What is committed while a read is under way gathers in the *backlog*. A read is begun with the *head*, the
positions of that moment; once all entries up to a head have been read, whatever is missing after it is in the
backlog, in the order in which it was applied, so from there on entries are *live*: queued as they are
applied. If more gathers than is allowed, the stream goes back to the database.

``known`` is what the peer has or has under way to it. It only grows, so no entry goes twice; what came from
the peer counts too, so nothing goes back to where it came from.

Bounds. The queue and the backlog: ``QUEUE_OCTETS`` and ``QUEUE_ENTRIES`` each, and what one read gave. Under
way and not confirmed: ``WINDOW_OCTETS``, or one entry that is larger. So the peer can always take what comes
off the line, and what it confirms of ours is never stuck behind what it has no time for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final

from appliance.replication.bodies import weight
from appliance.replication.frames import BOXES_MAX
from appliance.replication.interface import Arrival, Position

QUEUE_OCTETS: Final = 4 << 20
QUEUE_ENTRIES: Final = 4096
WINDOW_OCTETS: Final = 2 << 20
READ_OCTETS: Final = 1 << 20
END: Final = 1 << 62
"""Above every seq: the position that a barred box is said to be at."""


class Mode(Enum):
    SILENT = "the peer takes no entries on this link, or has yet to say where it stands"
    CATCHING_UP = "entries come from the database"
    LIVE = "entries go as they are applied"
    GAP = "the peer lacks entries that are gone here: it takes a copy"


class Stream:
    def __init__(self) -> None:
        self.mode = Mode.SILENT
        self.known: dict[str, int] = {}
        self.confirmed: dict[str, int] = {}
        """What the peer has said that it has on stable storage."""
        self.barred: set[str] = set()
        self.epoch = 0
        self._queue: deque[Arrival] = deque()
        self._queued = 0
        self._backlog: deque[Arrival] = deque()
        self._backlogged = 0
        self._overflowed = False
        self._stale = False
        self._head: Mapping[str, Position] | None = None
        self._window: deque[tuple[str, int, int]] = deque()
        self.unconfirmed = 0
        """Octets under way."""
        self._reached: Mapping[str, Position] | None = None
        self._before_reached = 0

    def begin(self, positions: Mapping[str, int], epoch: int) -> None:
        """The peer is there, and wants what comes after. Also in the middle of a stream."""
        self.epoch = epoch
        self.known = dict(positions)
        self.confirmed = {box: max(seq, self.confirmed.get(box, 0)) for box, seq in positions.items()}
        self.mode = Mode.CATCHING_UP
        self._queue.clear()
        self._window.clear()
        self._queued = self.unconfirmed = 0
        self._reached = None
        self._forget_backlog()
        self._stale = self._head is not None

    def push(self, arrivals: Iterable[Arrival]) -> None:
        """These were applied here, in this order."""
        if self.mode is Mode.LIVE:
            for arrival in arrivals:
                if not self._is_new(arrival):
                    continue
                if not self._fits(self._queue, self._queued, arrival):
                    self.mode = Mode.CATCHING_UP
                    return
                self._enqueue(arrival)
        elif self.mode is Mode.CATCHING_UP and self._head is not None and not self._overflowed:
            for arrival in arrivals:
                if not self._fits(self._backlog, self._backlogged, arrival):
                    self._forget_backlog()
                    self._overflowed = True
                    return
                self._backlog.append(arrival)
                self._backlogged += weight(arrival)

    def came(self, arrivals: Iterable[Arrival]) -> None:
        """The peer sent these, so it has them."""
        self.have({arrival.box: arrival.seq for arrival in arrivals})

    def have(self, positions: Mapping[str, int]) -> None:
        """The peer has these on stable storage. Of more than ``BOXES_MAX`` boxes nothing is kept."""
        for box, seq in positions.items():
            if box not in self.known and len(self.known) >= BOXES_MAX:
                continue
            self.confirmed[box] = max(seq, self.confirmed.get(box, 0))
            self.known[box] = max(seq, self.known.get(box, 0))
        if self._window:
            self._open_window()

    def bar(self, box: str) -> None:
        """No entries of ``box`` go from here on."""
        self.barred.add(box)
        self._open_window()

    # reading the database

    @property
    def wants_read(self) -> bool:
        return self.mode is Mode.CATCHING_UP and self._head is None and self._queued <= READ_OCTETS // 4

    def begin_read(self, head: Mapping[str, Position]) -> dict[str, int]:
        """A read is begun now, with the positions of now: what it is to come after."""
        self._head = dict(head)
        self._overflowed = self._stale = False
        self._forget_backlog()
        return {**self.known, **dict.fromkeys(self.barred, END)}

    def end_read(self, arrivals: Sequence[Arrival]) -> None:
        """What the read gave; nothing: there was no more."""
        head, self._head = self._head or {}, None
        if self.mode is not Mode.CATCHING_UP or self._stale:
            return
        for arrival in arrivals:
            if self._is_new(arrival):
                self._enqueue(arrival)
        if self._overflowed:
            return
        if not arrivals:
            for box, position in head.items():
                self.known[box] = max(position.seq, self.known.get(box, 0))
        if all(self.known.get(b, 0) >= at.seq for b, at in head.items() if b not in self.barred):
            self.mode = Mode.LIVE
            self._reached, self._before_reached = head, len(self._queue)
            backlog = list(self._backlog)
            self._forget_backlog()
            self.push(backlog)

    def gap(self) -> None:
        """The database no longer has what the peer lacks."""
        self._head = None
        if not self._stale:
            self.mode = Mode.GAP

    # sending

    def next_batch(self, max_octets: int, max_entries: int) -> list[Arrival]:
        """What to send next: at least one entry if any may go now."""
        batch: list[Arrival] = []
        octets = 0
        while self._queue and len(batch) < max_entries:
            size = weight(self._queue[0])
            if batch and octets + size > max_octets:
                break
            if self.unconfirmed and self.unconfirmed + size > WINDOW_OCTETS:
                break
            arrival = self._queue.popleft()
            self._queued -= size
            self._before_reached -= 1
            if arrival.box in self.barred or arrival.seq <= self.confirmed.get(arrival.box, 0):
                continue
            batch.append(arrival)
            octets += size
            self.unconfirmed += size
            self._window.append((arrival.box, arrival.seq, size))
        return batch

    def take_reached(self) -> Mapping[str, Position] | None:
        """Positions up to which all has been given to be sent; once each time that the peer catches up."""
        if self._before_reached > 0:
            return None
        reached, self._reached = self._reached, None
        return reached

    @property
    def live(self) -> bool:
        """Whether what is sent next was applied here just now."""
        return self.mode is Mode.LIVE and self._before_reached <= 0

    @property
    def queued(self) -> int:
        """Entries that are ready to go."""
        return len(self._queue)

    def _is_new(self, arrival: Arrival) -> bool:
        return arrival.box not in self.barred and arrival.seq > self.known.get(arrival.box, 0)

    def _enqueue(self, arrival: Arrival) -> None:
        self.known[arrival.box] = arrival.seq
        self._queue.append(arrival)
        self._queued += weight(arrival)

    @staticmethod
    def _fits(queue: deque[Arrival], octets: int, arrival: Arrival) -> bool:
        return not queue or (len(queue) < QUEUE_ENTRIES and octets + weight(arrival) <= QUEUE_OCTETS)

    def _forget_backlog(self) -> None:
        self._backlog.clear()
        self._backlogged = 0

    def _open_window(self) -> None:
        """Count out what is confirmed, which is not always the front: the peer had some of it from others."""
        left = deque(
            (box, seq, size)
            for box, seq, size in self._window
            if box not in self.barred and seq > self.confirmed.get(box, 0)
        )
        if len(left) != len(self._window):
            self._window = left
            self.unconfirmed = sum(size for _, _, size in left)
