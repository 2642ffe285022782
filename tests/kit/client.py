"""A blocking TMTP client for test bodies that read as prose. What it sends is encoded by appliance.wire."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any, Self

from appliance import wire

from .frames import Frame
from .line import PATIENCE_S, Line
from .mailbox import Mailbox, Quit, mentions

if TYPE_CHECKING:
    from .place import Place

_numbers = itertools.count(1)


def with_sender(gid: str) -> wire.Target:
    """All who joined the group, the sending node too."""
    return wire.Target(gid, 2)


def without_sender(gid: str) -> wire.Target:
    """All who joined the group but the sending node."""
    return wire.Target(gid, 3)


def _request_id(octets: bytes) -> str:
    return str(json.loads(octets[4 : 4 + int(octets[:4], 16)])["id"])


def _targets(recipients: Any) -> list[wire.Target]:
    if isinstance(recipients, (Client, str, wire.Target)):
        recipients = [recipients]
    return [r if isinstance(r, wire.Target) else wire.Target(_uid(r), 1) for r in recipients]


def _uid(member: Client | str) -> str:
    return member if isinstance(member, str) else member.uid


class Client(Mailbox):
    """One node of one member."""

    def __init__(self, box: Place, *, uid: str = "", node: str = "", alias: str = "") -> None:
        super().__init__(box, uid, alias)
        self.node = node
        self.last_request = b""
        """The octets of the last request that is to be answered with an ack."""

    # Links

    @classmethod
    def register(
        cls, box: Place, *, alias: str = "", label: str = "laptop", source: str | None = None
    ) -> Self:
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
        other = Client(self.box, uid=self.uid, node=node, alias=self.alias)
        other.order = self.order
        return other

    def _connect(self, source: str | None) -> None:
        self.close()
        self._link = wire.ClientLink()
        self._line = Line(self.box, source=source)
        self._send(wire.TmtpRev("1"))
        frame = self._receive(PATIENCE_S)
        auth = {key: frame[key] for key in ("auth", "authby") if key in frame}
        difference = frame.differs("tmtprev", {"id": "1", "name": self.box.name, **auth})
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

    def log_out(self) -> None:
        """Quit, which the box confirms; all acks sent before it count."""
        self._send(wire.Quit())
        self._quitting = True
        deadline = time.monotonic() + PATIENCE_S
        while not (self._inbox and self._inbox[-1].op == "quit"):
            self._pump(deadline - time.monotonic())
        assert self._inbox.pop()["error"] == "logout ok"
        self.line.expect_closed()
        self.close()

    # Requests: each returns its ack, and fails if that is an error, or not the expected one

    def request_id(self) -> str:
        """Never the same twice: a request sent again on a later link is told by its id."""
        return f"{self.alias or 'request'} {next(_numbers)}"

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
        return self.answer(_request_id(octets), error)

    def edit_user(
        self, *, newnode: str | None = None, newalias: str | None = None, error: Any = None
    ) -> Frame:
        return self.request(wire.UserEdit(self.request_id(), newnode, newalias), error=error)

    def add_node(self, label: str) -> Client:
        """Make another node for this member, which is not logged in. Takes the `user` message here."""
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
        self,
        text: str,
        to: Client | str,
        *,
        from_: str | None = None,
        datasum: int | None = None,
        error: Any = None,
    ) -> Frame:
        data = text.encode()
        alias = to.alias if isinstance(to, Client) else to
        request = wire.Ping(self.request_id(), from_ or self.alias, alias, len(data), 0, datasum)
        return self.request(request, data, error)

    def pulse(self) -> None:
        self._send(wire.Pulse())

    def round_trip(self) -> None:
        """Wait until the box has seen all that was sent before; changes nothing."""
        self.join("a group that there is not", error=mentions())
