"""The accounts and groups of a site, and its boxes, in memory, as the lasting facts make them.

Pure: no I/O, no clock. ``Site.apply`` is the only way that the state changes, for new facts and when it is
read back.

Facts come so that none comes before one that its maker knew. Those that know nothing of each other come in
different orders on different boxes, and end in the same state, because of each thing

- that is made (member, node) there is one, with a number that nobody else gives; of a box that two others
  took in, who had not heard of each other, the first word counts;
- that ends (a node, a box) the end wins, whatever else was said of it meanwhile;
- that can be set anew (standing, owner, subject, place of a box, identity, recovery) the last word counts;
- that has a name, alias or group, the first claim to it counts; the other's is void.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.site import facts, memberships
from appliance.site.facts import LastingFact, NodeRole, Role
from appliance.site.memberships import Membership


@dataclass(slots=True)
class Node:
    """A device of a member. ``secret`` is the SHA-256 of its password's text. ``membership``: the one that it
    is a device of, 0 for this site itself. What has another ``role`` than "device" is only a queue.
    """

    number: int
    member: int
    label: str
    secret: bytes
    at_ms: int
    membership: int = 0
    role: NodeRole = "device"


@dataclass(slots=True)
class Member:
    """A person with an account. ``nodes`` and ``aliases`` are in order of creation. ``nodes`` are the devices
    of this site; ``archives`` the queues of what is kept of it, several if boxes that did not see each other
    made one each.
    """

    number: int
    uid: str
    at_ms: int
    aliases: list[str] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    subject: tuple[str, str, str] | None = None
    subject_at: int = 0
    groups: set[str] = field(default_factory=set)
    archives: list[int] = field(default_factory=list)
    memberships: list[int] = field(default_factory=list)

    @property
    def archive(self) -> int:
        """The queue of what is kept from now on; 0 if nothing is."""
        return self.archives[0] if self.archives else 0


@dataclass(slots=True)
class Standing:
    """A member's place in a group: the role, and the alias that the group knows the member by."""

    alias: str
    role: Role
    at: int = field(default=0, compare=False)


@dataclass(slots=True)
class Group:
    """``standing`` by member number; ``at`` tells it from another group of the same name."""

    gid: str
    at: int = 0
    by: int = 0
    standing: dict[int, Standing] = field(default_factory=dict)

    def joined(self) -> list[int]:
        return [member for member, s in self.standing.items() if s.role == "joined"]


@dataclass(slots=True)
class Box:
    """A box of the site. ``cut``: None, or nothing of its journal counts above that seq: it is revoked.
    ``of``: the box that it was, or empty.
    """

    box: str
    public: bytes
    slot: int
    name: str
    at: int
    addresses: tuple[str, ...] = ()
    placed_at: int = 0
    cut: int | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What clients know the site by; the certificate and its key are PEM."""

    name: str
    cert: str
    key: str
    at: int


@dataclass(frozen=True, slots=True)
class NameLost:
    """A claim to a name that counts no more, because there is an earlier one. ``group``: the name was a
    group's; ``members`` are those that it concerns. ``held``: it had counted until now.
    """

    name: str
    group: bool
    members: tuple[int, ...]
    at: int
    held: bool


Change = LastingFact | NameLost


class Site:
    """Who there is. All lookups are by exact text or number and cost one dictionary access."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.nodes: dict[int, Node] = {}
        self.groups: dict[str, Group] = {}
        self.uids: dict[str, Member] = {}
        self.aliases: dict[str, Member] = {}
        self.alias_at: dict[str, int] = {}
        self.boxes: dict[str, Box] = {}
        self.memberships: dict[int, Membership] = {}
        self.relays: dict[str, set[int]] = {}
        """Memberships by the uid that the member has there."""
        self.archiving = 0
        """How many archives members have of this site itself."""
        self.sealing: dict[str, tuple[bytes, int]] = {}
        """By box id the X25519 key by which others seal what only it is to read, and when it was set."""
        self.identity: Identity | None = None
        self.recovery: tuple[bytes, int] | None = None
        """The secret that opens the site's backups, and when it was set; None while there is none."""
        self.last_number = 0
        self.owner = 0
        """The member whose box it is; 0 if that is nobody yet."""
        self.owner_at = 0

    def name_taken(self, name: str) -> bool:
        """Aliases and gids share one name space."""
        return name in self.aliases or name in self.groups

    def authenticate(self, uid: str, secret: bytes) -> Node | None:
        """The node of member ``uid``, or the device of a membership with that uid, whose password hashes to
        ``secret``; looks at all of them, in constant time each.
        """
        member = self.uids.get(uid)
        found = None
        numbers = list(member.nodes) if member else []
        for membership in self.relays.get(uid, ()):
            numbers += self.memberships[membership].devices
        for number in numbers:
            node = self.nodes[number]
            if hmac.compare_digest(node.secret, secret):
                found = node
        return found

    def apply(self, fact: LastingFact) -> list[Change]:
        """Take a fact in. Returns what has changed: the fact itself if it counts, and the claims that are
        void now. A fact about something that is not there (any more) does not count.
        """
        return _APPLY[type(fact)](self, fact)

    def _member(self, fact: facts.MemberAdded) -> list[Change]:
        if fact.member in self.members or fact.uid in self.uids:
            return []
        member = Member(fact.member, fact.uid, fact.at_ms)
        self.members[fact.member] = self.uids[fact.uid] = member
        self.last_number = max(self.last_number, fact.member)
        return [fact]

    def _node(self, fact: facts.NodeAdded) -> list[Change]:
        member = self.members.get(fact.member)
        if member is None or fact.node in self.nodes:
            return []
        self.nodes[fact.node] = Node(fact.node, fact.member, fact.label, fact.secret, fact.at_ms)
        member.nodes.append(fact.node)
        member.nodes.sort()
        self.last_number = max(self.last_number, fact.node)
        return [fact]

    def note_node(self, fact: facts.RelayNodeAdded) -> None:
        """A node that is none of the member's own devices."""
        self.nodes[fact.node] = Node(
            fact.node, fact.member, fact.label, fact.secret, fact.at_ms, fact.membership, fact.role
        )

    def _node_dropped(self, fact: facts.NodeDropped) -> list[Change]:
        node = self.nodes.pop(fact.node, None)
        if node is None:
            return []
        if node.membership or node.role != "device":
            memberships.forget_node(self, fact.node, node.membership, node.member)
        else:
            self.members[node.member].nodes.remove(fact.node)
        return [fact]

    def _alias(self, fact: facts.AliasAdded) -> list[Change]:
        void: list[Change] | None = []
        member = self.members.get(fact.member)
        if member is None:
            return []
        if self.aliases.get(fact.alias) is member:
            if self.alias_at[fact.alias] <= fact.at:
                return []
        else:
            void = self._claim(fact.alias, fact.at)
            if void is None:
                return [NameLost(fact.alias, False, (fact.member,), fact.at, held=False)]
            self.aliases[fact.alias] = member
            member.aliases.append(fact.alias)
        self.alias_at[fact.alias] = fact.at
        member.aliases.sort(key=lambda alias: (self.alias_at[alias], alias))
        return [*(void or ()), fact]

    def _group(self, fact: facts.GroupAdded) -> list[Change]:
        group = self.groups.get(fact.gid)
        if group is not None and group.at == fact.at:
            return []
        changes = self._claim(fact.gid, fact.at)
        if changes is None:
            return [NameLost(fact.gid, True, (fact.by,), fact.at, held=False)]
        self.groups[fact.gid] = Group(fact.gid, fact.at, fact.by)
        return [*changes, fact]

    def _claim(self, name: str, at: int) -> list[Change] | None:
        """Void what has the name if ``at`` is earlier; None if it is not."""
        changes: list[Change] = []
        owner = self.aliases.get(name)
        group = self.groups.get(name)
        if (owner is not None and self.alias_at[name] <= at) or (group is not None and group.at <= at):
            return None
        if owner is not None:
            changes.append(NameLost(name, False, (owner.number,), self.alias_at.pop(name), held=True))
            del self.aliases[name]
            owner.aliases.remove(name)
        if group is not None:
            del self.groups[name]
            for number in group.standing:
                self.members[number].groups.discard(name)
            changes.append(NameLost(name, True, tuple(sorted(group.joined())), group.at, held=True))
        return changes

    def _role(self, fact: facts.RoleSet) -> list[Change]:
        group, member = self.groups.get(fact.gid), self.members.get(fact.member)
        if group is None or member is None or group.at != fact.group:
            return []
        place = group.standing.get(fact.member)
        if place is not None and place.at > fact.at:
            return []
        group.standing[fact.member] = Standing(fact.alias, fact.role, fact.at)
        member.groups.add(fact.gid)
        return [fact]

    def _subject(self, fact: facts.SubjectBound) -> list[Change]:
        member = self.members.get(fact.member)
        if member is None or member.subject_at > fact.at:
            return []
        member.subject = (fact.issuer, fact.subject, fact.audience)
        member.subject_at = fact.at
        return [fact]

    def _owner(self, fact: facts.OwnerSet) -> list[Change]:
        if fact.member not in self.members or self.owner_at > fact.at:
            return []
        self.owner, self.owner_at = fact.member, fact.at
        return [fact]

    def _box(self, fact: facts.BoxAdded) -> list[Change]:
        known = self.boxes.get(fact.box)
        if known is not None:
            if known.at <= fact.at:
                return []
            known.slot, known.at, known.of = fact.slot, fact.at, fact.of
            known.name = known.name if known.placed_at else fact.name
            return [fact]
        self.boxes[fact.box] = Box(fact.box, fact.public, fact.slot, fact.name, fact.at, of=fact.of)
        return [fact]

    def _box_placed(self, fact: facts.BoxPlaced) -> list[Change]:
        box = self.boxes.get(fact.box)
        if box is None or box.placed_at > fact.at:
            return []
        box.addresses, box.name, box.placed_at = fact.addresses, fact.name, fact.at
        return [fact]

    def _box_revoked(self, fact: facts.BoxRevoked) -> list[Change]:
        box = self.boxes.get(fact.box)
        if box is None or (box.cut is not None and box.cut >= fact.seq):
            return []
        box.cut = fact.seq
        return [fact]

    def _identity(self, fact: facts.IdentitySet) -> list[Change]:
        if self.identity is not None and self.identity.at > fact.at:
            return []
        self.identity = Identity(fact.name, fact.cert, fact.key, fact.at)
        return [fact]

    def _recovery(self, fact: facts.RecoverySet) -> list[Change]:
        if self.recovery is not None and self.recovery[1] > fact.at:
            return []
        self.recovery = fact.secret, fact.at
        return [fact]


_APPLY: dict[type, Callable[[Site, Any], list[Change]]] = {
    facts.MemberAdded: Site._member,
    facts.NodeAdded: Site._node,
    facts.NodeDropped: Site._node_dropped,
    facts.AliasAdded: Site._alias,
    facts.GroupAdded: Site._group,
    facts.RoleSet: Site._role,
    facts.SubjectBound: Site._subject,
    facts.OwnerSet: Site._owner,
    facts.BoxAdded: Site._box,
    facts.BoxPlaced: Site._box_placed,
    facts.BoxRevoked: Site._box_revoked,
    facts.IdentitySet: Site._identity,
    facts.MembershipAdded: memberships.added,
    facts.MembershipSet: memberships.was_set,
    facts.MembershipDropped: memberships.dropped,
    facts.RelayNodeAdded: memberships.node_added,
    facts.CredentialSet: memberships.credential_set,
    facts.BoxSealing: memberships.sealing_set,
    facts.RecoverySet: Site._recovery,
}
