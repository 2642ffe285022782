"""Entries of journals that were found damaged on the disk of one box, from the disks of the others.

Both ways as something that is told (see the room's guide): topic ``entries wanted`` with an array of [box,
seq], and ``entry`` with [box, seq, octets in all, offset, octets], in pieces, because what is told has at
most 64 KiB. What gets lost on the way is asked for again. A box that knows nothing of these topics does
nothing about them.

Bounds. ``ASKED_MAX`` entries in one question, as many questions waiting as there are boxes, one entry of each
box on its way here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from appliance.log import get_logger
from appliance.replication.host import Bell
from appliance.store import Arrival, BadEntries, StoreError
from appliance.store.healing import Healing

if TYPE_CHECKING:
    from appliance.replication.hub import Hub

log = get_logger(__name__)

WANTED: Final = "entries wanted"
ENTRY: Final = "entry"
ASKED_MAX: Final = 32
PIECE_OCTETS: Final = 32 << 10
ENTRY_OCTETS_MAX: Final = 4 << 20
PAUSE_S: Final = 0.02

Asked = list[tuple[str, int]]
Piece = tuple[str, int, int, int, bytes]
_asked = msgspec.msgpack.Decoder(Asked)
_piece = msgspec.msgpack.Decoder(Piece)
_arrival = msgspec.msgpack.Decoder(Arrival)
_encode = msgspec.msgpack.Encoder().encode


class Mending:
    """``heard`` is called with what other boxes tell; ``run`` in a task."""

    def __init__(self, healing: Healing, hub: Hub) -> None:
        self._healing = healing
        self._hub = hub
        self._questions: dict[str, Asked] = {}
        self._incoming: dict[str, tuple[str, int, bytearray]] = {}
        self._arrived: dict[str, Arrival] = {}
        self._bell = Bell()
        healing.ask = self.ask
        healing.in_reach = lambda: any(
            n.session is not None and n.session.open for n in hub.neighbours.values()
        )

    def ask(self, entries: Sequence[tuple[str, int]]) -> None:
        """Ask all boxes in reach for the first of these."""
        self._hub.tell(WANTED, _encode(list(entries[:ASKED_MAX])))

    def heard(self, box: str, topic: str, payload: bytes) -> None:
        """What another box tells. What makes no sense is left alone."""
        try:
            if topic == WANTED:
                self._questions[box] = _asked.decode(payload)[:ASKED_MAX]
                self._bell.ring()
            elif topic == ENTRY:
                self._take(box, *_piece.decode(payload))
        except msgspec.MsgspecError as error:
            log.debug("not understood", peer=box, topic=topic, error=str(error))

    def _take(self, source: str, box: str, seq: int, total: int, offset: int, octets: bytes) -> None:
        if (box, seq) not in self._healing.entries or total > ENTRY_OCTETS_MAX:
            return
        if offset == 0:
            self._incoming[source] = box, seq, bytearray()
        was_box, was_seq, so_far = self._incoming.get(source, ("", 0, bytearray()))
        if (was_box, was_seq) != (box, seq) or offset != len(so_far) or offset + len(octets) > total:
            self._incoming.pop(source, None)
            return
        so_far += octets
        if len(so_far) == total:
            del self._incoming[source]
            self._arrived[source] = _arrival.decode(bytes(so_far))
            self._bell.ring()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._bell.wait()
            while self._arrived or self._questions:
                try:
                    if self._arrived:
                        await self._mend(*self._arrived.popitem())
                    else:
                        await self._answer(*self._questions.popitem())
                except StoreError as error:
                    log.warning("entries not mended", error=str(error))
                    await trio.sleep(1)

    async def _mend(self, source: str, arrival: Arrival) -> None:
        try:
            await self._healing.mend(arrival)
        except BadEntries as error:
            log.warning("an entry that does not fit", peer=source, error=str(error))

    async def _answer(self, box: str, wanted: Asked) -> None:
        for journal, seq in wanted:
            arrival = await self._healing.entry(journal, seq)
            neighbour = self._hub.neighbours.get(box)
            session = neighbour.session if neighbour is not None else None
            if arrival is None or session is None:
                continue
            octets: Any = memoryview(_encode(arrival))
            for offset in range(0, len(octets), PIECE_OCTETS):
                piece = bytes(octets[offset : offset + PIECE_OCTETS])
                session.tell(ENTRY, _encode((journal, seq, len(octets), offset, piece)))
                await trio.sleep(PAUSE_S)
