"""Socket options that find a dead peer, and accepting connections."""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import termios

import trio

from appliance.log import get_logger

log = get_logger(__name__)

BACKLOG = 1024
FULL_PAUSE_S = 0.1
_OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets for the host's addresses (an empty host: all). Raises ``OSError``."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, proto)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(BACKLOG)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def accept(listener: socket.socket) -> tuple[socket.socket, str]:
    """The next connection and the address it comes from. Waits where the system has no more room for
    connections.
    """
    while True:
        try:
            sock, address = listener.accept()
            return sock, address[0]
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
        except OSError as error:
            if error.errno in _OUT_OF:
                log.warning("no room for another connection", error=str(error))
                await trio.sleep(FULL_PAUSE_S)
            else:
                await trio.lowlevel.checkpoint()


def watch_peer(sock: socket.socket, idle_s: int, interval_s: int, user_timeout_s: float) -> None:
    """Have the system find a peer that is gone: after at most ``idle_s`` + ``user_timeout_s`` the link is
    at its end.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, max(1, round(user_timeout_s / interval_s)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(user_timeout_s * 1000))


def outgoing_octets(sock: socket.socket) -> int:
    """Octets written that the peer's TCP has not acknowledged; 0 where the system does not tell."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, count)
    except (OSError, ValueError):
        return 0
    return count[0]
