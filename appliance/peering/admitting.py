"""Letting a box go on as a new one, whose card was put back or copied: at the box that it asks.

Nobody is asked for that, so it is kept small: who asks has shown the old box's key, which must be in force;
one a minute in all, and a few for each box. Whoever has a copy of the card can do no more than with the old
key, and is put out in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from appliance.log import get_logger
from appliance.peering.standing import LINKED, Standing
from appliance.replication.errors import Code, Refusal
from appliance.site import replace_box
from appliance.store import Store
from appliance.store.journal import box_id

log = get_logger(__name__)

PAUSE_S = 60.0
SPREAD_S = 3.0
"""For how long the boxes that are linked may take to hear of the new one."""
LOOK_EVERY_S = 0.05


class Admitting:
    """``serving``: whether this box is in good standing itself."""

    def __init__(self, store: Store, standing: Standing, serving: Callable[[], bool]) -> None:
        self._store = store
        self._standing = standing
        self._serving = serving
        self._last = float("-inf")
        self._lock = trio.Lock()

    async def take(self, old: str, public: bytes) -> int:
        """The slot of the box with that key, which was box ``old`` until now. Raises ``Refusal``,
        ``StoreError``.
        """
        box = box_id(public)
        if not self._serving():
            raise Refusal(Code.NOT_NOW, "this box is out of service")
        async with self._lock:
            boxes = self._store.site.boxes
            now = trio.current_time()
            if box not in boxes and now - self._last < PAUSE_S:
                raise Refusal(Code.NOT_NOW, f"another box was let in just now: again in {PAUSE_S:.0f} s")
            news = box not in boxes
            decision = await self._store.perform(partial(replace_box, old=old, box=box, public=public))
            if decision.error is not None:
                out = any(boxes[one].cut is not None for one in (old, box) if one in boxes)
                raise Refusal(Code.REVOKED if out else Code.NOT_NOW, decision.error)
            if news:
                self._last = now
                log.warning("a box goes on as a new one", was=old, box=box, name=boxes[box].name)
            await self._spread()
            if boxes[box].cut is not None:
                raise Refusal(Code.REVOKED, f"box {box} was put out of the site")
            return boxes[box].slot

    async def _spread(self) -> None:
        """The new box will call them."""
        head = self._standing.entries(self._standing.own)
        with trio.move_on_after(SPREAD_S):
            while not all(self._has(box.box, head) for box in self._standing.others):  # noqa: ASYNC110
                await trio.sleep(LOOK_EVERY_S)

    def _has(self, box: str, head: int) -> bool:
        known = self._store.site.boxes[box]
        if self._standing.state(known) not in LINKED:
            return True
        other = self._store.copies.boxes.get(box)
        return other is None or not other.reach or other.seq >= head
