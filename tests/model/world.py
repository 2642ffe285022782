"""A site as TMTP revision 1, section 4, has it: what every node has yet to get.

Written from that page alone, and for reading: nothing is stored, sent or fast here. A request is a method; it
raises Refused, or puts messages into queues. Messages have a `step` where the site has ids: it rises with
each request, and the messages of one request share it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import ANY

ONLINE, OFFLINE = 1, 2

Target = tuple[str, str]
"""What to post to: "uid", "with" the sender or "without", and a uid or gid."""


class Refused(Exception):
    """The ack has an error."""


@dataclass(eq=False)
class Message:
    op: str
    step: float
    sender: str
    fields: dict[str, Any]
    data: bytes = b""
    note_of: Message | None = None
    made: Node | None = None
    """Of a new node's announcement: that node."""
    id: str | None = None
    posted: str | None = None
    """What the site says, once it has said it; the same to all."""

    def __repr__(self) -> str:
        return f"<{self.op} {self.id} of step {self.step} by {self.sender}: {self.fields} {self.data[:20]!r}>"

    @property
    def first(self) -> bool:
        return self.op == "user"


@dataclass(eq=False)
class Node:
    member: Member
    label: str
    password: str | None
    queue: list[Message] = field(default_factory=list)
    online: bool = False
    notices: list[tuple[str, int]] = field(default_factory=list)
    """Whose presence it was told while it was online, of late."""


@dataclass(eq=False)
class Member:
    uid: str
    aliases: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tells: list[Member] = field(default_factory=list)

    @property
    def online(self) -> bool:
        return any(node.online for node in self.nodes)


@dataclass
class Place:
    role: str
    alias: str


class World:
    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.aliases: dict[str, Member] = {}
        self.groups: dict[str, dict[Member, Place]] = {}
        self.sent: list[Message] = []
        self.step = 0.0

    # accounts

    def register(self, uid: str, password: str, label: str, alias: str) -> Node:
        member = self.members[uid] = Member(uid)
        node = Node(member, label, password, online=True)
        member.nodes.append(node)
        self.take_name("newalias", alias)
        self.aliases[alias] = member
        member.aliases.append(alias)
        return node

    def login(self, node: Node) -> list[str]:
        """The uids that are online and announce it."""
        announcing = [m.uid for m in self.members.values() if node.member in m.tells]
        node.online = True
        node.notices.clear()
        self.send("login", node, node.member.nodes, node="tbd")
        return announcing

    def gone(self, node: Node) -> None:
        """The node's link is no more."""
        node.online = False
        if not node.member.online:
            listed, node.member.tells = node.member.tells, []
            self.notify(node.member, listed, OFFLINE)

    def all_gone(self) -> None:
        """The site stopped."""
        for member in self.members.values():
            member.tells = []
            for node in member.nodes:
                node.online = False

    def drop_node(self, node: Node) -> None:
        node.member.nodes.remove(node)
        self.gone(node)

    def new_alias(self, node: Node, alias: str) -> None:
        if alias not in node.member.aliases:
            self.take_name("newalias", alias)
            self.aliases[alias] = node.member
            node.member.aliases.append(alias)
        self.send("user", node, node.member.nodes, newalias=alias)

    def new_node(self, node: Node, label: str) -> None:
        made = Node(node.member, label, None, list(node.queue))
        self.send("user", node, node.member.nodes, newnode=label, nodeid=ANY).made = made
        node.member.nodes.append(made)

    def take_name(self, what: str, name: str) -> None:
        if len(name.encode()) < 8 or name in self.aliases or name in self.groups:
            raise Refused(what)

    def edit_ohi(self, node: Node, kind: str, uids: list[str], *, again: bool = False) -> None:
        """`again`: the request is told a second time, and all that is left of it is the presence."""
        others = [self.find(uid) for uid in uids]
        tells = node.member.tells
        changed = [other for other in others if (other in tells) == (kind == "drop")]
        for other in changed:
            (tells.remove if kind == "drop" else tells.append)(other)
        self.notify(node.member, changed, OFFLINE if kind == "drop" else ONLINE)
        if kind != "init" and not again:
            fields: dict[str, Any] = {"for": [{"Id": uid, "Type": 0} for uid in uids], "type": kind}
            self.send("ohiedit", node, node.member.nodes, **fields)

    # messages

    def ping(self, node: Node, from_: str, to: str, text: bytes) -> Message:
        self.own(node, from_)
        return self.send("ping", node, self.of_alias(to).nodes + others(node), text, alias=from_, to=to)

    def post(self, node: Node, targets: list[Target], data: bytes) -> Message:
        return self.send("delivery", node, self.recipients(node, targets) + others(node), data)

    def post_notify(
        self,
        node: Node,
        to: list[Target],
        noteto: list[Target],
        fornotself: bool,
        note: bytes,
        message: bytes,
    ) -> Message:
        nodes, noted = self.recipients(node, to), self.recipients(node, to + noteto)
        own = [] if fornotself else others(node)
        nodes = own + [n for n in nodes if not (fornotself and n.member is node.member)]
        count = len(to) + len(noteto) + (0 if fornotself else 1)
        sent = self.send("delivery", node, nodes, message, notify=count)
        self.send("notify", node, noted + others(node), note, step=sent.step).note_of = sent
        return sent

    def recipients(self, node: Node, targets: list[Target]) -> list[Node]:
        found: list[Node] = []
        for kind, name in targets:
            if kind == "uid":
                found += self.find(name).nodes
                continue
            if self.role(name, node.member) not in ("invited", "joined"):
                raise Refused(name)
            for member in self.joined(name):
                if kind == "with" or member is not node.member:
                    found += member.nodes
        return found

    # groups

    def invite(self, node: Node, gid: str, from_: str, to: str, text: bytes) -> Message:
        self.own(node, from_)
        invitee = self.of_alias(to)
        if gid not in self.groups:
            if invitee is node.member:
                raise Refused(to)
            self.take_name("gid", gid)
            self.groups[gid] = {node.member: Place("joined", from_)}
        if self.role(gid, node.member) != "joined" or self.role(gid, invitee) == "joined":
            raise Refused(gid)
        self.groups[gid][invitee] = Place("invited", to)
        sent = self.send("invite", node, invitee.nodes + others(node), text, alias=from_, gid=gid, to=to)
        self.tell(node, gid, [], "invite", to, step=sent.step)
        return sent

    def join(self, node: Node, gid: str, newalias: str | None) -> None:
        if self.role(gid, node.member) not in ("invited", "joined"):
            raise Refused(gid)
        place = self.groups[gid][node.member]
        if newalias is not None:
            self.own(node, newalias)
            place.alias = newalias
        place.role = "joined"
        self.tell(node, gid, [], "join", place.alias)

    def rename(self, node: Node, gid: str, newalias: str) -> None:
        if self.role(gid, node.member) != "joined":
            raise Refused(gid)
        self.own(node, newalias)
        place = self.groups[gid][node.member]
        old, place.alias = place.alias, newalias
        self.tell(node, gid, [], "alias", old, newalias=newalias)

    def drop(self, node: Node, gid: str, to: str) -> None:
        other = self.aliases.get(to)
        if self.role(gid, node.member) != "joined" or other is None:
            raise Refused(gid)
        if self.role(gid, other) not in ("invited", "joined"):
            raise Refused(to)
        place = self.groups[gid][other]
        told = self.joined(gid)
        place.role = "invited" if other is node.member else "barred"
        self.tell(node, gid, [*told, other], "drop", place.alias)

    def tell(
        self, node: Node, gid: str, members: list[Member], act: str, alias: str, step: float = 0, **more: str
    ) -> None:
        nodes = [n for member in members or self.joined(gid) for n in member.nodes]
        self.send("member", node, nodes, step=step, act=act, alias=alias, gid=gid, **more)

    def joined(self, gid: str) -> list[Member]:
        return [member for member, place in self.groups[gid].items() if place.role == "joined"]

    def role(self, gid: str, member: Member) -> str:
        place = self.groups.get(gid, {}).get(member)
        return place.role if place else "none"

    # what they share

    def send(
        self, op: str, by: Node, nodes: Iterable[Node], data: bytes = b"", /, step: float = 0, **fields: Any
    ) -> Message:
        """One copy for each node. Of a new step, unless told which."""
        if not step:
            step = self.step = self.step + 1
        message = Message(op, step, by.member.uid, fields, data)
        self.sent.append(message)
        for receiver in dict.fromkeys(nodes):
            receiver.queue.append(message)
        return message

    def notify(self, member: Member, others: list[Member], status: int) -> None:
        for other in others:
            for node in other.nodes:
                if node.online:
                    node.notices.append((member.uid, status))

    def find(self, uid: str) -> Member:
        if uid not in self.members:
            raise Refused(uid)
        return self.members[uid]

    def of_alias(self, alias: str) -> Member:
        if alias not in self.aliases:
            raise Refused(alias)
        return self.aliases[alias]

    def own(self, node: Node, alias: str) -> None:
        if alias not in node.member.aliases:
            raise Refused(alias)


def others(node: Node) -> list[Node]:
    """The sender's other nodes."""
    return [n for n in node.member.nodes if n is not node]
