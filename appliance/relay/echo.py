"""What the other devices of a member get of a request that one of them made: TMTP revision 1, section 4.

A site gives it to the sender's *other* nodes, and this box is one node of it, with all the member's devices
behind: so nobody sends it to us, and we make it when the site has answered. Pure.

The id of a note (PostNotify) is not in the answer. In its place stands the id that the request has here,
which no other message has; ``postid`` is the right one.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance import wire

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
    ``upid``: the id in its head.
    """

    op: str
    upid: int
    head: bytes
    part: Part


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
            return [Copy("delivery", upid, head, Part(0, request.datalen))]
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
        notify = len(request.to) + len(request.noteto) + 1
        head = wire.encode_message(
            "delivery", uid, upid, posted_ms, size, request.datahead, request.datasum, notify=notify
        )
        made.append(Copy("delivery", upid, head, Part(request.notelen, size)))
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
    return [*made, Copy("notify", item, head, Part(0, request.notelen))]


@dataclass(frozen=True, slots=True)
class Trace:
    """By what a message that comes from the site is known to be of a request."""

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
            return Trace("delivery", size, request.datahead, request.datasum or 0, ("notify",))
        case wire.Post():
            return Trace("delivery", request.datalen, request.datahead, request.datasum or 0, ())
        case wire.Ping():
            names: tuple[str, ...] = (request.from_, request.to)
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
        names = ("notify",)
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


def sent_as(message: wire.Message) -> int:
    """The id that the request has at the site of which ``message`` came; 0 if it does not say."""
    if message.op == "notify":
        return wire.parse_id(str(message.fields.get("postid", ""))) or 0
    return message.id
