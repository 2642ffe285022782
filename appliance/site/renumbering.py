"""New numbers for the members and nodes that a box made before it became another one.

Where a card was put back to an older state, or copied, two boxes went on from one state and gave the same
numbers to different people. What the new box says again of that has its own slot in place of the old one's:
numbers that nobody else gives, and the same ones each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from appliance.site import facts
from appliance.site.facts import LastingFact, TrafficFact
from appliance.site.mint import BOXES

FIELDS: dict[type[facts.Fact], tuple[str, ...]] = {
    facts.MemberAdded: ("member",),
    facts.NodeAdded: ("node", "member"),
    facts.NodeDropped: ("node",),
    facts.AliasAdded: ("member",),
    facts.GroupAdded: ("by",),
    facts.RoleSet: ("member",),
    facts.SubjectBound: ("member",),
    facts.OwnerSet: ("member",),
    facts.BoxAdded: (),
    facts.BoxPlaced: (),
    facts.BoxRevoked: (),
    facts.IdentitySet: (),
    facts.MembershipAdded: ("membership", "member"),
    facts.MembershipSet: ("membership",),
    facts.MembershipDropped: ("membership",),
    facts.RelayNodeAdded: ("node", "member", "membership"),
    facts.CredentialSet: ("membership",),
    facts.BoxSealing: (),
    facts.RecoverySet: (),
    facts.Sent: ("sender", "nodes"),
    facts.Carried: ("sender", "nodes"),
    facts.Extended: ("sender", "nodes"),
    facts.Acked: ("node",),
    facts.Inherited: ("node", "source"),
    facts.Requested: ("node", "made"),
    facts.Relayed: ("membership",),
    facts.Outgoing: ("membership", "node"),
    facts.Outcome: (),
}
"""Where facts name members, nodes and memberships."""


class Renumbering:
    """From slot ``old`` to slot ``new``. Give it the entries' facts in their order."""

    def __init__(self, old: int, new: int) -> None:
        self._old = old
        self._new = new
        self._numbers: dict[int, int] = {}

    def again(self, said: Sequence[LastingFact | TrafficFact]) -> list[LastingFact | TrafficFact] | None:
        """The facts as they are to be said again; None if they can stay as they are."""
        told = [self._fact(fact) for fact in said]
        return told if told != list(said) else None

    def _fact(self, fact: LastingFact | TrafficFact) -> LastingFact | TrafficFact:
        if isinstance(fact, facts.MemberAdded):
            self._note(fact.member)
        elif isinstance(fact, facts.NodeAdded | facts.RelayNodeAdded):
            self._note(fact.node)
        elif isinstance(fact, facts.MembershipAdded):
            self._note(fact.membership)
        changed: dict[str, int | tuple[int, ...]] = {}
        for name in FIELDS[type(fact)]:
            value = getattr(fact, name)
            if isinstance(value, int):
                changed[name] = self._numbers.get(value, value)
            else:
                changed[name] = tuple(self._numbers.get(number, number) for number in value)
        return msgspec.structs.replace(fact, **changed)

    def _note(self, number: int) -> None:
        if number % BOXES == self._old:
            self._numbers[number] = number - self._old + self._new
