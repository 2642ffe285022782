"""A site in memory, and members who make requests of it. What comes of a request is read as a client would
read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from appliance import wire
from appliance.site import Decision, Limits, Mint, Node, Payload, Scene, Site, decide, login, register

NOW_NS = 1_700_000_000_123_000_000


@dataclass(frozen=True)
class Fresh:
    """Not random: the test can see what was stored and what was told."""

    uid: str
    password: str
    secret: bytes


@dataclass
class Load:
    """Queues and disk are empty but for what a test says."""

    problems: dict[int, str] = field(default_factory=dict)
    largest: int = 1 << 40
    stored: dict[int, int] = field(default_factory=dict)

    def queue_problem(self, node: int, size: int) -> str | None:
        return self.problems.get(node) or ("has no room for this" if size > self.largest else None)

    def stored_octets(self, member: int) -> int:
        return self.stored.get(member, 0)

    def pending_octets(self, node: int) -> int:
        return 0


@dataclass
class Person:
    """One node of one member."""

    house: House
    node: Node
    uid: str
    alias: str

    @property
    def nodes(self) -> list[int]:
        return list(self.house.site.members[self.node.member].nodes)

    @property
    def others(self) -> list[int]:
        return [number for number in self.nodes if number != self.node.number]

    def asks(self, request: Any, *data: bytes) -> Outcome:
        """A request that is accepted; its facts take effect."""
        outcome = self._request(request, data)
        assert outcome.decision.error is None, outcome.decision.error
        return outcome

    def is_refused(self, request: Any, *data: bytes) -> str:
        """A request that is refused, and changes nothing; the error."""
        before = self.house.picture()
        decision = self._request(request, data).decision
        assert decision.error is not None, "not refused"
        assert not decision.facts and not decision.messages and not decision.msgid
        assert self.house.picture() == before
        return decision.error

    def _request(self, request: Any, data: tuple[bytes, ...]) -> Outcome:
        fresh = self.house.credentials() if isinstance(request, wire.UserEdit) else None
        payloads = [Payload.of(octets) for octets in data]
        return self.house.applied(decide(self.house.scene, self.node, request, payloads, fresh))

    def post(self, data: bytes, *to: wire.Target) -> Outcome:
        return self.asks(posting(data, *to), data)

    def ping(self, to: str, text: bytes = b"") -> Outcome:
        return self.asks(pinging(self.alias, to, text), text)

    def invite(self, to: Person | str, gid: str) -> Outcome:
        return self.asks(inviting(self.alias, to if isinstance(to, str) else to.alias, gid), b"")

    def join(self, gid: str, newalias: str | None = None) -> Outcome:
        return self.asks(wire.GroupEdit("1", "join", gid, newalias))

    def drop(self, who: Person | str, gid: str) -> Outcome:
        to = who if isinstance(who, str) else who.alias
        return self.asks(wire.GroupEdit("1", "drop", gid, None, to))

    def add_alias(self, alias: str) -> Outcome:
        return self.asks(wire.UserEdit("1", None, alias))

    def add_node(self, label: str = "phone") -> Person:
        outcome = self.asks(wire.UserEdit("1", label))
        return Person(self.house, self.house.site.nodes[outcome.decision.node], self.uid, self.alias)


@dataclass
class Told:
    """A message: its header, its data, and the nodes that get it, in order of their numbers."""

    header: dict[str, Any]
    data: bytes | None
    nodes: list[int]
    rank: int
    head: bytes

    def fields(self) -> dict[str, Any]:
        """The header, less what every message has."""
        return {k: v for k, v in self.header.items() if k not in ("id", "posted", "headsum", "from")}


@dataclass
class Outcome:
    decision: Decision

    @property
    def told(self) -> list[Told]:
        found = []
        for message in self.decision.messages:
            assert int(message.head[:4], 16) == len(message.head) - 4
            header = json.loads(message.head[4:])
            found.append(Told(header, message.data, sorted(message.nodes), message.rank, message.head))
        return found

    def one(self, op: str) -> Told:
        """The only message of this kind."""
        (found,) = [told for told in self.told if told.header["op"] == op]
        return found

    def nothing(self, op: str) -> bool:
        return not [told for told in self.told if told.header["op"] == op]


class House:
    def __init__(self, **limits: int) -> None:
        self.site = Site()
        self.load = Load()
        self.scene = Scene(self.site, Mint(0, box=3), Limits(**limits), self.load)
        self.scene.at(NOW_NS)
        self._made = 0

    def credentials(self) -> Fresh:
        self._made += 1
        password = wire.b32encode(b"%025d" % self._made)
        return Fresh(wire.b32encode(b"%020d" % self._made), password, b"hash of " + password.encode())

    def applied(self, decision: Decision) -> Outcome:
        for fact in decision.lasting:
            self.site.apply(fact)
        return Outcome(decision)

    def registers(self, label: str = "laptop", alias: str | None = None, **how: Any) -> Outcome:
        return self.applied(register(self.scene, label, alias, self.credentials(), how.get("subject")))

    def member(self, alias: str) -> Person:
        outcome = self.registers("laptop", alias)
        assert outcome.decision.error is None, outcome.decision.error
        node = self.site.nodes[outcome.decision.node]
        return Person(self, node, self.site.members[node.member].uid, alias)

    def members(self, *aliases: str) -> list[Person]:
        return [self.member(alias) for alias in aliases]

    def group(self, gid: str, *members: Person) -> None:
        first, *others = members
        for other in others:
            first.invite(other, gid)
            other.join(gid)

    def logs_in(self, person: Person) -> Outcome:
        return self.applied(login(self.scene, person.node))

    def role(self, gid: str, person: Person) -> tuple[str, str] | None:
        """Role and alias of a member in a group."""
        place = self.site.groups[gid].standing.get(person.node.member)
        return (place.role, place.alias) if place else None

    def picture(self) -> Any:
        """All that lasts."""
        site = self.site
        members = [(m.uid, tuple(m.aliases), tuple(m.nodes), m.subject) for m in site.members.values()]
        groups = [
            (gid, sorted((n, s.alias, s.role) for n, s in g.standing.items()))
            for gid, g in site.groups.items()
        ]
        return members, groups, sorted(site.aliases), sorted(site.nodes)


def uid(person: Person | str) -> wire.Target:
    return wire.Target(person if isinstance(person, str) else person.uid, 1)


def with_sender(gid: str) -> wire.Target:
    return wire.Target(gid, 2)


def without_sender(gid: str) -> wire.Target:
    return wire.Target(gid, 3)


def nodes(*people: Person) -> list[int]:
    """All nodes of these members."""
    return sorted({number for person in people for number in person.nodes})


def posting(
    data: bytes, *to: wire.Target, datahead: int = 0, datasum: int | None = None, id: str = "1"
) -> wire.Post:
    return wire.Post(id, list(to), len(data), datahead, datasum)


def pinging(from_: str, to: str, text: bytes = b"", datasum: int | None = None) -> wire.Ping:
    return wire.Ping("1", from_, to, len(text), 0, datasum)


def inviting(from_: str, to: str, gid: str, text: bytes = b"") -> wire.GroupInvite:
    return wire.GroupInvite("1", gid, from_, to, len(text), 0, None)
