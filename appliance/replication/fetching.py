"""Fetching what entries name and did not bring: blobs, and octets of messages that were too many to come
along.

Each blob is fetched by one task from one box at a time, though several have it: first from the one that sent
the entry. It is asked for in ranges, ``AHEAD_OCTETS`` ahead of what is on the disk, so what is under way is
never more than can be written. When a box does not have it, or falls silent, the next one is asked, from
where the last one stopped.

Bounds. ``FETCHES`` blobs at once, each with ``AHEAD_OCTETS`` and a chunk in memory; one question for octets
per link. Writing rests after each piece for as long as that took: a disk belongs to those who are served
first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import trio

from appliance.log import get_logger
from appliance.replication.errors import BadFrame
from appliance.replication.events import Chunk, Messages
from appliance.replication.frames import RANGE_OCTETS_MAX
from appliance.replication.host import Bell
from appliance.replication.interface import BadEntries, Replica
from appliance.replication.link import Session
from appliance.store import DiskFull, StoreError
from appliance.store.partial import Partial, Partials, WrongBlob

log = get_logger(__name__)

FETCHES: Final = 2
AHEAD_OCTETS: Final = 2 * RANGE_OCTETS_MAX
STALL_S: Final = 15.0
"""Enough for a chunk on a line of 64 kbit/s. A box that is gone is noticed much sooner."""
LOOK_EVERY_S: Final = 2.0
ASK_AGAIN_S: Final = 20.0
"""After a box said that it does not have something, or gave something else."""
FULL_REST_S: Final = 10.0
MESSAGES_AT_ONCE: Final = 500
WRITE_OCTETS: Final = RANGE_OCTETS_MAX
REST_SHARE: Final = 1.0


class Moved(Exception):
    """This box is not the one to go on with."""


@dataclass(slots=True)
class Fetch:
    """A blob on its way."""

    session: Session
    bell: Bell = field(default_factory=Bell)
    chunks: deque[Chunk] = field(default_factory=deque)
    lost: bool = False
    octets: int = 0


class Fetcher:
    """``run`` in a task. ``problem``: a box gave wrong octets (its id, what to tell; None: it gave right ones
    since).
    """

    def __init__(
        self,
        replica: Replica,
        partials: Partials,
        problem: Callable[[str, str | None], None],
    ) -> None:
        self.octets = 0
        """Of blobs, fetched since the start."""
        self._replica = replica
        self._partials = partials
        self._problem = problem
        self._accused: set[str] = set()
        self._sessions: list[Session] = []
        self._fetches: dict[bytes, Fetch] = {}
        self._hints: dict[bytes, str] = {}
        self._later: dict[tuple[str, bytes], float] = {}
        self._asked: dict[Session, tuple[list[int], float]] = {}
        self._lacking: dict[tuple[str, int], float] = {}
        self._answers: deque[tuple[Session, list[int], Messages]] = deque()
        self._bell = Bell()
        self._rest_until = 0.0

    @property
    def under_way(self) -> int:
        """Octets of blobs that are being fetched and are here already."""
        return sum(fetch.octets for fetch in self._fetches.values())

    @property
    def is_stuck(self) -> bool:
        """Whether all that is absent was asked for in vain, from everybody in reach."""
        now = trio.current_time()
        boxes = [session.box for session in self._sessions if session.open]
        return (
            bool(boxes)
            and not self._fetches
            and all(
                all(self._later.get((box, sha), 0) > now for sha in self._replica.absent_blobs())
                and all(self._lacking.get((box, msgid), 0) > now for msgid in self._replica.absent_messages())
                for box in boxes
            )
        )

    # what links say

    def joined(self, session: Session) -> None:
        self._sessions.append(session)
        self._bell.ring()

    def left(self, session: Session) -> None:
        if session in self._sessions:
            self._sessions.remove(session)
        self._asked.pop(session, None)
        for fetch in self._fetches.values():
            if fetch.session is session:
                fetch.lost = True
                fetch.bell.ring()
        self._bell.ring()

    def look(self, session: Session | None = None) -> None:
        """Something may be lacking now, and ``session`` may be where to get it."""
        if session is not None:
            for sha in self._replica.absent_blobs():
                self._hints.setdefault(sha, session.box)
        self._bell.ring()

    def has(self, box: str, blobs: Iterable[bytes]) -> None:
        """A box has these."""
        for sha in blobs:
            if self._later.pop((box, sha), None) is not None:
                self._bell.ring()

    def chunk(self, session: Session, chunk: Chunk) -> None:
        """Those that nobody waits for any more are let go of."""
        fetch = self._fetches.get(chunk.sha)
        if fetch is not None and fetch.session is session:
            if sum(len(waiting.data) for waiting in fetch.chunks) > AHEAD_OCTETS:
                raise BadFrame("more of a blob than was asked for")
            fetch.chunks.append(chunk)
            fetch.bell.ring()

    def lacks(self, session: Session, sha: bytes) -> None:
        fetch = self._fetches.get(sha)
        if fetch is not None and fetch.session is session:
            fetch.lost = True
            fetch.bell.ring()
        self._put_off(session.box, sha)

    def messages(self, session: Session, messages: Messages) -> None:
        """Raises ``BadFrame`` if nobody asked."""
        if session not in self._asked:
            raise BadFrame("octets that nobody asked for")
        msgids, _ = self._asked.pop(session)
        self._answers.append((session, msgids, messages))
        self._bell.ring()

    # the task

    async def run(self) -> None:
        """Until cancelled."""
        await self._partials.tidy(set(self._replica.absent_blobs()))
        async with trio.open_nursery() as nursery:
            while True:
                began = trio.current_time()
                while self._answers:
                    await self._take(*self._answers.popleft())
                self._ask()
                absent = self._replica.absent_blobs()
                self._forget(absent)
                for sha, size in absent.items():
                    if len(self._fetches) >= FETCHES or trio.current_time() < self._rest_until:
                        break
                    session = self._source(sha) if sha not in self._fetches else None
                    if session is not None:
                        self._fetches[sha] = fetch = Fetch(session)
                        nursery.start_soon(self._fetch, sha, size, fetch)
                await trio.sleep(trio.current_time() - began)
                with trio.move_on_after(LOOK_EVERY_S):
                    await self._bell.wait()

    def _source(self, sha: bytes) -> Session | None:
        """Where to get a blob; None if nobody is known to have it, or all are busy."""
        now = trio.current_time()
        able = [s for s in self._sessions if s.open and self._later.get((s.box, sha), now) <= now]
        hint = self._hints.get(sha)
        return min(able, key=lambda session: (session.box != hint, self._load(session)), default=None)

    def _load(self, session: Session) -> int:
        return sum(fetch.session is session for fetch in self._fetches.values())

    async def _fetch(self, sha: bytes, size: int, fetch: Fetch) -> None:
        box = fetch.session.box
        try:
            partial = await self._partials.open(sha, size)
            try:
                await self._fill(sha, size, fetch, partial)
            finally:
                partial.close()
            if box in self._accused:
                self._accused.discard(box)
                self._problem(box, None)
        except Moved:
            if fetch.session.open:
                self._put_off(box, sha)
        except WrongBlob as error:
            self._put_off(box, sha)
            if box not in self._accused:
                log.warning("wrong octets from another box", peer=box, error=str(error))
            self._accused.add(box)
            self._problem(box, f"box {box} gave wrong octets for an attachment: its disk may be dying")
        except DiskFull:
            self._rest_until = trio.current_time() + FULL_REST_S
        except StoreError as error:
            self._rest_until = trio.current_time() + FULL_REST_S
            log.warning("an attachment could not be fetched", peer=box, error=str(error))
        finally:
            del self._fetches[sha]
            self._bell.ring()

    async def _fill(self, sha: bytes, size: int, fetch: Fetch, partial: Partial) -> None:
        asked = expected = partial.size
        fetch.octets = partial.size
        while partial.size < size:
            while asked < size and asked - partial.size < AHEAD_OCTETS:
                count = min(RANGE_OCTETS_MAX, size - asked)
                fetch.session.say(lambda link, at=asked, n=count: link.say_want(sha, at, n))  # type: ignore[misc]
                asked += count
            pieces: list[bytes] = []
            octets = 0
            whole = True
            while whole and octets < WRITE_OCTETS and expected < size:
                chunk = await self._next(fetch)
                if chunk is None:
                    whole = False
                elif chunk.offset >= expected:
                    if chunk.offset > expected or not chunk.data:
                        fetch.session.end(BadFrame("a chunk that does not follow the one before"))
                        raise Moved
                    pieces.append(chunk.data)
                    octets += len(chunk.data)
                    expected += len(chunk.data)
            began = trio.current_time()
            await partial.write(b"".join(pieces))
            fetch.octets = partial.size
            self.octets += octets
            self._replica.blob_moves(sha)
            if not whole:
                raise Moved
            await trio.sleep((trio.current_time() - began) * REST_SHARE)
        await partial.finish()
        try:
            await self._replica.blob_here(sha)
        finally:
            self._partials.blobs.unpin(sha)

    async def _next(self, fetch: Fetch) -> Chunk | None:
        """The next chunk, which may be one that was asked for before; None if none comes."""
        with trio.move_on_after(STALL_S):
            while not fetch.chunks and not fetch.lost:
                await fetch.bell.wait()
        return fetch.chunks.popleft() if fetch.chunks else None

    def _put_off(self, box: str, sha: bytes) -> None:
        self._later[box, sha] = trio.current_time() + ASK_AGAIN_S
        self._hints.pop(sha, None)
        self._bell.ring()

    def _forget(self, absent: Iterable[bytes]) -> None:
        """What nobody wants any more needs no notes."""
        wanted = set(absent)
        now = trio.current_time()
        self._hints = {sha: box for sha, box in self._hints.items() if sha in wanted}
        self._later = {key: at for key, at in self._later.items() if key[1] in wanted and at > now}
        self._lacking = {key: at for key, at in self._lacking.items() if at > now}

    # octets of messages

    def _ask(self) -> None:
        """Ask each idle link for octets that nobody was asked for yet."""
        now = trio.current_time()
        for session, (_, until) in list(self._asked.items()):
            if until <= now:
                del self._asked[session]
        absent = self._replica.absent_messages()
        if not absent:
            return
        busy = {msgid for msgids, _ in self._asked.values() for msgid in msgids}
        for session in self._sessions:
            if session.open and session not in self._asked:
                msgids: list[int] = []
                for msgid in absent:
                    if msgid not in busy and self._lacking.get((session.box, msgid), now) <= now:
                        msgids.append(msgid)
                        if len(msgids) == MESSAGES_AT_ONCE:
                            break
                if msgids:
                    busy.update(msgids)
                    self._asked[session] = msgids, now + STALL_S
                    session.say(lambda link, msgids=msgids: link.say_wants(msgids))  # type: ignore[misc]

    async def _take(self, session: Session, msgids: list[int], answer: Messages) -> None:
        if not answer.messages:
            until = trio.current_time() + ASK_AGAIN_S
            self._lacking.update({(session.box, msgid): until for msgid in msgids})
            return
        asked = set(msgids)
        if any(message.msgid not in asked for message in answer.messages):
            session.end(BadFrame("octets of messages that were not asked for"))
            return
        try:
            await self._replica.give_octets(answer.messages)
        except BadEntries as error:
            session.end(BadFrame(str(error)))
        except StoreError as error:
            log.warning("octets of messages not taken", peer=session.box, error=str(error))
            await trio.sleep(1)
