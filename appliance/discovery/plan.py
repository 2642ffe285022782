"""Which interfaces to use and which addresses to tell: a pure function of what the kernel says.

- An interface counts when it is up, has its carrier, can multicast and has an address. Loopback and
  point-to-point links (VPNs) never count; those of containers and virtual machines only when asked for.
- Sockets: one per interface and family, so that nothing is sent twice into one network. IPv6 prefers the
  link-local address: it stays when the provider hands out another prefix.
- Told are addresses that the box listens on. Not told are IPv6 addresses that are temporary, deprecated
  or not yet known to be unique. Link-local ones (169.254.0.0/16, fe80::/10) are told only where an interface
  has nothing better, as on a cable between the box and a laptop: elsewhere they only make clients wait.
- All addresses are told on all interfaces: the library has one set of records. Clients try each.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from appliance.discovery.netlink import (
    DAD_FAILED,
    DEPRECATED,
    LOOPBACK,
    MULTICAST,
    POINT_TO_POINT,
    RUNNING,
    TEMPORARY,
    TENTATIVE,
    UP,
    IPAddress,
    Link,
    Network,
)

LINKS_MAX = 8
ADDRESSES_MAX = 16
"""16 AAAA records are 448 octets: names, text and these fit into one packet of 1,460."""

_NEEDED = UP | RUNNING | MULTICAST
_NOT_OURS = re.compile(r"docker\d+|br-[0-9a-f]{12}|(veth|virbr|vnet|cni|cali|flannel|podman|lxc|lxd|tap).*")


@dataclass(frozen=True, slots=True)
class Plan:
    """``sockets`` are as zeroconf wants them: IPv4 addresses, IPv6 addresses or interface indexes.
    ``own`` are all addresses of this machine, packed, told or not: a record with one of them is nobody
    else's.
    """

    sockets: tuple[str | int, ...] = ()
    addresses: tuple[str, ...] = ()
    links: frozenset[int] = frozenset()
    own: frozenset[bytes] = field(default=frozenset(), compare=False)


def plan(
    network: Network, interfaces: Collection[str] = (), listen: Sequence[str] = ("0.0.0.0", "::")
) -> Plan:
    """What to do in this network. Without sockets there is nobody to tell; without addresses, nothing."""
    fe80 = Counter(each.ip for each in network.addresses if each.ip.version == 6)
    sockets: list[str | int] = []
    told: dict[str, None] = {}
    links: set[int] = set()
    for link in network.links:
        usable = [a for a in network.addresses if a.index == link.index and _settled(a.ip, a.flags)]
        if len(links) == LINKS_MAX or not usable or not _counts(link, interfaces):
            continue
        links.add(link.index)
        v4 = [a.ip for a in usable if a.ip.version == 4]
        v6 = sorted((a.ip for a in usable if a.ip.version == 6), key=lambda ip: not ip.is_link_local)
        sockets += [str(ip) for ip in v4[:1]]
        sockets += [str(ip) if fe80[ip] == 1 else link.index for ip in v6[:1]]
        heard = [a.ip for a in usable if _listens(a.ip, listen) and not _passing(a.ip, a.flags)]
        best = [ip for ip in heard if not ip.is_link_local] or heard
        told |= dict.fromkeys(str(ip) for ip in best)
    own = frozenset(each.ip.packed for each in network.addresses)
    return Plan(tuple(sockets), tuple(told)[:ADDRESSES_MAX], frozenset(links), own)


def only_here(listen: Sequence[str]) -> bool:
    """Whether the box listens to this machine alone, so that nobody else could use what is announced."""
    return all(ip.is_loopback for ip in _bound(listen))


def _counts(link: Link, interfaces: Collection[str]) -> bool:
    if link.flags & _NEEDED != _NEEDED or link.flags & (LOOPBACK | POINT_TO_POINT):
        return False
    return link.name in interfaces if interfaces else not _NOT_OURS.fullmatch(link.name)


def _settled(ip: IPAddress, flags: int) -> bool:
    return ip.version == 4 or not flags & (TENTATIVE | DAD_FAILED)


def _passing(ip: IPAddress, flags: int) -> bool:
    return ip.version == 6 and bool(flags & (TEMPORARY | DEPRECATED))


def _listens(ip: IPAddress, listen: Sequence[str]) -> bool:
    return any(each == ip or (each.is_unspecified and each.version == ip.version) for each in _bound(listen))


def _bound(listen: Sequence[str]) -> list[IPAddress]:
    return [ipaddress.ip_address(address.partition("%")[0]) for address in listen]
