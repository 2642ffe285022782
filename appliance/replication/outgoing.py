"""What goes to one peer, frame by frame, and in which order.

First what is small (positions, beats, questions), then entries, then octets of messages, then a chunk of a
blob. Nothing waits for more than one frame of the others: entries go in frames of ``BATCH_OCTETS``, and after
``ENTRIES_A_TURN`` of them there is room for something else. An entry that is larger goes alone, and the
octets of its messages after it, in parts.

Bounds: ``TELLS_MAX`` tells, the newest stay; ``WANTS_MAX`` questions of the peer's of each kind, more than
that break the protocol; one range of a blob; one answer with octets; what ``stream`` holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from appliance.replication.bodies import message_weight, split_octets, weight
from appliance.replication.engine import PeerLink
from appliance.replication.errors import BadFrame
from appliance.replication.events import Want
from appliance.replication.frames import BOXES_MAX, CHUNK_OCTETS_MAX, ENTRIES_MAX, LIST_MAX
from appliance.replication.interface import Octets
from appliance.replication.stream import Stream

BATCH_OCTETS: Final = 64 << 10
ANSWER_OCTETS: Final = 256 << 10
ENTRIES_A_TURN: Final = 4
TELLS_MAX: Final = 64
WANTS_MAX: Final = 8


class Outgoing:
    """``next`` gives the frames; somebody else reads what ``stream``, ``wanted_range`` and ``wanted_octets``
    ask for, and gives it in. ``absent``: of how many messages what is in them has yet to come, as of now.
    """

    def __init__(self, link: PeerLink, absent: Callable[[], int] = lambda: 0) -> None:
        self.stream = Stream()
        self._link = link
        self._absent = absent
        self._first: deque[bytes] = deque()
        self._have: dict[str, int] = {}
        self._have_blobs: deque[bytes] = deque()
        self._beat: int | None = None
        self._tells: deque[tuple[str, bytes]] = deque(maxlen=TELLS_MAX)
        self._parts: deque[list[Octets]] = deque()
        self._ranges: deque[Want] = deque()
        self._range: tuple[Want, bytes, int] | None = None
        self._asked: deque[list[int]] = deque()
        self._answer: list[Octets] | None = None
        self._turns = 0

    # what there is to say

    def say(self, frame: bytes) -> None:
        """A small frame, ahead of everything. Whoever calls bounds how many."""
        self._first.append(frame)

    def say_have(self, positions: Mapping[str, int], blobs: Iterable[bytes] = ()) -> None:
        """This is on stable storage here. What waits becomes one frame."""
        self._have.update(positions)
        self._have_blobs.extend(blobs)

    def say_beat(self, clock: int) -> None:
        self._beat = clock

    def say_tell(self, topic: str, payload: bytes) -> None:
        self._tells.append((topic, payload))

    # what the peer asks

    def asked_range(self, want: Want) -> None:
        """Raises ``BadFrame`` if that are too many."""
        if len(self._ranges) >= WANTS_MAX:
            raise BadFrame("more blobs asked for at once than is allowed")
        self._ranges.append(want)

    def asked_octets(self, msgids: list[int]) -> None:
        """Raises ``BadFrame`` if that are too many."""
        if len(self._asked) >= WANTS_MAX:
            raise BadFrame("more messages asked for at once than is allowed")
        self._asked.append(msgids)

    @property
    def wanted_range(self) -> Want | None:
        """Octets of a blob to be read now: then ``give_range``."""
        return self._ranges[0] if self._range is None and self._ranges else None

    def give_range(self, octets: bytes | None) -> None:
        """What there is of the wanted range, also if that is less; None: the blob is not here."""
        want = self._ranges.popleft()
        if not octets:
            self.say(self._link.say_lacking(want.sha))
        else:
            self._range = want, octets, 0

    @property
    def sending_blob(self) -> bool:
        """Whether there is more of a range to go."""
        return self._range is not None

    @property
    def wanted_octets(self) -> list[int] | None:
        """Messages to be read now: then ``give_octets``."""
        return self._asked[0] if self._answer is None and self._asked else None

    def give_octets(self, messages: Sequence[Octets]) -> None:
        """Those that are here. As many are sent as fit into a frame, at least one; the peer asks again."""
        self._asked.popleft()
        answer: list[Octets] = []
        room = ANSWER_OCTETS
        for message in messages[:LIST_MAX]:
            room -= message_weight(message)
            if answer and room < 0:
                break
            answer.append(message)
        self._answer = answer

    # what goes

    def next(self) -> bytes | None:
        """The next frame; None if there is nothing to send now."""
        link = self._link
        if self._first:
            return self._first.popleft()
        if self._have or self._have_blobs:
            return self._next_have()
        if self._beat is not None:
            beat, self._beat = self._beat, None
            return link.say_beat(beat, self._absent())
        if self._tells:
            return link.say_tell(*self._tells.popleft())
        if self._parts:
            return link.say_messages(self._parts.popleft(), part=True)
        if self._turns < ENTRIES_A_TURN or (self._answer is None and self._range is None):
            frame = self._next_entries()
            if frame is not None:
                self._turns += 1
                return frame
        self._turns = 0
        if self._answer is not None:
            answer, self._answer = self._answer, None
            return link.say_messages(answer, part=False)
        return self._next_chunk() or self._next_entries()

    def _next_have(self) -> bytes:
        boxes = [self._have.popitem() for _ in range(min(BOXES_MAX, len(self._have)))]
        blobs = [self._have_blobs.popleft() for _ in range(min(LIST_MAX, len(self._have_blobs)))]
        return self._link.say_have(dict(boxes), blobs, self._absent())

    def _next_entries(self) -> bytes | None:
        stream = self.stream
        reached = stream.take_reached()
        if reached is not None:
            return self._link.say_reached(reached, stream.epoch)
        live = stream.live
        batch = stream.next_batch(BATCH_OCTETS, ENTRIES_MAX)
        if not batch:
            return None
        parts: list[list[Octets]] = []
        if len(batch) == 1 and weight(batch[0]) > BATCH_OCTETS:
            batch[0], parts = split_octets(batch[0], BATCH_OCTETS)
            self._parts.extend(parts)
        return self._link.say_entries(batch, live, stream.epoch, len(parts))

    def _next_chunk(self) -> bytes | None:
        if self._range is None:
            return None
        want, octets, position = self._range
        chunk = octets[position : position + CHUNK_OCTETS_MAX]
        position += len(chunk)
        self._range = (want, octets, position) if position < len(octets) else None
        return self._link.say_chunk(want.sha, want.offset + position - len(chunk), chunk)
