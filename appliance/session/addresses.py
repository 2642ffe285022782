"""Where the site can be reached: what people type into a client."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """``addresses``: ``=HOST:PORT`` each, the one to try first in front; they change as networks come and go.
    ``fingerprint``: ``SHA256:`` and 64 hex digits, of the certificate.
    """

    addresses: Callable[[], list[str]]
    fingerprint: str


def addresses_of(host: str, sockets: Sequence[socket.socket]) -> Callable[[], list[str]]:
    """What finds the addresses of a site that listens on ``host`` (empty, ``0.0.0.0`` or ``::``: on all); it
    always finds one.
    """
    port = sockets[0].getsockname()[1]
    families = list(dict.fromkeys(sock.family for sock in sockets))

    def addresses() -> list[str]:
        hosts = [host]
        if host in ("", "0.0.0.0", "::"):
            own = [_own_address(family) for family in families]
            hosts = [found for found in own if found] or [socket.gethostname() or "127.0.0.1"]
        return [f"=[{name}]:{port}" if ":" in name else f"={name}:{port}" for name in hosts]

    return addresses


def _own_address(family: socket.AddressFamily) -> str | None:
    """This machine's address in its network; None if it is in none. Nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9) if family == socket.AF_INET else ("2001:db8::1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return None
