"""One client's link, from the handshake to the end (TMTP revision 1, sections 1 and 2).

Two tasks. The *reader*, in ``run``, takes octets to requests and gives those to the store; the store calls
back after the commit. The *sender* alone writes to the stream: first what is in the outbox (acks, notices),
then what the courier has. They share the outbox and a bell; nobody else waits for either.

Everything that can go wrong on a link ends in ``run``, which logs it and closes: a link never harms
another.

Bounds. In: one frame head and 64 KiB of data (wire), ``requests_in_flight`` requests in the store. Out: as
many acks, ``NOTICES_MAX`` notices, and one piece of at most some 512 KiB on its way into the socket. The
reader stops when the client does not take its acks.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from typing import TYPE_CHECKING

import trio

from appliance import wire
from appliance.delivery import Courier
from appliance.log import get_logger
from appliance.pairing import is_by_button, is_pairing
from appliance.session.comparing import compare
from appliance.session.errors import LinkLost
from appliance.session.joining import join
from appliance.session.requests import Acked, Requests
from appliance.session.service import Service
from appliance.session.tls import TlsStream
from appliance.session.welcome import Refused, welcome
from appliance.site import Message, Node
from appliance.store import FileDamaged, StoreError
from appliance.wire import reasons

if TYPE_CHECKING:
    from appliance.session.relayed import UpstreamIds

log = get_logger(__name__)

FAREWELL_S = 2.0
"""How long a client gets to take its last acks and the quit."""

LINGER_S = 1.0
"""How long to wait after a quit for the client to close."""

NOTICES_MAX = 64
RECEIVE_OCTETS = 64 << 10
FRAMES_A_TURN = 32
"""Then it is the other links' turn: thousands of small frames fit into one receive."""

LONG_HEAD_OCTETS = 4096
LONG_HEADS_OCTETS_PER_S = 1_000_000
"""Reading a header of 64 KiB can take milliseconds: links that send such ones get no more of our time."""

DEADLINE_STEP_S = 1.0
DEADLINE_STEPS = 20
"""Setting a deadline costs as much as a small message: only when it moves by as much."""


class Link:
    """Made when a connection was accepted. ``run`` is its life."""

    def __init__(self, service: Service, sock: socket.socket, context: ssl.SSLContext, address: str) -> None:
        self.service = service
        self.address = address
        self.wire = wire.ServerLink()
        self.member = 0
        self.node: Node | None = None
        self.courier: Courier
        self._stream = TlsStream(sock, context)
        self._scope = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._outbox: list[bytes] = []
        self._notices = 0
        self._bell = trio.Event()
        self._drained = trio.Event()
        self._online = False
        self._ending = False
        self._said_quit = False
        self._suspected = False
        self._requests: Requests
        self._ids: UpstreamIds | None = None
        """Of a membership's device: which message has which id at its site."""

    # what others call

    def wake(self) -> None:
        """There may be something to send."""
        self._bell.set()

    def send(self, frame: bytes) -> None:
        """Send a frame ahead of queued messages."""
        self._outbox.append(frame)
        self._bell.set()

    def notice(self, frame: bytes) -> None:
        """Send now or never: dropped if the client is behind, or has yet to log in: the answer to its login
        says who is online then.
        """
        if self._online and self._notices < NOTICES_MAX:
            self._notices += 1
            self.send(frame)

    def cut(self) -> None:
        """End the link without a word."""
        self._scope.cancel()

    def retire(self) -> None:
        """Read no more; send the acks of what was read, and close."""
        self._reading.cancel()

    def allow(self, seconds: float) -> None:
        """Let a guest take so long for its next step."""
        self._scope.deadline = trio.current_time() + seconds

    @property
    def stream(self) -> TlsStream:
        """For who takes the whole link over."""
        return self._stream

    def proven(self) -> None:
        """It is another box: it stays as long as it likes."""
        self._scope.deadline = math.inf
        self.service.gate.logged_in(self)

    def suspect(self) -> None:
        """Somebody says that this link is dead: have the system look at once, until octets come."""
        if not self._suspected:
            self._suspected = True
            self._look_every(1, 1)

    def _look_every(self, idle_s: int, interval_s: int) -> None:
        with contextlib.suppress(OSError):
            self._stream.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
            self._stream.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)

    def close(self) -> None:
        """Close a link that never ran."""
        self._stream.close()

    # its life

    async def run(self) -> None:
        """Serve the client until it leaves, breaks the protocol, times out or is cut."""
        service = self.service
        try:
            with self._scope:
                self._scope.deadline = trio.current_time() + service.settings.login_timeout_s
                await self._stream.handshake()
                if self._stream.is_peers:
                    with self._reading:
                        await service.peers(self)
                    return
                if (why := service.held()) is not None:
                    log.debug("link not served", address=self.address, reason=why)
                    return
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_all)
                    await self._serve()
                    await self._farewell()
                    nursery.cancel_scope.cancel()
                self._leave()
                if self._said_quit:
                    with trio.move_on_after(LINGER_S):
                        await self._stream.linger()
        except* LinkLost as group:
            log.debug("link lost", address=self.address, reason=str(group.exceptions[0]))
        except* StoreError as group:
            log.error("link ended by the store", error=str(group.exceptions[0]))
        except* Exception:
            log.exception("link ended by an error", address=self.address)
        finally:
            self._leave()
            self._stream.close()
            service.gate.leave(self.address, self)

    async def _serve(self) -> None:
        """Read until the end; a breach of the protocol becomes the quit that says so."""
        try:
            with self._reading:
                first = await self._receive_first()
                if is_pairing(first):
                    self._said_quit = True
                    await (compare if is_by_button(first) else join)(self.service, self, first)
                elif first:
                    self.wire.receive_data(first)
                    await self._read()
        except wire.RemoteProtocolError as error:
            await self._quit(error.reason)
        except Refused as refused:
            await self._quit(refused.reason)

    async def _quit(self, reason: str) -> None:
        """The last frame, after the acks of what was asked before."""
        log.debug("link quits", address=self.address, reason=reason)
        if self._online:
            with trio.move_on_after(FAREWELL_S):
                await self._requests.settled()
        frame = self.wire.encode_quit(reason)
        if frame:
            self._said_quit = True
            self.send(frame)

    async def _receive_first(self) -> bytes:
        """What comes first, as much as tells a pairing from TMTP; nothing if the client leaves."""
        first = b""
        while is_pairing(first) is None:
            octets = await self._stream.receive(RECEIVE_OCTETS)
            if not octets:
                return b""
            first += octets
        return first

    async def receive(self) -> bytes:
        """What a guest says next. Raises ``LinkLost``."""
        return await self._stream.receive(RECEIVE_OCTETS)

    async def _read(self) -> None:
        link, stream = self.wire, self._stream
        next_event = link.next_event
        handled = 0
        while True:
            if handled == FRAMES_A_TURN:
                handled = 0
                await trio.lowlevel.checkpoint()
            event = next_event()
            while event is wire.NEED_DATA:
                octets = await stream.receive(RECEIVE_OCTETS)
                if not octets:
                    return
                self._extend()
                link.receive_data(octets)
                event = next_event()
                handled = 0
            handled += 1
            if isinstance(event, wire.Ack):
                msgid = wire.parse_id(event.id)
                if msgid is not None:
                    for ours in (msgid,) if self._ids is None else self._ids.acked(msgid):
                        self.courier.ack(ours)
            elif isinstance(event, wire.Pulse):
                pass
            elif isinstance(event, wire.TmtpRev):
                verifier = self.service.verifier
                self.send(link.encode_tmtprev(self.service.name, verifier.auth, verifier.authby))
            elif isinstance(event, wire.Register | wire.Login):
                await self._log_in(event)
            elif isinstance(event, wire.Quit):
                raise Refused(reasons.LOGOUT_OK)
            elif isinstance(event, Acked):
                await self._requests.take(event)
            if link.head_octets > LONG_HEAD_OCTETS:
                await trio.sleep(link.head_octets / LONG_HEADS_OCTETS_PER_S)

    async def next_data(self) -> wire.Data:
        """The next piece of a large request's data. Raises ``LinkLost`` if the client leaves meanwhile."""
        while True:
            event = self.wire.next_event()
            if type(event) is wire.Data:
                return event
            octets = await self._stream.receive(4 * RECEIVE_OCTETS)
            if not octets:
                raise LinkLost("the client left in the middle of a message")
            self._extend()
            self.wire.receive_data(octets)

    @property
    def backlog(self) -> int:
        """Frames that the client has yet to take, queued messages aside."""
        return len(self._outbox)

    async def drained(self) -> None:
        """Until some of the backlog is gone, or the sender is done."""
        await self._drained.wait()

    def take_place(self, node: Node) -> bool:
        """Become the node's link; False if another one is."""
        service = self.service
        self.courier = Courier(node.number, service.store, service.settings.courier, self.wake)
        if not service.exchange.enter(node.number, self):
            return False
        self.node, self.member = node, node.member
        return True

    def _settle(self) -> None:
        """Tell those who wait that some of the backlog is gone."""
        self._drained.set()
        self._drained = trio.Event()

    def _extend(self) -> None:
        """Octets came: the client is there."""
        if self._suspected:
            self._suspected = False
            settings = self.service.settings
            self._look_every(settings.keepalive_idle_s, settings.keepalive_interval_s)
        if self._online:
            idle_s = self.service.settings.idle_timeout_s
            deadline = trio.current_time() + idle_s
            if not 0 <= deadline - self._scope.deadline < min(DEADLINE_STEP_S, idle_s / DEADLINE_STEPS):
                self._scope.deadline = deadline

    async def _log_in(self, request: wire.Register | wire.Login) -> None:
        service = self.service
        node, frames = await welcome(service, self, request)
        self._online = True
        self._extend()
        service.gate.logged_in(self)
        hears = service.company.arrived(node)
        members = service.store.site.members
        uids = [members[other].uid for other in hears]
        if node.membership:
            from appliance.session.relayed import (  # most boxes have no memberships
                RelayedRequests,
                UpstreamIds,
            )

            uids = service.upstream.ohi(node.membership) if service.upstream is not None else []
            self._ids = UpstreamIds()
            self._requests = RelayedRequests(self, node)
        else:
            self._requests = Requests(self, node)
        frames.append(self.wire.encode_login_ok(uids))
        for frame in frames:
            self.send(frame)
        log.info("node logged in", member=members[node.member].uid, device=node.number, address=self.address)

    async def _farewell(self) -> None:
        """After the last frame was read: let the acks of what was asked, and the quit, go out."""
        self._ending = True
        with trio.move_on_after(FAREWELL_S):
            if self._online:
                await self._requests.settled()
            while self._outbox:
                await self._drained.wait()

    def _leave(self) -> None:
        if self.node is None:
            return
        service = self.service
        service.exchange.leave(self.node.number, self)
        if self._online:
            self._online = False
            self._requests.end()
            service.company.left(self.node)

    # the sender

    async def _send_all(self) -> None:
        try:
            while True:
                await self._bell.wait()
                self._bell = trio.Event()
                while await self._send_some():
                    pass
        except LinkLost:
            self._scope.cancel()

    async def _send_some(self) -> bool:
        """Send the outbox and what the courier has; False if there was nothing."""
        frames = self._outbox
        messages: list[Message] = []
        if self._online and not self._ending:
            if self.courier.next_expiry <= trio.current_time() and self._stream.unsent():
                self.courier.postpone()
            messages = await self.courier.take()
            if self._ids is not None:
                self._ids.sent(messages)
            frames = self._outbox
        if not frames and not messages:
            return False
        pieces = list(frames)
        for message in messages:
            if message.blob is None:
                pieces += message.head, message.data or b""
            else:
                await self._stream.send_all(b"".join(pieces))
                self._taken(len(frames))
                frames, pieces = [], []
                await self._send_file(message, message.blob)
        if pieces:
            await self._stream.send_all(b"".join(pieces))
        self._taken(len(frames))
        if messages:
            self.courier.sent(messages)
        return True

    async def _send_file(self, message: Message, blob: bytes) -> None:
        """Send a message whose data are a file. If that is damaged the others need not wait for it; but in
        the middle of it the client cannot be told, so the link ends.
        """
        begun = False
        try:
            async with self.service.store.blobs.download(blob, message.size) as file:
                await self._stream.send_all(message.head)
                begun = True
                while piece := await file.read():
                    await self._stream.send_all(piece)
        except FileDamaged as error:
            await self.service.store.healing.blob_damaged(blob, why=str(error))
            if begun:
                raise
            self.courier.drop(message.msgid)

    def _taken(self, count: int) -> None:
        """So many frames of the outbox are on their way."""
        if count:
            del self._outbox[:count]
            self._notices = 0
            self._settle()
