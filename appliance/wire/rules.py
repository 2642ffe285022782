"""Which requests are well formed: the table of TMTP revision 1, section 3, and the limits of ops 5 and 9.

A header is judged in two steps, so that a client that asks at the wrong time is told so rather than what
else is wrong: first `judge` (types, numbers, what is missing), then the link's state (see `states`), then
`build` (what only makes sense for a request that may be made at all).
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import fields

from . import header as kind
from . import reasons
from .canonical import HEADER_MAX, quote
from .errors import RemoteProtocolError
from .header import BadHeader
from .requests import (
    TO_GROUP_NOT_SELF,
    TO_UID,
    Ack,
    GroupEdit,
    GroupInvite,
    Identified,
    Login,
    OhiEdit,
    Ping,
    Post,
    PostNotify,
    Pulse,
    Quit,
    Register,
    Request,
    Target,
    TmtpRev,
    UserEdit,
)

Header = dict[str, Any]

KINDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "op": kind.count,
    "id": kind.text,
    "uid": kind.text,
    "node": kind.text,
    "newnode": kind.text,
    "newalias": kind.text,
    "oidc": kind.mapping,
    "gid": kind.text,
    "from": kind.text,
    "to": kind.text,
    "act": kind.text,
    "type": kind.text,
    "for": kind.targets,
    "notefor": kind.targets,
    "fornotself": kind.flag,
    "datalen": kind.count,
    "datahead": kind.count,
    "datasum": kind.checksum,
    "notelen": kind.count,
    "notehead": kind.count,
    "notesum": kind.checksum,
}
"""All fields of requests. A field of the wrong type is refused also in an op that has no use for it."""


class Body(Enum):
    """What `datalen` may be."""

    NONE = "0 or absent"
    TEXT = "0 to 420"
    DATA = "more than 0"
    NOTE = "more than notelen, which is more than 0"


TEXT_OCTETS_MAX: Final = 420
TEXT_UTF16_MAX: Final = 140

ID_OCTETS_MAX: Final = 60_000
"""Octets of an `id` as canonical JSON. What is longer could not be answered: an ack has to fit in a frame
with it.
"""


class Rule(Struct, frozen=True):
    """One row of the table: `needs` must be there and not empty, `lists` must be there."""

    request: type[Request]
    needs: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    body: Body = Body.NONE


RULES: Final[Mapping[int, Rule]] = {
    0: Rule(TmtpRev, needs=("id",)),
    1: Rule(Register, needs=("newnode",)),
    2: Rule(Login, needs=("uid", "node")),
    3: Rule(UserEdit, needs=("id",)),
    4: Rule(OhiEdit, needs=("id", "for", "type")),
    5: Rule(GroupInvite, needs=("id", "gid", "from", "to"), body=Body.TEXT),
    6: Rule(GroupEdit, needs=("id", "act", "gid")),
    7: Rule(Post, needs=("id",), lists=("for",), body=Body.DATA),
    8: Rule(PostNotify, needs=("id",), lists=("for",), body=Body.NOTE),
    9: Rule(Ping, needs=("id", "from", "to"), body=Body.TEXT),
    10: Rule(Ack, needs=("id", "type")),
    11: Rule(Pulse),
    12: Rule(Quit),
}

GROUP_ACTS: Final[Mapping[str, tuple[str, ...]]] = {"join": (), "alias": ("newalias",), "drop": ("to",)}
"""What each `act` of GroupEdit needs besides."""

OHI_TYPES: Final = ("add", "drop", "init")


def judge(header: Header) -> Rule:
    """The rule that this header keeps. Raises BadHeader if there is none."""
    rule = RULES.get(header.get("op", -1))
    if rule is None:
        raise BadHeader("no such op")
    for name in rule.needs:
        if not header.get(name):
            raise BadHeader(f"{name} is missing")
    for name in rule.lists:
        if name not in header:
            raise BadHeader(f"{name} is missing")
    _judge_lengths(header, rule.body)
    typed = rule.request is not OhiEdit
    for element in (*header.get("for", ()), *header.get("notefor", ())):
        if not element.get("id") or (typed and not TO_UID <= element.get("type", 0) <= TO_GROUP_NOT_SELF):
            raise BadHeader("an element of for has no id or no type")
    if len(header.get("id", "")) > HEADER_MAX // 8 and len(quote(header["id"]).encode()) > ID_OCTETS_MAX:
        raise BadHeader("id is too long to be answered")
    return rule


def _judge_lengths(header: Header, body: Body) -> None:
    datalen = header.get("datalen", 0)
    notelen = header.get("notelen", 0)
    if datalen < header.get("datahead", 0) or notelen < header.get("notehead", 0):
        raise BadHeader("the head of the data is longer than the data")
    if (body is Body.NONE and datalen) or (body in (Body.DATA, Body.NOTE) and not datalen):
        raise BadHeader(f"datalen must be {body.value}")
    if (notelen > 0) is not (body is Body.NOTE):
        raise BadHeader("notelen is for PostNotify, and must be there")


_EXTRA_FIELDS: Final = frozenset(("head", "data", "inline"))
FIELDS: Final[Mapping[type[Request], tuple[tuple[str, str], ...]]] = {
    rule.request: tuple((f.name, f.encode_name) for f in fields(rule.request) if f.name not in _EXTRA_FIELDS)
    for rule in RULES.values()
}
"""Of each request: the struct's fields and their names in the header."""


def build(rule: Rule, header: Header, head: bytes = b"") -> Request:
    """The request in a header that `judge` has let pass.

    Raises BadHeader for what is left to judge in it, and RemoteProtocolError where section 2 has a reason
    of its own.
    """
    request = rule.request
    if request is UserEdit:
        if bool(header.get("newnode")) is bool(header.get("newalias")):
            raise BadHeader("exactly one of newnode and newalias must be there")
    elif request is OhiEdit:
        if header["type"] not in OHI_TYPES:
            raise BadHeader("type must be add, drop or init")
    elif request is GroupEdit:
        needs = GROUP_ACTS.get(header["act"])
        if needs is None or not all(map(header.get, needs)):
            raise BadHeader("act must be join, alias with newalias, or drop with to")
    elif request is PostNotify:
        _judge_note(header)
    elif rule.body is Body.TEXT and header.get("datalen", 0) > TEXT_OCTETS_MAX:
        raise RemoteProtocolError(reasons.DATA_TOO_LONG)
    given = {field: _field(request, name, header[name]) for field, name in FIELDS[request] if name in header}
    made = request(**given)
    if isinstance(made, Identified):
        made.head = head
    return made


def _field(request: type[Request], name: str, value: Any) -> Any:
    if name in ("for", "notefor"):
        if request is OhiEdit:
            return [element["id"] for element in value]
        return [Target(element["id"], element["type"]) for element in value]
    if value == "" or (request is Register and name == "newalias" and value == "_"):
        return None
    return value


def _judge_note(header: Header) -> None:
    message_len = header["datalen"] - header["notelen"]
    if message_len <= 0:
        raise RemoteProtocolError(reasons.DATA_TOO_SHORT)
    if header.get("datahead", 0) > message_len:
        raise BadHeader("the head of the message is longer than the message")
    if header.get("fornotself") and not header["for"]:
        raise RemoteProtocolError(reasons.RECIPIENT_LIST_EMPTY)


def check_text(data: bytes) -> None:
    """Raises RemoteProtocolError unless `data` will do as the text of a ping or an invite."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError(reasons.DATA_NOT_UTF8) from None
    if "\ufffd" in text:
        raise RemoteProtocolError(reasons.DATA_NOT_UTF8)
    if len(text) > TEXT_UTF16_MAX or len(text.encode("utf-16-le")) // 2 > TEXT_UTF16_MAX:
        raise RemoteProtocolError(reasons.DATA_TOO_LONG)
