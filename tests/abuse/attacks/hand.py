"""What attackers do their work with: connections on which anything can be said."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance import wire
from tests.load.reactor import TLS

PATIENCE_S = 20.0
RECEIVE_OCTETS = 1 << 16


@dataclass
class Target:
    """Whom to attack, and for how long; `options` are the attack's own."""

    address: tuple[str, int]
    seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    _until: float = 0.0

    def under_way(self) -> None:
        """The preparations are over. From now on it counts."""
        print("under way", flush=True)
        self._until = time.monotonic() + self.seconds

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._until

    def connect(self, tls: bool = True, source: str | None = None) -> socket.socket:
        """Raises OSError."""
        bound = (source, 0) if source else None
        sock = socket.create_connection(self.address, PATIENCE_S, source_address=bound)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not tls:
            return sock
        try:
            return TLS.wrap_socket(sock)
        except OSError:
            sock.close()
            raise


class Hand:
    """A member, made for the attack, on a link of its own; blocking."""

    def __init__(self, target: Target, alias: str | None = None, source: str | None = None) -> None:
        self.target = target
        self.alias = alias
        self.source = source
        self.uid = self.node = ""
        self.sock: ssl.SSLSocket
        self.link: wire.ClientLink
        self.answers: dict[str, wire.AckReply] = {}
        self.quit = ""
        self._ready = False
        self.enter()

    def enter(self, receive_buffer: int = 0) -> None:
        """Register, or log in. `receive_buffer`: octets that the system takes for us while we do not read."""
        self.link = wire.ClientLink()
        self._ready = False
        sock = self.target.connect(source=self.source)
        assert isinstance(sock, ssl.SSLSocket)
        self.sock = sock
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        login: Any = wire.Login(self.uid, self.node) if self.uid else wire.Register("evil", self.alias, None)
        self.sock.sendall(self.link.encode(wire.TmtpRev("1")) + self.link.encode(login))
        while not self._ready:
            self.read()

    def read(self, within_s: float = PATIENCE_S) -> bool:
        """Take what has come; False if nothing did. Raises OSError at the end of the link."""
        self.sock.settimeout(within_s)
        try:
            octets = self.sock.recv(RECEIVE_OCTETS)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        if not octets:
            raise OSError(f"closed by the box: {self.quit}")
        self.link.receive_data(octets)
        while not isinstance(event := self.link.next_event(), wire.NeedData):
            if isinstance(event, wire.Registered):
                self.uid, self.node = event.uid, event.nodeid
            elif isinstance(event, wire.Info):
                self._ready = True
            elif isinstance(event, wire.AckReply):
                self.answers[event.id] = event
            elif isinstance(event, wire.QuitReply):
                self.quit = event.error
        return True

    def ask(self, request: Any, data: bytes = b"") -> wire.AckReply:
        self.sock.settimeout(PATIENCE_S)
        self.sock.sendall(self.link.encode(request) + data)
        while request.id not in self.answers:
            self.read()
        return self.answers.pop(request.id)

    def close(self) -> None:
        self.sock.close()


def push(sock: socket.socket, octets: bytes) -> int:
    """Send what goes out without waiting; how many octets that was. Raises OSError for a broken link."""
    sock.setblocking(False)
    try:
        return sock.send(octets)
    except (BlockingIOError, ssl.SSLWantWriteError):
        return 0


def alive(sock: socket.socket) -> bool:
    """Whether the box keeps the connection; reads away what has come."""
    sock.setblocking(False)
    try:
        while sock.recv(RECEIVE_OCTETS):
            pass
        return False
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def framed(header: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    octets = header if isinstance(header, bytes) else json.dumps(header).encode()
    return b"%04x" % len(octets) + octets + data


def close_all(socks: list[socket.socket]) -> None:
    for sock in socks:
        with contextlib.suppress(OSError):
            sock.close()


def run(attacks: dict[str, Callable[[Target], dict[str, Any]]]) -> None:
    """`python -m tests.abuse.attacks NAME HOST PORT SECONDS OPTIONS`: prints `under way`, and at the end a
    line of JSON with what was done."""
    name, host, port, seconds, options = sys.argv[1:]
    target = Target((host, int(port)), float(seconds), json.loads(options))
    print(json.dumps(attacks[name](target)), flush=True)
