"""The accounts and groups of a site, in memory, as the lasting facts make them.

Pure: no I/O, no clock. ``Site.apply`` is the only way that the state changes, for new facts and when it is
read back.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from appliance.site import facts
from appliance.site.facts import LastingFact, Role


@dataclass(slots=True)
class Node:
    """A device of a member. ``secret`` is the SHA-256 of its password's text."""

    number: int
    member: int
    label: str
    secret: bytes
    at_ms: int


@dataclass(slots=True)
class Member:
    """A person with an account. ``nodes`` is in order of creation."""

    number: int
    uid: str
    at_ms: int
    aliases: list[str] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    subject: tuple[str, str, str] | None = None
    groups: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Standing:
    """A member's place in a group: the role, and the alias that the group knows the member by."""

    alias: str
    role: Role


@dataclass(slots=True)
class Group:
    """``standing`` by member number."""

    gid: str
    standing: dict[int, Standing] = field(default_factory=dict)

    def joined(self) -> list[int]:
        return [member for member, s in self.standing.items() if s.role == "joined"]


class Site:
    """Who there is. All lookups are by exact text or number and cost one dictionary access."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.nodes: dict[int, Node] = {}
        self.groups: dict[str, Group] = {}
        self.uids: dict[str, Member] = {}
        self.aliases: dict[str, Member] = {}
        self.last_number = 0
        self.owner = 0
        """The member whose box it is; 0 if that is nobody yet."""

    def name_taken(self, name: str) -> bool:
        """Aliases and gids share one name space."""
        return name in self.aliases or name in self.groups

    def authenticate(self, uid: str, secret: bytes) -> Node | None:
        """The node of member ``uid`` whose password hashes to ``secret``; looks at all of them, in constant
        time each.
        """
        member = self.uids.get(uid)
        found = None
        for number in member.nodes if member else ():
            node = self.nodes[number]
            if hmac.compare_digest(node.secret, secret):
                found = node
        return found

    def apply(self, fact: LastingFact) -> None:
        """Take a fact in. Facts come in the order in which they happened."""
        match fact:
            case facts.MemberAdded():
                member = Member(fact.member, fact.uid, fact.at_ms)
                self.members[fact.member] = self.uids[fact.uid] = member
                self.last_number = max(self.last_number, fact.member)
            case facts.NodeAdded():
                self.nodes[fact.node] = Node(fact.node, fact.member, fact.label, fact.secret, fact.at_ms)
                self.members[fact.member].nodes.append(fact.node)
                self.last_number = max(self.last_number, fact.node)
            case facts.NodeDropped():
                node = self.nodes.pop(fact.node, None)
                if node is not None:
                    self.members[node.member].nodes.remove(fact.node)
            case facts.AliasAdded():
                self.aliases[fact.alias] = member = self.members[fact.member]
                member.aliases.append(fact.alias)
            case facts.GroupAdded():
                self.groups[fact.gid] = Group(fact.gid)
            case facts.RoleSet():
                self.groups[fact.gid].standing[fact.member] = Standing(fact.alias, fact.role)
                self.members[fact.member].groups.add(fact.gid)
            case facts.SubjectBound():
                self.members[fact.member].subject = (fact.issuer, fact.subject, fact.audience)
            case facts.OwnerSet():
                self.owner = fact.member
