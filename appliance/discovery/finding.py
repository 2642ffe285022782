"""Finding the boxes in the network, for `pocket find`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from zeroconf import ServiceBrowser, ServiceInfo, ServiceStateChange, Zeroconf

from appliance.discovery.found import ASK_S, FOUND_MAX, Found, found_in
from appliance.discovery.names import PAIRING, SERVICE
from appliance.discovery.netlink import read_network
from appliance.discovery.plan import plan
from appliance.discovery.responder import NoMulticast, open_zeroconf

FIND_S = 3.0
"""The first question is answered at once, but on the box itself, where the box gets half of these answers;
the second goes out after a second and is answered to everybody within 0.7 s."""


class DiscoveryError(Exception):
    """Nobody can be found here; the text says why and what to do."""


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
        deadline = time.monotonic() + 2 * ASK_S  # for all that told no port yet
        pairing = {name.removesuffix(PAIRING) for name in heard.names(PAIRING)}
        found = []
        for name in heard.names(SERVICE):
            info = ServiceInfo(SERVICE, name)
            left_s = min(ASK_S, deadline - time.monotonic())
            if info.load_from_cache(zeroconf) or (left_s > 0 and info.request(zeroconf, left_s * 1000)):
                box = found_in(info, name.removesuffix(SERVICE) in pairing)
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
