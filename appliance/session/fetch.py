"""One bounded HTTPS GET, for key sets. Blocking: call it in a worker thread.

`urllib.request` has a timeout per read, which an answer of an octet a second never meets, and follows
redirects to other schemes. Here one deadline covers connecting, TLS, redirects and every read, and the
octets are counted as they come, heads included. Proxies and cookies are not supported. Import this module
where it is needed: a box without OpenID Connect does without http.client and what that imports.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, urljoin, urlsplit

from appliance.session.errors import Unavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

REDIRECTS_MAX = 3
HEADS_OCTETS_MAX = 64 * 1024


def check_url(url: str) -> SplitResult:
    """The parts of a key set URL, which is https, or http to a loopback address.

    Raises ValueError with what is wrong.
    """
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it has characters that must be written as %xx, or in the host as xn--")
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("https", "http") or not host:
        raise ValueError("it must be https://HOST/...")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("keys fetched without TLS prove nothing: it must be https://HOST/...")
    if "@" in parts.netloc or parts.port == 0:
        raise ValueError("it must name a host, and maybe a port, without a user")
    return parts


def download(url: str, timeout_s: float, octets_max: int) -> bytes:
    """The body at `url`, at most `octets_max` octets; follows `REDIRECTS_MAX` redirects within its scheme.

    Raises `Unavailable` for all that can go wrong, at the latest `timeout_s` after resolving the host names.
    """
    deadline_s = time.monotonic() + timeout_s
    scheme = urlsplit(url).scheme
    try:
        for _ in range(REDIRECTS_MAX + 1):
            parts = check_url(url)
            if parts.scheme != scheme:
                raise Unavailable(f"it redirects from {scheme} to {parts.scheme}")
            status, location, body = _get(parts, deadline_s, octets_max)
            if status == http.client.OK:
                if len(body) > octets_max:
                    raise Unavailable(f"its key set is larger than {octets_max} octets")
                return body
            if status not in (301, 302, 303, 307, 308) or not location:
                raise Unavailable(f"it answered with HTTP status {status}")
            url = urljoin(url, location)
    except TimeoutError:
        raise Unavailable(f"it did not answer within {timeout_s:g} s") from None
    except http.client.HTTPException as error:
        raise Unavailable(f"its answer is no HTTP ({type(error).__name__})") from None
    except ssl.SSLCertVerificationError as error:
        raise Unavailable(f"its TLS certificate is not trusted: {error.verify_message}") from None
    except socket.gaierror:
        raise Unavailable("its host name is not found: is this box on the Internet?") from None
    except OSError as error:
        raise Unavailable(f"it cannot be reached: {error.strerror or type(error).__name__}") from None
    except ValueError as error:
        raise Unavailable(f"its URL, or where it redirects to, cannot be used: {str(error)[:100]}") from None
    raise Unavailable(f"it redirects more than {REDIRECTS_MAX} times")


def _get(parts: SplitResult, deadline_s: float, octets_max: int) -> tuple[int, str | None, bytes]:
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    with _connected(host, parts.port or (443 if secure else 80), deadline_s) as plain:
        if secure:
            context = ssl.create_default_context()
            plain.settimeout(_left_s(deadline_s))
            with context.wrap_socket(plain, server_hostname=host) as encrypted:
                return _exchange(encrypted, parts, deadline_s, octets_max)
        return _exchange(plain, parts, deadline_s, octets_max)


def _exchange(
    stream: socket.socket, parts: SplitResult, deadline_s: float, octets_max: int
) -> tuple[int, str | None, bytes]:
    connection = http.client.HTTPConnection(parts.hostname or "")
    connection.sock = stream
    stream.settimeout(_left_s(deadline_s))
    connection.request(
        "GET",
        (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        headers={
            "Host": parts.netloc,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": "pocket",
        },
    )
    source = _Source(stream, deadline_s, octets_max + HEADS_OCTETS_MAX)
    response = http.client.HTTPResponse(cast(socket.socket, source), method="GET")
    try:
        response.begin()
        body = response.read(octets_max + 1) if response.status == http.client.OK else b""
        return response.status, response.getheader("Location"), body
    finally:
        response.close()


class _Source(io.RawIOBase):
    """What a socket receives, until a deadline and up to a number of octets. A response reads from it."""

    def __init__(self, stream: socket.socket, deadline_s: float, octets_max: int) -> None:
        self._stream = stream
        self._deadline_s = deadline_s
        self._octets_left = octets_max

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._stream.settimeout(_left_s(self._deadline_s))
        received = self._stream.recv_into(buffer)
        self._octets_left -= received
        if self._octets_left < 0:
            raise Unavailable("its answer is larger than a key set may be")
        return received


def _connected(host: str, port: int, deadline_s: float) -> socket.socket:
    """A socket to the first address that answers; each gets its share of the time that is left."""
    failure: OSError | None = None
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        stream = socket.socket(family, kind, protocol)
        try:
            stream.settimeout(_left_s(deadline_s) / (len(addresses) - tried))
            stream.connect(address)
            return stream
        except OSError as error:
            stream.close()
            failure = error
    raise failure or OSError("no address")


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
