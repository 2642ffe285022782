"""A blocking TMTP client for test bodies that read as prose.

What it sends is encoded by appliance.wire's client side. What it gets is split and judged by the kit's own
frames.py, then given to appliance.wire as well, and the two readings are compared.

There is no thread: a client reads when it is asked for something. Answers (acks) are kept apart from messages,
so that a request can be made while messages flow in.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from appliance import wire

from .frames import QUEUED, Frame
from .line import PATIENCE_S, HungUp, Line, Silence

if TYPE_CHECKING:
    from .box import Box

Recipient = "Client | str | wire.Target"


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


def with_sender(gid: str) -> wire.Target:
    """All who joined the group, the sending node too."""
    return wire.Target(gid, 2)


def without_sender(gid: str) -> wire.Target:
    """All who joined the group but the sending node."""
    return wire.Target(gid, 3)


def _targets(recipients: Any) -> list[wire.Target]:
    if isinstance(recipients, (Client, str, wire.Target)):
        recipients = [recipients]
    return [r if isinstance(r, wire.Target) else wire.Target(_uid(r), 1) for r in recipients]


def _uid(member: Client | str) -> str:
    return member if isinstance(member, str) else member.uid


def _fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Expected header fields: `from_` is `from`, a client stands for its uid."""
    return {
        key.rstrip("_"): value.uid if isinstance(value, Client) else value for key, value in fields.items()
    }


class Client:
    """One node of one member. Acknowledges what it gets unless `auto_ack` is off."""

    def __init__(self, box: Box, *, uid: str = "", node: str = "", alias: str = "") -> None:
        self.box = box
        self.uid = uid
        self.node = node
        self.alias = alias
        self.auto_ack = True
        self.last_request = b""
        """The octets of the last request that is to be answered with an ack."""
        self._line: Line | None = None
        self._link = wire.ClientLink()
        self._numbers = itertools.count(1)
        self._clear()

    def _clear(self) -> None:
        self._inbox: deque[Frame] = deque()
        self._answers: dict[str, deque[Frame]] = defaultdict(deque)
        self._seen: set[str] = set()
        self._highest = ""
        self.curtains: set[bytes] = set()

    def __repr__(self) -> str:
        return f"<client {self.alias or self.uid}>"

    # Links

    @classmethod
    def register(cls, box: Box, *, alias: str = "", label: str = "laptop", source: str | None = None) -> Self:
        """A new member's first node, logged in. `source`: the local address to connect from."""
        self = cls(box, alias=alias)
        self._connect(source)
        self._send(wire.Register(label, alias or None, None))
        frame = self._receive(PATIENCE_S)
        self._raise_quit(frame)
        difference = frame.differs("registered", {"uid": frame["uid"], "nodeid": frame["nodeid"]})
        assert not difference, f"{difference}: {frame}"
        self.uid, self.node = frame["uid"], frame["nodeid"]
        self._expect_info()
        return self

    def login(self, *, source: str | None = None) -> Frame:
        """A new link for this node; the `info` answer. Quit if the box refuses."""
        self._clear()
        self._connect(source)
        self._send(wire.Login(self.uid, self.node))
        return self._expect_info()

    def come_back(self) -> Self:
        """Login, when nothing else is pending for this node: it gets the login message and no more."""
        self.login()
        self.expect("login", from_=self, node="tbd")
        return self

    def other_node(self, node: str) -> Client:
        """Another node of the same member, with this password; not logged in."""
        return Client(self.box, uid=self.uid, node=node, alias=self.alias)

    def _connect(self, source: str | None) -> None:
        self.close()
        self._link = wire.ClientLink()
        self._line = Line(self.box, source=source)
        self._send(wire.TmtpRev("1"))
        frame = self._receive(PATIENCE_S)
        difference = frame.differs("tmtprev", {"id": "1", "name": self.box.name} | {
            key: frame[key] for key in ("auth", "authby") if key in frame
        })  # fmt: skip
        assert not difference, f"{difference}: {frame}"

    def _expect_info(self) -> Frame:
        frame = self._receive(PATIENCE_S)
        self._raise_quit(frame)
        assert frame.op == "info" and frame["info"] == "login ok", frame
        return frame

    def _raise_quit(self, frame: Frame) -> None:
        if frame.op == "quit":
            self.line.expect_closed()
            self.close()
            raise Quit(frame["error"])

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

    def reset(self) -> None:
        """The link is gone, with a TCP reset."""
        self.line.reset()
        self._line = None

    def log_out(self) -> None:
        """Quit, which the box confirms; all acks sent before it count."""
        self._send(wire.Quit())
        deadline = time.monotonic() + PATIENCE_S
        while not (self._inbox and self._inbox[-1].op == "quit"):
            self._pump(deadline - time.monotonic())
        assert self._inbox.pop()["error"] == "logout ok"
        self.line.expect_closed()
        self.close()

    # Requests: each returns its ack, and fails if that is an error, or not the expected one

    def request_id(self) -> str:
        return f"{self.alias or 'request'} {next(self._numbers)}"

    def request(self, request: Any, data: bytes = b"", error: Any = None) -> Frame:
        """Send it and wait for its ack, which must be an error if `error` says so."""
        return self.answer(self.send(request, data), error)

    def send(self, request: Any, data: bytes = b"") -> str:
        """Send a request that will be answered; its id."""
        head = self._link.encode(request)
        self.last_request = head + data
        self.line.send(head + data if len(data) < 65536 else head)
        if len(data) >= 65536:
            self.line.send(data)
        return str(request.id)

    def send_again(self, octets: bytes, error: Any = None) -> Frame:
        """Send a request's octets as they went out the first time; the answer."""
        self.line.send(octets)
        return self.answer(wire_id(octets), error)

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

    def edit_user(self, *, newnode: str | None = None, newalias: str | None = None, error: Any = None) -> Frame:
        return self.request(wire.UserEdit(self.request_id(), newnode, newalias), error=error)

    def add_node(self, label: str) -> Client:
        """Make another node for this member; the other node, not logged in. Consumes the `user` message here."""
        self.edit_user(newnode=label)
        return self.other_node(self.find("user", newnode=label)["nodeid"])

    def edit_ohi(self, kind: str, *members: Client | str, error: Any = None) -> Frame:
        return self.request(wire.OhiEdit(self.request_id(), [_uid(m) for m in members], kind), error=error)

    def invite(
        self, to: Client | str, gid: str, text: str = "", *, from_: str | None = None, error: Any = None
    ) -> Frame:
        data = text.encode()
        sender, alias = from_ or self.alias, to.alias if isinstance(to, Client) else to
        request = wire.GroupInvite(self.request_id(), gid, sender, alias, len(data), 0, None)
        return self.request(request, data, error)

    def join(self, gid: str, newalias: str | None = None, error: Any = None) -> Frame:
        return self._edit_group("join", gid, newalias=newalias, error=error)

    def rename_in(self, gid: str, newalias: str, error: Any = None) -> Frame:
        return self._edit_group("alias", gid, newalias=newalias, error=error)

    def drop(self, to: Client | str, gid: str, error: Any = None) -> Frame:
        return self._edit_group("drop", gid, to=to.alias if isinstance(to, Client) else to, error=error)

    def _edit_group(
        self, act: str, gid: str, *, newalias: str | None = None, to: str | None = None, error: Any = None
    ) -> Frame:
        return self.request(wire.GroupEdit(self.request_id(), act, gid, newalias, to), error=error)

    def post(
        self, data: bytes, to: Any = (), *, datahead: int = 0, datasum: int | None = None, error: Any = None
    ) -> Frame:
        """Post to members (clients or uids) and groups (see with_sender, without_sender)."""
        request = wire.Post(self.request_id(), _targets(to), len(data), datahead, datasum)
        return self.request(request, data, error)

    def post_notify(
        self,
        note: bytes,
        message: bytes,
        to: Any = (),
        noteto: Any = (),
        *,
        fornotself: bool = False,
        datahead: int = 0,
        datasum: int | None = None,
        notehead: int = 0,
        notesum: int | None = None,
        error: Any = None,
    ) -> Frame:
        request = wire.PostNotify(
            id=self.request_id(),
            to=_targets(to),
            datalen=len(note) + len(message),
            datahead=datahead,
            datasum=datasum,
            notelen=len(note),
            notehead=notehead,
            notesum=notesum,
            noteto=_targets(noteto),
            fornotself=fornotself,
        )
        return self.request(request, note + message, error)

    def ping(
        self, text: str, to: Client | str, *, from_: str | None = None, datasum: int | None = None, error: Any = None
    ) -> Frame:
        data = text.encode()
        alias = to.alias if isinstance(to, Client) else to
        request = wire.Ping(self.request_id(), from_ or self.alias, alias, len(data), 0, datasum)
        return self.request(request, data, error)

    def pulse(self) -> None:
        self._send(wire.Pulse())

    def ack(self, message: Frame | str) -> None:
        """Acknowledge a message, or any id."""
        self._send(wire.Ack(message if isinstance(message, str) else message["id"], "got"))

    def round_trip(self) -> None:
        """Wait until the box has seen all that was sent before; changes nothing."""
        self.join("a group that there is not", error=mentions())

    def _send(self, request: Any) -> None:
        self.line.send(self._link.encode(request))

    # Messages

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

    def take(self, count: int) -> list[Frame]:
        return [self.next() for _ in range(count)]

    def expect_nothing(self, for_s: float = 0.3) -> None:
        """No message, no ack, and no end of the link. See people.nothing_more_for for a quicker and stricter way."""
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
        if self.auto_ack and frame.op in QUEUED:
            self.ack(frame)

    def _check_order(self, frame: Frame) -> None:
        """Ids rise strictly, but for `user` messages, which go first, and what was not acknowledged."""
        number = frame["id"]
        if number in self._seen:
            assert not self.auto_ack, f"{self}: sent again after its ack: {frame}"
            return
        self._seen.add(number)
        if frame.op != "user":
            assert number > self._highest, f"{self}: id not above {self._highest}: {frame}"
            self._highest = number

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


def wire_id(octets: bytes) -> str:
    """The id in a request's octets."""
    import json

    return str(json.loads(octets[4 : 4 + int(octets[:4], 16)])["id"])


def uids(members: Sequence[Client]) -> list[str]:
    return [member.uid for member in members]
