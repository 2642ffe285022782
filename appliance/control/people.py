"""The words about members and devices."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from appliance.control.errors import ControlError
from appliance.control.finding import Args, find_device, find_member, text_of
from appliance.log import get_logger
from appliance.pairing import Invitation
from appliance.pairing.uri import build
from appliance.session import Service
from appliance.session.requests import Fresh
from appliance.site import Decision, Member, Node, add_device, add_member, drop_node, set_owner
from appliance.store import Store

log = get_logger(__name__)


class PeopleWords:
    """Members, devices, groups."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store: Store = service.store

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "member.list": self.member_list,
            "member.show": self.member_show,
            "member.add": self.member_add,
            "member.owner": self.member_owner,
            "device.list": self.device_list,
            "device.show": self.device_show,
            "device.add": self.device_add,
            "device.drop": self.device_drop,
            "group.list": self.group_list,
        }

    async def member_list(self, args: Args) -> Any:
        return [self._member(member) for member in self._store.site.members.values()]

    async def member_show(self, args: Args) -> Any:
        member = find_member(self._store.site, args)
        return {
            **self._member(member),
            "groups": sorted(
                g
                for g in member.groups
                if self._store.site.groups[g].standing[member.number].role == "joined"
            ),
            "device_list": await self._devices([member]),
            "stored_octets": self._store.queues.stored_octets(member.number),
        }

    async def member_add(self, args: Args) -> Any:
        alias, label = text_of(args, "alias"), args.get("label")
        if label is not None:
            label = text_of(args, "label")
        fresh = Fresh.make()
        decision = await self._store.perform(lambda scene: add_member(scene, alias, label, fresh))
        _check(decision)
        log.info("member added", member=fresh.uid)
        member = self._store.site.members[decision.member]
        if label is None:
            return self._login(member)
        log.info("device added", member=fresh.uid, device=decision.node)
        return self._login(member, self._store.site.nodes[decision.node], fresh.password)

    async def member_owner(self, args: Args) -> Any:
        member = find_member(self._store.site, args)
        _check(await self._store.perform(lambda scene: set_owner(scene, member.number)))
        log.info("owner named", member=member.uid)
        return self._member(member)

    async def device_list(self, args: Args) -> Any:
        site = self._store.site
        members = [find_member(site, args)] if args.get("member") else list(site.members.values())
        return await self._devices(members)

    async def device_show(self, args: Args) -> Any:
        node = find_device(self._store.site, args)
        return {**await self._device(node), **self._login(self._store.site.members[node.member], node)}

    async def device_add(self, args: Args) -> Any:
        member, label = find_member(self._store.site, args), text_of(args, "label")
        fresh = Fresh.make()
        decision = await self._store.perform(lambda scene: add_device(scene, member.number, label, fresh))
        _check(decision)
        log.info("device added", member=member.uid, device=decision.node)
        return self._login(member, self._store.site.nodes[decision.node], fresh.password)

    async def device_drop(self, args: Args) -> Any:
        node = find_device(self._store.site, args)
        shown = await self._device(node)
        _check(await self._store.perform(lambda scene: drop_node(scene, node.number)))
        log.info("device dropped", member=shown["member"], device=node.number)
        return shown

    async def group_list(self, args: Args) -> Any:
        site = self._store.site
        groups = []
        for group in site.groups.values():
            by_role: dict[str, list[dict[str, str]]] = {"joined": [], "invited": [], "barred": []}
            for number, place in group.standing.items():
                by_role[place.role].append({"uid": site.members[number].uid, "alias": place.alias})
            groups.append(
                {
                    "gid": group.gid,
                    "members": by_role["joined"],
                    "invited": by_role["invited"],
                    "barred": by_role["barred"],
                }
            )
        return groups

    def _member(self, member: Member) -> dict[str, Any]:
        nodes = self._store.queues.nodes
        return {
            "uid": member.uid,
            "aliases": list(member.aliases),
            "owner": member.number == self._store.site.owner,
            "devices": len(member.nodes),
            "online": sum(self._service.company.is_online(n) for n in member.nodes),
            "queued": sum(nodes[n].count for n in member.nodes if n in nodes),
        }

    async def _devices(self, members: Sequence[Member]) -> list[dict[str, Any]]:
        """Those that are still there when it is their turn."""
        numbers = [number for member in members for number in member.nodes]
        nodes = self._store.site.nodes
        return [await self._device(nodes[number]) for number in numbers if number in nodes]

    async def _device(self, node: Node) -> dict[str, Any]:
        member = self._store.site.members[node.member]
        pending = self._store.queues.nodes.get(node.number)
        return {
            "device": node.number,
            "member": member.uid,
            "alias": _alias(member),
            "label": node.label,
            "online": self._service.company.is_online(node.number),
            "queued": pending.count if pending else 0,
            "queued_octets": pending.octets if pending else 0,
            "oldest_s": age_s(await self._store.oldest(node.number)) if pending and pending.count else 0,
        }

    def _login(self, member: Member, node: Node | None = None, password: str | None = None) -> dict[str, Any]:
        """What a client needs to log in. The password is known at the moment it is made, and never after."""
        place = self._service.place
        addresses = place.addresses()
        bare = tuple(address.lstrip("=+") for address in addresses)
        try:
            uri = build(Invitation(bare, member.uid, password, place.fingerprint, self._service.name))
        except ValueError:
            uri = None
        return {
            "site": self._service.name,
            "alias": _alias(member),
            "device": node.number if node else None,
            "label": node.label if node else None,
            "uid": member.uid,
            "node": password,
            "addresses": addresses,
            "fingerprint": place.fingerprint,
            "uri": uri,
        }


def age_s(msgid: int) -> float:
    """How long ago a message was accepted; 0 for no message."""
    return max(0.0, round(time.time() - msgid / 1e9, 1)) if msgid else 0


def _alias(member: Member) -> str:
    return member.aliases[0] if member.aliases else ""


def _check(decision: Decision) -> None:
    if decision.error is not None:
        raise ControlError(decision.error)
