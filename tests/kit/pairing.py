"""A guest that pairs over a line, one step at a time, and somebody in between."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.pairing import Code, Confirmed, Given, Guest, NodeGift, PairingError, Refused, Shared
from appliance.session.certificate import ensure_certificate, server_context

from .client import Client
from .line import PATIENCE_S, TLS, HungUp, Line

if TYPE_CHECKING:
    from .box import Box


def code_for(box: Box, member: Client | str, label: str = "tablet") -> str:
    """A code for a new device of the member, who is a client of ours or named."""
    name = member if isinstance(member, str) else member.alias
    made: dict[str, Any] = box.control("pair.code", member=name, label=label)
    return str(made["code"])


def client_of(box: Box, login: dict[str, Any]) -> Client:
    """What logs in with that, not logged in yet."""
    return Client(box, uid=login["uid"], node=login["node"], alias=login["alias"])


def address_of(box: Box) -> str:
    """As it is typed."""
    host, port = box.address
    return f"{host}:{port}"


def devices(box: Box, member: Client | str) -> list[str]:
    """The labels of the member's devices."""
    name = member if isinstance(member, str) else member.uid
    return [device["label"] for device in box.control("device.list", member=name)]


def wrong(code: str) -> str:
    """A code of the same number that is another one."""
    parsed = Code.parse(code)
    return Code.make(parsed.number, lambda below: (int(parsed.digits[1:7]) + 1) % below).text


class PairingLine(Line):
    """A line with a guest at this end. ``sent`` and ``got`` are its frames, in order."""

    def __init__(self, box: Box, code: str, *, kind: str = "node", source: str | None = None) -> None:
        super().__init__(box, source=source)
        self.guest = Guest(Code.parse(code), f"SHA256:{box.fingerprint}", kind)
        self.sent: list[bytes] = []
        self.got = b""

    def say(self, octets: bytes) -> None:
        self.sent.append(octets)
        self.send(octets)

    def event(self, within_s: float = PATIENCE_S) -> Any:
        """What the box says next; ``PairingError`` if it refuses, ``HungUp`` if it closes."""
        deadline = time.monotonic() + within_s
        while (event := self.guest.next_event()) is None:
            octets = self._receive(deadline)
            if not octets:
                raise HungUp("the box closed the link")
            self.got += octets
            self.guest.receive_data(octets)
        return event

    def begin(self) -> None:
        """Up to the box's answer."""
        self.say(self.guest.begin())
        assert isinstance(self.event(), Shared)

    def pair(self) -> NodeGift:
        """The whole exchange."""
        self.begin()
        self.say(self.guest.prove())
        given = self.event()
        assert isinstance(given, Given) and isinstance(given.gift, NodeGift)
        self.say(self.guest.take())
        assert isinstance(self.event(), Confirmed)
        self.expect_closed()
        return given.gift


def pair(box: Box, code: str, **how: Any) -> NodeGift:
    """Pair with the box; ``PairingError`` if it refuses."""
    with PairingLine(box, code, **how) as line:
        return line.pair()


def refusal(box: Box, code: str, **how: Any) -> str:
    """Why the box refuses to pair."""
    try:
        gift = pair(box, code, **how)
    except Refused as error:
        return str(error)
    except PairingError as error:
        raise AssertionError(f"expected a refusal, got {error!r}") from error
    raise AssertionError(f"expected a refusal, got {gift}")


@contextlib.contextmanager
def in_between(box: Box, folder: Path) -> Iterator[str]:
    """The address of somebody who passes everything on to the box and back, with a certificate of his own."""
    context = server_context(*ensure_certificate(folder, "another"))
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                victim, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                threading.Thread(target=relay, args=(victim,), daemon=True).start()

    def relay(victim: socket.socket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            near = context.wrap_socket(victim, server_side=True)
            far = TLS.wrap_socket(socket.create_connection(box.address))
            thread = threading.Thread(target=copy, args=(near, far), daemon=True)
            thread.start()
            copy(far, near)
            thread.join()
            near.close()
            far.close()

    def copy(source: ssl.SSLSocket, target: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            source.settimeout(PATIENCE_S)
            while octets := source.recv(65536):
                target.sendall(octets)
        with contextlib.suppress(OSError, ssl.SSLError):
            target.shutdown(socket.SHUT_RDWR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"=127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
