"""A cable between a machine and the switch that has a delay and can be cut unnoticed by both ends."""

from __future__ import annotations

import fcntl
import os
import struct

from tests.abuse.lab import Cable
from tests.discovery.lab import Lab, ip

from .crowd import enter

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


def tap(namespace: str, name: str) -> int:
    """An Ethernet device in that namespace, whose packets are read and written here."""
    with enter(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    ip("-n", namespace, "link", "set", name, "up")
    return descriptor


def long_cable(lab: Lab, name: str) -> Cable:
    """The machine of that name hangs at the switch by a cable that can be cut unnoticed, and be slow."""
    machine = lab.machine(name, plugged=False)
    ends = tap(machine.namespace, "eth0"), tap(lab.switch, f"{name}-long")
    ip("-n", lab.switch, "link", "set", f"{name}-long", "master", "br0")
    machine.address_on()
    return Cable(ends, (machine.address, ""), 0.0)
