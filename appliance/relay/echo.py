"""What the other devices of a member get of a request that one of them made: TMTP revision 1, section 4.

A site gives it to the sender's *other* nodes, and this box is one node of it, with all the member's devices
behind: so nobody sends it to us, and we make it when the site has answered. Pure.

A site that does not recognise repeated requests makes a second message of one that is sent again. So before
that the box looks what came of it. ``shown`` has the site give a post to this node, too: the member becomes
one of the recipients, which nobody else can see. What is known of the others (``proves``) stands in README.md
beside this file.

The id of a note (PostNotify) is not in the answer. In its place stands the id that the request has here,
which no other message has; ``postid`` is the right one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from appliance import wire
from appliance.wire.requests import TO_GROUP, TO_GROUP_NOT_SELF, TO_UID

SHOWN_MAX = 4 << 20
"""Larger posts are not asked back: they would come down once more, which takes a slow link longer than the
30 s after which a site sends a message again.
"""

OPS = {
    wire.Post: "delivery",
    wire.PostNotify: "delivery",
    wire.Ping: "ping",
    wire.GroupInvite: "invite",
}
"""What comes of a request at other nodes."""


@dataclass(frozen=True, slots=True)
class Part:
    """``size`` octets of a request's data from ``start`` on."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as the site would have made it: its frame head, and which part of the request's data it has.
    ``upid``: the id in its head. ``own``: whether the device that made the request gets it, too; None: if the
    site gives it to the node that made it.
    """

    op: str
    upid: int
    head: bytes
    part: Part
    own: bool | None = None


def shown(request: wire.Request, uid: str) -> wire.Request:
    """``request`` of the member ``uid``, so that the site gives its message to the node that makes it, if
    that can be had without anybody else seeing a difference: of a note (PostNotify) all see how many
    entries the lists have, so that only a group in them can be one with the sender.
    """
    match request:
        case wire.Post() if request.datalen <= SHOWN_MAX and is_named(request.to, uid) is False:
            return msgspec.structs.replace(request, to=[*request.to, wire.Target(uid, TO_UID)])
        case wire.PostNotify() if request.datalen <= SHOWN_MAX and is_named(request.to, uid) is False:
            for at, target in enumerate(request.to):
                if target.type == TO_GROUP_NOT_SELF:
                    with_self = wire.Target(target.id, TO_GROUP)
                    to = [*request.to[:at], with_self, *request.to[at + 1 :]]
                    return msgspec.structs.replace(request, to=to)
    return request


def is_named(targets: Iterable[wire.Target], uid: str) -> bool | None:
    """Whether the sender is one of the recipients; None: if it has joined the group that is one."""
    if any(target.type == TO_UID and target.id == uid for target in targets):
        return True
    return None if any(target.type == TO_GROUP for target in targets) else False


def is_open(request: wire.Request, uid: str) -> bool:
    """Whether only the site knows if the sender is one of the recipients."""
    match request:
        case wire.Ping() | wire.GroupInvite():
            return True
        case wire.Post():
            return is_named(request.to, uid) is None
        case wire.PostNotify():
            return None in (is_named(request.to, uid), is_named([*request.to, *request.noteto], uid))
    return False


def copies(request: wire.Request, uid: str, item: int, upid: int, posted_ms: int) -> list[Copy]:
    """What the other devices get of ``request``, which the member ``uid`` made under the id ``item`` here and
    the site knows as ``upid``. Nothing if the site tells them by itself, or there is nothing to tell.
    """
    if not upid:
        return []
    match request:
        case wire.PostNotify():
            return _noted(request, uid, item, upid, posted_ms)
        case wire.Post():
            head = wire.encode_message(
                "delivery", uid, upid, posted_ms, request.datalen, request.datahead, request.datasum
            )
            return [Copy("delivery", upid, head, Part(0, request.datalen), is_named(request.to, uid))]
        case wire.Ping() | wire.GroupInvite():
            group = {"gid": request.gid} if isinstance(request, wire.GroupInvite) else {}
            head = wire.encode_message(
                OPS[type(request)],
                uid,
                upid,
                posted_ms,
                request.datalen,
                request.datahead,
                request.datasum,
                alias=request.from_,
                to=request.to,
                **group,
            )
            return [Copy(OPS[type(request)], upid, head, Part(0, request.datalen))]
        case _:
            return []


def _noted(request: wire.PostNotify, uid: str, item: int, upid: int, posted_ms: int) -> list[Copy]:
    made = []
    size = request.datalen - request.notelen
    if not request.fornotself:
        head = wire.encode_message(
            "delivery", uid, upid, posted_ms, size, request.datahead, request.datasum, notify=_notify(request)
        )
        own = is_named(request.to, uid)
        made.append(Copy("delivery", upid, head, Part(request.notelen, size), own))
    head = wire.encode_message(
        "notify",
        uid,
        item,
        posted_ms,
        request.notelen,
        request.notehead,
        request.notesum,
        postid=wire.format_id(upid),
    )
    own = is_named([*request.to, *request.noteto], uid)
    return [*made, Copy("notify", item, head, Part(0, request.notelen), own)]


def _notify(request: wire.PostNotify) -> int:
    """What its message says of how many are told."""
    return len(request.to) + len(request.noteto) + (not request.fornotself)


@dataclass(frozen=True, slots=True)
class Trace:
    """By what a message that comes from the site is known to be of a request: all of it that the wire shows
    but the data. To whom it went is not there.
    """

    op: str
    size: int
    datahead: int
    datasum: int
    names: tuple[str, ...]


def trace_of(request: wire.Request) -> Trace | None:
    """Of a request; None if nothing comes back of it by which it could be known."""
    match request:
        case wire.PostNotify():
            if request.fornotself:
                return Trace("notify", request.notelen, request.notehead, request.notesum or 0, ())
            size = request.datalen - request.notelen
            names: tuple[str, ...] = ("notify", str(_notify(request)))
            return Trace("delivery", size, request.datahead, request.datasum or 0, names)
        case wire.Post():
            return Trace("delivery", request.datalen, request.datahead, request.datasum or 0, ())
        case wire.Ping():
            names = (request.from_, request.to)
            return Trace("ping", request.datalen, request.datahead, request.datasum or 0, names)
        case wire.GroupInvite():
            names = (request.from_, request.to, request.gid)
            return Trace("invite", request.datalen, request.datahead, request.datasum or 0, names)
        case _:
            return None


def trace_in(message: wire.Message) -> Trace:
    """Of a message."""
    fields = message.fields
    names: tuple[str, ...] = ()
    if message.op == "delivery" and "notify" in fields:
        names = ("notify", str(fields["notify"]))
    elif message.op in ("ping", "invite"):
        keys = ("alias", "to", "gid") if message.op == "invite" else ("alias", "to")
        names = tuple(str(fields.get(key, "")) for key in keys)
    return Trace(message.op, message.datalen, message.datahead, message.datasum or 0, names)


def traced_part(request: wire.Request) -> Part:
    """Which part of a request's data the message has by which it is known."""
    if isinstance(request, wire.PostNotify):
        if request.fornotself:
            return Part(0, request.notelen)
        return Part(request.notelen, request.datalen - request.notelen)
    return Part(0, getattr(request, "datalen", 0))


def proves(message: wire.Message, request: wire.Request) -> bool:
    """Whether a message by the member, which goes to all of its nodes or to all of a group, tells of
    ``request``, or of the same done by another node.
    """
    fields = message.fields
    match request:
        case wire.UserEdit():
            return message.op == "user" and fields.get("newalias") == request.newalias is not None
        case wire.GroupInvite():
            wanted = {"act": "invite", "gid": request.gid, "alias": request.to}
        case wire.GroupEdit(act="join"):
            wanted = {"act": "join", "gid": request.gid}
            if request.newalias is not None:
                wanted["alias"] = request.newalias
        case wire.GroupEdit(act="alias"):
            wanted = {"act": "alias", "gid": request.gid, "newalias": request.newalias or ""}
        case wire.GroupEdit():
            wanted = {"act": request.act, "gid": request.gid, "alias": request.to or ""}
        case _:
            return False
    return message.op == "member" and all(fields.get(name) == value for name, value in wanted.items())


def sent_as(message: wire.Message) -> int:
    """The id that the request has at the site of which ``message`` came; 0 if it does not say."""
    if message.op == "notify":
        return wire.parse_id(str(message.fields.get("postid", ""))) or 0
    return message.id
