"""What all client links share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from appliance.delivery import CourierSettings, Exchange
from appliance.session.addresses import Place
from appliance.session.buttons import Buttons
from appliance.session.company import Company
from appliance.session.gate import Gate, GateSettings
from appliance.session.household import Household
from appliance.session.oidc import Verifier
from appliance.session.pairing import Pairing
from appliance.session.tls import TlsStream
from appliance.session.waiting import Upstream, Waiting
from appliance.store import Store


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


class Caller(Protocol):
    """A link on which another box calls."""

    address: str

    @property
    def stream(self) -> TlsStream: ...

    def proven(self) -> None:
        """It is the box that it says; until then the link has only moments."""


async def nobody(caller: Caller) -> None:
    """A box without others."""


class Service:
    """The client side of the site, as its links see it."""

    def __init__(
        self,
        name: str,
        store: Store,
        exchange: Exchange,
        settings: LinkSettings,
        pairing: Pairing,
        verifier: Verifier,
        place: Place,
        buttons: Buttons,
    ) -> None:
        self.name = name
        self.store = store
        self.exchange = exchange
        self.settings = settings
        self.pairing = pairing
        self.buttons = buttons
        self.pairing_limiter = trio.CapacityLimiter(1)
        self.verifier = verifier
        self.place = place
        self.household: Household | None = None
        self.company = Company(store.site, exchange)
        self.waiting = Waiting()
        self.upstream: Upstream | None = None
        """The links to other sites, where there are any."""
        self.peers: Callable[[Caller], Awaitable[None]] = nobody
        self.held: Callable[[], str | None] = lambda: None
        """Why no client is served now; None: they are."""
        self.gate = Gate(settings.gate)
        store.publish = exchange.publish
        store.on_dropped = exchange.cut
        store.relay.on_outcome.append(self.waiting.answered)
