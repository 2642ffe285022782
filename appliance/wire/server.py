"""One TMTP link from the server's side."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import fast, reasons
from .canonical import HEADER_MAX, canonical_json, frame_head, quote
from .emit import encode_quit_reason
from .errors import LocalProtocolError, RemoteProtocolError
from .header import BadHeader, read_header
from .link import INLINE_MAX, Data, Link, NeedData
from .requests import WITH_DATA, Ack, GroupInvite, Identified, Ping, Post, PostNotify, Request
from .rules import KINDS, TEXT_OCTETS_MAX, build, check_text, judge
from .states import AWAITING_ANSWER, ON_ANSWER, ON_REQUEST, State

_LOGGED_IN: Final = State.LOGGED_IN
_TEXT: Final = (GroupInvite, Ping)

Event = Request | Data | NeedData


class ServerLink(Link):
    """What a server needs to talk to one client: requests come out as structs, answers go in as calls.

    Feed it with `receive_data` and take `next_event` until that is NEED_DATA. A request of up to
    `inline_max` octets of data comes when all of it is there; a larger one at once, and then its data in
    `Data` events. Tmtprev, Register and Login are to be answered (or refused with `encode_quit`) before the
    next event is asked for. After a RemoteProtocolError send `encode_quit(error.reason)`, and close.

    Bound of its memory: 4 + 65535 + max(inline_max, 420) octets, and what was received last.
    """

    def __init__(self, inline_max: int = INLINE_MAX) -> None:
        super().__init__(inline_max)
        self._text_max = max(inline_max, TEXT_OCTETS_MAX)
        self._greeted = False

    def next_event(self) -> Event:
        """The next request or piece of data, or NEED_DATA.

        Raises RemoteProtocolError when the client has broken the protocol, now and at every further call.
        On a link that is over there are no events: NEED_DATA. Raises LocalProtocolError if a TmtpRev,
        Register or Login has yet to be answered.
        """
        if self._state in AWAITING_ANSWER:
            raise LocalProtocolError(f"{self._state.value}: do so before you ask for the next event")
        event: Event = self._next()
        return event

    def _read_head(self, head: bytes) -> Request:
        if self._state is _LOGGED_IN:
            request = fast.read(head[4:])
            if request is not None:
                if type(request) is Ack:
                    request.head = head
                elif type(request) is Post or type(request) is PostNotify:
                    request.head = head
                    self._left = request.datalen
                    request.inline = request.datalen <= self._inline_max
                return request
        return self._read_with_care(head)

    def _read_with_care(self, head: bytes) -> Request:
        header = read_header(head[4:], KINDS)
        rule = judge(header)
        outcome = ON_REQUEST[self._state][rule.request.op]
        if not isinstance(outcome, State):
            raise RemoteProtocolError(outcome)
        request = build(rule, header, head)
        if outcome is State.QUITTING:
            self._end(outcome)
            return request
        self._state = outcome
        if isinstance(request, WITH_DATA):
            self._left = request.datalen
            limit = self._text_max if isinstance(request, _TEXT) else self._inline_max
            request.inline = self._left <= limit
        return request

    def _judge_data(self, event: Any) -> None:
        if isinstance(event, _TEXT):
            check_text(event.data)

    def _answer(self, name: str) -> None:
        after = ON_ANSWER[name].get(self._state)
        if after is None:
            raise LocalProtocolError(f"{name} cannot be sent now: {self._state.value}")
        self._state = after

    def encode_tmtprev(
        self, name: str, auth: int | None = None, authby: Sequence[Mapping[str, Any]] | None = None
    ) -> bytes:
        """The answer to TmtpRev: the site's name, and what it demands of whom (section 5). Takes GREETING
        to GREETED.
        """
        fields: dict[str, Any] = {"id": "1", "name": name, "op": "tmtprev"}
        if auth:
            fields["auth"] = auth
        if authby:
            fields["authby"] = authby
        frame = frame_head(canonical_json(fields))
        self._answer("tmtprev")
        self._greeted = True
        return frame

    def encode_registered(self, uid: str, nodeid: str, error: str | None = None) -> bytes:
        """The answer to Register; `error` is why there is no alias. `encode_login_ok` has to follow."""
        fields = {"nodeid": nodeid, "op": "registered", "uid": uid}
        if error is not None:
            fields["error"] = error
        frame = frame_head(canonical_json(fields))
        self._answer("registered")
        return frame

    def encode_login_ok(self, ohi: Sequence[str] = ()) -> bytes:
        """Opens the session: LOGGING_IN to LOGGED_IN. `ohi` are uids; those that do not fit in a frame are
        left out.
        """
        shown: list[str] = []
        room = HEADER_MAX - 100
        for uid in ohi:
            room -= len(quote(uid).encode()) + 1
            if room < 0:
                break
            shown.append(uid)
        fields: dict[str, Any] = {"info": "login ok", "op": "info"}
        if shown:
            fields["ohi"] = shown
        self._answer("info")
        return frame_head(canonical_json(fields))

    def encode_quit(self, reason: str = reasons.LOGOUT_OK) -> bytes:
        """Ends the link, whatever its state: the last octets to send, if any, before it is closed.

        Empty if the client never got its tmtprev answer, or a quit was sent before.
        """
        silent = not self._greeted or self._state is State.CLOSED
        self._end(State.CLOSED)
        return b"" if silent else encode_quit_reason(reason)


def request_of(head: bytes) -> Request:
    """The request in a frame head that a ServerLink let in before. Raises RemoteProtocolError if it would not
    have.
    """
    request = fast.read(head[4:])
    if request is None:
        try:
            header = read_header(head[4:], KINDS)
            return build(judge(header), header, head)
        except BadHeader as error:
            raise RemoteProtocolError(reasons.INVALID_HEADER, str(error)) from error
    if isinstance(request, Identified):
        request.head = head
    return request
