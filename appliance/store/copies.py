"""On how many boxes a thing is: answers wait for a second copy, a moment.

What a commit has to tell is held until another box says that it has the entry, and the files that its
messages name, on stable storage: then the answer is one of level 2. If none says so within ``wait_s``, or
none is in reach, it is told all the same, at level 1, and counted. A box that let us wait is not waited for
again until it has caught up, or has confirmed one entry within that time: where there is always something on
its way, it never has everything. In the order of the commits; nothing overtakes.

While a file moves its answer waits on, but only for as long as nobody behind it has waited for ``wait_s``:
one member's large attachment must not hold up all others.

Bound: what ``wait_s`` can commit; the requests' octets are counted by the inbox no more, but each link
limits its own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import trio

MARK_EVERY_S = 0.25
MARKS_MAX = 4096
IN_SYNC_S = 1.0
"""A box that is behind by no more than this is in sync: entries are on their way all the time."""


@dataclass(slots=True)
class Held:
    """What a commit has to tell, by ``tell``, which gets to know whether it is at level 2. ``answers`` counts
    those who wait for it. ``again``: it is of files of earlier commits, so who confirms has to lack nothing.
    ``due``: when they have waited for long enough, ``until``: also for a file.
    """

    seq: int
    blobs: set[bytes]
    again: bool
    msgids: list[int]
    tell: Callable[[bool], None]
    answers: int
    due: float
    until: float

    @property
    def has_files(self) -> bool:
        return self.again or bool(self.blobs)


@dataclass(slots=True)
class Other:
    """Another box: what it has of our journal, whether it is in reach, and worth waiting for (`patient`)."""

    seq: int = 0
    reach: bool = False
    patient: bool = True
    probe: tuple[int, float] | None = None
    """While it is not worth waiting for: an entry of ours, and when that was durable."""
    blobs: set[bytes] = field(default_factory=set)
    lacks: int | None = None
    """Messages of which it has yet to get what is in them; None: it has yet to say."""


class Copies:
    """``wait_s`` in seconds; ``ring`` is called when the owner has to look at the time."""

    def __init__(self, wait_s: float, ring: Callable[[], None]) -> None:
        self.wait_s = wait_s
        self.one_copy = 0
        """Answers given at level 1 since the start, with another box paired."""
        self.head = 0
        """The seq of our newest entry that is durable."""
        self.held_ids: set[int] = set()
        self.boxes: dict[str, Other] = {}
        self._ring = ring
        self._held: deque[Held] = deque()
        self._marks: deque[tuple[int, float]] = deque(maxlen=MARKS_MAX)

    # what links to other boxes say

    def reach(self, box: str, up: bool) -> None:
        """The box is in reach, or no more."""
        other = self.boxes.setdefault(box, Other())
        other.reach, other.probe = up, None
        if not up:
            other.lacks = None
            other.blobs.clear()
            self._release()

    def confirmed(self, box: str, seq: int) -> None:
        """The box has our journal up to ``seq`` on stable storage."""
        other = self.boxes.setdefault(box, Other())
        other.seq = max(other.seq, seq)
        if other.seq >= self.head:
            other.patient, other.probe = True, None
        elif other.probe is not None and other.seq >= other.probe[0]:
            other.patient = trio.current_time() - other.probe[1] <= self.wait_s
            other.probe = None
        self._release()

    def blob_confirmed(self, box: str, sha: bytes) -> None:
        """The box has a file on stable storage."""
        if any(sha in held.blobs for held in self._held):
            self.boxes.setdefault(box, Other()).blobs.add(sha)
            self._release()

    def lacking(self, box: str, messages: int) -> None:
        """The box has yet to get what is in so many messages."""
        self.boxes.setdefault(box, Other()).lacks = messages
        if not messages:
            self._release()

    def progress(self, box: str) -> None:
        """A file is on its way to the box: it is worth waiting for."""
        until = trio.current_time() + self.wait_s
        for held in self._held:
            if held.has_files:
                held.until = max(held.until, until)

    def forget(self, box: str) -> None:
        """The box was revoked."""
        self.boxes.pop(box, None)
        self._release()

    # what the owner does

    @property
    def in_reach(self) -> bool:
        """Whether a second copy can be expected within the time."""
        return any(other.reach and other.patient for other in self.boxes.values())

    def committed(self, seq: int) -> None:
        """Our journal is durable up to ``seq``."""
        self.head = seq
        now = trio.current_time()
        if not self._marks or now - self._marks[-1][1] >= MARK_EVERY_S:
            self._marks.append((seq, now))
        for other in self.boxes.values():
            if not other.patient and other.probe is None:
                other.probe = seq, now

    def hold(
        self,
        blobs: set[bytes],
        msgids: list[int],
        tell: Callable[[bool], None],
        answers: int,
        again: bool = False,
    ) -> None:
        """Call ``tell`` when it is time to, perhaps at once."""
        if not self._held and not self.in_reach:
            self.one_copy += answers if self.boxes else 0
            tell(False)
            return
        due = trio.current_time() + self.wait_s
        self._held.append(Held(self.head, blobs, again, msgids, tell, answers, due, due))
        self.held_ids.update(msgids)
        self._release()

    @property
    def wait_left_s(self) -> float:
        """Seconds until somebody has waited long enough; infinite if nobody waits."""
        return max(0.0, self._first_until - trio.current_time()) if self._held else math.inf

    @property
    def _first_until(self) -> float:
        behind = (held.due for held in islice(self._held, 1, None) if not held.has_files)
        return min(self._held[0].until, next(behind, math.inf))

    @property
    def waiting(self) -> int:
        """Answers that wait for a second copy."""
        return sum(held.answers for held in self._held)

    def expire(self) -> None:
        """Tell those who have waited long enough."""
        now = trio.current_time()
        while self._held and self._first_until <= now:
            for other in self.boxes.values():
                if other.seq < self._held[0].seq:
                    other.patient = False
            self._tell_first(level_2=False)
            self._release()

    def end(self) -> None:
        """The store ends: tell everybody."""
        while self._held:
            self._tell_first(level_2=False)

    def _release(self) -> None:
        while self._held:
            held = self._held[0]
            confirmed = any(self._has(other, held) for other in self.boxes.values())
            if not confirmed and self.in_reach:
                return
            self._tell_first(confirmed)

    def _has(self, other: Other, held: Held) -> bool:
        files = held.blobs <= other.blobs and (not held.again or other.lacks == 0)
        return other.seq >= held.seq and files

    def _tell_first(self, level_2: bool) -> None:
        held = self._held.popleft()
        self.held_ids.difference_update(held.msgids)
        if not level_2:
            self.one_copy += held.answers
        for other in self.boxes.values():
            other.blobs -= held.blobs
        held.tell(level_2)

    # what status says

    def behind(self, box: str) -> tuple[int, float]:
        """Entries of ours that the box has yet to confirm, and for how many seconds it has been so."""
        seq = self.boxes[box].seq if box in self.boxes else 0
        entries = max(0, self.head - seq)
        if not entries:
            return 0, 0.0
        since = next((at for mark, at in self._marks if mark > seq), None)
        return entries, 0.0 if since is None else trio.current_time() - since

    def in_sync(self, box: str) -> bool:
        """Whether the box has everything but what is on its way, and confirms it in time."""
        other = self.boxes.get(box)
        return other is not None and other.reach and other.patient and self.behind(box)[1] <= IN_SYNC_S

    @property
    def level(self) -> int:
        """On how many boxes everything is that was answered."""
        return 1 + sum(self.in_sync(box) for box in self.boxes)
