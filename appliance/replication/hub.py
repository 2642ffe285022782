"""All links of this box to the other boxes of its site.

For each box of the site one task keeps a link up: it calls whenever there is none. So does the other side; of
two links that are begun at once the one stays that the lower box id dialed, and a link on which the other
side calls anew though this one knows of an older is the better one: the other side has lost the old one.

What is committed here goes to all links at once. What boxes confirm goes to ``copies``, which lets acks go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio

from appliance.log import get_logger
from appliance.replication import events, judging, showing
from appliance.replication.anew import answer
from appliance.replication.bodies import is_light
from appliance.replication.dial import LONGEST_PAUSE_S, SUSPICIOUS_PAUSE_S, dial, hurry
from appliance.replication.engine import PeerLink
from appliance.replication.errors import Code, Impostor, PeerError, Refusal, Refused, Unreachable
from appliance.replication.fetching import Fetcher
from appliance.replication.files import Files
from appliance.replication.histories import Histories
from appliance.replication.host import Bell, Shop
from appliance.replication.identity import Identity, dial_context
from appliance.replication.interface import Arrival, BoxState, Copies, Replica
from appliance.replication.link import HANDSHAKE_S, Session
from appliance.replication.neighbour import Neighbour, PeerStatus
from appliance.replication.view import Placing, Site
from appliance.session import Caller, LinkLost
from appliance.store.partial import Partials

__all__ = ["Hub", "Site"]

log = get_logger(__name__)

LOOK_S: Final = 0.5
MARKS_MAX: Final = 240
SETTLE_LOOK_S: Final = 0.02


class Hub:
    """``run`` in a task; ``accept`` is for calls from others, as ``Service.peers``."""

    def __init__(
        self, identity: Identity, replica: Replica, copies: Copies, partials: Partials, site: Site
    ) -> None:
        self.on_tell: list[Callable[[str, str, bytes], None]] = []
        """Called with box, topic and payload; may not block."""
        self.on_link: list[Callable[[str, bool], None]] = []
        """Called with a box when it comes in reach, and when it is out of it."""
        self.companions: list[Callable[[], Awaitable[None]]] = []
        """Tasks that run while the hub does."""
        self.neighbours: dict[str, Neighbour] = {}
        self.fetcher = Fetcher(replica, partials, self._suspect)
        self.files = Files()
        self._blobs = partials
        self._identity = identity
        self._replica = replica
        self._copies = copies
        self._site = site
        self.histories = Histories(replica, identity.public, site)
        self._context = dial_context()
        self._bell = Bell()
        self._callers: dict[Session, Caller] = {}
        self._marks: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=MARKS_MAX)
        self._nursery: trio.Nursery | None = None
        self.placing = Placing(site, replica.own)
        self._sync = Shop(replica, replica.read, True, self._octets, site.complete, site.program)
        self._copy = Shop(replica, replica.read_all, False, self._octets, site.complete, site.program)
        self._desk = Shop(replica, None, False, self._octets, site.complete, site.program)

    # what others call

    def peers(self) -> list[PeerStatus]:
        """The other boxes, by id."""
        positions, now = self._replica.positions(), trio.current_time()
        return [self.neighbours[box].status(positions, now) for box in sorted(self.neighbours)]

    def tell(self, topic: str, payload: bytes) -> None:
        """Tell all boxes in reach something of the moment: at most 64 KiB, in a topic of up to 32
        characters. What cannot go soon is dropped.
        """
        for session in self._sessions():
            session.tell(topic, payload)

    def session(self, box: str) -> Session | None:
        """The link to a box, if it is open."""
        neighbour = self.neighbours.get(box)
        session = neighbour.session if neighbour is not None else None
        return session if session is not None and session.open else None

    async def settle(self, limit_s: float) -> None:
        """Until what the other boxes had is here, or some of them are not in reach for so long. A box that
        comes back has to know what was asked for again elsewhere before it goes on.
        """
        with trio.move_on_after(limit_s):
            while not all(self._is_heard(*box) for box in self._site.boxes().items()):  # noqa: ASYNC110
                await trio.sleep(SETTLE_LOOK_S)

    def _is_heard(self, box: str, info: BoxState) -> bool:
        if box == self._replica.own or info.cut is not None or box in self._site.gone():
            return True
        neighbour = self.neighbours.get(box)
        return neighbour is not None and neighbour.session is not None and neighbour.session.reached

    def add_address(self, box: str, address: str) -> None:
        """A box was seen there."""
        neighbour = self.neighbours.get(box)
        if neighbour is not None and neighbour.learn(address):
            neighbour.backoff.poke()

    def moved(self, session: Session) -> None:
        if session.link.purpose == "sync":
            self._copies.progress(session.box)

    # its life

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep links up until cancelled."""
        self.neighbours.clear()
        self._replica.on_entries.append(self._pushed)
        self._replica.on_blob.append(self._blob_here)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for companion in (self.fetcher.run, *self.companions):
                    nursery.start_soon(companion)
                task_status.started()
                while True:
                    self._look(nursery)
                    await self.placing.look()
                    with trio.move_on_after(LOOK_S):
                        await self._bell.wait()
        finally:
            self._nursery = None
            self._replica.on_entries.remove(self._pushed)
            self._replica.on_blob.remove(self._blob_here)

    async def accept(self, caller: Caller) -> None:
        """Serve a box that calls. Returns when its link is over."""
        if self._nursery is None:
            return
        session = Session(PeerLink.acceptor(self._identity), caller.stream, caller.address, self, self._sync)
        self._callers[session] = caller
        try:
            await self._run(session)
        finally:
            del self._callers[session]

    def _look(self, nursery: trio.Nursery) -> None:
        """See which boxes there are, and how they do."""
        boxes = self._site.boxes()
        own = boxes.get(self._replica.own)
        if own is not None and own.cut is not None:
            self._site.on_revoked(self._replica.own)
        for box, info in boxes.items():
            if box == self._replica.own:
                continue
            neighbour = self.neighbours.get(box)
            if neighbour is None:
                neighbour = self.neighbours[box] = Neighbour(box, info)
                if info.cut is None:
                    self._copies.reach(box, False)
                nursery.start_soon(self._keep, neighbour)
            elif neighbour.update(info):
                neighbour.backoff.poke()
            if neighbour.revoked:
                for session in (neighbour.session, neighbour.giving):
                    if session is not None:
                        session.end(Refusal(Code.REVOKED, f"box {box} was put out of the site"))
        now = trio.current_time()
        positions = {box: at.seq for box, at in self._replica.positions().items()}
        self._marks.append((now, positions))
        gone = self._site.gone()
        for neighbour in self.neighbours.values():
            had = neighbour.problem
            neighbour.look(self._marks)
            if neighbour.box in gone and neighbour.session is None:
                neighbour.problem = None
            if had is not None and neighbour.problem is None:
                self._warn(neighbour)
            journal = neighbour.gap_met(positions)
            if journal is not None:
                log.warning("entries are gone: a copy has to be taken", peer=neighbour.box, journal=journal)
                self._site.on_gap(neighbour.box)

    async def _keep(self, neighbour: Neighbour) -> None:
        """Call whenever there is no link."""
        while True:
            if neighbour.session is not None or neighbour.revoked:
                await neighbour.unlinked.wait()
                continue
            addresses = neighbour.addresses()
            if addresses and neighbour.box not in self._site.gone():  # its address is the new one's
                await self._call(neighbour, addresses)
                if neighbour.session is not None:
                    continue
            await neighbour.backoff.wait(SUSPICIOUS_PAUSE_S if neighbour.refused else LONGEST_PAUSE_S)

    async def _call(self, neighbour: Neighbour, addresses: Sequence[str]) -> None:
        try:
            stream, address = await dial(addresses, neighbour.info.public, self._context)
        except Unreachable as error:
            log.debug("box not reached", peer=neighbour.box, error=str(error))
            return
        except Impostor as error:
            self._ended(neighbour, error)
            return
        link = PeerLink.dialer(self._identity, neighbour.box, neighbour.info.public)
        session = Session(link, stream, address, self, self._sync)
        await self._run(session)
        if isinstance(session.error, Refused) and session.error.said == Code.UNKNOWN:
            own = self._site.addresses()
            await showing.show(self._identity, self._replica, neighbour, own, self._context)

    async def _run(self, session: Session) -> None:
        hurry(session.tls)
        try:
            await session.run()
        finally:
            self._left(session)

    # what links ask and say

    def public_of(self, session: Session) -> bytes:
        """The key of the box that calls. Raises ``Refusal``."""
        info = self._site.boxes().get(session.box)
        if info is None or session.box == self._replica.own or self._nursery is None:
            raise Refusal(Code.UNKNOWN, showing.UNKNOWN)
        if session.box not in self.neighbours:
            self._look(self._nursery)
        session.shop = {"copy": self._copy, "anew": self._desk}.get(session.link.purpose, self._sync)
        return info.public

    def join(self, session: Session) -> None:
        """Raises ``Refusal``."""
        neighbour = self.neighbours[session.box]
        if self._site.boxes()[session.box].cut is not None:
            raise Refusal(
                Code.REVOKED, "that box was put out of this site; a factory reset makes it a blank box"
            )
        if session.link.purpose != "sync" and not self._site.complete():
            raise Refusal(Code.INCOMPLETE, "this box is being filled itself")
        if session.link.purpose == "copy":
            if neighbour.giving is not None:
                neighbour.giving.end(Refusal(Code.OTHER_LINK, "another link took over"))
            neighbour.giving = session
        elif session.link.purpose == "sync":
            self._choose(neighbour, session)
        if session in self._callers:
            self._callers[session].proven()

    def _choose(self, neighbour: Neighbour, session: Session) -> None:
        """One link for each pair. Raises ``Refusal`` if it is the other one."""
        old = neighbour.session
        if old is not None:
            lower = min(self._replica.own, neighbour.box)
            fresh = trio.current_time() - old.began < HANDSHAKE_S
            if fresh and old.link.dialed_by == lower != session.link.dialed_by:
                raise Refusal(Code.OTHER_LINK, "there is another link")
            neighbour.session = None
            self._unlink(neighbour, old)
            old.end(Refusal(Code.OTHER_LINK, "another link took over"))
        neighbour.session = session

    def opened(self, session: Session) -> None:
        neighbour = self.neighbours[session.box]
        log.info("link to a box", peer=session.box, address=session.address, purpose=session.link.purpose)
        if session.link.purpose != "sync":
            return
        neighbour.opened(session)
        own = self._replica.own
        positions = self._replica.positions()
        if own in positions:
            self._copies.confirmed(session.box, min(neighbour.confirmed.get(own, 0), positions[own].seq))
        self._copies.reach(session.box, True)
        for listener in self.on_link:
            listener(session.box, True)
        self.fetcher.joined(session)

    def absorbed(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        named = [sha for arrival in arrivals for sha in self._site.named(arrival)]
        absent = self._replica.absent_blobs() if named else {}
        session.say_have({}, [sha for sha in named if sha not in absent])
        self.fetcher.look(session)
        self.neighbours[session.box].have({arrival.box: arrival.seq for arrival in arrivals})

    def have(self, session: Session, have: events.Have) -> None:
        """What it says of entries that do not exist yet is not believed."""
        if session.link.purpose != "sync":
            return
        positions = self._replica.positions()
        own = self._replica.own
        self.neighbours[session.box].have(have.positions)
        self._lacks(session.box, have.absent)
        if own in have.positions and own in positions:
            self._copies.confirmed(session.box, min(have.positions[own], positions[own].seq))
        for sha in have.blobs:
            self._copies.blob_confirmed(session.box, sha)
        self.fetcher.has(session.box, have.blobs)

    def _lacks(self, box: str, messages: int) -> None:
        self.neighbours[box].absent = messages
        self._copies.lacking(box, messages)

    def heard(self, session: Session, event: events.Event) -> None:
        match event:
            case events.Chunk() if not self.files.chunk(session, event):
                self.fetcher.chunk(session, event)
            case events.Lacking() if not self.files.lacks(session, event.sha):
                self.fetcher.lacks(session, event.sha)
            case events.Messages():
                self.fetcher.messages(session, event)
            case events.Told():
                for tell in self.on_tell:
                    tell(session.box, event.topic, event.payload)
            case events.Beat() if session.link.purpose == "sync":
                self._lacks(session.box, event.absent)
            case events.Anew() if self._nursery is not None:
                self._nursery.start_soon(answer, session, self._site.anew, event.public)
            case events.GapMet():
                self.neighbours[session.box].gap(session, event.box)
            case events.Barred():
                log.warning("another box leaves entries out", peer=session.box, journal=event.box)

    # inside

    async def _octets(self, sha: bytes, offset: int, octets: int) -> bytes | None:
        """Of a blob, or of a file that is given beside."""
        found = await self._blobs.read(sha, offset, octets)
        return found if found is not None else await self.files.read(sha, offset, octets)

    def _sessions(self) -> list[Session]:
        return [n.session for n in self.neighbours.values() if n.session is not None and n.session.open]

    def _pushed(self, arrivals: Sequence[Arrival]) -> None:
        """Who was put out by one of these does not get the others: the site's new key may be among them."""
        boxes = self._site.boxes()
        near = [n for n in self.neighbours.values() if n.box in boxes and boxes[n.box].cut is None]
        sessions = [s for n in near for s in (n.session, n.giving) if s is not None]
        light = bool(sessions) and all(map(is_light, arrivals))
        for session in sessions:
            session.push(arrivals, light)
        if any(self._is_news(box, info) for box, info in boxes.items()):
            self._bell.ring()

    def _is_news(self, box: str, info: BoxState) -> bool:
        """Whether a box came, went elsewhere or was put out."""
        neighbour = self.neighbours.get(box)
        if box == self._replica.own or neighbour is None:
            return box != self._replica.own
        linked = neighbour.session is not None or neighbour.giving is not None
        return linked and info.cut is not None

    def _blob_here(self, sha: bytes) -> None:
        for session in self._sessions():
            session.say_have({}, [sha])

    def _suspect(self, box: str, text: str | None) -> None:
        self._site.warn(f"peer {box} octets", text)

    def _left(self, session: Session) -> None:
        neighbour = self.neighbours.get(session.box)
        if neighbour is None or session.link.purpose == "anew":
            return
        if neighbour.giving is session:
            neighbour.giving = None
        elif neighbour.session is session:
            if session.was_open and isinstance(session.error, LinkLost):
                neighbour.backoff.reset()
            neighbour.session = None
            self._unlink(neighbour, session)
        elif not session.link.dialed and not session.proven:
            return  # anybody can say that it is that box
        self._ended(neighbour, session.error)

    def _unlink(self, neighbour: Neighbour, session: Session) -> None:
        self._copies.reach(neighbour.box, False)
        for listener in self.on_link:
            listener(neighbour.box, False)
        self.fetcher.left(session)
        neighbour.unlinked.ring()

    def _ended(self, neighbour: Neighbour, error: PeerError | LinkLost | None) -> None:
        log.info("link to a box is over", peer=neighbour.box, reason=str(error))
        before = neighbour.problem
        told = neighbour.ended(error)
        if told is not None and told != before:
            log.warning("box refused", peer=neighbour.box, error=told)
        self._warn(neighbour)
        if isinstance(error, judging.Restored):
            self._site.on_restored(str(error))
        elif isinstance(error, Refused) and error.said == Code.REVOKED:
            self._site.on_revoked(neighbour.box)

    def _warn(self, neighbour: Neighbour) -> None:
        self._site.warn(f"peer {neighbour.box}", neighbour.problem)
