"""A message on its way through the box, and what the site decided about a request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import msgspec

from appliance.site.facts import Fact, LastingFact, RelayFact, Sent, TrafficFact

RANK_USER, RANK_NORMAL = 0, 1
"""`user` messages go ahead of the rest of a queue (TMTP revision 1, section 4, queue order)."""


class Payload(msgspec.Struct, frozen=True):
    """The data of a request: ``size`` octets with SHA-256 ``digest``. ``data`` is None where they are a
    file (blob).
    """

    size: int
    digest: bytes
    data: bytes | None

    @classmethod
    def of(cls, data: bytes) -> Payload:
        return cls(len(data), hashlib.sha256(data).digest(), data)


EMPTY = Payload.of(b"")


class Message(msgspec.Struct, frozen=True):
    """What a node receives: ``head`` is the frame head, octet for octet; then come ``size`` octets of data,
    which are ``data`` or, where that is None, the blob named ``blob``.
    """

    msgid: int
    rank: int
    head: bytes
    size: int
    data: bytes | None
    blob: bytes | None
    sender: int
    nodes: tuple[int, ...]

    @property
    def octets(self) -> int:
        """Octets on the wire."""
        return len(self.head) + self.size


def content_digest(head: bytes, data_digest: bytes) -> bytes:
    """What a ``Sent`` fact says of its message's octets."""
    return hashlib.sha256(head + data_digest).digest()


def sent(message: Message, payload: Payload) -> Sent:
    """The fact that ``message`` goes out."""
    return Sent(
        message.msgid,
        message.rank,
        message.sender,
        content_digest(message.head, payload.digest),
        message.size,
        message.nodes,
        message.blob,
    )


@dataclass(slots=True)
class Decision:
    """What comes of a request: an error for its ack, or facts to make durable and messages to send
    thereafter.

    ``relay``: facts about memberships; ``acks`` (node, msgid) are made in the name of nodes that are only
    queues. ``msgid`` is 0 where the ack has none. ``dropped`` are nodes whose links have to be cut.
    ``member`` and ``node`` are those that were made.
    """

    error: str | None = None
    msgid: int = 0
    posted_ms: int = 0
    lasting: list[LastingFact] = field(default_factory=list)
    traffic: list[TrafficFact] = field(default_factory=list)
    relay: list[RelayFact] = field(default_factory=list)
    acks: list[tuple[int, int]] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    member: int = 0
    node: int = 0

    @property
    def facts(self) -> list[Fact]:
        return [*self.lasting, *self.traffic, *self.relay]
