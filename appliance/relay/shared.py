"""What the memberships of a box have in common."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from appliance.delivery import Exchange
from appliance.relay.others import Others
from appliance.relay.settings import RelaySettings
from appliance.site import Membership
from appliance.store import Store

LOOKUPS = 16
"""Threads that look up names, which the system may let wait for half a minute."""


@dataclass(slots=True)
class Shared:
    """What all memberships of the box have in common. ``secret_of``: this box's password at a membership's
    site; None if it has none. ``is_online``: whether a device has a link to any box. ``new_node`` as in
    ``Sorter``, ``wants_nodes``: the labels of boxes that have yet to get a node there.
    """

    store: Store
    exchange: Exchange
    settings: RelaySettings
    others: Others
    warn: Callable[[str, str | None], None]
    secret_of: Callable[[Membership], str | None]
    is_online: Callable[[int], bool]
    new_node: Callable[[int, str, str], Awaitable[bool]]
    wants_nodes: Callable[[int], list[str]]
    dials: trio.Semaphore
    chance: Callable[[], float]
    lookups: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(LOOKUPS))


class Ear:
    """Has the place of the outbox in the exchange: hears of new items."""

    def __init__(self, membership: int, push: Callable[[int], None]) -> None:
        self.member = membership
        self.courier: Any = self
        self.delivered = self.resent = 0
        self.next_expiry = math.inf
        self._push = push

    def push(self, msgid: int, rank: int) -> None:
        self._push(msgid)

    def notice(self, frame: bytes) -> None:
        """The outbox has no link that could take it."""

    def cut(self) -> None:
        """The membership goes, and this with it."""

    def wake(self) -> None:
        """There is nothing to wake."""

    def suspect(self) -> None:
        """There is nothing to suspect."""
