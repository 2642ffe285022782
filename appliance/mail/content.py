"""What a message says: TMTP revision 1, sections 4 and 6.

Pure: octets in, a ``Content`` out, and no octets make it raise. The head has passed the wire's rules once;
what is in the data nobody has looked at before, and it is whatever a stranger's program put there. What
cannot be understood is left out, and ``problem`` says so.

A message's data are ``datahead`` octets of JSON, the body (CommonMark), and the attachments in the order in
which the JSON lists them: where one begins is known only by the sizes of all. If they do not fit, none is
known. An archive may have let go of the end of the data: the head still says how many there were.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Final

from appliance import wire
from appliance.mail.text import decoded, line, scrubbed

HEAD_MAX: Final = 256 << 10
"""Octets of the JSON before the body that are read; what is longer is not looked at."""
BODY_MAX: Final = 64 << 10
"""Octets of a body that are read, to be searched. The index has no more."""
ATTACHMENTS_MAX: Final = 1000
COPIES_MAX: Final = 1000
SIZE_MAX: Final = 1 << 53
SUBJECT_MAX: Final = 500
NAME_MAX: Final = 255
"""Characters."""
KINDS: Final = "ufr"
DEPTH_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Attachment:
    """``size`` octets of the message's data from ``offset`` on; ``kept``: they are there. ``kind``: u a file,
    f a form, r another; or empty.
    """

    name: str
    kind: str
    size: int
    offset: int
    kept: bool = True


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a list of recipients, as the sender calls them. The uid is what the sender says."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Content:
    """``sender`` is the uid in the head, ``alias`` what the sender calls itself. ``id`` and ``posted_ms``
    are 0 where they are not as they should be. ``head`` and ``details`` have all fields of the frame head
    and of the JSON in the data, by lower-case key. Of ``size`` octets of data the first ``kept`` are there.
    The body is ``body_size`` octets from ``body_at`` on; ``body`` is its beginning, of what was given.
    """

    op: str = ""
    sender: str = ""
    id: int = 0
    posted_ms: int = 0
    size: int = 0
    kept: int = 0
    datahead: int = 0
    head: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    subject: str = ""
    thread: str = ""
    alias: str = ""
    cc: tuple[Person, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    body_at: int = 0
    body_size: int = 0
    body: str = ""
    problem: str = ""

    @property
    def sync(self) -> bool:
        """One device of a member tells the others something: nothing for people to read."""
        return self.details.get("nodesync") is True

    @property
    def body_kept(self) -> int:
        """Octets of the body that are there."""
        return max(0, min(self.body_size, self.kept - self.body_at))

    @property
    def files_kept(self) -> int:
        """Octets of attachments that are there."""
        return sum(attachment.size for attachment in self.attachments if attachment.kept)

    @property
    def names(self) -> list[str]:
        """Everybody and everything that has a name in it, the sender aside; each once."""
        found = [person.name for person in self.cc]
        for key in ("to", "gid", "newalias"):
            found.append(line(self.head.get(key), NAME_MAX))
        if self.op in ("ping", "invite", "member"):
            found.append(line(self.head.get("alias"), NAME_MAX))
        found += [attachment.name for attachment in self.attachments]
        return [name for name in dict.fromkeys(found) if name]


def needed(head: bytes, kept: int) -> int:
    """How many of a message's ``kept`` octets of data ``read`` looks at, from the first on; at most
    ``HEAD_MAX`` and ``BODY_MAX``.
    """
    datahead = _datahead(_fields(head[4:]), kept)
    return min(kept, datahead + BODY_MAX) if datahead <= HEAD_MAX else 0


def read(head: bytes, data: bytes, kept: int | None = None) -> Content:
    """What a message says. ``data``: all data that are there, or as many as ``needed`` says; then
    ``kept`` is how many there are.
    """
    kept = len(data) if kept is None else max(kept, len(data))
    fields = _fields(head[4:])
    size = max(kept, _count(fields.get("datalen")))
    datahead = _datahead(fields, kept)
    problem, details = "", {}
    if datahead > HEAD_MAX:
        problem = "its details are too long"
    elif datahead:
        details = _fields(data[:datahead])
        problem = "" if details else "its details cannot be read"
    attachments = _attachments(details.get("attach"), datahead, size, kept)
    if attachments is None:
        attachments, problem = (), "its attachments are not where it says"
    body_at = datahead
    body_size = size - datahead - sum(attachment.size for attachment in attachments)
    sync = details.get("nodesync") is True
    read_to = 0 if sync or datahead > HEAD_MAX else min(body_size, BODY_MAX)
    octets = data[body_at : body_at + read_to]
    return Content(
        op=line(fields.get("op"), 40),
        sender=line(fields.get("from"), NAME_MAX),
        id=_id(fields.get("id")),
        posted_ms=_posted(fields.get("posted")),
        size=size,
        kept=kept,
        datahead=datahead,
        head=fields,
        details=details,
        subject=line(details.get("subject"), SUBJECT_MAX),
        thread=line(details.get("threadid"), 64),
        alias=line(details.get("alias"), NAME_MAX) or line(fields.get("alias"), NAME_MAX),
        cc=_people(details.get("cc")),
        attachments=attachments,
        body_at=body_at,
        body_size=body_size,
        body=decoded(octets) if len(octets) == body_size else decoded(octets).rstrip("\ufffd"),
        problem=problem,
    )


def _attachments(value: Any, datahead: int, size: int, kept: int) -> tuple[Attachment, ...] | None:
    """None if the sizes are not those of octets that are there."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > ATTACHMENTS_MAX:
        return None
    listed = []
    for entry in value:
        if not isinstance(entry, dict):
            return None
        octets = entry.get("size", 0)
        if type(octets) is not int or not 0 <= octets <= SIZE_MAX:
            return None
        kind, colon, name = line(entry.get("name"), NAME_MAX + 2).partition(":")
        if not colon or kind not in KINDS or not kind:
            kind, name = "", kind + colon + name
        listed.append((name.strip()[:NAME_MAX], kind, octets))
    offset = size - sum(octets for *_, octets in listed)
    if offset < datahead:
        return None
    found = []
    for name, kind, octets in listed:
        found.append(Attachment(name, kind, octets, offset, offset + octets <= kept))
        offset += octets
    return tuple(found)


def _people(value: Any) -> tuple[Person, ...]:
    if not isinstance(value, list):
        return ()
    entries = [entry for entry in value[:COPIES_MAX] if isinstance(entry, dict)]
    people = (Person(line(e.get("who"), NAME_MAX), line(e.get("whouid"), NAME_MAX)) for e in entries)
    return tuple(person for person in people if person.name or person.uid)


def _datahead(fields: dict[str, Any], kept: int) -> int:
    value = _count(fields.get("datahead"))
    return value if value <= kept else 0


def _count(value: Any) -> int:
    """A number of octets; 0 if it is none."""
    return value if type(value) is int and 0 <= value <= SIZE_MAX else 0


def _id(value: Any) -> int:
    return (wire.parse_id(value) or 0) if isinstance(value, str) else 0


def _posted(value: Any) -> int:
    try:
        return max(0, wire.parse_posted(value)) if isinstance(value, str) else 0
    except ValueError:
        return 0


# JSON that nobody has looked at


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= 20 else text


def _float(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {scrubbed(key).casefold(): _value(value) for key, value in pairs}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, list):
        return [_value(entry) for entry in value]
    return value


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
).decode


def _fields(octets: bytes) -> dict[str, Any]:
    """A JSON object by lower-case key, as text can be made of it again; empty if it is none."""
    try:
        found = _decode(octets.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and _is_flat(found) else {}


def _is_flat(value: Any) -> bool:
    """Whether it is nested no deeper than ``DEPTH_MAX``: others walk over it by calling themselves."""
    level = [value]
    for _ in range(DEPTH_MAX):
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                below += entry.values()
            elif isinstance(entry, list):
                below += entry
        if not below:
            return True
        level = below
    return False
