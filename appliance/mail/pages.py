"""Reads archives page by page, as JSON, for who exports them or looks at a message.

It goes over the control socket in pages of about ``PAGE_OCTETS`` and pieces of ``PIECE_OCTETS``, and who
asked writes the files. The box itself could not: it runs as a user of its own that sees its data folder and
nothing else, while an export goes to somebody's home or to a USB stick, and shall belong to them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import trio

from appliance import wire
from appliance.mail.content import SIZE_MAX, Content, read
from appliance.mail.errors import MailError
from appliance.mail.indexer import first_octets
from appliance.mail.places import Place, places, slots
from appliance.site import Message
from appliance.store import Store

PAGE_MESSAGES: Final = 100
PAGE_OCTETS: Final = 1 << 20
"""About what a page has at most; a single message may have 320 KiB."""
PIECE_OCTETS: Final = 512 << 10
SECRET: Final = "nodeid"
"""The one field of a frame head that is a password (TMTP revision 1, section 4)."""

_MARK: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,2})")

Marks = Mapping[str, str]
"""How far a reader has got: by ``NODE.SLOT`` the id of the last message, 16 hex digits."""


async def page(
    store: Store, member: int, after: Marks, membership: int | None = None, limit: int = PAGE_MESSAGES
) -> dict[str, Any]:
    """The next messages of a member's archives: ``records``, in the order of each box's ids; ``after``, to be
    given the next time; and ``done``, if there are none after these. ``total`` counts all, ``uid`` is the
    member's. Raises ``MailError`` for marks that are none, ``StoreError``.
    """
    marks = _read_marks(after)
    if member not in store.site.members:
        raise MailError("there is no such member")
    records: list[dict[str, Any]] = []
    octets = 0
    here = places(store.site, member, membership)
    total = sum(pending.count for p in here if (pending := store.queues.nodes.get(p.node)) is not None)
    answer = {"records": records, "total": total, "uid": store.site.members[member].uid}
    for place in here:
        for slot in slots(store.site):
            key = place.node, slot
            while messages := await store.relay.archived(place.node, slot, marks.get(key, 0), limit):
                for message in messages:
                    if len(records) >= limit or octets >= PAGE_OCTETS:
                        return answer | {"after": _written(marks), "done": False}
                    found = await record(store, place, message)
                    records.append(found)
                    marks[key] = message.msgid
                    octets += 1000 + message.size - found["left_octets"]
    return answer | {"after": _written(marks), "done": True}


async def record(store: Store, place: Place, message: Message) -> dict[str, Any]:
    """A message as JSON: see README.md, "Export". ``left_octets`` of its data are not in it."""
    first = await first_octets(store, message)
    content = await trio.to_thread.run_sync(read, message.head, first, message.size)
    body = _body(content, first)
    inside = content.datahead + (0 if body is None else content.body_kept)
    return {
        "archive": place.name,
        "membership": place.membership,
        "node": place.node,
        "msgid": wire.format_id(message.msgid),
        "id": wire.format_id(content.id) if content.id else "",
        "op": content.op,
        "posted": wire.format_posted(content.posted_ms) if content.posted_ms else "",
        "from": content.sender,
        "alias": content.alias,
        "subject": content.subject,
        "thread": content.thread,
        "cc": [{"name": person.name, "uid": person.uid} for person in content.cc],
        "body": body,
        "body_offset": content.body_at,
        "body_octets": content.body_kept,
        "attachments": [
            {"name": a.name, "kind": a.kind, "size": a.size, "offset": a.offset, "kept": a.kept}
            for a in content.attachments
        ],
        "size": content.size,
        "kept": content.kept,
        "problem": content.problem,
        "head": {name: value for name, value in content.head.items() if name != SECRET},
        "details": content.details,
        "left_octets": max(0, content.kept - inside),
    }


async def piece(store: Store, member: int, node: int, msgid: int, offset: int, octets: int) -> dict[str, Any]:
    """``octets`` (at most ``PIECE_OCTETS``) of a message's data from ``offset`` on, fewer at the end:
    ``data`` in base64, or ``gone``, if the archive has let go of the message meanwhile. Raises
    ``MailError``.
    """
    if not 0 <= offset <= SIZE_MAX or not 0 < octets <= PIECE_OCTETS:
        raise MailError(f"a piece has 1 to {PIECE_OCTETS} octets, and an offset")
    if all(place.node != node for place in places(store.site, member)):
        raise MailError("the member has no such archive")
    there = await store.relay.archived_ids(node, msgid - 1, 1)
    found = await store.messages([msgid]) if there == [msgid] else []
    if not found:
        return {"data": "", "gone": True}
    message = found[0]
    if message.data is not None or message.blob is None:
        data = (message.data or b"")[offset : offset + octets]
    else:
        data = await trio.to_thread.run_sync(_read_file, store.blobs.path(message.blob), offset, octets)
    return {"data": base64.b64encode(data).decode("ascii"), "gone": False}


def _read_file(path: Path, offset: int, octets: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(octets)
    except OSError as error:
        raise MailError(f"an attachment cannot be read now ({error}): try again later") from error


def _body(content: Content, first: bytes) -> str | None:
    """The body as text; None if it is too long for a page, or none."""
    octets = first[content.body_at : content.body_at + content.body_kept]
    if len(octets) < content.body_kept or (content.sync and not content.body_kept):
        return None
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return None


def _read_marks(after: Marks) -> dict[tuple[int, int], int]:
    marks = {}
    for key, value in after.items():
        found = _MARK.fullmatch(key)
        msgid = wire.parse_id(value) if isinstance(value, str) else None
        if found is None or msgid is None or msgid >= 1 << 63:
            raise MailError("the place to go on from is none: begin anew")
        marks[int(found[1]), int(found[2])] = msgid
    return marks


def _written(marks: Mapping[tuple[int, int], int]) -> dict[str, str]:
    return {f"{node}.{slot}": wire.format_id(msgid) for (node, slot), msgid in marks.items()}
