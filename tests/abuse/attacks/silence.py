"""Connections that say nothing, little, or nonsense."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from .hand import Hand, Target, alive, close_all, framed, push

OCTET_EVERY_S = 1.0


def _keep(target: Target, count: int, make: Callable[[], socket.socket]) -> dict[str, Any]:
    """Hold `count` connections, and replace those that the box closes."""
    socks = [make() for _ in range(count)]
    opened = count
    target.under_way()
    held = []
    while not target.over:
        left = [sock for sock in socks if alive(sock)]
        held.append(len(left))
        close_all([sock for sock in socks if sock not in left])
        socks = left
        for _ in range(min(count - len(left), 50)):
            with contextlib.suppress(OSError):
                socks.append(make())
                opened += 1
        time.sleep(0.05)
    close_all(socks)
    return {"opened": opened, "held": max(held), "held_at_end": held[-1]}


def silent_tcp(target: Target) -> dict[str, Any]:
    """Not even a TLS handshake."""
    return _keep(target, target.options["links"], lambda: target.connect(tls=False))


def silent_tls(target: Target) -> dict[str, Any]:
    """A handshake, and not a word."""
    return _keep(target, target.options["links"], target.connect)


def silent_members(target: Target) -> dict[str, Any]:
    """Logged in, and not a word."""
    hands = [Hand(target) for _ in range(target.options["links"])]
    target.under_way()
    while not target.over:
        time.sleep(0.1)
    held = sum(alive(hand.sock) for hand in hands)
    close_all([hand.sock for hand in hands])
    return {"opened": len(hands), "held_at_end": held}


def dribble(target: Target) -> dict[str, Any]:
    """One octet a second: half of them strangers on their way to a greeting, half members on their way to a
    post."""
    links = target.options["links"]
    members = [Hand(target).sock for _ in range(links // 2)]
    socks = [*members, *(target.connect() for _ in range(links - links // 2))]
    frames = [framed({"op": 7, "id": "slow", "for": [], "datalen": 9}, b"x" * 9)] * len(members)
    frames += [framed({"op": 0, "id": "1"})] * (links - len(members))
    target.under_way()
    sent = cut = 0
    number = 0
    while not target.over:
        began = time.monotonic()
        for at, sock in enumerate(socks):
            try:
                sent += push(sock, frames[at][number : number + 1])
            except OSError:
                cut += 1
                with contextlib.suppress(OSError):
                    socks[at] = target.connect()
        number += 1
        time.sleep(max(0.0, OCTET_EVERY_S - (time.monotonic() - began)))
    held = sum(alive(sock) for sock in members)
    close_all([*socks, *members])
    return {"octets": sent, "members_held": held, "replaced": cut}


def half_closed(target: Target) -> dict[str, Any]:
    """A FIN and no end: after connecting, after the handshake, and as a member."""
    links = target.options["links"]

    def make(kind: int) -> socket.socket:
        sock = Hand(target).sock if kind == 2 else target.connect(tls=kind == 1)
        # of the TCP connection, not of TLS: no close_notify goes out
        socket.socket.shutdown(sock, socket.SHUT_WR)
        return sock

    socks = [make(number % 3) for number in range(links)]
    target.under_way()
    while not target.over:
        time.sleep(0.1)
    held = 0
    for sock in socks:
        sock.settimeout(2)
        try:
            while sock.recv(65536):
                pass
        except TimeoutError:
            held += 1
        except OSError:
            pass
    close_all(socks)
    return {"opened": links, "held_at_end": held}


def tls_garbage(target: Target) -> dict[str, Any]:
    """Octets that are no TLS, TLS that breaks off, and HTTP, as fast as it goes."""
    chance = random.Random(1)
    hello = bytes.fromhex("16030100c8010000c40303")
    target.under_way()
    opened = 0
    while not target.over:
        octets = (
            chance.randbytes(chance.randint(1, 20_000)),
            hello + chance.randbytes(200),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
            b"\x80" * 50,
        )[opened % 4]
        with contextlib.suppress(OSError), target.connect(tls=False) as sock:
            opened += 1
            sock.sendall(octets)
            sock.settimeout(0.05)
            while sock.recv(4096):
                pass
    return {"opened": opened}


def crowd(target: Target) -> dict[str, Any]:
    """As many members' links as the box takes, from as many addresses as there are; then more."""
    names = [Hand(target, source=f"127.0.1.{n}") for n in range(1, target.options["addresses"] + 1)]
    held: list[socket.socket] = []
    refused = opened = 0
    target.under_way()
    while not target.over:
        for hand in names:
            with contextlib.suppress(OSError):
                sock = target.connect(tls=False, source=hand.source)
                opened += 1
                held.append(sock)
        gone = [sock for sock in held if not alive(sock)]
        refused += len(gone)
        close_all(gone)
        held = [sock for sock in held if sock not in gone]
        time.sleep(0.05)
    result = {"opened": opened, "refused": refused, "held": len(held)}
    close_all(held)
    for hand in names:
        hand.close()
    return result


ATTACKS: dict[str, Callable[[Target], dict[str, Any]]] = {
    attack.__name__: attack
    for attack in (silent_tcp, silent_tls, silent_members, dribble, half_closed, tls_garbage, crowd)
}
