"""One client's link to the scripted site: one message in flight, acks first, no word when it breaks."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from appliance import wire

from . import answering
from .accounts import Body, Message, Node, Spool
from .script import Action, Cut, Deaf, Delay, Endless, Hold, Ignore, Refuse, Say

if TYPE_CHECKING:
    from .site import Upstream

RECEIVE_OCTETS = 1 << 18


class Over(Exception):
    """The link is at its end. `cut`: at once; otherwise after what is in the outbox."""

    def __init__(self, why: str, cut: bool = True) -> None:
        super().__init__(why)
        self.cut = cut


class Link:
    """Lives as long as the connection."""

    def __init__(self, site: Upstream, transport: trio.SocketStream) -> None:
        self.site = site
        self.number = site.record.begin()
        self.node: Node | None = None
        self._transport = transport
        self._stream = trio.SSLStream(transport, site.context, server_side=True)
        self._link = wire.ServerLink()
        self._out: deque[tuple[bytes, str] | Endless] = deque()
        """Octets, and of which request they are the ack."""
        self._wake = trio.Event()
        self._ending = False
        self._in_flight: Message | None = None
        self._again_at = 0.0
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    async def run(self) -> None:
        """Until it is over, for whatever reason."""
        why = "cancelled"
        reset = False
        try:
            with self.scope:
                why = await self._live()
            if self.scope.cancelled_caught:
                why, reset = "killed", True
        finally:
            self._let_go()
            self.site.record.end(self.number, why)
            with trio.CancelScope(shield=True):
                if reset or why == "reset":
                    linger = struct.pack("ii", 1, 0)
                    self._transport.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                await trio.aclose_forcefully(self._transport)

    async def _live(self) -> str:
        why = "ended"
        try:
            if await self._at("connect", ""):
                return "misled"
            with trio.fail_after(self.site.login_timeout_s):
                await self._stream.do_handshake()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                nursery.start_soon(self._send)
        except* Over as group:
            over = group.exceptions[0]
            while isinstance(over, BaseExceptionGroup):
                over = over.exceptions[0]
            if isinstance(over, Over) and not over.cut:
                with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(1):
                    await self._stream.aclose()
            why = str(over)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            why = "broken"
        except* trio.TooSlowError:
            why = "timeout"
        return why

    # Steps

    async def _at(self, step: str, op: str, what: Any = None) -> Action | None:
        """What is to be done at this step beside the usual; Cut, Delay and Hold are done here."""
        uid = self.node.member.uid if self.node else getattr(what, "uid", "")
        action = self.site.action(step, op, uid, what)
        if isinstance(action, Cut):
            raise Over("reset" if action.reset else "cut")
        if isinstance(action, Delay):
            await trio.sleep(action.seconds)
            return None
        if isinstance(action, Hold):
            await self._opened(action)
            return None
        if isinstance(action, Deaf):
            await trio.sleep_forever()
        if step == "connect" and isinstance(action, Say):
            with contextlib.suppress(trio.BrokenResourceError):
                await self._transport.send_all(action.octets)
            if not action.cut:
                await self._drain(self._transport)
        elif step == "connect" and isinstance(action, Endless):
            await self._transport.send_all(action.before)
            while True:
                await self._transport.send_all(action.again)
        return action

    @staticmethod
    async def _opened(hold: Hold) -> None:
        token, event = trio.lowlevel.current_trio_token(), trio.Event()
        hold.when_open(lambda: token.run_sync_soon(event.set))
        await event.wait()

    async def _mislead(self, action: Action | None) -> None:
        """Ends an opening that is not answered as it should be."""
        if isinstance(action, Refuse):
            self.say(self._link.encode_quit(action.error))
            self._end("refused")
        if isinstance(action, Say):
            self.say(action.octets)
            if action.cut:
                self._end("said and cut")
        if isinstance(action, Endless):
            self._put(action)
        await self._drain(self._stream)

    async def _drain(self, stream: trio.abc.ReceiveStream) -> None:
        while await stream.receive_some(RECEIVE_OCTETS):
            pass
        raise Over("client closed")

    # Out

    def say(self, octets: bytes, ack_of: str = "") -> None:
        """Before any message."""
        self._put((octets, ack_of))

    def _put(self, what: tuple[bytes, str] | Endless) -> None:
        self._out.append(what)
        self._wake.set()

    def wake(self, octets: bytes = b"") -> None:
        """There is something in the queue; or these octets are to go out now."""
        if octets:
            self.say(octets)
        self._wake.set()

    def _end(self, why: str) -> None:
        """Over, after what is in the outbox; the reader stops."""
        self._ending = True
        self._wake.set()
        raise _Ending(why)

    async def _send(self) -> None:
        while True:
            while self._out:
                await self._send_octets(self._out.popleft())
            if self._ending:
                raise Over("ended", cut=False)
            message = self.node.next() if self.node is not None else None
            again = message is self._in_flight
            if message is not None and not (again and trio.current_time() < self._again_at):
                await self._send_message(message)
                continue
            self._wake = trio.Event()
            with trio.move_on_after(self._again_at - trio.current_time() if message else float("inf")):
                await self._wake.wait()

    async def _send_octets(self, item: tuple[bytes, str] | Endless) -> None:
        if isinstance(item, Endless):
            await self._stream.send_all(item.before)
            while True:
                await self._stream.send_all(item.again)
        octets, ack_of = item
        self._write_down(False, _op_of(octets), octets)
        if octets:
            await self._stream.send_all(octets)
        if ack_of:
            await self._at("acked", ack_of)

    async def _send_message(self, message: Message) -> None:
        self._in_flight = message
        self._again_at = trio.current_time() + self.site.resend_s
        action = await self._at("message", message.op, message)
        if isinstance(action, Ignore):
            return
        if isinstance(action, Say):
            self._write_down(False, message.op, action.octets)
            await self._stream.send_all(action.octets)
            if action.cut:
                raise Over("said and cut", cut=False)
            return
        if isinstance(action, Endless):
            await self._send_octets(action)
        self._write_down(False, message.op, message.head, message.body.size)
        if message.body.file is None:
            await self._stream.send_all(message.head + message.body.octets)
        else:
            await self._stream.send_all(message.head)
            for piece in message.body.pieces():
                await self._stream.send_all(piece)
        await self._at("sent", message.op, message)

    # In

    async def _read(self) -> None:
        try:
            with trio.fail_after(self.site.login_timeout_s):
                while self._link.state is not wire.State.LOGGED_IN:
                    await self._open(await self._event(self.site.login_timeout_s))
            while True:
                await self._request(await self._event(self.site.idle_timeout_s))
        except _Ending:
            return
        except wire.RemoteProtocolError as error:
            self.say(self._link.encode_quit(error.reason))
            self._ending = True
            self._wake.set()

    async def _event(self, within_s: float) -> Any:
        while (event := self._link.next_event()) is wire.NEED_DATA:
            with trio.fail_after(within_s):
                octets = await self._stream.receive_some(RECEIVE_OCTETS)
            if not octets:
                raise Over("client closed")
            self._link.receive_data(octets)
        return event

    async def _open(self, request: Any) -> None:
        """Tmtprev, register, login."""
        self._write_down(True, request.name, getattr(request, "head", b""))
        site = self.site
        if isinstance(request, wire.TmtpRev):
            if action := await self._at("greet", request.name, request):
                await self._mislead(action)
            self.say(self._link.encode_tmtprev(site.name, site.auth, site.authby))
        elif isinstance(request, wire.Register):
            await self._register(request)
        elif isinstance(request, wire.Login):
            await self._login(request)
        else:
            self.say(self._link.encode_quit())
            self._end("quit")

    async def _register(self, request: wire.Register) -> None:
        site = self.site
        if action := await self._at("register", request.name, request):
            await self._mislead(action)
        if site.auth and not site.judge_oidc(request.oidc):
            self.say(self._link.encode_quit("authentication required"))
            self._end("authentication required")
        alias, error = request.newalias, None
        if alias is not None and (len(alias.encode()) < 8 or alias in site.accounts.aliases):
            alias, error = None, "newalias must be 8+ characters, and nobody else's"
        member = site.accounts.add_member(alias, site.mint_uid() if site.mint_uid else "")
        node = site.accounts.add_node(member, request.newnode)
        self.say(self._link.encode_registered(member.uid, node.password, error))
        self._session(node)

    async def _login(self, request: wire.Login) -> None:
        node = self.site.accounts.node(request.uid, request.node)
        reason = "login failed" if node is None else "node already connected" if node.linked else ""
        if reason:
            self.say(self._link.encode_quit(reason))
            self._end(reason)
        if action := await self._at("login", request.name, request):
            await self._mislead(action)
        assert node is not None
        answering.login(self.site.accounts, node)
        self._session(node)

    def _session(self, node: Node) -> None:
        members = self.site.accounts.members.values()
        ohi = [m.uid for m in members if m.online and node.member.uid in m.tells]
        self.node, node.linked, node.wake = node, True, self.wake
        self.say(self._link.encode_login_ok(ohi))

    async def _request(self, request: Any) -> None:
        self._write_down(True, request.name, getattr(request, "head", b""), getattr(request, "datalen", 0))
        if isinstance(request, wire.Ack):
            await self._ack(request)
        elif isinstance(request, wire.Quit):
            self.say(self._link.encode_quit())
            self._end("quit")
        elif not isinstance(request, wire.Pulse):
            spool = await self._take(request)
            await self._ask(request, spool.body(), request.head + spool.digest())

    async def _ack(self, ack: wire.Ack) -> None:
        assert self.node is not None
        if not isinstance(await self._at("ack", "Ack", ack), Ignore) and self.node.release(ack.id):
            self._wake.set()

    def _answer(self, request: Any, body: Body, octets: bytes) -> bytes:
        """Do it, unless the site remembers it from an earlier link; the ack."""
        assert self.node is not None
        made_on, answer = self.node.answers.get(octets, (self.number, None))
        if answer is None or made_on == self.number or not self.site.remembers:
            try:
                answer = answering.answer(self.site.accounts, self.node, request, body)
            except answering.Refused as refusal:
                return wire.encode_ack(request.id, error=str(refusal))
        self.node.answers[octets] = self.number, answer
        return wire.encode_ack(request.id, *answer)

    async def _take(self, request: Any) -> Spool:
        datalen = request.datalen if wire.has_data(request) else 0
        spool = Spool(self.site.folder, datalen)
        try:
            if datalen and request.inline:
                spool.write(request.data)
                await self._at("data", request.name, spool)
            while spool.size < datalen:
                piece = await self._event(self.site.idle_timeout_s)
                spool.write(piece.octets)
                await self._at("data", request.name, spool)
        except BaseException:
            spool.body()  # closes its file
            raise
        return spool

    async def _ask(self, request: Any, body: Body, octets: bytes) -> None:
        assert self.node is not None
        action = await self._at("request", request.name, request)
        if isinstance(action, Ignore):
            return
        if isinstance(action, Refuse):
            self.say(wire.encode_ack(request.id, error=action.error), request.name)
            return
        ack = self._answer(request, body, octets)
        action = await self._at("taken", request.name, request)
        if isinstance(action, Refuse):
            ack = wire.encode_ack(request.id, error=action.error)
        if isinstance(action, Say):
            self.say(action.octets)
            if action.cut:
                self._end("said and cut")
        elif isinstance(action, Endless):
            self._put(action)
        elif not isinstance(action, Ignore):
            self.say(ack, request.name)

    # Ends

    def _let_go(self) -> None:
        node, self.node = self.node, None
        if node is not None:
            node.wake = None
            self.site.left(node)

    def _write_down(self, came: bool, op: str, head: bytes, size: int = 0) -> None:
        uid, label = (self.node.member.uid, self.node.label) if self.node else ("", "")
        self.site.record.add(self.number, uid, label, came, op, head, size)


class _Ending(Exception):
    """The reader has nothing more to do; the sender ends the link."""


def _op_of(octets: bytes) -> str:
    """The op in a frame of our own making."""
    for op in ("ack", "info", "ohi", "quit", "registered", "tmtprev"):
        if b'"op":"%b"' % op.encode() in octets[-400:] or b'"op":"%b"' % op.encode() in octets[:400]:
            return op
    return "octets"
