"""Devices of memberships wait for what other sites say to their requests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from appliance.site.facts import Outcome

UNCLAIMED_MAX = 256


class Upstream(Protocol):
    """The links to other sites, as those of devices see them."""

    def ohi(self, membership: int) -> list[str]:
        """The uids that are online there and announce themselves to the member."""


class Asker(Protocol):
    """A link that asked."""

    def tell(self, outcome: Outcome) -> None:
        """The site has answered."""


class Waiting:
    """Who waits for the answer to which item of the outbox: links come and go, the items stay."""

    def __init__(self) -> None:
        self._askers: dict[int, Asker] = {}
        self._unclaimed: OrderedDict[int, Outcome] = OrderedDict()

    def add(self, msgid: int, asker: Asker) -> None:
        """The latest link that asked gets the answer, at once if it was there first."""
        outcome = self._unclaimed.pop(msgid, None)
        if outcome is not None:
            asker.tell(outcome)
        else:
            self._askers[msgid] = asker

    def forget(self, msgids: Iterable[int], asker: Asker) -> None:
        """A link has ended."""
        for msgid in msgids:
            if self._askers.get(msgid) is asker:
                del self._askers[msgid]

    def answered(self, outcome: Outcome) -> None:
        """What the site said is on stable storage."""
        asker = self._askers.pop(outcome.msgid, None)
        if asker is not None:
            asker.tell(outcome)
            return
        self._unclaimed[outcome.msgid] = outcome
        if len(self._unclaimed) > UNCLAIMED_MAX:
            self._unclaimed.popitem(last=False)
