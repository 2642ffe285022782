"""Devices as people see them, and what one logs in with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from appliance.pairing import Invitation
from appliance.pairing.uri import build
from appliance.session import Service
from appliance.site import Member, Node
from appliance.store import Store


class Devices:
    """Those of members and of their memberships."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store: Store = service.store

    async def of(self, members: Sequence[Member]) -> list[dict[str, Any]]:
        """Those that are still there when it is their turn."""
        site = self._store.site
        numbers: list[int] = []
        for member in members:
            numbers += member.nodes
            for membership in member.memberships:
                numbers += site.memberships[membership].devices
        return await self.numbered(numbers)

    async def numbered(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The same by their numbers."""
        nodes = self._store.site.nodes
        return [await self.describe(nodes[number]) for number in list(numbers) if number in nodes]

    async def describe(self, node: Node) -> dict[str, Any]:
        """A device and what waits for it."""
        member = self._store.site.members[node.member]
        membership = self._store.site.memberships.get(node.membership)
        pending = self._store.queues.nodes.get(node.number)
        return {
            "device": node.number,
            "member": member.uid,
            "alias": alias_of(member),
            "membership": membership.name if membership else None,
            "label": node.label,
            "online": self._service.company.is_online(node.number),
            "queued": pending.count if pending else 0,
            "queued_octets": pending.octets if pending else 0,
            "oldest_s": age_s(await self._store.oldest(node.number)) if pending and pending.count else 0,
        }

    def login(self, member: Member, node: Node | None = None, password: str | None = None) -> dict[str, Any]:
        """What a client needs to log in. The password is known at the moment it is made, and never after.

        A device of a membership logs in here too, with the uid that the member has there.
        """
        place = self._service.place
        addresses = place.addresses()
        bare = tuple(address.lstrip("=+") for address in addresses)
        membership = self._store.site.memberships.get(node.membership) if node else None
        site, uid, alias = self._service.name, member.uid, alias_of(member)
        if membership is not None:
            site = membership.fields.get("site") or membership.name
            uid, alias = membership.uid, membership.fields.get("alias", "")
        try:
            uri = build(Invitation(bare, uid, password, place.fingerprint, site))
        except ValueError:
            uri = None
        return {
            "site": site,
            "alias": alias,
            "membership": membership.name if membership else None,
            "device": node.number if node else None,
            "label": node.label if node else None,
            "uid": uid,
            "node": password,
            "addresses": addresses,
            "fingerprint": place.fingerprint,
            "uri": uri,
        }


def age_s(msgid: int) -> float:
    """How long ago a message was accepted; 0 for no message."""
    return max(0.0, round(time.time() - msgid / 1e9, 1)) if msgid else 0


def alias_of(member: Member) -> str:
    """What people call a member; empty if there is nothing."""
    return member.aliases[0] if member.aliases else ""
