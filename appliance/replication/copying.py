"""Filling a copy: for a box that joins, or one that was away for longer than the others' journals reach.

A copy is a store of its own, in a folder of its own. It takes everything that another box has, from zero, in
the order of the clocks (what has been cut there leaves gaps), then the blobs and octets of what is pending,
and goes on following until nothing is lacking. Breaks of the link and of the power only cost time: the copy's
positions say where to go on. When it is complete it is closed, and a marker file in its folder says so;
whoever runs the box puts it in the place of the old data then.

A box that has written something itself since it last met the others has to have given them that first
(``tail_given``), and to stop writing at the end (``settle``), so that the copy has all of it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import trio

from appliance.log import get_logger
from appliance.replication import events
from appliance.replication.dial import Backoff, dial, hurry
from appliance.replication.engine import PeerLink
from appliance.replication.errors import Code, Impostor, PeerError, Refusal, Refused, Unreachable
from appliance.replication.fetching import Fetcher
from appliance.replication.histories import CopyHistories
from appliance.replication.host import Shop
from appliance.replication.identity import Identity, dial_context
from appliance.replication.interface import Arrival, Position, Replica
from appliance.replication.link import Session
from appliance.store import Blobs, write_synced
from appliance.store.partial import Partials

log = get_logger(__name__)

MARKER: Final = "complete"
LOOK_S: Final = 0.1
RATE_S: Final = 10.0
"""Over which time the speed is measured that the time left is reckoned from."""

Phase = Literal["tail", "connecting", "entries", "attachments", "following", "complete"]


@dataclass(frozen=True, slots=True)
class Source:
    """A box that has everything: its key, and where it is."""

    box: str
    public: bytes
    addresses: tuple[str, ...]


class CopyStore(Protocol):
    """A store that takes entries with gaps between them."""

    @property
    def replica(self) -> Replica: ...
    @property
    def blobs(self) -> Blobs: ...
    async def run(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """Entries are counted by their numbers, so those that are gone count as done. ``octets_total`` and
    ``seconds_left`` are estimates; None: not known yet. ``problem``: what keeps it from going on now.
    """

    phase: Phase
    source: str
    entries: int
    entries_total: int
    octets: int
    octets_total: int
    seconds_left: float | None
    problem: str | None


class Spoiled(Exception):
    """What was copied so far does not fit to what the others have: remove it and begin anew."""


async def nothing() -> None:
    """For who has nothing to settle."""


class Copier:
    """``open_copy`` blocks, and opens or makes the store in ``folder``. ``sources``: the best first.
    ``tail_given``: whether the others have what this box wrote; ``settle``: stop writing, called when all
    else is copied; ``own_seq``: how far this box's journal goes then.
    """

    def __init__(
        self,
        identity: Identity,
        sources: Callable[[], Sequence[Source]],
        folder: Path,
        open_copy: Callable[[], CopyStore],
        tail_given: Callable[[], bool] = lambda: True,
        settle: Callable[[], Awaitable[None]] = nothing,
        own_seq: Callable[[], int] = lambda: 0,
        program: str = "",
    ) -> None:
        self._identity = identity
        self._sources = sources
        self._folder = folder
        self._open_copy = open_copy
        self._tail_given = tail_given
        self._settle = settle
        self._own_seq = own_seq
        self._program = program
        self._context = dial_context()
        self._backoff = Backoff()
        self._phase: Phase = "tail"
        self._problem: str | None = None
        self.refused: str | None = None
        """Why the box that was asked last does not give."""
        self._source = ""
        self._session: Session | None = None
        self._theirs: Mapping[str, Position] = {}
        self._octets_before = 0
        self._speed: deque[tuple[float, int, int]] = deque()
        self._spoiled: str | None = None
        self._replica: Replica
        self._fetcher: Fetcher
        self._shop: Shop

    @property
    def progress(self) -> CopyProgress:
        """As of now."""
        entries = entries_total = octets = to_come = 0
        if self._phase not in ("tail", "complete") and hasattr(self, "_replica"):
            ours = self._replica.positions()
            entries_total = sum(at.seq for at in self._theirs.values())
            entries = sum(min(at.seq, _seq(ours, box)) for box, at in self._theirs.items())
            octets = self._octets
            to_come = sum(self._replica.absent_blobs().values()) - self._fetcher.under_way
        seconds_left = self._seconds_left(entries, entries_total, octets, max(0, to_come))
        total = octets + max(0, to_come)
        if 0 < entries < entries_total:
            total += int(octets / entries * (entries_total - entries))
        return CopyProgress(
            self._phase, self._source, entries, entries_total, octets, total, seconds_left, self._problem
        )

    async def run(self) -> None:
        """Returns when the copy is complete, closed and marked; at once if it was already. Cancelled, what
        came so far stays. Raises ``Spoiled``, ``StoreError``.
        """
        if not (self._folder / MARKER).exists():
            while not self._tail_given():  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
            self._phase = "connecting"
            store = await trio.to_thread.run_sync(self._open_copy)
            positions = await self._fill(store)
            note = {"source": self._source, "positions": {box: at.seq for box, at in positions.items()}}
            await trio.to_thread.run_sync(write_synced, self._folder / MARKER, json.dumps(note).encode())
        self._phase, self._problem = "complete", None

    async def _fill(self, store: CopyStore) -> Mapping[str, Position]:
        """Until nothing is lacking; the store is closed then, and its positions are what this returns."""
        replica = self._replica = store.replica
        partials = Partials(store.blobs)
        self.histories = CopyHistories(replica)
        self._fetcher = Fetcher(replica, partials, self._suspect)
        self._shop = Shop(replica, None, True, partials.read, lambda: False, self._program)
        closed = trio.Event()
        async with trio.open_nursery() as main:
            main.start_soon(self._own, store, closed)
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._fetcher.run)
                    nursery.start_soon(self._keep_linked)
                    await self._until_complete()
                    nursery.cancel_scope.cancel()
            finally:
                store.close()
                with trio.CancelScope(shield=True):
                    await closed.wait()
        if self._spoiled is not None:
            raise Spoiled(self._spoiled)
        return dict(replica.positions())

    async def _own(self, store: CopyStore, closed: trio.Event) -> None:
        try:
            with trio.CancelScope(
                shield=True
            ):  # it ends when it is closed, and then everything is on the disk
                await store.run()
        finally:
            closed.set()

    async def _until_complete(self) -> None:
        settled = False
        while self._spoiled is None:
            await trio.sleep(LOOK_S)
            self._measure()
            if not self._is_whole():
                continue
            if not settled:
                await self._settle()
                settled = True
            elif _seq(self._replica.positions(), self._replica.own) >= self._own_seq():
                return

    def _is_whole(self) -> bool:
        """Whether all that the source has is here."""
        session = self._session
        if session is None or not session.open:
            self._phase = "connecting"
            return False
        if not session.reached:
            self._phase = "entries"
            return False
        absent = self._replica.absent_blobs() or self._replica.absent_messages()
        self._phase = "attachments" if absent else "following"
        return not absent or self._fetcher.is_stuck

    # the link

    async def _keep_linked(self) -> None:
        while True:
            for source in self._sources():
                await self._link(source)
                if self._spoiled is not None:
                    await trio.sleep_forever()
            await self._backoff.wait()

    async def _link(self, source: Source) -> None:
        """A link to a source, until it is over."""
        try:
            stream, address = await dial(source.addresses, source.public, self._context)
        except (Unreachable, Impostor) as error:
            self._problem = f"box {source.box} is not reached: {error}"
            return
        hurry(stream)
        link = PeerLink.dialer(self._identity, source.box, source.public, "copy")
        session = self._session = Session(link, stream, address, self, self._shop)
        try:
            await session.run()
        finally:
            self._session = None
            self._octets_before += session.octets_in
            self._fetcher.left(session)
        ended = session.error
        log.info("link for a copy is over", peer=source.box, reason=str(ended))
        if not isinstance(ended, PeerError):
            self._backoff.reset()
            return
        self._problem = f"box {source.box}: {ended}"
        said = ended.said if isinstance(ended, Refused) else str(ended.code)
        self.refused = said
        if said == Code.FORKED:
            self._spoiled = str(ended)

    def public_of(self, session: Session) -> bytes:
        """Nobody calls here."""
        raise Refusal(Code.UNKNOWN, "this is a copy")

    def join(self, session: Session) -> None:
        self._source = session.box

    def opened(self, session: Session) -> None:
        log.info("copying", peer=session.box, address=session.address)
        self._problem = self.refused = None
        if session.state is not None:
            self._theirs = session.state.positions
        self._fetcher.joined(session)

    def absorbed(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        if session.reached:
            self._fetcher.look(session)

    def have(self, session: Session, have: events.Have) -> None:
        self._fetcher.has(session.box, have.blobs)

    def heard(self, session: Session, event: events.Event) -> None:
        match event:
            case events.Chunk():
                self._fetcher.chunk(session, event)
            case events.Lacking():
                self._fetcher.lacks(session, event.sha)
            case events.Messages():
                self._fetcher.messages(session, event)
            case events.Reached():
                self._theirs = event.positions
                self._fetcher.look(session)

    def moved(self, session: Session) -> None:
        """Nothing is taken from a copy."""

    def _suspect(self, box: str, text: str | None) -> None:
        self._problem = text

    # how it does

    @property
    def _octets(self) -> int:
        return self._octets_before + (self._session.octets_in if self._session is not None else 0)

    def _measure(self) -> None:
        now = trio.current_time()
        done = sum(at.seq for at in self._replica.positions().values())
        self._speed.append((now, done, self._octets))
        while now - self._speed[0][0] > RATE_S:
            self._speed.popleft()

    def _seconds_left(self, entries: int, entries_total: int, octets: int, to_come: int) -> float | None:
        if self._phase == "complete":
            return 0.0
        if len(self._speed) < 2 or not entries_total:
            return None
        (began, first, first_octets), (now, last, last_octets) = self._speed[0], self._speed[-1]
        took = max(now - began, LOOK_S)
        left = 0.0
        if entries < entries_total:
            if last == first:
                return None
            left += (entries_total - entries) / ((last - first) / took)
        if to_come:
            if last_octets == first_octets:
                return None
            left += to_come / ((last_octets - first_octets) / took)
        return left


def _seq(positions: Mapping[str, Position], box: str) -> int:
    return positions[box].seq if box in positions else 0
