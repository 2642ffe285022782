"""What all client links share, and the task that accepts them."""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import trio

from appliance.delivery import CourierSettings, Exchange
from appliance.log import get_logger
from appliance.session.gate import Gate, GateSettings
from appliance.session.link import Link
from appliance.session.oidc import Verifier
from appliance.session.sockets import accept, watch_peer
from appliance.session.tls import LinkLost
from appliance.site import Presence
from appliance.store import Store

log = get_logger(__name__)

TICK_S = 0.5
"""How often links are looked at for messages that have to be sent again."""

RegistrationMode = Literal["open", "pairing", "closed"]


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """Seconds, counts, octets."""

    login_timeout_s: float = 5.0
    idle_timeout_s: float = 120.0
    keepalive_idle_s: int = 6
    keepalive_interval_s: int = 4
    user_timeout_s: float = 12.0
    handover_grace_s: float = 0.5
    requests_in_flight: int = 64
    message_octets: int = 1 << 30
    courier: CourierSettings = field(default_factory=CourierSettings)
    gate: GateSettings = field(default_factory=GateSettings)


class Registration:
    """Whether a stranger may register now. In mode ``pairing`` only while the window is open."""

    def __init__(self, mode: RegistrationMode, clock: Callable[[], float] = time.monotonic) -> None:
        self.mode = mode
        self._clock = clock
        self._until = -math.inf

    def open_for(self, seconds: float) -> None:
        self._until = self._clock() + seconds

    def close(self) -> None:
        self._until = -math.inf

    @property
    def open_s(self) -> float:
        """Seconds that the window stays open; 0 if it is closed."""
        return max(0.0, self._until - self._clock())

    def problem(self) -> str | None:
        """Why a Register is refused; None if it is not."""
        if self.mode == "open" or (self.mode == "pairing" and self.open_s > 0):
            return None
        if self.mode == "closed":
            return "registration is closed on this site: ask its owner"
        return (
            "pairing is not open: press the button of the box, or ask its owner to open pairing,"
            " then try again within two minutes"
        )


class Service:
    """The client side of the site. ``serve`` runs until cancelled; links end when their nursery does."""

    def __init__(
        self,
        name: str,
        store: Store,
        exchange: Exchange,
        settings: LinkSettings,
        registration: Registration,
        verifier: Verifier,
    ) -> None:
        self.name = name
        self.store = store
        self.exchange = exchange
        self.settings = settings
        self.registration = registration
        self.verifier = verifier
        self.presence = Presence()
        self.gate = Gate(settings.gate)
        self._links: set[Link] = set()
        store.publish = exchange.publish
        store.on_dropped = exchange.cut

    async def serve(self, listener: socket.socket, context: ssl.SSLContext, links: trio.Nursery) -> None:
        """Accept connections and start a link in ``links`` for each."""
        settings = self.settings
        while True:
            sock, address = await accept(listener)
            try:
                watch_peer(
                    sock, settings.keepalive_idle_s, settings.keepalive_interval_s, settings.user_timeout_s
                )
                link = Link(self, sock, context, address)
            except (OSError, LinkLost):
                sock.close()
                continue
            problem = self.gate.enter(address, link)
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

    async def tick(self) -> None:
        """Wake the links that have something to send again. Runs until cancelled."""
        while True:
            await trio.sleep(TICK_S)
            now = trio.current_time()
            for connection in list(self.exchange.online.values()):
                if connection.courier.next_expiry <= now:
                    connection.wake()
