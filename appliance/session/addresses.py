"""Where the site can be reached: what people type into a client."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address


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
            return _address_without_router(family)


def _address_without_router(family: socket.AddressFamily) -> str | None:
    """The same where nothing leads to the Internet: a cable to a laptop, a Wi-Fi whose router is off. Of IPv6
    none that means something only with the name of an interface.
    """
    found = []
    for index, name in socket.if_nameindex():
        if name == "lo":
            continue
        with socket.socket(family, socket.SOCK_DGRAM) as probe, suppress(OSError):
            if family == socket.AF_INET:
                probe.setsockopt(
                    socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", b"", b"", index)
                )
                probe.connect(("224.0.0.251", 9))
            else:
                probe.connect(("ff05::fb", 9, 0, index))
            found.append(ip_address(probe.getsockname()[0].partition("%")[0]))
    usable = [ip for ip in found if not (ip.is_unspecified or (ip.version == 6 and ip.is_link_local))]
    best = min(usable, key=lambda ip: ip.is_link_local, default=None)
    return None if best is None else str(best)
