"""What a running box answers on its control socket: one method a word."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from appliance import log as logs
from appliance.control.errors import ControlError
from appliance.health import Health
from appliance.session import Service
from appliance.site import Member, Node, drop_node
from appliance.store import Store, verify
from appliance.version import __version__

Args = dict[str, Any]
SAMPLE_EVERY_S = 1.0
SAMPLES = 10
PAIRING_MINUTES_MAX = 60.0


class Words:
    """``handlers`` maps each word to its method. ``address`` and ``fingerprint`` are what a person types
    and compares.
    """

    def __init__(
        self, service: Service, health: Health, folder: Path, address: str, fingerprint: str
    ) -> None:
        self._service = service
        self._store: Store = service.store
        self._health = health
        self._folder = folder
        self._address = address
        self._fingerprint = fingerprint
        self._samples: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)], SAMPLES)

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return {
            "status": self.status,
            "member.list": self.member_list,
            "member.show": self.member_show,
            "device.list": self.device_list,
            "device.drop": self.device_drop,
            "group.list": self.group_list,
            "pair.open": self.pair_open,
            "pair.close": self.pair_close,
            "log": self.log,
            "journal.verify": self.journal_verify,
        }

    async def sample(self) -> None:
        """Note the counters every second, for the rates. Runs until cancelled."""
        while True:
            await trio.sleep(SAMPLE_EVERY_S)
            self._samples.append((time.monotonic(), self._store.counts.commits, self._store.syncs))

    async def status(self, args: Args) -> Any:
        store, service, health = self._store, self._service, self._health
        then, commits, syncs = self._samples[0]
        span = max(time.monotonic() - then, SAMPLE_EVERY_S)
        room = store.disk.room()
        delivered, resent = service.exchange.totals()
        pending = store.queues.nodes.values()
        return {
            "site": service.name,
            "version": __version__,
            "box": store.key.box,
            "state": health.state,
            "reasons": health.reasons,
            "uptime_s": round(health.uptime_s, 1),
            "started": round(health.started, 3),
            "address": self._address,
            "fingerprint": self._fingerprint,
            "registration": service.registration.mode,
            "pairing_open_s": round(service.registration.open_s, 1),
            "members": len(store.site.members),
            "nodes": len(store.site.nodes),
            "groups": len(store.site.groups),
            "links": {
                "open": service.gate.links,
                "unauthenticated": service.gate.unauthenticated,
                "refused": service.gate.refused,
            },
            "queues": {
                "messages": sum(p.count for p in pending),
                "octets": sum(p.octets for p in pending),
                "oldest_s": _age_s(await store.oldest()),
            },
            "store": {
                "commits": store.counts.commits,
                "commits_per_s": round((store.counts.commits - commits) / span, 2),
                "syncs": store.syncs,
                "syncs_per_s": round((store.syncs - syncs) / span, 2),
                "entries": store.entries,
                "octets_written": _octets_written(),
            },
            "messages": {
                "accepted": store.counts.messages,
                "delivered": delivered,
                "refused": store.counts.refused,
                "repeated": store.counts.repeated,
                "resent": resent,
            },
            "disk": {
                "free": room.free,
                "total": room.total,
                "reserve": room.reserve,
                "data": await trio.to_thread.run_sync(_folder_octets, self._folder),
            },
        }

    async def member_list(self, args: Args) -> Any:
        return [self._member(member) for member in self._store.site.members.values()]

    async def member_show(self, args: Args) -> Any:
        member = self._find_member(args)
        return {
            **self._member(member),
            "groups": sorted(
                g
                for g in member.groups
                if self._store.site.groups[g].standing[member.number].role == "joined"
            ),
            "device_list": [await self._device(self._store.site.nodes[n]) for n in member.nodes],
            "stored_octets": self._store.queues.stored_octets(member.number),
        }

    async def device_list(self, args: Args) -> Any:
        site = self._store.site
        members = [self._find_member(args)] if args.get("member") else list(site.members.values())
        return [await self._device(site.nodes[n]) for member in members for n in list(member.nodes)]

    async def device_drop(self, args: Args) -> Any:
        node = self._find_device(args)
        shown = await self._device(node)
        decision = await self._store.perform(lambda scene: drop_node(scene, node.number))
        if decision.error is not None:
            raise ControlError(decision.error)
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

    async def pair_open(self, args: Args) -> Any:
        minutes = args.get("minutes", 2)
        if (
            isinstance(minutes, bool)
            or not isinstance(minutes, (int, float))
            or not 0 < minutes <= PAIRING_MINUTES_MAX
        ):
            raise ControlError(f"minutes must be above 0 and at most {PAIRING_MINUTES_MAX:.0f}")
        registration = self._service.registration
        if registration.mode == "closed":
            raise ControlError(
                'registration is closed by the configuration: set registration = "pairing" and start again'
            )
        registration.open_for(minutes * 60)
        return self._pairing()

    async def pair_close(self, args: Args) -> Any:
        self._service.registration.close()
        return self._pairing()

    async def log(self, args: Args) -> Any:
        return logs.recent(
            int(args.get("lines", 100)), str(args.get("level", "debug")), int(args.get("after", 0))
        )

    async def journal_verify(self, args: Args) -> Any:
        return await trio.to_thread.run_sync(verify, self._folder, abandon_on_cancel=True)

    def _pairing(self) -> Any:
        registration = self._service.registration
        return {
            "registration": registration.mode,
            "pairing_open_s": round(registration.open_s, 1),
            "address": self._address,
            "fingerprint": self._fingerprint,
        }

    def _member(self, member: Member) -> dict[str, Any]:
        nodes = self._store.queues.nodes
        return {
            "uid": member.uid,
            "aliases": list(member.aliases),
            "devices": len(member.nodes),
            "online": sum(n in self._service.exchange.online for n in member.nodes),
            "queued": sum(nodes[n].count for n in member.nodes if n in nodes),
        }

    async def _device(self, node: Node) -> dict[str, Any]:
        member = self._store.site.members[node.member]
        pending = self._store.queues.nodes.get(node.number)
        return {
            "device": node.number,
            "member": member.uid,
            "alias": member.aliases[0] if member.aliases else "",
            "label": node.label,
            "online": node.number in self._service.exchange.online,
            "queued": pending.count if pending else 0,
            "queued_octets": pending.octets if pending else 0,
            "oldest_s": _age_s(await self._store.oldest(node.number)) if pending and pending.count else 0,
        }

    def _find_member(self, args: Args) -> Member:
        name = str(args.get("member", ""))
        site = self._store.site
        member = site.uids.get(name) or site.aliases.get(name)
        if member is None:
            raise ControlError(
                f"there is no member {name!r}: give a uid or an alias, as shown by pocket member list"
            )
        return member

    def _find_device(self, args: Args) -> Node:
        name = str(args.get("device", ""))
        site = self._store.site
        if name.isdecimal() and int(name) in site.nodes:
            return site.nodes[int(name)]
        owner, slash, label = name.partition("/")
        member = site.uids.get(owner) or site.aliases.get(owner)
        found = (
            [site.nodes[n] for n in member.nodes if site.nodes[n].label == label] if member and slash else []
        )
        if not found:
            raise ControlError(
                f"there is no device {name!r}: give its number or MEMBER/LABEL, as pocket device list shows"
            )
        if len(found) > 1:
            numbers = ", ".join(str(n.number) for n in found)
            raise ControlError(f"{len(found)} devices are called {name!r}: give one of the numbers {numbers}")
        return found[0]


def _age_s(msgid: int) -> float:
    """How long ago a message was accepted; 0 for no message."""
    return max(0.0, round(time.time() - msgid / 1e9, 1)) if msgid else 0


def _octets_written() -> int:
    """Octets that this process had written to disks, as Linux counts them; 0 where it does not."""
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            for line in file:
                if line.startswith("write_bytes:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def _folder_octets(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
