"""One link to another site, as its client (TMTP revision 1, sections 1 to 4).

One task reads (``next_event``, ``ready``, ``next_data``), one writes (``send_all``): first what was said
(acks, pulses), then what a source of requests has. The site is not trusted: ``wire.ClientLink`` judges every
octet, and whatever goes wrong ends in an error of this room, never in another one.

Bounds. In: one frame head and 64 KiB of data (wire), one receive of 64 KiB. Out: ``OUTBOX_MAX`` frames that
were said, beyond which reading stops; one piece of a request's data.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from appliance import wire
from appliance.relay.errors import LoginRefused, UpstreamBroke, UpstreamBusy, UpstreamLost
from appliance.relay.settings import RelaySettings
from appliance.session import LinkLost, TlsStream
from appliance.store import Blobs, FileDamaged
from appliance.wire import reasons

RECEIVE_OCTETS = 64 << 10
OUTBOX_MAX = 512
EVENTS_A_TURN = 32
"""Then it is the others' turn."""

LONG_HEAD_OCTETS = 4096
LONG_HEADS_OCTETS_PER_S = 1_000_000
IDLE_EVENTS_PER_S = 2000
"""Frames that bring nothing are read no faster: a site that floods us with them has no more of our time."""

TEXT_CHARS_MAX = 200
REFUSALS = (reasons.LOGIN_FAILED, reasons.CORRUPT_BASE32, reasons.AUTHENTICATION_REQUIRED)


@dataclass(frozen=True, slots=True)
class Parcel:
    """The request ``item`` on its way out: a frame head, and its data, in memory or as the blob ``blob``."""

    item: int
    head: bytes
    size: int
    data: bytes | None
    blob: bytes | None


class Source(Protocol):
    """Who has requests to send."""

    async def next_parcel(self) -> Parcel | None:
        """The next one; None if there is none now: the link is woken when there is."""

    async def damaged(self, parcel: Parcel, error: FileDamaged) -> None:
        """Its file cannot be read as it was written. The link ends, in the middle of it."""


class Upstream:
    """A link, from a finished handshake on. ``pin`` is what to remember of the certificate."""

    def __init__(self, stream: TlsStream, settings: RelaySettings, pin: str) -> None:
        self.pin = pin
        self.wire = wire.ClientLink()
        self.logged_in = False
        self._stream = stream
        self._settings = settings
        self._outbox: list[bytes] = []
        self._bell = trio.Event()
        self._drained = trio.Event()
        self._handled = 0
        self._idle = 0

    # the start

    async def greet(self) -> wire.TmtpRevReply:
        """Say hello; what the site answers. Put a deadline around it."""
        await self._send(self.wire.encode_frame(wire.TmtpRev("1")))
        reply = await self._answer()
        if not isinstance(reply, wire.TmtpRevReply):
            raise UpstreamBroke("the site does not answer as a TMTP site does: is the address right?")
        return reply

    async def log_in(self, uid: str, password: str) -> list[str]:
        """The uids that are online and announce themselves to this one. Raises ``LoginRefused``,
        ``UpstreamBusy``.
        """
        await self._send(self.wire.encode_frame(wire.Login(uid, password)))
        return await self._logged_in()

    async def register(self, label: str, alias: str | None, oidc: dict[str, Any] | None) -> wire.Registered:
        """Make an account, whose first node is this link. Raises ``LoginRefused`` with the site's words."""
        await self._send(self.wire.encode_frame(wire.Register(label, alias, oidc)))
        reply = await self._answer()
        if not isinstance(reply, wire.Registered):
            raise UpstreamBroke("the site answered the registration with something else")
        await self._logged_in()
        return reply

    async def leave(self) -> None:
        """Say goodbye on a link that no tasks serve, and wait for the site's, so that it does not take the
        node for logged in. Messages that come meanwhile stay there.
        """
        await self._send(self.wire.encode_frame(wire.Quit()))
        with suppress(UpstreamLost, UpstreamBroke):
            while not isinstance(await self.next_event(), wire.QuitReply):
                pass

    async def _logged_in(self) -> list[str]:
        info = await self._answer()
        if not isinstance(info, wire.Info):
            raise UpstreamBroke("the site answered the login with something else")
        self.logged_in = True
        return info.ohi

    async def _answer(self) -> wire.ServerMessage | wire.Data:
        reply = await self.next_event()
        if not isinstance(reply, wire.QuitReply):
            return reply
        words = f"the site says: {said(reply.error)}"
        if reply.error == reasons.NODE_ALREADY_CONNECTED:
            raise UpstreamBusy("the site takes this box for logged in already")
        if reply.error in REFUSALS or reply.error.startswith(reasons.REGISTER_FAILURE):
            raise LoginRefused(words)
        raise UpstreamLost(words)

    # reading

    async def next_event(self) -> wire.ServerMessage | wire.Data:
        """What the site says next. Raises ``UpstreamLost``, ``UpstreamBroke``."""
        while len(self._outbox) > OUTBOX_MAX:
            await self._drained.wait()
        while True:
            event = self.ready()
            if event is not None:
                await self._be_fair()
                return event
            await self._receive(RECEIVE_OCTETS)

    def ready(self) -> wire.ServerMessage | wire.Data | None:
        """What the site has said next, if that is here already."""
        try:
            event = self.wire.next_event()
        except wire.RemoteProtocolError as error:
            raise UpstreamBroke(f"the site broke the protocol: {error}") from error
        return None if isinstance(event, wire.NeedData) else event

    async def next_data(self) -> wire.Data:
        """The next piece of a large message's data."""
        while True:
            event = self.ready()
            if isinstance(event, wire.Data):
                return event
            await self._receive(4 * RECEIVE_OCTETS, within_frame=True)

    async def brought_nothing(self) -> None:
        """Call it for a frame of which nothing came: too many of them are read slowly."""
        self._idle += 1
        if self._idle >= EVENTS_A_TURN:
            self._idle = 0
            await trio.sleep(EVENTS_A_TURN / IDLE_EVENTS_PER_S)

    async def _be_fair(self) -> None:
        if self.wire.head_octets > LONG_HEAD_OCTETS:
            await trio.sleep(self.wire.head_octets / LONG_HEADS_OCTETS_PER_S)
        self._handled += 1
        if self._handled >= EVENTS_A_TURN:
            self._handled = 0
            await trio.lowlevel.checkpoint()

    async def _receive(self, octets_max: int, within_frame: bool = False) -> None:
        limit_s = self._settings.stall_s if within_frame or self.wire.buffered else float("inf")
        octets = b""
        with trio.move_on_after(limit_s) as patience:
            try:
                octets = await self._stream.receive(octets_max)
            except LinkLost as error:
                raise UpstreamLost(f"the link broke: {error}") from error
        if patience.cancelled_caught:
            raise UpstreamLost(f"the site stopped in the middle of a message for {limit_s:g} s")
        if not octets:
            raise UpstreamLost("the site closed the link")
        self.wire.receive_data(octets)

    # writing

    def say(self, request: wire.Request) -> None:
        """Send a request without data, ahead of others."""
        self._outbox.append(self.wire.encode_frame(request))
        self._bell.set()

    def wake(self) -> None:
        """The source may have something."""
        self._bell.set()

    @property
    def backlog(self) -> int:
        """Frames that were said and that the site has yet to take."""
        return len(self._outbox)

    def unconfirmed(self) -> int:
        """Octets that the site's machine has not confirmed yet."""
        return self._stream.unsent()

    async def send_all(self, source: Source, blobs: Blobs) -> None:
        """The writing task: all that is said, all that ``source`` has, pulses, until the link ends. Raises
        ``UpstreamLost``.
        """
        while True:
            if self._outbox:
                frames, self._outbox = self._outbox, []
                await self._send(b"".join(frames))
                self._drained.set()
                self._drained = trio.Event()
                continue
            parcel = await source.next_parcel()
            if parcel is not None:
                try:
                    await self._send_parcel(parcel, blobs)
                except FileDamaged as error:
                    await source.damaged(parcel, error)
                    raise
                continue
            if self._bell.is_set():
                self._bell = trio.Event()
                continue
            with trio.move_on_after(self._settings.pulse_s) as pause:
                await self._bell.wait()
            if pause.cancelled_caught:
                self.say(wire.Pulse())

    async def _send_parcel(self, parcel: Parcel, blobs: Blobs) -> None:
        if parcel.blob is None:
            await self._send(parcel.head + (parcel.data or b""))
            return
        async with blobs.download(parcel.blob, parcel.size) as file:
            await self._send(parcel.head)
            while piece := await file.read():
                await self._send(piece)

    async def _send(self, octets: bytes) -> None:
        with trio.move_on_after(self._settings.stall_s) as patience:
            try:
                await self._stream.send_all(octets)
            except LinkLost as error:
                raise UpstreamLost(f"the link broke: {error}") from error
        if patience.cancelled_caught:
            raise UpstreamLost(f"the site took nothing for {self._settings.stall_s:g} s")

    def quit(self) -> None:
        """Say goodbye after what was said before."""
        with suppress(wire.LocalProtocolError):
            self.say(wire.Quit())

    def close(self) -> None:
        self._stream.close()


def said(text: str) -> str:
    """Words of a site, so that they can be shown: printable and not too many."""
    shown = "".join(c if c.isprintable() else " " for c in text[:TEXT_CHARS_MAX])
    return shown if len(text) <= TEXT_CHARS_MAX else f"{shown}..."
