"""Updates from a folder on a web server, by HTTPS.

One connection for each file, HTTP/1.1. What breaks off is gone on with (``Range``). Bounds: a head of 64 KiB,
``REDIRECTS_MAX`` redirects, none of them to plain HTTP; what is received at once is written before more is. A
server that gives nothing for ``STALL_S``, or less than ``SLOW_OCTETS`` in ``SLOW_S``, is left: what came is
kept.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

import h11
import trio

from appliance.updating.errors import NoSource, UpdateError
from appliance.updating.incoming import Incoming

CONNECT_S = 20.0
STALL_S = 30.0
SLOW_S = 60.0
SLOW_OCTETS = 64 << 10
REDIRECTS_MAX = 5
HEAD_OCTETS_MAX = 64 << 10
RECEIVE_OCTETS = 64 << 10
REDIRECTS = (301, 302, 303, 307, 308)

Stream = trio.abc.Stream
T = TypeVar("T")


class Web:
    """A folder at ``url``. Raises ``NoSource`` for whatever the network or the server does."""

    def __init__(self, url: str) -> None:
        self.where = url
        self._base = url if url.endswith("/") else url + "/"

    async def small(self, name: str, most: int) -> bytes:
        """A file of at most ``most`` octets."""
        octets = bytearray()
        async with self._open(name, 0) as answer:
            if answer.status != 200:
                raise NoSource(f"{answer.url} was answered with HTTP status {answer.status}")
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    octets += piece
                    if len(octets) > most:
                        raise NoSource(f"{answer.url} is larger than {most >> 10} KiB: that is no {name}")
        return bytes(octets)

    async def fetch(self, name: str, sha: bytes, incoming: Incoming) -> None:
        """Go on with a file. Raises ``UpdateError`` as ``incoming`` does, too."""
        async with self._open(name, incoming.size) as answer:
            if answer.status == 416:  # what is here is as long as what is there, or longer
                return
            if answer.status not in (200, 206):
                raise NoSource(f"{answer.url} was answered with HTTP status {answer.status}")
            if answer.status == 200 or answer.begins != incoming.size:
                if answer.status == 206:
                    raise NoSource(f"{answer.url} gave another part than was asked for")
                await incoming.again()
            if answer.length is not None:
                await incoming.expect(incoming.size + answer.length)
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    await incoming.write(piece)

    @asynccontextmanager
    async def _open(self, name: str, offset: int) -> AsyncGenerator[_Answer, None]:
        url = urljoin(self._base, name)
        for _ in range(REDIRECTS_MAX + 1):
            parts = checked(url)
            stream = await _telling(url, CONNECT_S, _connect, parts)
            try:
                answer = _Answer(url, stream)
                await _telling(url, STALL_S, answer.ask, parts, offset)
                if answer.status not in REDIRECTS or not answer.location:
                    yield answer
                    return
                url = urljoin(url, answer.location)
            finally:
                await trio.aclose_forcefully(stream)
        raise NoSource(f"{self.where} redirects more than {REDIRECTS_MAX} times")


class _Answer:
    """Of one request."""

    def __init__(self, url: str, stream: Stream) -> None:
        self.url = url
        self.status = 0
        self.location = ""
        self.length: int | None = None
        self.begins = 0
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_OCTETS_MAX)

    async def ask(self, parts: SplitResult, offset: int) -> None:
        """Until the head of the answer is there."""
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = [
            ("Host", parts.netloc),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
            ("User-Agent", "pocket"),
        ]
        if offset:
            headers.append(("Range", f"bytes={offset}-"))
        http = self._http
        request = http.send(h11.Request(method="GET", target=target, headers=headers)) or b""
        await self._stream.send_all(request + (http.send(h11.EndOfMessage()) or b""))
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                break
        self.status = event.status_code
        told = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        self.location = told.get("location", "")
        if told.get("content-encoding", "identity") != "identity":
            raise NoSource(f"{self.url} comes in another encoding than was asked for")
        length = told.get("content-length", "")
        self.length = int(length) if length.isdecimal() and len(length) < 16 else None
        begins = told.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        self.begins = int(begins) if begins.isdecimal() and len(begins) < 16 else 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body."""
        since, octets = trio.current_time(), 0
        while True:
            event = await _telling(self.url, STALL_S, self._event)
            if isinstance(event, h11.EndOfMessage):
                return
            if isinstance(event, h11.Data):
                octets += len(event.data)
                yield bytes(event.data)
            if (now := trio.current_time()) - since > SLOW_S:
                if octets < SLOW_OCTETS:
                    raise NoSource(f"{self.url} comes too slowly; what came is kept, try again later")
                since, octets = now, 0

    async def _event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE_OCTETS)))
        if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise h11.RemoteProtocolError("the answer is not whole")
        assert isinstance(event, h11.Event)
        return event


def checked(url: str) -> SplitResult:
    """The parts of an address of updates: https, or http on this machine. Raises ``UpdateError``."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UpdateError(f"{url[:100]} is no web address") from None
    plain = not url.isascii() or not url.isprintable() or " " in url
    if plain or not host or port == 0 or "@" in parts.netloc:
        raise UpdateError(f"{url[:100]} cannot be used: write https://HOST/FOLDER")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(host)):
        raise UpdateError(f"{url[:100]} is not https://: who listens would know when this box is not updated")
    return parts


async def _connect(parts: SplitResult) -> Stream:
    host, secure = parts.hostname or "", parts.scheme == "https"
    stream: Stream = await trio.open_tcp_stream(host, parts.port or (443 if secure else 80))
    if not secure:
        return stream
    try:
        tls = trio.SSLStream(stream, _context(), server_hostname=host, https_compatible=True)
        await tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _telling(url: str, limit_s: float, work: Callable[..., Awaitable[T]], *args: object) -> T:
    """Turn what the network does into words."""
    try:
        with trio.fail_after(limit_s):
            return await work(*args)
    except trio.TooSlowError:
        raise NoSource(f"{url} did not answer within {limit_s:.0f} s") from None
    except h11.RemoteProtocolError as error:
        raise NoSource(f"{url} gave no proper answer ({error}); what came is kept, try again") from None
    except trio.BrokenResourceError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise NoSource(f"the certificate of {url} is not trusted: {cause.verify_message}") from None
        raise NoSource(f"the connection to {url} broke; what came is kept, try again") from None
    except socket.gaierror:
        raise NoSource(f"the host of {url} is not found: is this box on the Internet?") from None
    except OSError as error:
        raise NoSource(f"{url} cannot be reached: {error.strerror or error}") from None


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
