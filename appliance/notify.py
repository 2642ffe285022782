"""Telling systemd how it goes (sd_notify), without a library. Does nothing where systemd does not ask for
it."""

from __future__ import annotations

import os
import socket


def sd_notify(state: str) -> bool:
    """Send `state` ("READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=...") to systemd. Never raises, never
    waits.

    Returns whether it was sent: False without a NOTIFY_SOCKET, or when systemd did not take it.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.connect(address)
            sender.send(state.encode())
    except OSError:
        return False
    return True


def watchdog_interval_s() -> float | None:
    """How often systemd wants WATCHDOG=1, in seconds: half of its limit. None: it does not watch this
    process."""
    pid = os.environ.get("WATCHDOG_PID")
    limit_us = os.environ.get("WATCHDOG_USEC", "")
    if (pid is not None and pid != str(os.getpid())) or not (limit_us.isascii() and limit_us.isdigit()):
        return None
    return int(limit_us) / 2_000_000 or None
