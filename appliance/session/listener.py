"""Accepts connections, and has an eye on all links."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

import trio

from appliance.log import get_logger
from appliance.session.errors import LinkLost
from appliance.session.link import Link
from appliance.session.service import Service
from appliance.session.sockets import accept, watch_peer

log = get_logger(__name__)

TICK_S = 0.5
"""How often links are looked at for messages that have to be sent again."""


class Listener:
    """``serve`` and ``tick`` run until cancelled; links end when the nursery that they run in does.

    ``context`` is for new connections, and may be exchanged. While ``is_away`` they are closed at once.
    """

    def __init__(self, service: Service, context: ssl.SSLContext) -> None:
        self.context = context
        self.is_away: Callable[[], bool] = lambda: False
        self._service = service
        self._links: set[Link] = set()

    async def serve(self, listener: socket.socket, links: trio.Nursery) -> None:
        """Accept connections and start a link in ``links`` for each."""
        settings = self._service.settings
        while True:
            sock, address = await accept(listener)
            if self.is_away():
                sock.close()
                continue
            try:
                watch_peer(
                    sock, settings.keepalive_idle_s, settings.keepalive_interval_s, settings.user_timeout_s
                )
                link = Link(self._service, sock, self.context, address)
            except (OSError, LinkLost):
                sock.close()
                continue
            problem = self._service.gate.enter(address, link)
            if problem is not None:
                log.warning("link refused", address=address, limit=problem)
                link.close()
                continue
            links.start_soon(self._run, link)

    async def _run(self, link: Link) -> None:
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def retire(self) -> None:
        """The box stops: have all links say their last acks and close."""
        for link in list(self._links):
            link.retire()

    def cut(self) -> int:
        """End all links without a word; how many clients were logged in."""
        links = list(self._links)
        for link in links:
            link.cut()
        return sum(link.node is not None for link in links)

    async def tick(self) -> None:
        """Wake the links that have something to send again. Runs until cancelled."""
        while True:
            await trio.sleep(TICK_S)
            now = trio.current_time()
            for connection in list(self._service.exchange.online.values()):
                if connection.courier.next_expiry <= now:
                    connection.wake()
