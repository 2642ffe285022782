"""Client links without a thread or a task each: one epoll loop runs them all.

A thousand messages a second leave no time for a scheduler between socket and reader. So a line is read until
it is empty, everything that its events cause to be sent goes out in one write, and then it is the next one's
turn.

Bound: what a line has to send is kept until the server takes it; who uses the line keeps a window.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable

from appliance import wire

CONNECT_S = 10.0
RECEIVE_OCTETS = 256 << 10
IN, IN_OUT = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


TLS = _context()


class Reactor:
    """The loop. Lines belong to the reactor that they are opened with."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._lines: dict[int, Line] = {}
        self._dirty: dict[Line, None] = {}

    def until(self, true: Callable[[], bool], within_s: float = 60.0) -> bool:
        """Run until it is true, or the time is over; whether it is."""
        deadline = time.monotonic() + within_s
        while not true():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.turn(min(left, 0.005))
        return True

    def run(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def turn(self, timeout_s: float = 0.0) -> None:
        """Send what is to be sent and handle what has come, waiting for it for `timeout_s` at most."""
        self._flush()
        for descriptor, _ in self._epoll.poll(timeout_s):
            line = self._lines.get(descriptor)
            if line is not None:
                line._ready()
        self._flush()

    def close(self) -> None:
        for line in list(self._lines.values()):
            line.close()
        self._epoll.close()

    def _flush(self) -> None:
        while self._dirty:
            self._dirty.popitem()[0]._flush()


class Line:
    """One connection, as client. A subclass says what it does with `happened` and `lost`.

    `open` blocks for the handshake; from then on nothing blocks.
    """

    def __init__(self, reactor: Reactor, address: tuple[str, int]) -> None:
        self.reactor = reactor
        self.address = address
        self.link = wire.ClientLink()
        self.up = False
        self._socket: ssl.SSLSocket
        self._descriptor = -1
        self._out: list[bytes] = []
        self._unsent = memoryview(b"")
        self._mask = IN

    def open(self) -> None:
        """Connect, and do the TLS handshake. Raises OSError."""
        self.close()
        sock = socket.create_connection(self.address, CONNECT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = TLS.wrap_socket(sock)
        self._socket.setblocking(False)
        self._descriptor = self._socket.fileno()
        self._out, self._unsent, self._mask = [], memoryview(b""), IN
        self.link = wire.ClientLink()
        self.up = True
        self.reactor._lines[self._descriptor] = self
        self.reactor._epoll.register(self._descriptor, IN)

    def close(self) -> None:
        """Close without a word. `lost` is not called."""
        if self._descriptor >= 0:
            self.reactor._lines.pop(self._descriptor, None)
            self.reactor._dirty.pop(self, None)
            self.reactor._epoll.unregister(self._descriptor)
            self._socket.close()
            self._descriptor = -1
        self.up = False

    def request(self, request: wire.Request, data: bytes = b"") -> None:
        """Send it, soon. On a line that is down it is dropped."""
        if self.up:
            self._out.append(self.link.encode(request))
            if data:
                self._out.append(data)
            self.reactor._dirty[self] = None

    def happened(self, event: wire.ServerMessage | wire.Data) -> None:
        """Something has come."""

    def lost(self, reason: str) -> None:
        """The line has broken, or the server has closed it."""

    # the reactor's

    def _ready(self) -> None:
        receive, link = self._socket.recv, self.link
        try:
            while self.up:
                octets = receive(RECEIVE_OCTETS)
                if not octets:
                    self._end("closed by the server")
                    return
                link.receive_data(octets)
                while (event := link.next_event()) is not wire.NEED_DATA:
                    assert not isinstance(event, wire.NeedData)
                    self.happened(event)
                    if not self.up:
                        return
        except ssl.SSLWantReadError:
            pass
        except (OSError, wire.RemoteProtocolError) as error:
            self._end(f"{type(error).__name__}: {error}")
            return
        self._flush()

    def _flush(self) -> None:
        if not self.up:
            return
        self.reactor._dirty.pop(self, None)
        try:
            while True:
                if not self._unsent:
                    if not self._out:
                        break
                    self._unsent = memoryview(b"".join(self._out))
                    self._out = []
                self._unsent = self._unsent[self._socket.send(self._unsent[:RECEIVE_OCTETS]) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._watch(IN_OUT)
        except OSError as error:
            self._end(f"{type(error).__name__}: {error}")
        else:
            self._watch(IN)

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self.reactor._epoll.modify(self._descriptor, mask)

    def _end(self, reason: str) -> None:
        self.close()
        self.lost(reason)
