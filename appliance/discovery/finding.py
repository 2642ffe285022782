"""Finding the boxes in the network, for `pocket find`."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio
from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from appliance.discovery.names import PAIRING, SERVICE, clean
from appliance.discovery.netlink import read_network
from appliance.discovery.plan import plan
from appliance.discovery.responder import NoMulticast, open_zeroconf

FIND_S = 3.0
"""The first question is answered at once, but on the box itself, where the box gets half of these answers;
the second goes out after a second and is answered to everybody within 0.7 s."""

FOUND_MAX = 64
"""More boxes than any home has; who announces more, fills no list."""

ADDRESSES_MAX = 16
TEXT_CHARACTERS = 64
ASK_S = 0.5
"""What asking after one box gets that was named, but told no port yet; all together get twice that."""


class DiscoveryError(Exception):
    """Nobody can be found here; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A box that announced itself. Anybody in the network can announce anything: nothing here is proof."""

    name: str
    host: str
    """Its name in the network, such as home.local."""
    addresses: tuple[str, ...]
    """What can be connected to, the likeliest first; link-local ones of IPv6 with their interface."""
    port: int
    id: str
    version: str
    pairing: bool
    """It lets new members in right now."""


async def find(timeout_s: float = FIND_S) -> list[Found]:
    """All boxes that answer in this time, by name. Cancelled at once. Raises ``DiscoveryError``."""
    stop = threading.Event()
    try:
        return await trio.to_thread.run_sync(find_now, timeout_s, stop, abandon_on_cancel=True)
    finally:
        stop.set()


def find_now(timeout_s: float = FIND_S, stop: threading.Event | None = None) -> list[Found]:
    """``find`` for code without a loop; ends early when ``stop`` is set."""
    with _zeroconf() as zeroconf:
        heard = _Heard()
        ServiceBrowser(zeroconf, [SERVICE, PAIRING], handlers=[heard.changed])
        (stop or threading.Event()).wait(timeout_s)
        deadline = time.monotonic() + 2 * ASK_S
        pairing = {name.removesuffix(PAIRING) for name in heard.names(PAIRING)}
        found = []
        for name in heard.names(SERVICE):
            info = ServiceInfo(SERVICE, name)
            left_s = min(ASK_S, deadline - time.monotonic())
            if info.load_from_cache(zeroconf) or (left_s > 0 and info.request(zeroconf, left_s * 1000)):
                box = _found(info, name.removesuffix(SERVICE) in pairing)
                if box is not None:
                    found.append(box)
    return sorted(found, key=lambda box: (box.name.casefold(), box.id))


@contextmanager
def _zeroconf() -> Iterator[Zeroconf]:
    try:
        zeroconf = open_zeroconf(plan(read_network()).sockets)
    except (NoMulticast, OSError) as error:
        raise DiscoveryError(f"cannot look for boxes: {error}") from error
    try:
        yield zeroconf
    finally:
        zeroconf.close()


class _Heard:
    """The names that were announced and not taken back, FOUND_MAX of each kind. Told on the library's
    thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, dict[str, None]] = {SERVICE: {}, PAIRING: {}}

    def changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        with self._lock:
            names = self._names.get(service_type, {})
            if state_change is ServiceStateChange.Removed:
                names.pop(name, None)
            elif len(names) < FOUND_MAX:
                names[name] = None

    def names(self, kind: str) -> list[str]:
        with self._lock:
            return list(self._names[kind])


def _found(info: ServiceInfo, pairing: bool) -> Found | None:
    """What was announced, fit to be shown; None if it leads nowhere."""
    addresses = sorted(set(info.parsed_scoped_addresses()), key=_rank)[:ADDRESSES_MAX]
    if not addresses or not info.port or not info.server:
        return None
    text = {key: clean(value or "", TEXT_CHARACTERS) for key, value in info.decoded_properties.items()}
    return Found(
        name=clean(info.get_name(), TEXT_CHARACTERS),
        host=clean(info.server.rstrip("."), 4 * TEXT_CHARACTERS),
        addresses=tuple(addresses),
        port=info.port,
        id=text.get("id", ""),
        version=text.get("version", ""),
        pairing=pairing,
    )


def _rank(address: str) -> tuple[bool, int, bytes]:
    ip = ipaddress.ip_address(address)
    return ip.is_link_local, ip.version, ip.packed
