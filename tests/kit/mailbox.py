"""What a client has got: reading, judging and sorting frames, and expecting them.

What comes is split and judged by the kit's own frames.py, then given to appliance.wire as well, and the two
readings are compared.

There is no thread: a client reads when it is asked for something. Answers (acks) are kept apart from
messages, so that a request can be made while messages flow in.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from appliance import wire

from .frames import QUEUED, Frame
from .line import PATIENCE_S, HungUp, Line, Silence

if TYPE_CHECKING:
    from .place import Place


class Quit(AssertionError):
    """The box ended the link, and said why."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the box quit: {reason}")
        self.reason = reason


class Mentions:
    """Equal to any text with these words in it that says more than them."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and all(w in other and len(w) < len(other) for w in self.words)

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"a text with {' and '.join(map(repr, self.words)) or 'something'} in it"


mentions = Mentions


def _fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Expected header fields: `from_` is `from`, a client stands for its uid."""
    return {
        key.rstrip("_"): value.uid if isinstance(value, Mailbox) else value for key, value in fields.items()
    }


class Mailbox:
    """One node's link, and what came on it. Acknowledges messages unless `auto_ack` is off."""

    def __init__(self, box: Place, uid: str, alias: str) -> None:
        self.box = box
        self.uid = uid
        self.alias = alias
        self.auto_ack = True
        self.order: Literal["site", "sender", "none"] = "site"
        """Ids rise over all senders; or each sender's, but for logins and notes, of which a box that keeps a
        membership tells under ids of its own; or nothing is expected."""
        self._line: Line | None = None
        self._link = wire.ClientLink()
        self._clear()

    def _clear(self) -> None:
        self._inbox: deque[Frame] = deque()
        self._answers: dict[str, deque[Frame]] = defaultdict(deque)
        self._seen: set[str] = set()
        self._highest: dict[str, str] = {}
        self._quitting = False
        self.curtains: set[bytes] = set()

    def __repr__(self) -> str:
        return f"<client {self.alias or self.uid}>"

    @property
    def line(self) -> Line:
        assert self._line is not None, f"{self} has no link"
        return self._line

    @property
    def alive(self) -> bool:
        """Whether the box still keeps the link."""
        if self._line is None:
            return False
        try:
            while True:
                self._pump(0.001)
        except Silence:
            return True
        except HungUp:
            self.close()
            return False

    def close(self) -> None:
        """The link is gone, without a word."""
        if self._line is not None:
            self._line.close()
            self._line = None

    hang_up = close

    def vanish(self) -> None:
        """The machine is gone: its TCP says no more. PermissionError unless one is root."""
        self.line.vanish()
        self._line = None

    def reset(self) -> None:
        """The link is gone, with a TCP reset."""
        self.line.reset()
        self._line = None

    def ack(self, message: Frame | str) -> None:
        """Acknowledge a message, or any id."""
        self._send(wire.Ack(message if isinstance(message, str) else message["id"], "got"))

    def _send(self, request: Any) -> None:
        self.line.send(self._link.encode(request))

    def answer(self, request_id: str, error: Any = None) -> Frame:
        """The ack of a request sent before."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers[request_id]:
            self._pump(deadline - time.monotonic())
            if self._inbox and self._inbox[-1].op == "quit":
                raise Quit(self._inbox[-1]["error"])
        frame = self._answers[request_id].popleft()
        if error is None:
            assert "error" not in frame, frame
        else:
            assert "error" in frame and error == frame["error"], f"expected error {error!r}: {frame}"
        return frame

    def expect(self, op: str, **fields: Any) -> Frame:
        """The next message, which must be exactly this one (see Frame.differs)."""
        frame = self.next()
        difference = frame.differs(op, _fields(fields))
        assert not difference, f"{self}: {difference}: {frame}"
        return frame

    def find(self, op: str, **fields: Any) -> Frame:
        """The first message like this one, which is taken out of the order; the others stay."""
        skipped: list[Frame] = []
        wanted = _fields(fields)
        while True:
            frame = self.next()
            if frame.op == op and all(frame.header.get(key) == value for key, value in wanted.items()):
                self._inbox.extendleft(reversed(skipped))
                return frame
            skipped.append(frame)

    def expect_all(self, *expected: tuple[str, dict[str, Any]]) -> list[Frame]:
        """The next messages, which must be these, in any order; returned in the order given."""
        frames = [self.next() for _ in expected]
        result: list[Frame] = []
        for op, fields in expected:
            match = next((frame for frame in frames if not frame.differs(op, _fields(fields))), None)
            assert match is not None, f"{self}: no {op} with {fields} among {frames}"
            frames.remove(match)
            result.append(match)
        return result

    def next(self, within_s: float = PATIENCE_S) -> Frame:
        """The next message; Silence or HungUp if none comes."""
        deadline = time.monotonic() + within_s
        while not self._inbox:
            self._pump(deadline - time.monotonic())
        return self._inbox.popleft()

    @property
    def untaken(self) -> int:
        """How many messages have been read while waiting for an answer."""
        return len(self._inbox)

    def take(self, count: int) -> list[Frame]:
        return [self.next() for _ in range(count)]

    def expect_nothing(self, for_s: float = 0.3) -> None:
        """No message, no ack, and no end of the link. people.nothing_more_for is quicker and stricter."""
        try:
            frame = self.next(for_s)
        except Silence:
            self.assert_no_answers()
            return
        raise AssertionError(f"{self} expected nothing, got {frame}")

    def expect_quit(self, reason: str) -> None:
        """The box says why, and closes."""
        self.expect("quit", error=reason)
        self.line.expect_closed()
        self.close()

    def expect_closed(self, within_s: float = PATIENCE_S) -> None:
        """The box closes without a word."""
        assert not self._inbox, f"{self} expected to be cut off without a word, got {self._inbox}"
        self.line.expect_closed(within_s)
        self.close()

    def before_curtain(self, curtain: bytes) -> list[Frame]:
        """What comes before this curtain (see people.py), and is not taken yet."""
        deadline = time.monotonic() + PATIENCE_S
        while curtain not in self.curtains:
            self._pump(deadline - time.monotonic())
        frames = list(self._inbox)
        self._inbox.clear()
        return frames

    def assert_no_answers(self) -> None:
        stray = [frame for answers in self._answers.values() for frame in answers]
        assert not stray, f"{self}: acks that nobody waits for: {stray}"

    # Reading

    def _pump(self, within_s: float) -> None:
        """Read one frame and put it where it belongs."""
        frame = self._receive(within_s)
        if frame.op == "ack":
            self._answers[frame["id"]].append(frame)
            return
        if frame.op in QUEUED:
            self._check_order(frame)
        if frame.op == "delivery" and frame["from"] == self.box.prompter_uid:
            self.curtains.add(frame.data)
            self.ack(frame)
            return
        self._inbox.append(frame)
        if self.auto_ack and frame.op in QUEUED and not self._quitting:
            self.ack(frame)

    def _check_order(self, frame: Frame) -> None:
        """Ids rise strictly, but for `user` messages, which go first, and what was not acknowledged."""
        number = frame["id"]
        if self.order == "none":
            return
        if number in self._seen:
            assert not self.auto_ack, f"{self}: sent again after its ack: {frame}"
            return
        self._seen.add(number)
        at_site = self.order == "site"
        if frame.op != "user" and (at_site or frame.op not in ("login", "notify")):
            whose = "" if at_site else frame["from"]
            highest = self._highest.get(whose, "")
            assert number > highest, f"{self}: id not above {highest}: {frame}"
            self._highest[whose] = number

    def _receive(self, within_s: float) -> Frame:
        frame = self.line.frame(within_s)
        self._link.receive_data(frame.head + frame.data)
        self._compare(frame, self._events())
        return frame

    def _events(self) -> Iterable[Any]:
        while (event := self._link.next_event()) is not wire.NEED_DATA:
            yield event

    def _compare(self, frame: Frame, events: Iterable[Any]) -> None:
        """appliance.wire read the same frame as we did."""
        event, *pieces = events
        if isinstance(event, wire.Message):
            data = event.data if event.inline else b"".join(piece.octets for piece in pieces)
            assert (event.op, wire.format_id(event.id), data) == (frame.op, frame["id"], frame.data), event
            assert event.from_ == frame["from"] and event.head == frame.head, event
            assert event.inline or [piece.last for piece in pieces].index(True) == len(pieces) - 1
        else:
            assert not pieces, (frame, pieces)
