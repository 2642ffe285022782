"""The kernel's word on network interfaces and their addresses (rtnetlink): what there is, and when it
changes.

A dump is a request on a socket of its own; the kernel answers at once, so it takes well below a
millisecond. Changes arrive on a socket that has joined the groups for links and addresses: their content
is not looked at, they only say that a new dump is due. So a lost one (ENOBUFS) is as good as one that came.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

RECEIVE_OCTETS = 1 << 16
"""More than the 32 KiB that the kernel puts into one part of a dump."""

PARTS_MAX = 256
"""Parts of one dump: 8 MiB, some 10,000 interfaces."""

DUMP_TIMEOUT_S = 2.0

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")

_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_REQUEST, _DUMP = 0x1, 0x300
_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""

_IFLA_IFNAME = 3
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8

UP, LOOPBACK, POINT_TO_POINT, RUNNING, MULTICAST = 0x1, 0x8, 0x10, 0x40, 0x1000
TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE = 0x1, 0x8, 0x20, 0x40
"""IFA_F_*. TEMPORARY means "secondary" for IPv4."""


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface; ``flags`` are the kernel's IFF_*."""

    index: int
    name: str
    flags: int


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the interface ``index``; ``flags`` are the kernel's IFA_F_*."""

    index: int
    ip: IPAddress
    flags: int


@dataclass(frozen=True, slots=True)
class Network:
    """What the machine has, in the kernel's order."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()


def read_network() -> Network:
    """What there is now. Blocks for a moment: DUMP_TIMEOUT_S at most. Raises ``OSError``."""
    links = tuple(link for part in _dump(_GETLINK, _LINK.size) for link in links_in(part))
    addresses = tuple(each for part in _dump(_GETADDR, _ADDRESS.size) for each in addresses_in(part))
    return Network(links, addresses)


def open_watch() -> socket.socket:
    """A socket, not blocking, that becomes readable when a link or an address changes. Raises
    ``OSError``.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, _GROUPS))
    except OSError:
        sock.close()
        raise
    return sock


def drain(watch: socket.socket) -> None:
    """Throw away what has arrived, at most PARTS_MAX of it. Raises ``OSError`` if the socket is broken."""
    for _ in range(PARTS_MAX):
        try:
            watch.recv(RECEIVE_OCTETS)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


def links_in(part: bytes) -> Iterator[Link]:
    """The interfaces in one part of a dump."""
    for payload in _payloads(part, _NEWLINK):
        if len(payload) < _LINK.size:
            continue
        _, _, index, flags, _ = _LINK.unpack_from(payload)
        name = _attributes(payload, _LINK.size).get(_IFLA_IFNAME, b"").rstrip(b"\0")
        yield Link(index, os.fsdecode(name), flags)


def addresses_in(part: bytes) -> Iterator[Address]:
    """The addresses in one part of a dump: this machine's own ends, of IPv4 and IPv6."""
    for payload in _payloads(part, _NEWADDR):
        if len(payload) < _ADDRESS.size:
            continue
        family, _, flags, _, index = _ADDRESS.unpack_from(payload)
        attributes = _attributes(payload, _ADDRESS.size)
        packed = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS, b""))
        if len(attributes.get(_IFA_FLAGS, b"")) == 4:
            (flags,) = struct.unpack("=I", attributes[_IFA_FLAGS])
        if family == socket.AF_INET and len(packed) == 4:
            yield Address(index, ipaddress.IPv4Address(packed), flags)
        elif family == socket.AF_INET6 and len(packed) == 16:
            yield Address(index, ipaddress.IPv6Address(packed), flags)


def _dump(kind: int, body: int) -> Iterator[bytes]:
    request = _HEADER.pack(_HEADER.size + body, kind, _REQUEST | _DUMP, 1, 0) + bytes(body)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(DUMP_TIMEOUT_S)
        sock.sendto(request, (0, 0))
        for _ in range(PARTS_MAX):
            part = sock.recv(RECEIVE_OCTETS)
            yield part
            if any(kind in (_ERROR, _DONE) for kind, _ in _messages(part)):
                return


def _payloads(part: bytes, kind: int) -> Iterator[bytes]:
    for found, payload in _messages(part):
        if found == _ERROR:
            (code,) = struct.unpack_from("=i", payload.ljust(4, b"\0"))
            if code:
                raise OSError(-code, os.strerror(-code))
        elif found == kind:
            yield payload


def _messages(part: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(part):
        length, kind, _, _, _ = _HEADER.unpack_from(part, at)
        if length < _HEADER.size:
            return
        yield kind, part[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def _attributes(payload: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = payload[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found
