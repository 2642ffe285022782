"""What the hub sees of the box."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from appliance.log import get_logger
from appliance.replication.errors import Code, Refusal
from appliance.replication.interface import Arrival, BoxState
from appliance.site.facts import BoxAdded
from appliance.store import StoreError

log = get_logger(__name__)

PLACE_S: Final = 5.0


async def _nobody(box: str, public: bytes) -> int:
    raise Refusal(Code.NOT_NOW, "this box lets none in")


@dataclass(frozen=True)
class Site:
    """What the hub sees of the box. ``boxes``: those of the site, by id. ``addresses``: where this box is
    reached now; ``place``: make that known, called when it is news. ``warn``: what is wrong with a box, or
    None, by topic. ``named``: the blobs that an entry names. ``on_gap``: a box (id) no longer has what this
    one lacks, so that a copy has to be taken. ``on_restored``: this box's own journal has gone on elsewhere.
    ``acquainted``: a box that is not known (any more) was taken in by one that is, and is reached there.
    ``on_revoked``: this box was put out of the site, as another says. ``anew``: take a box (id) into the site
    as the one with this key; its slot; raises ``Refusal``. ``gone``: boxes (id) that have become others.
    """

    boxes: Callable[[], Mapping[str, BoxState]]
    addresses: Callable[[], Sequence[str]]
    place: Callable[[tuple[str, ...]], Awaitable[None]]
    warn: Callable[[str, str | None], None]
    named: Callable[[Arrival], Sequence[bytes]]
    on_gap: Callable[[str], None]
    on_restored: Callable[[str], None]
    on_revoked: Callable[[str], None]
    complete: Callable[[], bool] = lambda: True
    program: str = ""
    anew: Callable[[str, bytes], Awaitable[int]] = _nobody
    acquainted: Callable[[BoxAdded, Sequence[str]], None] = lambda box, addresses: None
    gone: Callable[[], Collection[str]] = tuple


class Placing:
    """Makes known where this box, ``own``, is reached, when that is news."""

    def __init__(self, site: Site, own: str) -> None:
        self.looked_at = float("-inf")
        self._site = site
        self._own = own

    async def look(self) -> None:
        """Every ``PLACE_S``."""
        now = trio.current_time()
        if now - self.looked_at < PLACE_S:
            return
        self.looked_at = now
        known = self._site.boxes().get(self._own)
        addresses = tuple(self._site.addresses())
        if known is None or tuple(known.addresses) == addresses:
            return
        try:
            await self._site.place(addresses)
        except StoreError as error:
            log.warning("this box's addresses could not be made known", error=str(error))
