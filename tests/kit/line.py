"""One connection to a box, as octets and frames: for what no proper client would send."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING, Any, Self

from .frames import Frame, Splitter

if TYPE_CHECKING:
    from .place import Place

PATIENCE_S = 20.0
"""How long we wait for what must come. Long, since only a failing test waits it out."""

TCP_REPAIR = 19
"""Linux: takes a socket out of TCP's hands."""

RECEIVE_OCTETS = 1 << 18


class Silence(AssertionError):
    """Nothing came in time."""


class HungUp(AssertionError):
    """The box closed the link."""


def _context() -> ssl.SSLContext:
    """TLS that trusts no authority: the certificate is compared with the fingerprint that the box printed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


TLS = _context()


def framed(header: str | bytes | dict[str, Any], data: bytes = b"") -> bytes:
    """A frame with this header, which may be any text, right or wrong."""
    if isinstance(header, dict):
        header = json.dumps(header)
    octets = header.encode() if isinstance(header, str) else header
    return b"%04x" % len(octets) + octets + data


class Line:
    """A connection to `box`, over TLS or (tls=False) bare TCP, from the local address `source`."""

    def __init__(self, box: Place, *, source: str | None = None, tls: bool = True) -> None:
        bound = (source, 0) if source else None
        self.socket = socket.create_connection(box.address, PATIENCE_S, source_address=bound)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._splitter = Splitter()
        box.lines.add(self)
        if tls:
            self.socket = TLS.wrap_socket(self.socket, do_handshake_on_connect=False)
            self.socket.do_handshake()
            certificate = self.socket.getpeercert(binary_form=True)
            assert certificate is not None
            assert hashlib.sha256(certificate).hexdigest() == box.fingerprint, "another certificate"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        """Send all of it. A link that the box has closed is for the next read to find."""
        self.socket.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.socket.sendall(octets)

    def frame(self, within_s: float = PATIENCE_S) -> Frame:
        """The next frame, checked (see frames.py); Silence or HungUp if none comes."""
        deadline = time.monotonic() + within_s
        while (frame := self._splitter.next()) is None:
            octets = self._receive(deadline)
            if not octets:
                assert not self._splitter.rest, f"closed within a frame: {self._splitter.rest!r}"
                raise HungUp("the box closed the link")
            self._splitter.feed(octets)
        return frame

    def expect(self, op: str, **fields: Any) -> Frame:
        """The next frame, which must be this one. Keys that Python reserves end in `_`."""
        frame = self.frame()
        difference = frame.differs(op, {key.rstrip("_"): value for key, value in fields.items()})
        assert not difference, f"{difference}: {frame}"
        return frame

    def answer(self, request_id: str, **fields: Any) -> Frame:
        """The ack of this request, which other messages may precede."""
        while (frame := self.frame()).op != "ack":
            pass
        difference = frame.differs("ack", {"id": request_id, **fields})
        assert not difference, f"{difference}: {frame}"
        return frame

    def expect_quit(self, reason: str) -> None:
        """The box says why, and closes."""
        self.expect("quit", error=reason)
        self.expect_closed()

    def expect_closed(self, within_s: float = PATIENCE_S) -> None:
        """The box closes without (another) word."""
        try:
            frame = self.frame(within_s)
        except HungUp:
            return
        raise AssertionError(f"expected the link to be closed without a word, got {frame}")

    def expect_nothing(self, for_s: float = 0.3) -> None:
        """Neither a frame nor the end."""
        with contextlib.suppress(Silence):
            raise AssertionError(f"expected nothing, got {self.frame(for_s)}")

    def end(self) -> None:
        """Send no more, without TLS's goodbye; what the box sends can still be read."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def close(self) -> None:
        """Close without a word, as a client does that is switched off."""
        self.socket.close()

    def vanish(self) -> None:
        """Close without the other side's being told: no FIN, no RST. Needs CAP_NET_ADMIN."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self.socket.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _receive(self, deadline: float) -> bytes:
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return self.socket.recv(RECEIVE_OCTETS)
        except TimeoutError:
            raise Silence("nothing came from the box") from None
        except (ConnectionError, ssl.SSLEOFError):
            return b""


class Raw(Line):
    """A line whose user says every octet."""

    def say(self, header: str | bytes | dict[str, Any], data: bytes = b"") -> None:
        """Send one frame with this header, as it is."""
        self.send(framed(header, data))

    def greet(self) -> Self:
        """TmtpRev and its answer."""
        self.say('{"op":0,"id":"1"}')
        self.expect("tmtprev", id="1")
        return self
