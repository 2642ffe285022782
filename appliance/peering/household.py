"""Letting another box in: what it is given, and its slot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import trio

from appliance.log import get_logger
from appliance.pairing import BoxCard, BoxEntry, BoxGift
from appliance.pairing.gifts import BOX_ADDRESSES_MAX
from appliance.peering.standing import Standing
from appliance.session import NotNow, Service
from appliance.session.joining import ADMIT_S
from appliance.site import Box, add_box, revoke_box
from appliance.store.journal import box_id

log = get_logger(__name__)

SETTLE_S = ADMIT_S - 10.0
LOOK_EVERY_S = 0.05


class Household:
    """The site's boxes, as far as a new one has to do with them: see ``session.Household``.

    Two boxes may each let one in at the same moment and choose the same slot for it. So a slot is told only
    after all other boxes have said that they have it on stable storage, and we have what they had then: if it
    was given twice, both sides see it, the earlier one stays and the other is put out again.
    """

    def __init__(self, service: Service, standing: Standing, own_addresses: Callable[[], list[str]]) -> None:
        self._service = service
        self._store = service.store
        self._standing = standing
        self._own_addresses = own_addresses

    def gift(self, card: BoxCard) -> BoxGift:
        """Raises ``NotNow``."""
        if problem := self._standing.trouble(box_id(card.public)):
            raise NotNow(problem)
        identity = self._store.site.identity
        if identity is None:
            raise NotNow("this box is not ready yet: try again in a minute")
        return BoxGift(
            identity.name,
            self._service.place.fingerprint,
            identity.cert,
            identity.key,
            [self._entry(box) for box in self._standing.all],
            self._standing.own,
        )

    def _entry(self, box: Box) -> BoxEntry:
        """This box is told where it is at this moment: the new one finds it there."""
        entry = entry_of(box)
        if box.box != self._standing.own:
            return entry
        return msgspec.structs.replace(entry, addresses=self._own_addresses()[:BOX_ADDRESSES_MAX])

    async def admit(self, card: BoxCard) -> int:
        """Raises ``NotNow``: it is not in then. Cancelled, it may be."""
        box = box_id(card.public)
        if problem := self._standing.trouble(box):
            raise NotNow(problem)
        known = self._store.site.boxes.get(box)
        if known is not None and (known.public != card.public or self._has_written(box)):
            raise NotNow(f"box {box} is one of the site already: reset it to factory state, then let it join")
        await self._add(box, card)
        try:
            with trio.fail_after(SETTLE_S):
                await self._settle()
            problem = self._conflict(box)
        except trio.TooSlowError:
            problem = "the other boxes did not confirm it in time: look at   pocket peer list   and try again"
        if problem is not None:
            log.warning("box put out again", box=box, reason=problem)
            await self._store.perform(lambda scene: revoke_box(scene, box, 0))
            raise NotNow(problem)
        log.info("box let in", box=box, name=card.name)
        return self._store.site.boxes[box].slot

    async def _add(self, box: str, card: BoxCard) -> None:
        """Where it is reached it says itself when it serves: that it has written means that it has joined."""
        added = await self._store.perform(partial(add_box, box=box, public=card.public, name=card.name))
        if added.error is not None:
            raise NotNow(added.error)

    async def _settle(self) -> None:
        """Until all other boxes have our journal as it is now, and we have all that they have told of."""
        head = self._standing.entries(self._standing.own)
        while True:
            if all(self._agrees(box, head) for box in self._standing.others):
                return
            await trio.sleep(LOOK_EVERY_S)

    def _agrees(self, box: Box, head: int) -> bool:
        if not self._has_written(box.box):
            return True
        other, link = self._store.copies.boxes.get(box.box), self._standing.link(box.box)
        if other is None or link is None or not other.reach:
            return False
        return other.seq >= head and not link.lacking

    def _conflict(self, box: str) -> str | None:
        boxes = self._store.site.boxes
        mine = boxes[box]
        rivals = [other for other in boxes.values() if other.slot == mine.slot and other.box != box]
        if any((other.at, other.box) < (mine.at, mine.box) for other in rivals):
            return "another box let one in at the same moment: invite this one again"
        return None

    def _has_written(self, box: str) -> bool:
        return self._standing.entries(box) > 0


def entry_of(box: Box) -> BoxEntry:
    """A box of the site as a new one is told of it."""
    return BoxEntry(box.box, box.public, box.slot, box.name, list(box.addresses[:BOX_ADDRESSES_MAX]), box.cut)
