"""The configuration of keepalived for a box: what `pocket peer keepalived` prints."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, ip_address
from pathlib import Path
from typing import Any

import click

from appliance.cli.tables import dig

SIOCGIFADDR = 0x8915
PRIORITY = 150
"""Of the box in slot 0; each further one has one less."""

TEMPLATE = """\
# keepalived for the box {name} ({box}) of a pocket site. Made by: pocket peer keepalived --address {shared}
# On each box: apt install keepalived, put what this command prints THERE into
# /etc/keepalived/keepalived.conf, systemctl restart keepalived.
# Then have clients told of it, in pocket.toml of each box:
#   [peer]
#   addresses = ["={host}:{port}", "={own}:{port}"]
# The box has to listen on all addresses, as it does unless `listen` says otherwise.

global_defs {{
    router_id {router}
    enable_script_security
    script_user root
}}

vrrp_script pocket_serves {{
    script "{command} status --check --data {data}"
    interval 5
    timeout 4
    fall 1
    rise 2
    user {user}
}}

vrrp_instance pocket {{
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id {number}
    priority {priority}
    advert_int 1
    unicast_src_ip {own}
    unicast_peer {{
{peers}
    }}
    virtual_ipaddress {{
        {shared} dev {interface}
    }}
    track_script {{
        pocket_serves
    }}
}}
"""


def parse_shared(text: str) -> IPv4Interface:
    """The shared address with its prefix. Ends the command if it is none."""
    try:
        shared = IPv4Interface(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no address with its prefix, as in 192.168.1.250/24") from None
    if "/" not in text or shared.ip in (shared.network.network_address, shared.network.broadcast_address):
        raise click.BadParameter(f"{text!r} is no host's address with its prefix, as in 192.168.1.250/24")
    return shared


def configuration(listed: Any, shared: IPv4Interface, interface: str | None, data: Path) -> str:
    """The text, from what `peer.list` says. Ends the command if a box has no address that fits."""
    own: tuple[Any, IPv4Address] | None = None
    peers: list[tuple[Any, IPv4Address]] = []
    for box in dig(listed, "boxes") or []:
        if dig(box, "state") in ("revoked", "replaced"):
            continue
        address = next((a for a in _addresses(box) if a in shared.network and a != shared.ip), None)
        if address is None:
            raise click.ClickException(
                f"{dig(box, 'name')} has no address in {shared.network}: the shared address has to be in the"
                " network of all boxes, and each has to have said where it is (pocket peer list)"
            )
        if dig(box, "own"):
            own = box, address
        else:
            peers.append((box, address))
    if own is None or not peers:
        raise click.ClickException("there is one box only: invite another one with   pocket peer invite")
    box, address = own
    interface = interface or interface_of(address)
    if interface is None:
        raise click.ClickException(f"no interface here has {address}: name it with --interface")
    port = next((a.rpartition(":")[2] for a in dig(box, "addresses") or []), "4433")
    site = hashlib.sha256(str(dig(listed, "site")).encode()).digest()
    return TEMPLATE.format(
        name=_plain(dig(box, "name")),
        box=dig(box, "box"),
        shared=shared,
        host=shared.ip,
        port=port,
        router=f"pocket-{dig(listed, 'announced')}",
        command=shutil.which("pocket") or "/usr/local/bin/pocket",
        data=data,
        user=_owner(data),
        interface=interface,
        number=site[0] % 255 + 1,
        priority=PRIORITY - int(dig(box, "slot") or 0),
        own=address,
        peers="\n".join(f"        {address}    # {_plain(dig(other, 'name'))}" for other, address in peers),
    )


def suggestion(listed: Any) -> str:
    """An example in this box's own network."""
    own = next((box for box in dig(listed, "boxes") or [] if dig(box, "own")), None)
    address = next((a for a in _addresses(own) if a.is_private and not a.is_loopback), None)
    network = IPv4Interface(f"{address or '192.168.1.5'}/24").network
    return f"as in --address {network.network_address + 250}/24"


def interface_of(address: IPv4Address) -> str | None:
    """The name of the network interface that has this address; None if none has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            if answer[20:24] == address.packed:
                return name
    return None


def _addresses(box: Any) -> Iterator[IPv4Address]:
    for text in dig(box, "addresses") or []:
        try:
            address = ip_address(text.lstrip("=+").rpartition(":")[0].strip("[]"))
        except ValueError:
            continue
        if isinstance(address, IPv4Address):
            yield address


def _owner(data: Path) -> str:
    try:
        return data.owner()
    except (OSError, KeyError):
        return "pocket"


def _plain(text: Any) -> str:
    """Fit for a comment of the file."""
    return "".join(char for char in str(text) if char.isprintable())
