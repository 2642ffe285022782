"""Files that are no part of what is stored, given from box to box by their SHA-256: the payload of an update.

They go as blobs do (``want``, ``chunk``, ``lacking``), so a box of an older version says that it lacks them.
Whether what came is right is looked at by who asked.

Bounds. ``FETCHES_MAX`` at once, each with ``AHEAD_OCTETS`` in memory, and twice that if it was broken off and
begun anew.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from appliance.replication.errors import BadFrame
from appliance.replication.frames import RANGE_OCTETS_MAX
from appliance.replication.host import Bell

if TYPE_CHECKING:
    from appliance.replication.events import Chunk
    from appliance.replication.link import Session

FETCHES_MAX: Final = 2
AHEAD_OCTETS: Final = 2 * RANGE_OCTETS_MAX
STALL_S: Final = 15.0
REST_SHARE: Final = 1.0


class NotGiven(Exception):
    """The other box does not have the file, gives no more of it, or is gone."""


class _Fetch:
    def __init__(self) -> None:
        self.bell = Bell()
        self.chunks: deque[Chunk] = deque()
        self.lost = False


class Files:
    """``given`` are the files of this box that others may have, by their SHA-256."""

    def __init__(self) -> None:
        self.given: dict[bytes, Path] = {}
        self._fetches: dict[tuple[Session, bytes], _Fetch] = {}

    async def read(self, sha: bytes, offset: int, octets: int) -> bytes | None:
        """So many octets of a given file, fewer at its end; None if there is no such file."""
        path = self.given.get(sha)
        return None if path is None else await trio.to_thread.run_sync(_read, path, offset, octets)

    async def fetch(
        self, session: Session, sha: bytes, offset: int, size: int, take: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Give ``take`` what a file of ``size`` octets has from ``offset`` on, piece by piece. Rests after
        each piece for as long as that took. Raises ``NotGiven``, and what ``take`` does.
        """
        key = session, sha
        if not session.open or key in self._fetches or len(self._fetches) >= FETCHES_MAX:
            raise NotGiven("the box is not in reach, or busy with another file")
        fetch = self._fetches[key] = _Fetch()
        try:
            asked = expected = offset
            while expected < size:
                while asked < size and asked + RANGE_OCTETS_MAX - expected <= AHEAD_OCTETS:
                    octets = min(RANGE_OCTETS_MAX, size - asked)
                    session.say(lambda link, at=asked, n=octets: link.say_want(sha, at, n))  # type: ignore[misc]
                    asked += octets
                chunk = await self._next(session, fetch)
                if chunk.offset != expected:
                    continue  # asked for by a fetch before this one, which was broken off
                expected += len(chunk.data)
                began = trio.current_time()
                await take(chunk.data)
                await trio.sleep((trio.current_time() - began) * REST_SHARE)
        finally:
            del self._fetches[key]

    async def _next(self, session: Session, fetch: _Fetch) -> Chunk:
        """The next chunk. Raises ``NotGiven``."""
        with trio.move_on_after(STALL_S):
            while not fetch.chunks and not fetch.lost and session.open:
                with trio.move_on_after(1):
                    await fetch.bell.wait()
        if fetch.chunks:
            return fetch.chunks.popleft()
        if fetch.lost:
            raise NotGiven("the box does not have it any more")
        raise NotGiven("the link to the box broke, or it fell silent")

    def chunk(self, session: Session, chunk: Chunk) -> bool:
        """Whether it is of a file that is being fetched here. Raises ``BadFrame`` for more than was asked."""
        fetch = self._fetches.get((session, chunk.sha))
        if fetch is None:
            return False
        if not chunk.data or sum(len(waiting.data) for waiting in fetch.chunks) > 2 * AHEAD_OCTETS:
            raise BadFrame("more of a file than was asked for")
        fetch.chunks.append(chunk)
        fetch.bell.ring()
        return True

    def lacks(self, session: Session, sha: bytes) -> bool:
        """Whether it is a file that is being fetched here."""
        fetch = self._fetches.get((session, sha))
        if fetch is None:
            return False
        fetch.lost = True
        fetch.bell.ring()
        return True


def _read(path: Path, offset: int, octets: int) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.pread(file.fileno(), octets, offset)
    except OSError:
        return None
