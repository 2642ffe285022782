"""Who has updates for this box: other boxes, sticks, the web. Nothing counts whose sums are not signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from appliance.updating.errors import NoSource, UpdateError
from appliance.updating.folders import named, on_sticks
from appliance.updating.incoming import Incoming
from appliance.updating.peers import Peer, Peers
from appliance.updating.plan import Offer
from appliance.updating.signature import verify
from appliance.updating.sums import SIGNATURE, SIGNATURE_OCTETS_MAX, SUMS, SUMS_OCTETS_MAX, payloads

PEER, STICK, WEB = range(3)


class Source(Protocol):
    """A folder with updates, wherever. Raises ``UpdateError`` with what is wrong and what to do."""

    where: str
    """For people."""

    async def small(self, name: str, most: int) -> bytes:
        """A file of at most ``most`` octets."""
        ...

    async def fetch(self, name: str, sha: bytes, incoming: Incoming) -> None:
        """Go on with a file."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a source said: offers, or a problem."""

    source: Source
    offers: list[Offer]
    problem: str | None = None


class Gatherer:
    """``url`` "": none. ``key``: of who signs updates."""

    def __init__(self, url: str, search: Sequence[Path], key: Path, peers: Peers) -> None:
        self.url = url
        self._search = search
        self._key = key
        self._peers = peers

    async def look(self, board: str, folder: Path | None) -> list[Found]:
        """What all sources have for a board, or only a folder that somebody named."""
        sources = await self._sources(board, folder)
        return [await self._ask(source, rank, board) for source, rank in sources]

    async def _sources(self, board: str, folder: Path | None) -> list[tuple[Source, int]]:
        if folder is not None:
            return [(await trio.to_thread.run_sync(named, folder), STICK)]
        found: list[tuple[Source, int]] = [(peer, PEER) for peer in await self._peers.ask(board)]
        found += [(stick, STICK) for stick in await trio.to_thread.run_sync(on_sticks, self._search)]
        if self.url:
            from appliance.updating.web import Web  # what it needs takes memory

            found.append((Web(self.url), WEB))
        return found

    async def _ask(self, source: Source, rank: int, board: str) -> Found:
        try:
            sums = await source.small(SUMS, SUMS_OCTETS_MAX)
            signature = await source.small(SIGNATURE, SIGNATURE_OCTETS_MAX)
            await trio.to_thread.run_sync(verify, sums, signature, self._key)
            known = payloads(sums, board)
            if isinstance(source, Peer):  # it keeps one, whatever else is listed
                known = [payload for payload in known if payload.version == source.version]
            if not known:
                raise NoSource(f"there is no update for this board ({board})")
            offers = [Offer(payload, sums, signature, source.where, rank) for payload in known]
        except UpdateError as error:
            return Found(source, [], str(error))
        return Found(source, offers)


def sources_of(offer: Offer, found: Sequence[Found]) -> list[Source]:
    """Everybody who has just this payload, who offered it first."""
    have = [
        one.source for one in found if any(other.payload.files == offer.payload.files for other in one.offers)
    ]
    return sorted(have, key=lambda source: source.where != offer.where)
