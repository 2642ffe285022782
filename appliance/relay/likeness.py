"""Posts that cannot be told from one another when they come back from the site. Pure.

A message does not say to whom it went. So of two posts of the same data to different people the second is
not sent before it is known what became of the first, even if that has yet to go: else, after a break, what
came of one of them could be taken for the other's.

Bound: the outbox, some 300 octets each.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from appliance import wire
from appliance.relay.echo import Trace, trace_of, traced_part
from appliance.site import Message


@dataclass(frozen=True, slots=True)
class Likeness:
    """What shows of a post when it comes back, and to whom it goes."""

    trace: Trace
    digest: bytes
    to: tuple[tuple[str, int], ...]


def likeness_of(request: wire.Request, message: Message) -> Likeness | None:
    """None where it cannot be taken for another one's. Of a part of large data no digest is made: any may be
    alike.
    """
    trace = trace_of(request)
    if trace is None or not isinstance(request, wire.Post | wire.PostNotify):
        return None
    part = traced_part(request)
    if message.data is not None:
        digest = hashlib.sha256(message.data[part.start : part.start + part.size]).digest()
    else:
        digest = message.blob if message.blob is not None and part.size == message.size else b""
    targets = [*request.to, *getattr(request, "noteto", ())]
    return Likeness(trace, digest, tuple((target.id, target.type) for target in targets))


class Likenesses:
    """Of items that were sent and have no outcome yet, and of those before them that wait."""

    def __init__(self) -> None:
        self._known: dict[int, Likeness | None] = {}
        self._alike: dict[tuple[Trace, bytes], set[int]] = {}
        self._sent: set[int] = set()

    def __contains__(self, msgid: int) -> bool:
        return msgid in self._known

    def add(self, msgid: int, request: wire.Request, message: Message) -> None:
        """An item that waits, or is to be sent."""
        mine = self._known[msgid] = likeness_of(request, message)
        if mine is not None:
            self._alike.setdefault((mine.trace, mine.digest), set()).add(msgid)

    def of(self, msgid: int) -> int:
        """The item that ``msgid``, which was added, has to wait for; 0 if it may go, and counts as sent. One
        that has yet to go out goes before a later one: after a start of the box nobody knows which of the
        two did, and the first is taken for it.
        """
        mine = self._known[msgid]
        if mine is None or msgid in self._sent:
            return 0
        for other in sorted(self._alike[mine.trace, mine.digest]):
            likeness = self._known[other]
            if likeness is not None and likeness.to != mine.to and (other in self._sent or other < msgid):
                return other
        self._sent.add(msgid)
        return 0

    def forget(self, msgid: int) -> None:
        """It has its outcome."""
        self._sent.discard(msgid)
        mine = self._known.pop(msgid, None)
        if mine is not None:
            alike = self._alike[mine.trace, mine.digest]
            alike.discard(msgid)
            if not alike:
                del self._alike[mine.trace, mine.digest]
