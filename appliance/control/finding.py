"""Members, devices and memberships by what a person calls them."""

from __future__ import annotations

from typing import Any

from appliance.control.errors import ControlError
from appliance.site import Member, Membership, Node, Site

Args = dict[str, Any]


def text_of(args: Args, key: str) -> str:
    """A text that has to be given."""
    value = args.get(key)
    if not isinstance(value, str) or not value:
        raise ControlError(f"{key} is missing: it is a text")
    try:
        value.encode()
    except UnicodeEncodeError:  # octets of the command line that are no UTF-8 come as lone surrogates
        raise ControlError(f"{key} has octets that are not UTF-8: write it in UTF-8") from None
    return value


def find_member(site: Site, args: Args) -> Member:
    name = str(args.get("member", ""))
    member = site.uids.get(name) or site.aliases.get(name)
    if member is None:
        raise ControlError(
            f"there is no member {name!r}: give a uid or an alias, as shown by pocket member list"
        )
    return member


def find_device(site: Site, args: Args) -> Node:
    name = str(args.get("device", ""))
    node = site.nodes.get(int(name)) if name.isdecimal() else None
    if node is not None and node.role == "device":
        return node
    found = _labelled(site, name)
    if not found:
        raise ControlError(
            f"there is no device {name!r}: give its number or MEMBER/LABEL, as pocket device list shows"
        )
    if len(found) > 1:
        numbers = ", ".join(str(n.number) for n in found)
        raise ControlError(f"{len(found)} devices are called {name!r}: give one of the numbers {numbers}")
    return found[0]


def find_membership(site: Site, args: Args, member: Member | None = None) -> Membership:
    """By its number, as NAME, or as MEMBER/NAME; ``member``: one of hers, and no other."""
    name = text_of(args, "membership")
    known = [site.memberships[n] for n in member.memberships] if member else site.memberships.values()
    found = [each for each in known if each.name == name or _title_of(site, each, name)]
    if not found and name.isdecimal():
        found = [each for each in known if each.number == int(name)]
    if not found:
        whose = f" of {member.aliases[0] if member.aliases else member.uid}" if member else ""
        raise ControlError(
            f"there is no membership {name!r}{whose}: give its number or its name, as shown by"
            " pocket membership list"
        )
    if len(found) > 1:
        numbers = ", ".join(str(each.number) for each in found)
        raise ControlError(f"{len(found)} memberships are called {name!r}: give one of the numbers {numbers}")
    return found[0]


def _title_of(site: Site, membership: Membership, name: str) -> bool:
    """Whether that is MEMBER/NAME of this one."""
    member = site.members[membership.member]
    return name in (f"{known}/{membership.name}" for known in (member.uid, *member.aliases))


def _labelled(site: Site, name: str) -> list[Node]:
    """The devices called MEMBER/LABEL, or MEMBER/MEMBERSHIP/LABEL. All of these may have a slash in them."""
    found: dict[int, Node] = {}
    for at, char in enumerate(name):
        member = (site.uids.get(name[:at]) or site.aliases.get(name[:at])) if char == "/" else None
        for number in member.nodes if member else ():
            if site.nodes[number].label == name[at + 1 :]:
                found[number] = site.nodes[number]
        for membership in (site.memberships[n] for n in member.memberships) if member else ():
            for number in membership.devices:
                if f"{membership.name}/{site.nodes[number].label}" == name[at + 1 :]:
                    found[number] = site.nodes[number]
    return list(found.values())
