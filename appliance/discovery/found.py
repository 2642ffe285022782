"""A box as it announced itself."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from zeroconf import ServiceInfo

from appliance.discovery.names import clean

FOUND_MAX = 64
"""More boxes than any home has; who announces more, fills no list."""

ADDRESSES_MAX = 16
TEXT_CHARACTERS = 64
ASK_S = 0.5
"""What asking after one box gets that was named, but told no port yet."""


@dataclass(frozen=True, slots=True)
class Found:
    """A box that announced itself. Anybody in the network can announce anything: nothing here is proof."""

    name: str
    host: str
    """Its name in the network, such as home.local."""
    addresses: tuple[str, ...]
    """What can be connected to, the likeliest first; link-local ones of IPv6 with their interface."""
    port: int
    id: str
    version: str
    pairing: bool
    """It lets new members in right now."""
    site: str = ""
    """The id of its site; "" if it never had a peer."""


def found_in(info: ServiceInfo, pairing: bool) -> Found | None:
    """What was announced, fit to be shown; None if it leads nowhere."""
    addresses = sorted(set(info.parsed_scoped_addresses()), key=_rank)[:ADDRESSES_MAX]
    if not addresses or not info.port or not info.server:
        return None
    text = {key: clean(value or "", TEXT_CHARACTERS) for key, value in info.decoded_properties.items()}
    return Found(
        name=clean(info.get_name(), TEXT_CHARACTERS),
        host=clean(info.server.rstrip("."), 4 * TEXT_CHARACTERS),
        addresses=tuple(addresses),
        port=info.port,
        id=text.get("id", ""),
        version=text.get("version", ""),
        pairing=pairing,
        site=text.get("site", ""),
    )


def _rank(address: str) -> tuple[bool, int, bytes]:
    ip = ipaddress.ip_address(address)
    return ip.is_link_local, ip.version, ip.packed
