"""Posts that cannot be told from one another when they come back from the site. Pure.

A message does not say to whom it went. So of two posts of the same data to different people the second is
not sent before it is known what became of the first: else, after a break, what came of one of them could be
taken for the other's.

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

    def misleads(self, other: Likeness) -> bool:
        """Whether one could be taken for the other, and that would matter."""
        return (self.trace, self.digest) == (other.trace, other.digest) and self.to != other.to


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
    """Of all items that were sent and have no outcome yet."""

    def __init__(self) -> None:
        self._sent: dict[int, Likeness] = {}

    def of(self, msgid: int, request: wire.Request, message: Message) -> int:
        """The item that ``msgid`` has to wait for; 0 if it may go, and counts as sent."""
        mine = likeness_of(request, message)
        if mine is None:
            return 0
        for other, likeness in self._sent.items():
            if other != msgid and likeness.misleads(mine):
                return other
        self._sent[msgid] = mine
        return 0

    def forget(self, msgid: int) -> None:
        """It has its outcome."""
        self._sent.pop(msgid, None)
