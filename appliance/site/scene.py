"""What a decision is made in: the state, the ids, the time, the limits; and what the rules share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from appliance import wire
from appliance.site.message import EMPTY, RANK_NORMAL, Decision, Message, Payload, sent
from appliance.site.mint import Mint
from appliance.site.state import Member, Node, Site

DAY_MS = 86_400_000
KEPT = frozenset({"delivery", "notify", "ping", "invite", "member"})
"""Messages that an archive keeps: what people say, not what their devices tell each other."""


class Refusal(Exception):
    """A well-formed request that cannot be done. The text goes into the ack."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings; counts and octets."""

    members: int = 10_000
    nodes_per_member: int = 100
    aliases_per_member: int = 100
    groups: int = 10_000
    members_per_group: int = 1000
    recipients_per_post: int = 1000
    disk_octets_per_member: int = 16 << 30
    relay_octets_per_device: int = 8 << 30
    pings_per_member_per_day: int = 1000
    changes_per_member_per_day: int = 10_000


class Load(Protocol):
    """How full things are, as of the last commit."""

    def queue_problem(self, node: int, size: int) -> str | None:
        """Which limit a message of ``size`` octets would break in the node's queue."""

    def stored_octets(self, member: int) -> int:
        """Octets of the member's messages that somebody has yet to fetch."""

    def pending_octets(self, node: int) -> int:
        """Octets of what waits for a node."""


class Scene:
    """One for the life of the store; ``now_ms`` is set before each batch of decisions."""

    def __init__(self, site: Site, mint: Mint, limits: Limits, load: Load) -> None:
        self.site = site
        self.mint = mint
        self.limits = limits
        self.load = load
        self.now_ms = 0
        self._pings: dict[int, int] = {}
        self._changes: dict[int, int] = {}
        self._counted_day = -1

    def at(self, now_ns: int) -> None:
        """Tell the time, in ns since the epoch."""
        self.mint.tick(now_ns)
        self.now_ms = now_ns // 1_000_000

    def send(
        self,
        decision: Decision,
        op: str,
        sender: int,
        nodes: Iterable[int],
        payload: Payload = EMPTY,
        datahead: int = 0,
        datasum: int | None = None,
        rank: int = RANK_NORMAL,
        **extra: Any,
    ) -> int:
        """Add a message to the decision. Returns its id, which exists also if there is nobody to send it
        to.
        """
        msgid = self.mint.id()
        to = tuple(dict.fromkeys(nodes))
        archives = self._archives(op, sender, to) if self.site.archiving else ()
        if to or archives:
            head = wire.encode_message(
                op,
                self.site.members[sender].uid,
                msgid,
                self.now_ms,
                payload.size,
                datahead,
                datasum,
                **extra,
            )
            blob = payload.digest if payload.data is None else None
            if to:
                message = Message(msgid, rank, head, payload.size, payload.data, blob, sender, to)
                decision.messages.append(message)
                decision.traffic.append(sent(message, payload))
            if archives:  # on nobody's account, so a message of its own
                kept = Message(self.mint.id(), rank, head, payload.size, payload.data, blob, 0, archives)
                decision.messages.append(kept)
                decision.traffic.append(sent(kept, payload))
        return msgid

    def _archives(self, op: str, sender: int, nodes: Iterable[int]) -> tuple[int, ...]:
        """Those of the members whose devices a message comes from or goes to."""
        if op not in KEPT:
            return ()
        site = self.site
        members = {sender, *(site.nodes[node].member for node in nodes)}
        return tuple(sorted(site.members[m].archive for m in members if site.members[m].archive))

    def member_of(self, uid: str) -> Member:
        member = self.site.uids.get(uid)
        if member is None:
            raise Refusal(f"unknown uid: {uid}")
        return member

    def own_alias(self, member: int, alias: str) -> None:
        owner = self.site.aliases.get(alias)
        if owner is None or owner.number != member:
            raise Refusal("from must identify sender")

    def others(self, node: Node, more: Iterable[int]) -> list[int]:
        """``more`` and the sender's other nodes."""
        return [*more, *(n for n in self.site.members[node.member].nodes if n != node.number)]

    def recipients(self, node: Node, targets: Sequence[wire.Target]) -> list[int]:
        """The nodes that a list of targets stands for, and the sender's other nodes; each once.

        All or nothing: raises ``Refusal`` if one of the targets is not there or not the sender's to post
        to.
        """
        site = self.site
        if len(targets) > self.limits.recipients_per_post:
            raise Refusal(
                f"limit reached: a post has at most {self.limits.recipients_per_post} recipients in its lists"
            )
        found: dict[int, None] = {}
        for name, kind in dict.fromkeys((target.id, target.type) for target in targets):
            if kind == 1:
                found.update(dict.fromkeys(self.member_of(name).nodes))
                continue
            group = site.groups.get(name)
            standing = group.standing.get(node.member) if group else None
            if group is None or standing is None or standing.role == "barred":
                raise Refusal(f"you are not in a group of this name: {name}")
            for member, place in group.standing.items():
                if place.role == "joined" and (kind == 2 or member != node.member):
                    found.update(dict.fromkeys(site.members[member].nodes))
        found.update(dict.fromkeys(self.others(node, ())))
        return list(found)

    def check_room(self, nodes: Iterable[int], size: int) -> None:
        for node in nodes:
            problem = self.load.queue_problem(node, size)
            if problem is not None:
                owner = self.site.members[self.site.nodes[node].member]
                raise Refusal(f"limit reached: a device of {owner.uid} {problem}")

    def check_disk(self, member: int, size: int) -> None:
        limit = self.limits.disk_octets_per_member
        if self.load.stored_octets(member) + size > limit:
            raise Refusal(
                f"limit reached: your messages that wait for others take up the {limit} octets of a member"
            )

    def check_pings(self, member: int) -> None:
        """Count a ping or invite."""
        self._count(self._pings, member, self.limits.pings_per_member_per_day, "pings and invites")

    def check_changes(self, member: int) -> None:
        """Count a lasting change: those stay in the journal for good."""
        most = self.limits.changes_per_member_per_day
        self._count(self._changes, member, most, "changes of aliases, nodes and groups")

    def _count(self, counts: dict[int, int], member: int, most: int, what: str) -> None:
        """Counts are lost at a restart, and start anew each day."""
        day = self.now_ms // DAY_MS
        if day != self._counted_day:
            self._counted_day = day
            self._pings.clear()
            self._changes.clear()
        count = counts.get(member, 0)
        if count >= most:
            raise Refusal(f"limit reached: {most} {what} a day")
        counts[member] = count + 1

    def refuse_if(self, problem: str | None) -> None:
        if problem is not None:
            raise Refusal(problem)
