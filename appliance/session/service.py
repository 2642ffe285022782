"""What all client links share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from appliance.delivery import CourierSettings, Exchange
from appliance.session.gate import Gate, GateSettings
from appliance.session.oidc import Verifier
from appliance.site import Presence
from appliance.store import Store

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
    """The client side of the site, as its links see it."""

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
        store.publish = exchange.publish
        store.on_dropped = exchange.cut
