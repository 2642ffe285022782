"""TLS on a non-blocking socket, for trio.

The standard library's ``SSLSocket`` does one system call and one decryption per call, straight from the
socket: about a third of the cost of a memory BIO in between, which is what counts for a thousand small
messages a second. It wants a socket that does not block, and says when to wait.

One task receives, one task sends. After a cancelled or failed ``send_all`` nothing more can be sent; the
peer sees a broken link.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import trio

from appliance.session.errors import LinkLost
from appliance.session.sockets import outgoing_octets

T = TypeVar("T")

PEER_NAME = "peer.pocket.internal"
"""The server name by which one box calls another, on the port that clients use as well."""

RECORD = 16384
"""The most that one TLS record carries; a shorter result of recv says that nothing more is there now."""


class TlsStream:
    """One end of a TLS connection over ``sock``, which becomes this object's: the server's, or that of a
    client which asks for ``server_name``.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """Nothing is sent or received yet."""
        sock.setblocking(False)
        self._sock: socket.socket = sock
        self._context = context
        self._server_name = server_name

    async def handshake(self) -> None:
        """Raises ``LinkLost`` if the other side does not speak TLS or goes away. Put a deadline around it.

        A server's end begins when something comes: a handshake holds some 100 KiB, which who is silent does
        not get.
        """
        server = self._server_name is None
        if server:
            await self._wait(trio.lowlevel.wait_readable)
        try:
            tls = self._context.wrap_socket(
                self._sock,
                server_side=server,
                server_hostname=self._server_name,
                do_handshake_on_connect=False,
            )
        except (OSError, ValueError) as error:
            raise LinkLost(str(error)) from error
        self._sock = tls
        await self._retry(tls.do_handshake)

    @property
    def is_peers(self) -> bool:
        """Whether the client asked for ``PEER_NAME``, and there is somebody for that. After the handshake."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.context is not self._context

    @property
    def certificate(self) -> bytes:
        """What the other end showed, in DER form; nothing if it showed none."""
        shown = self._sock.getpeercert(binary_form=True) if isinstance(self._sock, ssl.SSLSocket) else None
        return shown or b""

    async def receive(self, max_octets: int = 65536) -> bytes:
        """What there is, at least one octet; ``b""`` at the end, also at one without close_notify. Raises
        ``LinkLost``.

        Always a checkpoint. Cancelled, nothing is lost.
        """
        recv = self._sock.recv
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            first = recv(max_octets)
            await trio.lowlevel.cancel_shielded_checkpoint()
        except ssl.SSLWantReadError:
            await self._wait(trio.lowlevel.wait_readable)
            first = await self._retry(recv, max_octets)
        except ssl.SSLWantWriteError:
            first = await self._retry(recv, max_octets)
        except (OSError, ValueError) as error:
            raise LinkLost(str(error)) from error
        if len(first) < RECORD:
            return first
        pieces = [first]
        room = max_octets - len(first)
        while room >= RECORD:
            try:
                piece = recv(room)
            except (OSError, ValueError):
                break
            pieces.append(piece)
            room -= len(piece)
            if len(piece) < RECORD:
                break
        return b"".join(pieces)

    async def send_all(self, octets: bytes) -> None:
        """Send everything. Raises ``LinkLost``."""
        view = memoryview(octets)
        send = self._sock.send
        while view:
            piece = view[:RECORD]
            try:
                sent = send(piece)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, OSError):
                sent = await self._retry(send, piece)
            view = view[sent:]

    async def linger(self) -> None:
        """Send no more, and read until the other side is at its end: closing on unread octets would make the
        system throw away what was sent last. Put a deadline around it.
        """
        self._say_goodbye()
        with suppress(OSError, ValueError):
            self._sock.shutdown(socket.SHUT_WR)  # from here on the socket is a plain one
            while True:
                try:
                    if not self._sock.recv(RECORD):
                        return
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(self._sock)

    def unsent(self) -> int:
        """Octets that the other side's TCP has not confirmed yet."""
        return outgoing_octets(self._sock)

    def set_option(self, level: int, option: int, value: int) -> None:
        """Raises ``OSError``."""
        self._sock.setsockopt(level, option, value)

    def close(self) -> None:
        """Say goodbye if that can be done at once, and close. Wakes the tasks that wait for the socket,
        with ``LinkLost``.
        """
        if self._sock.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._sock)
        self._say_goodbye()
        self._sock.close()

    def _say_goodbye(self) -> None:
        """What TLS says at the end, if it can be sent at once."""
        if isinstance(self._sock, ssl.SSLSocket):
            with suppress(OSError, ValueError):
                self._sock.unwrap()

    async def _retry(self, call: Callable[..., T], *args: object) -> T:
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                wait = trio.lowlevel.wait_readable
            except ssl.SSLWantWriteError:
                wait = trio.lowlevel.wait_writable
            except (OSError, ValueError) as error:
                raise LinkLost(str(error)) from error
            await self._wait(wait)

    async def _wait(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await wait(self._sock)
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise LinkLost("closed") from error


def notice_peers(context: ssl.SSLContext, called: Callable[[], None]) -> None:
    """Call ``called`` when somebody asks for ``PEER_NAME``; shown is what everybody is."""

    def notice(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name == PEER_NAME:
            called()

    context.sni_callback = notice


def let_peers_in(context: ssl.SSLContext, peers: ssl.SSLContext) -> None:
    """Have those who ask for ``PEER_NAME`` shown the certificate of ``peers``."""

    def choose(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name == PEER_NAME:
            tls.context = peers

    context.sni_callback = choose
