"""Who may connect, and how fast one may guess passwords."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Protocol

ADDRESSES_MAX = 4096
FORGET_S = 600.0
FIRST_DELAY_S = 0.1


@dataclass(frozen=True, slots=True)
class GateSettings:
    """Counts, and seconds."""

    links: int = 4096
    links_per_address: int = 2048
    unauthenticated_links: int = 512
    failed_logins_free: int = 5
    failed_login_delay_max_s: float = 3.0


class Cuttable(Protocol):
    def cut(self) -> None: ...


@dataclass(slots=True)
class Failures:
    count: int
    last: float


class Gate:
    """Counts links; slows down an address after failed logins, but locks nobody out: a household shares one
    address.

    When there are too many links that have not logged in, the oldest of them goes: whoever is honest logs
    in at once. Bound: ``ADDRESSES_MAX`` addresses with failures are remembered, for ``FORGET_S``.
    """

    def __init__(self, settings: GateSettings) -> None:
        self._settings = settings
        self._addresses: Counter[str] = Counter()
        self._waiting: OrderedDict[int, Cuttable] = OrderedDict()
        self._failures: OrderedDict[str, Failures] = OrderedDict()
        self.links = 0
        self.refused = 0

    @property
    def unauthenticated(self) -> int:
        return len(self._waiting)

    def enter(self, address: str, link: Cuttable) -> str | None:
        """Which limit keeps the link out; None if it is in. One that is in has to ``leave``."""
        settings = self._settings
        problem = None
        crowded = self.links >= settings.links
        if crowded and not self._waiting:
            problem = f"limits.links: {settings.links}"
        elif self._addresses[address] >= settings.links_per_address:
            problem = f"limits.links_per_address: {settings.links_per_address}"
        if problem is not None:
            self.refused += 1
            return problem
        self.links += 1
        self._addresses[address] += 1
        if crowded or len(self._waiting) >= settings.unauthenticated_links:
            self.refused += 1
            _, oldest = self._waiting.popitem(last=False)
            oldest.cut()
        self._waiting[id(link)] = link
        return None

    def logged_in(self, link: Cuttable) -> None:
        self._waiting.pop(id(link), None)

    def leave(self, address: str, link: Cuttable) -> None:
        self._waiting.pop(id(link), None)
        self.links -= 1
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]

    def failed(self, address: str) -> None:
        """A login from there failed."""
        failures = self._failures.pop(address, None) or Failures(0, 0.0)
        now = time.monotonic()
        count = 1 if now - failures.last > FORGET_S else failures.count + 1
        self._failures[address] = Failures(count, now)
        while len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        self._failures.pop(address, None)

    def delay_s(self, address: str) -> float:
        """How long to wait before the next login from there is judged."""
        failures = self._failures.get(address)
        if failures is None or time.monotonic() - failures.last > FORGET_S:
            return 0.0
        excess = failures.count - self._settings.failed_logins_free
        if excess <= 0:
            return 0.0
        return float(min(self._settings.failed_login_delay_max_s, FIRST_DELAY_S * 2 ** min(excess, 10)))
