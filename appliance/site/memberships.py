"""Accounts at other sites, in memory, as the lasting facts make them: a part of ``state.Site``.

A membership has devices, which log in here with its uid and get what comes from there, and two queues that
no device has: ``out`` holds what is to be sent there, ``archive`` what is kept of what came.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from appliance.site import facts

if TYPE_CHECKING:
    from appliance.site.state import Change, Site

FIELDS = ("address", "uid", "alias", "site", "pin", "offered", "trouble", "halted", "metered_min")
"""What can be set: where the site is (``=HOST:PORT``, ``+HOST:PORT``), the uid and the alias there, the
site's name, the SHA-256 of its certificate in hex digits and that of another one which it showed, what is
wrong and why nothing is tried any more (empty if nothing is), and after how many minutes the box looks in
there, where it does not stay."""


@dataclass(slots=True)
class Membership:
    """``devices`` are node numbers, in order; ``out`` and ``archive`` too, 0 if there is none. ``set_at``:
    when each of ``fields`` was set. ``credentials`` by box id, sealed.
    """

    number: int
    member: int
    name: str
    at: int
    fields: dict[str, str] = field(default_factory=dict)
    set_at: dict[str, int] = field(default_factory=dict)
    devices: list[int] = field(default_factory=list)
    out: int = 0
    archive: int = 0
    credentials: dict[str, bytes] = field(default_factory=dict)
    credentials_at: dict[str, int] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """The member's uid at the site; empty while it is not known."""
        return self.fields.get("uid", "")

    @property
    def nodes(self) -> list[int]:
        return [*self.devices, *(node for node in (self.out, self.archive) if node)]


def added(site: Site, fact: facts.MembershipAdded) -> list[Change]:
    member = site.members.get(fact.member)
    if member is None or fact.membership in site.memberships:
        return []
    site.memberships[fact.membership] = Membership(fact.membership, fact.member, fact.name, fact.at)
    member.memberships.append(fact.membership)
    member.memberships.sort()
    site.last_number = max(site.last_number, fact.membership)
    return [fact]


def was_set(site: Site, fact: facts.MembershipSet) -> list[Change]:
    membership = site.memberships.get(fact.membership)
    if membership is None or membership.set_at.get(fact.field, 0) > fact.at:
        return []
    if fact.field == "uid":
        site.relays.get(membership.uid, set()).discard(membership.number)
        site.relays.setdefault(fact.value, set()).add(membership.number)
    membership.fields[fact.field] = fact.value
    membership.set_at[fact.field] = fact.at
    return [fact]


def dropped(site: Site, fact: facts.MembershipDropped) -> list[Change]:
    membership = site.memberships.get(fact.membership)
    if membership is None:
        return []
    changes: list[Change] = []
    for node in membership.nodes:
        changes += site.apply(facts.NodeDropped(node))
    del site.memberships[fact.membership]
    site.relays.get(membership.uid, set()).discard(membership.number)
    site.members[membership.member].memberships.remove(membership.number)
    return [*changes, fact]


def node_added(site: Site, fact: facts.RelayNodeAdded) -> list[Change]:
    member, membership = site.members.get(fact.member), site.memberships.get(fact.membership)
    if member is None or fact.node in site.nodes or (fact.membership and membership is None):
        return []
    if membership is None:
        member.archives.append(fact.node)
        site.archiving += 1
        member.archives.sort()
    elif fact.role == "device":
        membership.devices.append(fact.node)
        membership.devices.sort()
    elif fact.role == "out":
        membership.out = fact.node
    else:
        membership.archive = fact.node
    site.note_node(fact)
    site.last_number = max(site.last_number, fact.node)
    return [fact]


def forget_node(site: Site, number: int, membership: int, member: int) -> None:
    """A node that is no device of a member is gone."""
    of = site.memberships.get(membership)
    if of is None:
        site.members[member].archives.remove(number)
        site.archiving -= 1
    elif number in of.devices:
        of.devices.remove(number)
    elif of.out == number:
        of.out = 0
    elif of.archive == number:
        of.archive = 0


def credential_set(site: Site, fact: facts.CredentialSet) -> list[Change]:
    membership = site.memberships.get(fact.membership)
    if membership is None or membership.credentials_at.get(fact.box, 0) > fact.at:
        return []
    membership.credentials[fact.box] = fact.sealed
    membership.credentials_at[fact.box] = fact.at
    return [fact]


def sealing_set(site: Site, fact: facts.BoxSealing) -> list[Change]:
    known = site.sealing.get(fact.box)
    if known is not None and known[1] > fact.at:
        return []
    site.sealing[fact.box] = fact.public, fact.at
    return [fact]
