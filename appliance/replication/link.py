"""One link to another box, from the handshake to the end.

Five tasks share it. The *reader* takes octets to events, and stops for nothing but a peer that does not keep
to its window. The *sender* alone writes to the stream, what ``outgoing`` gives. The *absorber* takes entries
to the store, one commit for each batch, and confirms. The *feeder* reads entries for the peer from the
database, the *server* octets and blobs. Each sleeps by a bell of its own.

What goes on between boxes leaves time for those they serve: while this side catches up it rests after each
commit for ``REST_SHARE`` of the time that took, and so it does when it reads for a peer that catches up.

Everything that can go wrong on a link ends in ``run``, which tells the other side why, where it can. The peer
is gone when nothing came for ``GONE_S``; each side says something every ``BEAT_S``.

Bounds, in octets: one frame that is coming in (4 MiB, and 64 KiB of header), an entry in parts (8 MiB),
what is to be absorbed (4 MiB, and one such entry), what goes out (4 MiB queue, 4 MiB backlog, 1 MiB read,
512 KiB of a blob, 256 KiB of messages, 64 tells of 64 KiB), chunks that wait to be written (1 MiB for each
file, 2 files): less than 42 MiB when all of it is full, and usually next to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import trio

from appliance.log import get_logger
from appliance.replication import events
from appliance.replication.engine import PeerLink
from appliance.replication.errors import BadFrame, Code, PeerError, Refusal, Refused
from appliance.replication.greeting import shake_hands
from appliance.replication.host import Bell, Host, Shop
from appliance.replication.intake import Intake, Work
from appliance.replication.interface import Arrival, BadEntries, Gap, Position
from appliance.replication.outgoing import Outgoing
from appliance.replication.stream import READ_OCTETS, Mode
from appliance.session import LinkLost, TlsStream
from appliance.store import DiskFull, StoreError

log = get_logger(__name__)

BEAT_S: Final = 1.0
COMPANY_S: Final = 0.05
GONE_S: Final = 3.0
HANDSHAKE_S: Final = 5.0
FAREWELL_S: Final = 1.0
LINGER_S: Final = 0.5
FULL_REST_S: Final = 2.0
FULL_REST_MAX_S: Final = 30.0
REST_SHARE: Final = 1.0
RECEIVE_OCTETS: Final = 256 << 10
UNPROVEN_OCTETS: Final = 4096
SEND_OCTETS: Final = 16 << 10
EVENTS_A_TURN: Final = 16


class Session:
    """``run`` is its life."""

    def __init__(self, link: PeerLink, stream: TlsStream, address: str, host: Host, shop: Shop) -> None:
        self.link = link
        self.address = address
        self.error: PeerError | LinkLost | None = None
        """Why it ended; the first reason counts."""
        self.shop = shop
        self.outgoing = Outgoing(link, shop.replica.absent)
        self.stream = self.outgoing.stream
        self.state: events.PeerState | None = None
        self.joined = False
        self.open = self.was_open = False
        self.reached = False
        """Whether all that the other side had at some moment is here."""
        self.before: Mapping[str, Position] = dict(shop.replica.positions())
        """What was here before the other side said anything."""
        self.began = trio.current_time()
        self.heard_at = self.began
        self.octets_in = self.octets_out = 0
        self.tls = stream
        self._host = host
        self._intake = Intake()
        self._epoch = 0
        self._scope = trio.CancelScope()
        self._farewell: bytes | None = None
        self._sender, self._absorber, self._feeder, self._server = Bell(), Bell(), Bell(), Bell()
        self._room, self._lonely = Bell(), Bell()

    @property
    def proven(self) -> bool:
        """Whether the other side has shown that it is the box that it says."""
        return self.link.dialed or self.joined

    @property
    def box(self) -> str:
        return self.link.box

    # what others call

    def push(self, arrivals: Sequence[Arrival], light: bool = False) -> None:
        """These were applied here. ``light``: nobody waits for them, so they wait for company."""
        self.stream.push(arrivals)
        if light:
            self._lonely.ring()
        else:
            self.wake()

    def wake(self) -> None:
        """There may be something to send, or to read for that."""
        self._sender.ring()
        self._feeder.ring()

    def say(self, make: Callable[[PeerLink], bytes]) -> None:
        """Send a small frame, if the link is open."""
        if self.open and self._farewell is None:
            self.outgoing.say(make(self.link))
            self._sender.ring()

    def say_have(self, positions: Mapping[str, int], blobs: Sequence[bytes] = ()) -> None:
        """Confirm."""
        if self.open:
            self.outgoing.say_have(positions, blobs)
            self._sender.ring()

    def tell(self, topic: str, payload: bytes) -> None:
        """Send something of the moment."""
        if self.open:
            self.outgoing.say_tell(topic, payload)
            self._sender.ring()

    def bar(self, box: str) -> None:
        """No entries of ``box`` on this link, in either direction."""
        if box not in self.stream.barred:
            self.stream.bar(box)
            self.say(lambda link: link.say_bar(box))

    def end(self, error: PeerError | LinkLost) -> None:
        """End the link; the other side is told why, if it takes it within ``FAREWELL_S``."""
        if self.error is not None:
            return
        self.error = error
        if isinstance(error, LinkLost | Refused):
            self._scope.cancel()
        else:
            shown = b""
            if isinstance(error, Refusal) and error.evidence is not None and self.state is not None:
                shown = self.link.say_entries([error.evidence], True, self.state.epoch)
            self._farewell = shown + self.link.refuse(error.code, str(error))
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + FAREWELL_S)
            self._sender.ring()

    # its life

    async def run(self) -> None:
        """Returns when the link is over: then ``error`` says why. The stream is closed."""
        try:
            with self._scope:
                try:
                    with trio.fail_after(HANDSHAKE_S):
                        await self._begin()
                    async with trio.open_nursery() as nursery:
                        for task in (
                            self._send,
                            self._read,
                            self._absorb,
                            self._feed,
                            self._serve,
                            self._beat,
                            self._find_company,
                        ):
                            nursery.start_soon(self._guard, task)
                except PeerError as error:
                    self.end(error)
                    with suppress(LinkLost):
                        await self.tls.send_all(self._farewell or b"")
                except LinkLost as error:
                    self.end(error)
                except trio.TooSlowError:
                    self.end(LinkLost("the handshake took too long"))
                except Exception as error:
                    self._failed(error)
            if not isinstance(self.error, LinkLost):
                with trio.move_on_after(LINGER_S):
                    await self.tls.linger()
        finally:
            self.open = False
            if self.error is None:
                self.error = LinkLost("cancelled")
            self.tls.close()

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """What goes wrong in a task ends the link, and nothing else."""
        try:
            await task()
        except (PeerError, LinkLost) as error:
            self.end(error)
        except BadEntries as error:
            self.end(Refusal(Code.BAD_ENTRIES, str(error)))
        except StoreError as error:
            log.warning("link to a box ended by the store", peer=self.box, error=str(error))
            self.end(Refusal(Code.STOPPING, "this box cannot store anything now"))
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """After the end nothing is said any more, and who tries is not to blame."""
        if self.error is None:
            log.exception("link to a box ended by an error", peer=self.box, error=error)
            self.end(Refusal(Code.STOPPING, "internal error"))

    async def _begin(self) -> None:
        """Until both have said where they stand. Raises ``PeerError``, ``LinkLost``."""
        await self._take_state(await shake_hands(self, self._host))
        self.open = self.was_open = True
        self._host.opened(self)

    async def _take_state(self, state: events.PeerState) -> None:
        self.state = state
        await self._host.histories.judge(self, state)
        self.before = {}
        self.shop.replica.saw_clock(state.clock)
        if self.shop.read is not None:
            self.stream.begin({box: at.seq for box, at in state.positions.items()}, state.epoch)
        self.wake()

    async def next_event(self) -> events.Event:
        """What comes next, before the link is open. Raises ``PeerError``, ``LinkLost``."""
        while (event := self.link.next_event()) is None:
            await self._receive()
        return event

    async def _receive(self) -> None:
        octets = b""
        with trio.move_on_after(GONE_S):
            octets = await self.tls.receive(RECEIVE_OCTETS if self.joined else UNPROVEN_OCTETS)
            if not octets:
                raise LinkLost("the other side closed the link")
        if not octets:
            raise LinkLost(f"nothing came for {GONE_S:.0f} s")
        self.heard_at = trio.current_time()
        self.octets_in += len(octets)
        self.link.receive_data(octets)

    # the tasks

    async def _read(self) -> None:
        own = self.shop.replica.own
        while True:
            handled = 0
            while self._farewell is None and (event := self.link.next_event()) is not None:
                if isinstance(event, events.PeerState):
                    await self._take_state(event)
                    continue
                if isinstance(event, events.Entries) and any(a.box == own for a in event.arrivals):
                    await self._host.histories.look_at_own(self, event.arrivals)
                self._handle(event)
                handled += 1
                if handled % EVENTS_A_TURN == 0:
                    await trio.lowlevel.checkpoint()
            while self._intake.full:
                await self._room.wait()
            await self._receive()

    def _handle(self, event: events.Event) -> None:
        match event:
            case events.Entries() | events.Reached():
                if not self.shop.takes:
                    raise BadFrame("entries on a link that is for a copy")
                self._intake.put(event)
                self._absorber.ring()
            case events.Messages() if event.part:
                self._intake.put(event)
                self._absorber.ring()
            case events.Have():
                self.stream.have(event.positions)
                self.wake()
                self._host.have(self, event)
            case events.Barred():
                self.stream.bar(event.box)
                self.wake()
                self._host.heard(self, event)
            case events.Want():
                self.outgoing.asked_range(event)
                self._server.ring()
            case events.Wants():
                self.outgoing.asked_octets(event.msgids)
                self._server.ring()
            case events.Beat():
                self.shop.replica.saw_clock(event.clock)
                self._host.heard(self, event)
            case _:
                self._host.heard(self, event)

    async def _send(self) -> None:
        while True:
            if self._farewell is not None:
                await self.tls.send_all(self._farewell)
                self._scope.cancel()
                return
            pieces: list[bytes] = []
            size = 0
            while size < SEND_OCTETS and (frame := self.outgoing.next()) is not None:
                pieces.append(frame)
                size += len(frame)
            if not pieces:
                await self._sender.wait()
                continue
            await self.tls.send_all(b"".join(pieces))
            self.octets_out += size
            if self.outgoing.sending_blob:
                self._host.moved(self)
            if self.outgoing.wanted_range or self.outgoing.wanted_octets:
                self._server.ring()
            if self.stream.wants_read:
                self._feeder.ring()

    async def _beat(self) -> None:
        while True:
            self.outgoing.say_beat(self.shop.replica.clock)
            self._sender.ring()
            await trio.sleep(BEAT_S)

    async def _find_company(self) -> None:
        """Acknowledgements alone would cost the other side a commit of their own, and delay the next."""
        while True:
            await self._lonely.wait()
            await trio.sleep(COMPANY_S)
            self.wake()

    async def _absorb(self) -> None:
        rest_s = FULL_REST_S
        while True:
            work = self._intake.take()
            self._room.ring()
            if work is None:
                await self._absorber.wait()
                continue
            began = trio.current_time()
            try:
                await self._take(work)
            except DiskFull as error:
                log.warning("entries of another box not taken", peer=self.box, error=str(error))
                await self._wait_for_room(rest_s)
                rest_s = min(FULL_REST_MAX_S, 2 * rest_s)
                continue
            rest_s = FULL_REST_S
            if not work.live:
                await trio.sleep((trio.current_time() - began) * REST_SHARE)

    async def _take(self, work: Work) -> None:
        replica = self.shop.replica
        arrivals = await self._host.histories.sift(self, work.arrivals) if work.arrivals else []
        if arrivals:
            self.stream.came(arrivals)
            await replica.absorb(arrivals, self.box)
        if work.confirm:
            positions = replica.positions()
            self.say_have({box: positions[box].seq for box in work.confirm if box in positions})
        if work.reached is not None:
            self.reached = True
            self._host.heard(self, events.Reached(work.reached, self._epoch))
        self._host.absorbed(self, arrivals)

    async def _wait_for_room(self, rest_s: float) -> None:
        """What came is let go of: the other side sends it again, when there is room."""
        self._epoch += 1
        self._intake.begin_anew(self._epoch)
        self._room.ring()
        await trio.sleep(rest_s)
        if self.open:
            self._say_state()

    def _say_state(self) -> None:
        replica = self.shop.replica
        self._intake.begin_anew(self._epoch)
        positions, complete = replica.positions(), self.shop.complete()
        self.say(
            lambda link: link.say_state(positions, replica.clock, complete, self.shop.program, self._epoch)
        )

    async def _feed(self) -> None:
        read, replica, stream = self.shop.read, self.shop.replica, self.stream
        while read is not None:
            if not stream.wants_read:
                await self._feeder.wait()
                continue
            began = trio.current_time()
            after = stream.begin_read(replica.positions())
            try:
                stream.end_read(await read(after, READ_OCTETS))
            except Gap as gap:
                stream.gap()
                box = gap.box
                if stream.mode is Mode.GAP:
                    self.say(lambda link, box=box: link.say_gap(box))  # type: ignore[misc]
            self._sender.ring()
            await trio.sleep((trio.current_time() - began) * REST_SHARE)

    async def _serve(self) -> None:
        outgoing = self.outgoing
        while True:
            want, msgids = outgoing.wanted_range, outgoing.wanted_octets
            if want is not None:
                outgoing.give_range(await self.shop.read_blob(want.sha, want.offset, want.octets))
            if msgids is not None:
                outgoing.give_octets(await self.shop.replica.octets(msgids))
            if want is None and msgids is None:
                await self._server.wait()
            else:
                self._sender.ring()
