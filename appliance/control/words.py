"""What a running box answers on its control socket: one method a word."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import trio

from appliance.control.devices import age_s
from appliance.control.errors import ControlError
from appliance.control.log import recent_log
from appliance.control.pairing import PairingWords
from appliance.control.people import PeopleWords
from appliance.health import Health
from appliance.session import Service
from appliance.store import Scrubber, Store, StoreError
from appliance.version import __version__

Args = dict[str, Any]
SAMPLE_EVERY_S = 1.0
SAMPLES = 10


class Words:
    """``handlers`` maps each word to its method. Those about people and pairing have modules of their own."""

    def __init__(self, service: Service, health: Health, folder: Path) -> None:
        self._service = service
        self._store: Store = service.store
        self._health = health
        self._folder = folder
        self._samples: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)], SAMPLES)
        self.scrubber: Scrubber | None = None
        """Set when it is there."""
        self.figures: list[Callable[[], Mapping[str, Any]]] = []
        """More for ``status``: of others, who are there later."""
        self._handlers: dict[str, Callable[[Args], Awaitable[Any]]] = {
            "status": self.status,
            **PeopleWords(self._service).handlers,
            **PairingWords(self._service).handlers,
            "log": recent_log,
            "journal.verify": self.journal_verify,
            "journal.scrub": self.journal_scrub,
            "state.digest": self.state_digest,
        }

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return self._handlers

    def add(self, handlers: Mapping[str, Callable[[Args], Awaitable[Any]]]) -> None:
        """Words of others."""
        self._handlers.update(handlers)

    async def say(self, word: str, **args: Any) -> Any:
        """The result of a word, said from inside. Raises ``ControlError``."""
        return await self._handlers[word](args)

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
        nodes = store.site.nodes.values()
        devices = [node.number for node in nodes if node.role == "device"]
        pending = [queue for number in devices if (queue := store.queues.nodes.get(number)) is not None]
        try:
            oldest = await store.oldest()
        except StoreError:
            raise ControlError("the box is stopping: try again in a moment") from None
        figures = {name: figure for more in self.figures for name, figure in more().items()}
        return {
            "site": service.name,
            "version": __version__,
            "box": store.key.box,
            "state": health.state,
            "reasons": health.reasons,
            "uptime_s": round(health.uptime_s, 1),
            "started": round(health.started, 3),
            "address": service.place.addresses()[0],
            "fingerprint": service.place.fingerprint,
            "registration": service.pairing.mode,
            "pairing_open_s": round(service.pairing.open_s, 1),
            "comparison": health.comparison.facts if health.comparison is not None else None,
            "members": len(store.site.members),
            "nodes": len(devices),
            "groups": len(store.site.groups),
            "links": {
                "open": service.gate.links,
                "unauthenticated": service.gate.unauthenticated,
                "refused": service.gate.refused,
            },
            "queues": {
                "messages": sum(p.count for p in pending),
                "octets": sum(p.octets for p in pending),
                "oldest_s": age_s(oldest),
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
            **figures,
        }

    async def journal_scrub(self, args: Args) -> Any:
        """How far it is; with ``now`` it begins, if it has not. Ask again until it is not ``running``."""
        if self.scrubber is None:
            raise ControlError("the box is still starting: try again in a moment")
        if args.get("now") is True:
            self.scrubber.hurry()
        return self.scrubber.state()

    async def journal_verify(self, args: Args) -> Any:
        from appliance.store import verify

        return await trio.to_thread.run_sync(verify, self._folder, abandon_on_cancel=True)

    async def state_digest(self, args: Args) -> Any:
        """By which boxes are compared; ``positions`` is how far this one has got in each box's journal."""
        replica = self._store.replica
        try:
            digest = await replica.state_digest()
        except StoreError:
            raise ControlError("the box is stopping: try again in a moment") from None
        return {"digest": digest, "positions": {box: at.seq for box, at in replica.positions().items()}}


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
