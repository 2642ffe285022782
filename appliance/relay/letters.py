"""What the devices get in place of a message of another site that is too large for the box. Pure.

It has the same sender, id and date, and what the beginning of the data says of thread, subject and people
(TMTP revision 1, section 6), so that it stands where the message would. Its text says what there was and what
to do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from appliance import wire
from appliance.relay.errors import UpstreamBroke

HEAD_MAX = 65_536
"""Octets of ``datahead`` that are looked at."""

DETAILS = ("threadid", "alias", "subject", "cc")
FIELDS: dict[str, type] = {"notify": int, "postid": str, "alias": str, "to": str, "gid": str}
"""Of the ops' own fields (TMTP revision 1, section 4)."""

NAMES_MAX = 20
NAME_CHARS_MAX = 100

TEXT = """\
This is a note of your pocket server, in place of a message of {size:,} octets: {why}. \
The site keeps it for the box no more{files}.

What to do: {remedy}, and ask the sender to send it again; or ask for it in smaller parts. \
A client that logs in at the site itself may still have it.
"""


def beginning_size(message: wire.Message) -> int:
    """How many octets of the data ``letter`` can use."""
    return message.datahead if message.datahead <= HEAD_MAX else 0


def letter(message: wire.Message, beginning: bytes, why: str, remedy: str) -> wire.Message:
    """In place of ``message``, whose data start with ``beginning``. ``why`` it is too large; ``remedy``: what
    helps. Raises ``UpstreamBroke`` if its header cannot be.
    """
    details = _details(beginning[: beginning_size(message)])
    named = _named(details.get("attach"))
    files = f", nor what came with it: {named}" if named else ""
    text = TEXT.format(size=message.datalen, why=why, remedy=remedy, files=files)
    head = msgspec.json.encode({name: details[name] for name in DETAILS if name in details})
    data = head + text.encode()
    known = {name: message.fields.get(name) for name in FIELDS}
    fields: dict[str, Any] = {name: value for name, value in known.items() if type(value) is FIELDS[name]}
    size, ahead = len(data), len(head)
    try:
        posted_ms = wire.parse_posted(message.posted)
        octets = wire.encode_message(message.op, message.from_, message.id, posted_ms, size, ahead, **fields)
    except (ValueError, wire.LocalProtocolError) as error:
        raise UpstreamBroke(f"the site gave a message with a header that cannot be: {error}") from error
    return msgspec.structs.replace(
        message, datalen=size, datahead=ahead, datasum=None, head=octets, data=data, inline=True
    )


def _details(octets: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(octets, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {}


def _named(attachments: Any) -> str:
    """What was attached, in words."""
    if not isinstance(attachments, list):
        return ""
    names = [str(file["name"]) for file in attachments if isinstance(file, dict) and file.get("name")]
    shown = ["".join(c for c in name if c.isprintable())[:NAME_CHARS_MAX] for name in names[:NAMES_MAX]]
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(shown) + more
