"""Members, nodes, groups and queues of the scripted site, in memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance import wire

IN_MEMORY_MAX = 65536
PIECE_OCTETS = 1 << 18


@dataclass(slots=True)
class Body:
    """The data of a request or a message: `octets`, or a part of a file."""

    size: int = 0
    octets: bytes = b""
    file: Path | None = None
    start: int = 0

    def pieces(self) -> Iterator[bytes]:
        """All of it, PIECE_OCTETS at most at a time."""
        if self.file is None:
            yield self.octets
            return
        with self.file.open("rb") as file:
            file.seek(self.start)
            left = self.size
            while left:
                piece = file.read(min(left, PIECE_OCTETS))
                assert piece, f"{self.file} is too short"
                left -= len(piece)
                yield piece

    def split(self, size: int) -> tuple[Body, Body]:
        """The first `size` octets, and the rest."""
        if self.file is None:
            return Body(size, self.octets[:size]), Body(self.size - size, self.octets[size:])
        return Body(size, b"", self.file, self.start), Body(
            self.size - size, b"", self.file, self.start + size
        )

    def sha256(self) -> str:
        total = hashlib.sha256()
        for piece in self.pieces():
            total.update(piece)
        return total.hexdigest()


class Spool:
    """Takes the data of a request as it comes."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = 0
        self._sum = hashlib.sha256()
        self._octets = bytearray()
        self._path: Path | None = None
        self._file: Any = None
        if size > IN_MEMORY_MAX:
            number, name = tempfile.mkstemp(dir=folder)
            self._path, self._file = Path(name), os.fdopen(number, "wb")

    def write(self, octets: bytes) -> None:
        self.size += len(octets)
        self._sum.update(octets)
        if self._file is not None:
            self._file.write(octets)
        else:
            self._octets += octets

    def digest(self) -> bytes:
        """SHA-256 of what has come."""
        return self._sum.digest()

    def body(self) -> Body:
        if self._file is None:
            return Body(self.size, bytes(self._octets))
        self._file.close()
        return Body(self.size, b"", self._path)


@dataclass(slots=True)
class Message:
    """What goes to a node: all octets of its head, and its data."""

    op: str
    id: int
    head: bytes
    body: Body


@dataclass(eq=False)
class Node:
    """One device. `in_flight` was sent and not acknowledged; it goes first on the next link."""

    member: Member
    label: str
    password: str
    urgent: deque[Message] = field(default_factory=deque)
    normal: deque[Message] = field(default_factory=deque)
    later: Iterator[Message] = field(default_factory=lambda: iter(()))
    """Comes after `normal`, one at a time: a backlog that need not be in memory."""
    in_flight: Message | None = None
    wake: Any = None
    """Called when there is something to send, while a link is up."""
    linked: bool = False
    acked: int = 0
    """Deliveries."""
    answers: dict[bytes, tuple[int, tuple[int | None, int | None]]] = field(default_factory=dict)
    """By the octets of a request, the link on which it was made last, and the answer."""

    def __repr__(self) -> str:
        return f"<{self.member.name}'s {self.label}>"

    def add(self, message: Message) -> None:
        (self.urgent if message.op == "user" else self.normal).append(message)
        if self.wake is not None:
            self.wake()

    def next(self) -> Message | None:
        """What is to be sent now, if nothing is in flight."""
        if self.in_flight is None:
            if self.urgent:
                self.in_flight = self.urgent.popleft()
            elif self.normal:
                self.in_flight = self.normal.popleft()
            else:
                self.in_flight = next(self.later, None)
        return self.in_flight

    def release(self, number: str) -> bool:
        """An ack; False if it is for something else than what is in flight."""
        if self.in_flight is None or wire.format_id(self.in_flight.id) != number:
            return False
        self.acked += self.in_flight.op == "delivery"
        self.in_flight = None
        return True

    def pending(self) -> list[Message]:
        """All of the queue but what is in `later`."""
        first = [self.in_flight] if self.in_flight is not None else []
        return [*first, *self.urgent, *self.normal]


@dataclass(eq=False)
class Member:
    """`tells`: uids to whom presence is announced."""

    uid: str
    name: str
    aliases: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tells: set[str] = field(default_factory=set)

    @property
    def online(self) -> bool:
        return any(node.linked for node in self.nodes)


@dataclass
class Group:
    """`standing`: alias and role ("joined", "invited" or "barred") by uid."""

    gid: str
    standing: dict[str, tuple[str, str]] = field(default_factory=dict)

    def joined(self) -> list[str]:
        return [uid for uid, (_, role) in self.standing.items() if role == "joined"]


class Accounts:
    """Everything that the site knows. Ids rise by one from the time of its making in ns."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.aliases: dict[str, Member] = {}
        self.groups: dict[str, Group] = {}
        self._last_id = time.time_ns()

    def id(self) -> int:
        self._last_id += 1
        return self._last_id

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def add_member(self, alias: str | None, uid: str = "") -> Member:
        uid = uid or wire.b32encode(os.urandom(20))
        assert uid not in self.members
        member = self.members[uid] = Member(uid, alias or uid)
        if alias:
            member.aliases.append(alias)
            self.aliases[alias] = member
        return member

    def add_node(self, member: Member, label: str, source: Node | None = None) -> Node:
        """A new node, whose queue starts as a copy of what is pending for `source`."""
        node = Node(member, label, wire.b32encode(os.urandom(25)))
        for message in source.pending() if source is not None else ():
            node.add(message)
        member.nodes.append(node)
        return node

    def node(self, uid: str, password: str) -> Node | None:
        member = self.members.get(uid)
        nodes = member.nodes if member is not None else []
        return next((node for node in nodes if node.password == password), None)

    def send(
        self, op: str, from_: Member, nodes: list[Node], body: Body | None = None, **fields: Any
    ) -> tuple[int, int]:
        """Queue one message for each of these; its id, and when it was posted (ms)."""
        number, posted_ms, body = self.id(), self.now_ms(), body or Body()
        head = wire.encode_message(op, from_.uid, number, posted_ms, body.size, **fields)
        for node in dict.fromkeys(nodes):
            node.add(Message(op, number, head, body))
        return number, posted_ms
