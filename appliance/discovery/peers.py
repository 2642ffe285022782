"""Where the other boxes of our site are, as they announce themselves, told to whoever wants to talk to them.

Browsing happens on the library's thread; what is new waits in a bounded place until a task of the box's loop
hands it over, at most PEERS_MAX of it every DELIVER_S. Anybody in the network can announce anything: what is
told is a place to try, no proof of who is there.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import trio
from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser

from appliance.discovery.found import ASK_S, FOUND_MAX, found_in
from appliance.discovery.names import SERVICE
from appliance.discovery.settings import BOX_ID
from appliance.log import get_logger

log = get_logger(__name__)

FoundPeer = Callable[[str, list[str], int], None]
"""box id, addresses (the likeliest first), port."""

PEERS_MAX = 64
"""More boxes than a site can have; the oldest makes room."""
ASKING_MAX = 8
"""Boxes that were named without an address, and are asked after at once."""
DELIVER_S = 0.1
AGAIN_S = 1.0
"""Between two times that a box is told that did not move."""

Place = tuple[tuple[str, ...], int]
V = TypeVar("V")


class Peers:
    """The boxes of ``site`` but for ``box`` itself."""

    def __init__(self, site: str, box: str, found: FoundPeer) -> None:
        self._site, self._box, self._found = site, box, found
        self._places: dict[str, Place] = {}
        self._new: dict[str, Place] = {}
        self._lock = threading.Lock()
        """Of what is new."""
        self._names: dict[str, None] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._browser: AsyncServiceBrowser | None = None
        self._told_at: dict[str, float] = {}

    def open(self, zeroconf: Zeroconf) -> None:
        """Browse with this library, on its loop."""
        self._names.clear()
        self._browser = AsyncServiceBrowser(zeroconf, [SERVICE], handlers=[self.changed])

    async def close(self) -> None:
        """End with it, on its loop."""
        browser, self._browser = self._browser, None
        for task in self._asking:
            task.cancel()
        if browser is not None:
            await browser.async_cancel()

    def heard(self, box: str) -> None:
        """A box speaks after a silence: it is told again where it is."""
        place = self._places.get(box)
        if place is not None and time.monotonic() - self._told_at.get(box, 0.0) > AGAIN_S:
            self._tell(box, place)

    def changed(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        """The library's call. Whatever was announced, nothing gets out of here."""
        try:
            self._look(zeroconf, name, state_change is ServiceStateChange.Removed)
        except Exception as error:
            log.warning("what a box announced was not understood", error=repr(error))

    async def deliver(self) -> None:
        """Tell what is new, from the box's loop, until cancelled."""
        while True:
            with self._lock:
                new, self._new = self._new, {}
            for box, (addresses, port) in new.items():
                try:
                    self._found(box, list(addresses), port)
                except Exception:
                    log.exception("a peer's address was not taken", box=box)
            await trio.sleep(DELIVER_S)

    def _look(self, zeroconf: Zeroconf, name: str, gone: bool) -> None:
        if gone:
            self._names.pop(name, None)
            return
        if name not in self._names and len(self._names) >= FOUND_MAX:
            return
        self._names[name] = None
        info = ServiceInfo(SERVICE, name)
        if info.load_from_cache(zeroconf):
            self._announced(info)
        elif len(self._asking) < ASKING_MAX:
            task = asyncio.ensure_future(self._ask(zeroconf, info))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, zeroconf: Zeroconf, info: ServiceInfo) -> None:
        try:
            if await info.async_request(zeroconf, ASK_S * 1000):
                self._announced(info)
        except Exception as error:
            log.debug("a box could not be asked after", name=info.name, error=repr(error))

    def _announced(self, info: ServiceInfo) -> None:
        box = found_in(info, False)
        if box is None or box.site != self._site or box.id == self._box or not BOX_ID.fullmatch(box.id):
            return
        place = (box.addresses, box.port)
        if self._places.get(box.id) != place:
            _keep(self._places, box.id, place)
            self._tell(box.id, place)

    def _tell(self, box: str, place: Place) -> None:
        _keep(self._told_at, box, time.monotonic())
        with self._lock:
            _keep(self._new, box, place)


def _keep(of_boxes: dict[str, V], box: str, value: V) -> None:
    of_boxes.pop(box, None)
    if len(of_boxes) >= PEERS_MAX:
        del of_boxes[next(iter(of_boxes))]
    of_boxes[box] = value
