"""One TMTP link from the client's side."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from . import fast, reasons
from . import header as kind
from .canonical import canonical_json, frame_head, headsum_holds
from .errors import LocalProtocolError, RemoteProtocolError
from .header import BadHeader, read_header
from .link import INLINE_MAX, Data, Link, NeedData
from .replies import AckReply, Info, Message, Ohi, QuitReply, Registered, ServerMessage, TmtpRevReply
from .requests import Count, Register, Request
from .rules import FIELDS, KINDS, build, check_text, judge
from .stamps import parse_id
from .states import CLIENT_GETS, CLIENT_SENDS, QUEUED_OPS, State

ClientEvent = ServerMessage | Data | NeedData


def _texts(value: Any) -> list[str]:
    return [kind.text(entry) for entry in kind.a_list(value)]


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [kind.mapping(entry) for entry in kind.a_list(value)]


_EXTRA_KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "act": kind.text,
    "alias": kind.text,
    "for": kind.targets,
    "gid": kind.text,
    "newalias": kind.text,
    "newnode": kind.text,
    "node": kind.text,
    "nodeid": kind.text,
    "notify": kind.count,
    "postid": kind.text,
    "to": kind.text,
    "type": kind.text,
}
"""The fields of single ops: what goes into `Message.fields`."""

_KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **_EXTRA_KINDS,
    "auth": kind.integer,
    "authby": _mappings,
    "datahead": kind.count,
    "datalen": kind.count,
    "datasum": kind.checksum,
    "error": kind.text,
    "from": kind.text,
    "headsum": kind.checksum,
    "id": kind.text,
    "info": kind.text,
    "msgid": kind.text,
    "name": kind.text,
    "ohi": _texts,
    "op": kind.text,
    "posted": kind.text,
    "status": kind.integer,
    "uid": kind.text,
}

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tmtprev": ("id",),
    "registered": ("uid", "nodeid"),
    "info": ("info",),
    "ack": ("id",),
    "ohi": ("from", "status"),
    "quit": (),
    **dict.fromkeys(QUEUED_OPS, ("id", "from", "posted")),
}


class _FastAck(Struct, gc=False, forbid_unknown_fields=True, tag_field="op", tag="ack"):
    id: Annotated[str, Meta(min_length=1)]
    msgid: str = ""
    posted: str = ""


class _FastDelivery(
    Struct, gc=False, forbid_unknown_fields=True, tag_field="op", tag="delivery", rename={"from_": "from"}
):
    id: str
    from_: Annotated[str, Meta(min_length=1)]
    posted: Annotated[str, Meta(min_length=1)]
    headsum: Count
    datalen: Count
    datahead: Count = 0
    datasum: Count | None = None
    notify: Count | None = None


_decode_fast: Final[Callable[[bytes], _FastAck | _FastDelivery]] = Decoder(_FastAck | _FastDelivery).decode


class ClientLink(Link):
    """What a client needs to talk to a server: requests go in as structs, the server's messages come out as
    structs.

    The server is not trusted: its headers are held to the same rules and bounds as those of clients. Data
    of up to `inline_max` octets comes with its message, more of it in `Data` events after the message.

    Bound of its memory: 4 + 65535 + inline_max octets, and what was received last.
    """

    def __init__(self, inline_max: int = INLINE_MAX) -> None:
        super().__init__(inline_max)
        self._greeted = False

    def encode(self, request: Request) -> bytes:
        """The frame head of a request, after which `request.datalen` octets of data have to be sent.

        Raises LocalProtocolError, and changes nothing, if the request breaks a rule of section 3 or may not
        be made now.
        """
        after = CLIENT_SENDS.get(self._state, {}).get(request.name)
        if after is None:
            raise LocalProtocolError(f"{request.name} cannot be sent now: {self._state.value}")
        head = frame_head(canonical_json(_header(request)))
        if fast.read(head[4:]) is None:
            try:
                header = read_header(head[4:], KINDS)
                build(judge(header), header)
            except (BadHeader, RemoteProtocolError) as error:
                raise LocalProtocolError(f"{request.name} would be refused: {error}") from error
        self._state = after
        return head

    def encode_frame(self, request: Request, data: bytes = b"") -> bytes:
        """A whole request. Raises LocalProtocolError like `encode`, and if `data` is not what the header
        says.
        """
        expected = getattr(request, "datalen", 0)
        if len(data) != expected:
            raise LocalProtocolError(f"{request.name} says {expected} octets of data, not {len(data)}")
        if request.name in ("GroupInvite", "Ping"):
            try:
                check_text(data)
            except RemoteProtocolError as error:
                raise LocalProtocolError(f"{request.name} would be refused: {error}") from error
        return self.encode(request) + data

    def next_event(self) -> ClientEvent:
        """The next message or piece of data, or NEED_DATA.

        Raises RemoteProtocolError when the server has broken the protocol, now and at every further call;
        the link is then to be closed. After a QuitReply there are no more events.
        """
        event: ClientEvent = self._next()
        return event

    def _read_head(self, head: bytes) -> ServerMessage:
        if self._state is State.LOGGED_IN:
            usual = _read_fast(head)
            if usual is not None:
                if isinstance(usual, Message):
                    self._expect_data(usual)
                return usual
        header = read_header(head[4:], _KINDS)
        op = header.get("op", "")
        after = CLIENT_GETS.get(self._state, {}).get(op)
        if after is None or (op != "quit" and self._greeted is (op == "tmtprev")):
            raise RemoteProtocolError(reasons.UNEXPECTED_MESSAGE)
        message = _build(op, header, head)
        if isinstance(message, Message):
            self._expect_data(message)
        elif header.get("datalen"):
            raise BadHeader("data follows only queued messages")
        if isinstance(message, TmtpRevReply):
            self._greeted = True
        if after is State.CLOSED:
            self._end(after)
        self._state = after
        return message

    def _expect_data(self, message: Message) -> None:
        self._left = message.datalen
        message.inline = message.datalen <= self._inline_max


def _header(request: Request) -> dict[str, Any]:
    """The header of a request: what has no value, or says no more than its absence, is left out."""
    fields: dict[str, Any] = {"op": request.op}
    for field, name in FIELDS[type(request)]:
        value = getattr(request, field)
        if isinstance(value, list):
            value = [{"id": e} if isinstance(e, str) else {"id": e.id, "type": e.type} for e in value]
            if value or name == "for":
                fields[name] = value
        elif value:
            fields[name] = value
    if isinstance(request, Register):
        fields.setdefault("newalias", "_")
    return fields


def id_of(head: bytes) -> int:
    """The id in the frame head of a queued message that a ClientLink let in before, or that we made."""
    try:
        found = parse_id(_decode_fast(head[4:]).id)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        found = None
    return _number(read_header(head[4:], _KINDS)["id"]) if found is None else found


def _read_fast(head: bytes) -> AckReply | Message | None:
    """The ack or delivery in a frame head as a good server writes them, or None if that takes a closer
    look.
    """
    try:
        found = _decode_fast(head[4:])
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, _FastAck):
        msgid = parse_id(found.msgid)
        if msgid is None and found.msgid:
            return None
        return AckReply(found.id, msgid, found.posted)
    number = parse_id(found.id)
    if number is None or found.datahead > found.datalen or not headsum_holds(head):
        return None
    fields = {} if found.notify is None else {"notify": found.notify}
    return Message(
        "delivery",
        number,
        found.from_,
        found.posted,
        found.datalen,
        found.datahead,
        found.datasum,
        found.headsum,
        fields,
        head,
    )


def _build(op: str, header: dict[str, Any], head: bytes) -> ServerMessage:
    for name in _NEEDS[op]:
        if name not in header or header[name] == "":
            raise BadHeader(f"{name} is missing")
    if header.get("datahead", 0) > header.get("datalen", 0):
        raise BadHeader("the head of the data is longer than the data")
    error = header.get("error") or None
    if op == "tmtprev":
        return TmtpRevReply(header["id"], header.get("name", ""), header.get("auth"), header.get("authby"))
    if op == "registered":
        return Registered(header["uid"], header["nodeid"], error)
    if op == "info":
        return Info(header["info"], header.get("ohi", []))
    if op == "quit":
        return QuitReply(header.get("error", ""))
    if op == "ohi":
        return Ohi(header["from"], header["status"])
    if op == "ack":
        msgid = header.get("msgid")
        return AckReply(header["id"], _number(msgid) if msgid else None, header.get("posted", ""), error)
    headsum = header.get("headsum")
    if headsum is not None and not headsum_holds(head):
        raise RemoteProtocolError(reasons.WRONG_HEADSUM)
    return Message(
        op,
        _number(header["id"]),
        header["from"],
        header["posted"],
        header.get("datalen", 0),
        header.get("datahead", 0),
        header.get("datasum"),
        headsum,
        {name: header[name] for name in _EXTRA_KINDS if name in header},
        head,
    )


def _number(text: str) -> int:
    number = parse_id(text)
    if number is None:
        raise BadHeader("an id is 16 lower-case hex digits")
    return number
