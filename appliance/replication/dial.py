"""Calling another box: its addresses in order, a stagger apart, until one answers that has its key."""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Sequence
from typing import Final

import trio

from appliance.replication.errors import Impostor, Unreachable
from appliance.replication.identity import public_key
from appliance.session import PEER_NAME, LinkLost, TlsStream, watch_peer

STAGGER_S: Final = 0.25
CONNECT_S: Final = 5.0
"""For all of it: finding the name, connecting, TLS."""
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 30.0
SUSPICIOUS_PAUSE_S: Final = 300.0
"""The longest pause after a box broke the protocol or was refused: calling it again soon helps nobody."""
KEEPALIVE_IDLE_S: Final = 2
KEEPALIVE_INTERVAL_S: Final = 1
USER_TIMEOUT_S: Final = 5.0
TCP_NOTSENT_LOWAT: Final = 25
UNSENT_OCTETS: Final = 128 << 10
"""What the system keeps of ours before it is on the wire: what is urgent has to wait for no more."""
DEFAULT_PORT: Final = 4433


class Backoff:
    """How long to wait before the next call: twice as long each time, and a bit at random."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S
        self._poke = trio.Event()

    def reset(self) -> None:
        """The box was there."""
        self._next_s = FIRST_PAUSE_S

    def poke(self) -> None:
        """There is a reason to call at once."""
        self.reset()
        self._poke.set()

    async def wait(self, longest_s: float = LONGEST_PAUSE_S) -> None:
        pause_s = self._next_s * random.uniform(0.5, 1.0)
        self._next_s = min(longest_s, 2 * self._next_s)
        with trio.move_on_after(pause_s):
            await self._poke.wait()
        self._poke = trio.Event()


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``, ``[V6]:PORT``, ``HOST``, with or without ``=`` in front. Raises
    ``ValueError``.
    """
    text = address.removeprefix("=").removeprefix("+")
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{address} is no address")
    elif text.count(":") > 1:
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"{address} is no address")
    return host, int(port or DEFAULT_PORT)


async def dial(addresses: Sequence[str], public: bytes, context: ssl.SSLContext) -> tuple[TlsStream, str]:
    """A link to the box with this key, and the address where it answered. Raises ``Unreachable``, whose text
    says of each address what was wrong; ``Impostor`` if all that answered are others.
    """
    found: list[tuple[TlsStream, str]] = []
    problems: dict[str, Exception] = {}
    with trio.move_on_after(CONNECT_S):
        async with trio.open_nursery() as nursery:
            failed = [trio.Event() for _ in addresses]
            for number, address in enumerate(addresses):

                async def attempt(number: int = number, address: str = address) -> None:
                    if number:
                        with trio.move_on_after(STAGGER_S * number):
                            await failed[number - 1].wait()
                    try:
                        stream = await _connect(address, public, context)
                    except (OSError, ValueError, LinkLost, Impostor) as error:
                        problems[address] = error
                        failed[number].set()
                        return
                    if found:
                        stream.close()
                    else:
                        found.append((stream, address))
                        nursery.cancel_scope.cancel()

                nursery.start_soon(attempt)
    if found:
        return found[0]
    if problems and all(isinstance(error, Impostor) for error in problems.values()):
        raise Impostor(str(next(iter(problems.values()))))
    told = (f"{address}: {problems.get(address) or 'no answer'}" for address in addresses)
    raise Unreachable("; ".join(told) or "no address is known")


async def _connect(address: str, public: bytes, context: ssl.SSLContext) -> TlsStream:
    host, port = split_address(address)
    last: Exception = OSError("the name is not known")
    for family, kind, proto, _, place in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = trio.socket.socket(family, kind, proto)
        try:
            await sock.connect(place)
            plain = socket.socket(fileno=sock.detach())
        except OSError as error:
            last = error
            continue
        finally:
            sock.close()
        stream = TlsStream(plain, context, PEER_NAME)
        try:
            watch_peer(plain, KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, USER_TIMEOUT_S)
            await stream.handshake()
            shown = public_key(stream.certificate)
            if shown != public:
                raise Impostor("another box answered, or something in between")
        except BaseException as error:
            stream.close()
            if not isinstance(error, OSError | LinkLost):
                raise
            last = error
            continue
        return stream
    raise last


def hurry(stream: TlsStream) -> None:
    """Have the system find a dead peer soon, and keep little of what is to be sent."""
    try:
        stream.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
        stream.set_option(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
        stream.set_option(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(USER_TIMEOUT_S * 1000))
        stream.set_option(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_OCTETS)
    except OSError:
        return  # the link is gone, which its reader is about to notice
