"""The words about members and devices."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from appliance.control.devices import Devices
from appliance.control.errors import ControlError
from appliance.control.finding import Args, find_device, find_member, find_membership, text_of
from appliance.log import get_logger
from appliance.session import Service
from appliance.session.requests import Fresh
from appliance.site import Decision, Member, Membership, add_device, add_member, drop_node, set_owner
from appliance.store import Store

log = get_logger(__name__)

HISTORY_S_MAX = 100 * 365 * 86400


class PeopleWords:
    """Members, devices, groups."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._store: Store = service.store
        self._devices = Devices(service)

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
            "device_list": await self._devices.of([member]),
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
            return self._devices.login(member)
        log.info("device added", member=fresh.uid, device=decision.node)
        return self._devices.login(member, self._store.site.nodes[decision.node], fresh.password)

    async def member_owner(self, args: Args) -> Any:
        member = find_member(self._store.site, args)
        _check(await self._store.perform(lambda scene: set_owner(scene, member.number)))
        log.info("owner named", member=member.uid)
        return self._member(member)

    async def device_list(self, args: Args) -> Any:
        site = self._store.site
        members = [find_member(site, args)] if args.get("member") else list(site.members.values())
        return await self._devices.of(members)

    async def device_show(self, args: Args) -> Any:
        node = find_device(self._store.site, args)
        member = self._store.site.members[node.member]
        return {**await self._devices.describe(node), **self._devices.login(member, node)}

    async def device_add(self, args: Args) -> Any:
        site = self._store.site
        member, label, fresh = find_member(site, args), text_of(args, "label"), Fresh.make()
        if args.get("membership") is not None:
            from appliance.site.relaying import add_relay_device

            membership = find_membership(site, args, member)
            if not membership.uid:
                raise ControlError(
                    f"{membership.name} has no account yet: see   pocket membership show {membership.number}"
                )
            since_ms, number = _since_ms(args.get("history_s")), membership.number
            decision = await self._store.perform(
                lambda scene: add_relay_device(
                    scene, number, label, fresh, self._fullest(membership), since_ms
                )
            )
        elif args.get("history_s") is not None:
            raise ControlError("history is kept of a membership only: name it with --membership NAME")
        else:
            decision = await self._store.perform(lambda scene: add_device(scene, member.number, label, fresh))
        _check(decision)
        log.info("device added", member=member.uid, device=decision.node)
        return self._devices.login(member, site.nodes[decision.node], fresh.password)

    async def device_drop(self, args: Args) -> Any:
        node = find_device(self._store.site, args)
        shown = await self._devices.describe(node)
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

    def _fullest(self, membership: Membership) -> int:
        """The device for which most waits: a new one begins with that. 0 if there is none."""
        nodes = self._store.queues.nodes
        waiting = {number: nodes[number].count for number in membership.devices if number in nodes}
        return max(waiting, key=waiting.__getitem__, default=0)

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


def _check(decision: Decision) -> None:
    if decision.error is not None:
        raise ControlError(decision.error)


def _since_ms(history_s: Any) -> int | None:
    """From when on a new device gets what is kept; None: only what still waits for others."""
    if history_s is None:
        return None
    if type(history_s) is not int or not 0 < history_s <= HISTORY_S_MAX:
        raise ControlError(f"history_s must be 1 to {HISTORY_S_MAX}")
    return max(0, int((time.time() - history_s) * 1000))
