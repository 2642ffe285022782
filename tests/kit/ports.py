"""Ports that a test names itself, since a box is to be found again at the same one."""

import secrets
import socket
from pathlib import Path

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has. It is below those that the kernel gives away by itself, so that
    nobody gets it while the one that it is meant for is off.
    """
    while True:
        port = LOWEST + secrets.randbelow(int(RANGE.read_text().split()[0]) - LOWEST)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
