"""A payload, from whoever has it, to this disk: proven file by file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.updating.errors import NoSource, Untrusted
from appliance.updating.gathering import Source
from appliance.updating.incoming import Incoming
from appliance.updating.notes import Place
from appliance.updating.plan import Offer
from appliance.updating.sums import most

log = get_logger(__name__)

ROUNDS = 3
PAUSE_S = 5.0
WHOLE = ".whole"


class Fetcher:
    """``room`` says how many octets the disk can take. ``octets`` of ``total`` (None: not known yet) are here
    of the file ``name``.
    """

    def __init__(self, place: Place, room: Callable[[], int]) -> None:
        self.name = ""
        self.done = 0
        self._place = place
        self._room = room
        self._incoming: Incoming | None = None

    @property
    def octets(self) -> int:
        return self.done + (self._incoming.size if self._incoming is not None else 0)

    @property
    def total(self) -> int | None:
        incoming = self._incoming
        if incoming is None or incoming.total is None:
            return None
        return self.done + incoming.total

    async def fetch(self, offer: Offer, sources: Sequence[Source]) -> dict[str, Path]:
        """Where each file is, whole and right. Whatever interrupts this is gone on with. Raises
        ``UpdateError``.
        """
        await trio.to_thread.run_sync(self._place.clear_incoming, list(offer.payload.files.values()))
        found: dict[str, Path] = {}
        self.done = 0
        for name, sha in sorted(offer.payload.files.items()):
            self.name = name
            place = self._place.incoming / (sha.hex() + WHOLE)
            if not place.exists():
                await self._from_any(name, sha, sources, place)
            found[name] = place
            self.done += place.stat().st_size
            self._incoming = None
        return found

    async def _from_any(self, name: str, sha: bytes, sources: Sequence[Source], place: Path) -> None:
        """One source after the other, some times over: what breaks off is gone on with."""
        problem: NoSource | Untrusted | None = None
        for turn in range(ROUNDS):
            if turn:
                await trio.sleep(PAUSE_S)
            for source in sources:
                try:
                    await self._from(name, sha, source, place)
                    return
                except (NoSource, Untrusted) as error:
                    log.warning("an update is not fetched", source=source.where, error=str(error))
                    problem = error
            if isinstance(problem, Untrusted) and turn:
                break
        raise problem or NoSource("nobody has the update any more")

    async def _from(self, name: str, sha: bytes, source: Source, place: Path) -> None:
        incoming = self._incoming = Incoming(self._place.incoming, sha, most(name), self._room)
        try:
            await incoming.open()
            await source.fetch(name, sha, incoming)
            await incoming.finish(place)
        finally:
            incoming.close()
