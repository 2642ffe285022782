"""Writes what a server says: TMTP revision 1, section 4, in the canonical form of section 1.

Acks and deliveries go out by the thousand and are written straight; everything else takes the general way,
to the same octets.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .canonical import canonical_json, canonical_value, frame_head, quote, special, with_headsum
from .errors import LocalProtocolError
from .stamps import format_id, format_posted

ERROR_MAX: Final = 800
"""Characters of an error text that are sent. At 6 octets each they fit in a frame with the longest id."""


def encode_ack(
    id: str, msgid: int | None = None, posted_ms: int | None = None, error: str | None = None
) -> bytes:
    """The ack of the request `id`; `msgid` and `posted_ms` (ms since the epoch) for ops 5, 7, 8 and 9 only.

    With an `error`, of which the first ERROR_MAX characters go out, the request was refused. Never fails
    for an `id` that a ServerLink has let in.
    """
    if error is not None:
        return frame_head(canonical_json({"error": error[:ERROR_MAX], "id": id, "op": "ack"}))
    text = f'"{id}"' if special(id) is None else quote(id)
    if msgid is None:
        return frame_head(f'{{"id":{text},"op":"ack"}}')
    if posted_ms is None:
        raise LocalProtocolError("an ack with a msgid has the time of posting too")
    return frame_head(
        f'{{"id":{text},"msgid":"{format_id(msgid)}","op":"ack","posted":"{format_posted(posted_ms)}"}}'
    )


def encode_ohi(uid: str, status: int) -> bytes:
    """The member `uid` has come online (`status` 1) or gone offline (2)."""
    return frame_head(canonical_json({"from": uid, "op": "ohi", "status": status}))


def encode_quit_reason(reason: str) -> bytes:
    """The last frame on a link."""
    return frame_head(canonical_json({"error": reason[:ERROR_MAX], "op": "quit"}))


def encode_message(
    op: str,
    from_: str,
    msgid: int,
    posted_ms: int,
    datalen: int,
    datahead: int = 0,
    datasum: int | None = None,
    **extra: str | int | Sequence[Mapping[str, Any]],
) -> bytes:
    """The frame head of a queued message, `headsum` in it; `datalen` octets of data have to follow.

    `posted_ms` is in ms since the epoch. `datahead` and `datasum` are left out if 0 or None. `extra` are
    the op's own fields; write `for` as `for_`. Raises LocalProtocolError if it all does not fit in a header
    (65535 octets).
    """
    lead = f'{{"datahead":{datahead},"datalen":{datalen}' if datahead else f'{{"datalen":{datalen}'
    if datasum:
        lead = f'{lead},"datasum":{datasum}'
    tail = f'"posted":"{format_posted(posted_ms)}"'
    if not extra:
        sender = f'"{from_}"' if special(from_) is None else quote(from_)
        return with_headsum(f'{lead},"from":{sender},', f'"id":"{format_id(msgid)}","op":"{op}",{tail}}}')
    fields: dict[str, Any] = {
        "from": from_,
        "id": format_id(msgid),
        "op": op,
        "posted": format_posted(posted_ms),
    }
    for name, value in extra.items():
        fields[name.rstrip("_")] = value
    return encode_fields(datalen, datahead, datasum, fields)


def encode_fields(datalen: int, datahead: int, datasum: int | None, fields: dict[str, Any]) -> bytes:
    """The general way to write a queued message: sorted, with its headsum in its place."""
    fields["datalen"] = datalen
    if datahead:
        fields["datahead"] = datahead
    if datasum:
        fields["datasum"] = datasum
    pairs = [(name, f"{quote(name)}:{canonical_value(value)}") for name, value in sorted(fields.items())]
    before = "".join(f"{text}," for name, text in pairs if name < "headsum")
    after = ",".join(text for name, text in pairs if name > "headsum")
    return with_headsum("{" + before, after + "}")
