"""Members and devices by what a person calls them."""

from __future__ import annotations

from typing import Any

from appliance.control.errors import ControlError
from appliance.site import Member, Node, Site

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
    if name.isdecimal() and int(name) in site.nodes:
        return site.nodes[int(name)]
    found = _labelled(site, name)
    if not found:
        raise ControlError(
            f"there is no device {name!r}: give its number or MEMBER/LABEL, as pocket device list shows"
        )
    if len(found) > 1:
        numbers = ", ".join(str(n.number) for n in found)
        raise ControlError(f"{len(found)} devices are called {name!r}: give one of the numbers {numbers}")
    return found[0]


def _labelled(site: Site, name: str) -> list[Node]:
    """The devices called MEMBER/LABEL. Both may have a slash in them."""
    found: dict[int, Node] = {}
    for at, char in enumerate(name):
        member = (site.uids.get(name[:at]) or site.aliases.get(name[:at])) if char == "/" else None
        for number in member.nodes if member else ():
            if site.nodes[number].label == name[at + 1 :]:
                found[number] = site.nodes[number]
    return list(found.values())
