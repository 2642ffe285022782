"""What no box of the site has any more, though its entry is here: the file, or the octets, of a message whose
box was put out of the site before any other had them.

Boxes tell each other (topic ``lacking``, an array of ids) which messages of revoked boxes they lack. When all
that are left lack one, it is lost: the one with the lowest id acknowledges it for all nodes that wait for
it, and has people told. As long as one of them is not in reach, it may have it.

Bound: ``TOLD_MAX`` messages in what is told; the rest follow when these are done with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec
import trio

from appliance.health import Health
from appliance.log import get_logger
from appliance.peering.standing import LINKED, Standing
from appliance.site import Box, Decision, Scene
from appliance.site.boxes import Gone, give_up
from appliance.site.mint import BOXES
from appliance.store import Store, StoreError

log = get_logger(__name__)

TOPIC: Final = "lacking"
LOOK_S: Final = 2.0
FRESH_S: Final = 7.0
"""What a box told longer ago is not how it is now."""
TOLD_MAX: Final = 5000
SHOWN_S: Final = 86_400.0

_ids = msgspec.msgpack.Decoder(list[int])
_encode = msgspec.msgpack.Encoder().encode


class Losses:
    """``heard`` is called with what other boxes tell, ``parted`` when one is out of reach; ``run`` in a task.
    ``asked_all``: whether all that is absent was asked for, in vain, from all boxes in reach.
    """

    def __init__(
        self,
        store: Store,
        standing: Standing,
        health: Health,
        tell: Callable[[str, bytes], None],
        asked_all: Callable[[], bool],
    ) -> None:
        self._store = store
        self._standing = standing
        self._health = health
        self._tell = tell
        self._asked_all = asked_all
        self._told: dict[str, tuple[float, frozenset[int]]] = {}
        self._show_until = -math.inf

    def heard(self, box: str, topic: str, payload: bytes) -> None:
        """What another box tells. What makes no sense is left alone."""
        if topic == TOPIC:
            try:
                self._told[box] = trio.current_time(), frozenset(_ids.decode(payload))
            except msgspec.MsgspecError as error:
                log.debug("not understood", peer=box, topic=topic, error=str(error))

    def parted(self, box: str) -> None:
        """What it told may not be so any more."""
        self._told.pop(box, None)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            lacking = self._store.replica.lacking()
            candidates = sorted(msgid for msgid in lacking if self._maker_is_out(msgid))[:TOLD_MAX]
            if candidates:
                self._tell(TOPIC, _encode(candidates))
                lost = self._lost(candidates)
                if lost:
                    await self._give_up(lost)
            self._standing.missing = self._missing(lacking)
            self._health.warn("missing", self._standing.missing)
            if trio.current_time() > self._show_until:
                self._health.warn("lost", None)
            await trio.sleep(LOOK_S)

    @property
    def _left(self) -> list[Box]:
        """The boxes that were not put out, but for this one."""
        return [box for box in self._standing.all if box.cut is None and box.box != self._standing.own]

    def _makers(self, msgid: int) -> list[str]:
        return [box.box for box in self._standing.all if box.slot == msgid % BOXES]

    def _maker_is_out(self, msgid: int) -> bool:
        makers = self._makers(msgid)
        return bool(makers) and all(self._standing.known[box].cut is not None for box in makers)

    def _lost(self, candidates: Sequence[int]) -> list[int]:
        """Those that none of the boxes that are left has, if it is this box's turn to say so. A box that has
        become another one is left, too: where its card was copied it may come back.
        """
        fresh = trio.current_time() - FRESH_S
        lost = set(candidates)
        for box in self._left:
            at, told = self._told.get(box.box, (-math.inf, frozenset[int]()))
            if box.box < self._standing.own or self._standing.state(box) not in LINKED or at < fresh:
                return []
            lost &= told
        return sorted(lost)

    async def _give_up(self, msgids: list[int]) -> None:
        """The acknowledgements, and the word to the senders, are one commit."""
        names = sorted({self._standing.known[box].name for msgid in msgids for box in self._makers(msgid)})
        try:
            gone = await self._store.replica.gone(msgids)
            problem = (await self._store.perform(partial(self._decide, gone=gone, boxes=names))).error
        except StoreError as error:
            problem = str(error)
        if problem is not None:
            log.warning("what was lost could not be given up", error=problem)
            return
        if gone:
            shown = f"{len(gone)} message{'s' if len(gone) > 1 else ''}"
            log.error("lost with a box", what=shown, box=" and ".join(names))
            self._show_until = trio.current_time() + SHOWN_S
            self._health.warn(
                "lost",
                f"what was in {shown} is lost with box {' and '.join(names)}, which alone had it; who can"
                " send it again was told",
            )

    def _decide(self, scene: Scene, gone: Sequence[Gone], boxes: Sequence[str]) -> Decision:
        """Some may have come while this waited for its commit."""
        lacking = set(self._store.replica.lacking())
        return give_up(scene, [one for one in gone if one.msgid in lacking], boxes)

    def _missing(self, lacking: list[int]) -> str | None:
        """What waits for something that only a box out of reach can have, and what to do."""
        known, left = self._standing.known, self._left
        away = [box.box for box in left if self._standing.state(box) not in LINKED]
        if not lacking or (len(away) < len(left) and not self._asked_all()):
            return None
        where: Counter[tuple[str, ...]] = Counter()
        for msgid in lacking:
            makers = [box for box in self._makers(msgid) if box != self._standing.own]
            gone = [box for box in makers if box in away]
            if maybe := gone or (away if self._maker_is_out(msgid) else []):
                where[tuple(maybe)] += 1
        told = []
        for boxes, count in sorted(where.items()):
            names = " or ".join(known[box].name for box in boxes)
            what = f"what is in {count:,} message{'s' if count > 1 else ''}"
            do = f"bring it back, or if it is gone for good:   pocket peer revoke {boxes[0]}"
            told.append(f"{what} has yet to come, and only box {names} can have it, which is away: {do}")
        return "; ".join(told) or None
