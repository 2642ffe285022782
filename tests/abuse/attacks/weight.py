"""Heavy things: headers without end, messages beyond measure, and links that do not read."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any

from appliance import wire

from .hand import Hand, Target, alive, framed, push

CHUNK = 1 << 18


def endless_headers(target: Target) -> dict[str, Any]:
    """Members whose header, or inline data, lacks its last octet: all that a link may make the box keep."""
    hands = [Hand(target) for _ in range(target.options["links"])]
    header = b"ffff" + b'{"op":11,"x":"'.ljust(65534, b"x")
    post = framed({"op": 7, "id": "1", "for": [], "datalen": 65536, "x": "x" * 65000}, b"x" * 65535)
    for number, hand in enumerate(hands):
        hand.sock.settimeout(20)
        hand.sock.sendall(post if number % 2 else header)
    target.under_way()
    while not target.over:
        time.sleep(0.1)
    held = sum(alive(hand.sock) for hand in hands)
    for hand in hands:
        hand.close()
    return {"held_at_end": held}


def heavy_headers(target: Target) -> dict[str, Any]:
    """Headers of 64 KiB, whole and well formed, full of what costs time to read, as fast as they come."""
    filling = {f"k{n:04}": [n, {"a": None}] for n in range(2200)}
    octets = framed(json.dumps({"op": 11, **filling}).encode())
    assert 60_000 < len(octets) < 4 + 65536
    return _flood([Hand(target) for _ in range(target.options["links"])], octets, target)


def long_ids(target: Target) -> dict[str, Any]:
    """Posts whose id is 60 KB long: the ack would carry it back."""
    target.under_way()
    quits: dict[str, int] = {}
    post = framed({"op": 7, "id": "i" * 60_000, "for": [], "datalen": 1}, b"x")
    hand = Hand(target)
    while not target.over:
        with contextlib.suppress(OSError):
            hand.sock.settimeout(20)
            hand.sock.sendall(post * 3)
            while True:
                hand.read()
        quits[hand.quit] = quits.get(hand.quit, 0) + 1
        hand.close()
        hand.enter()
    return {"quits": quits}


def huge_post(target: Target) -> dict[str, Any]:
    """A post that says it is 10 GB, of which some hundred MB come; then the link breaks."""
    hand = Hand(target)
    total = target.options["octets"]
    hand.sock.sendall(hand.link.encode(wire.Post("huge", [], 10_000_000_000, 0, None)))
    target.under_way()
    sent, chunk = 0, b"h" * CHUNK
    hand.sock.settimeout(20)
    while sent < total:
        hand.sock.sendall(chunk)
        sent += CHUNK
    hand.read(2)
    answer = hand.answers.get("huge")
    hand.close()
    return {"octets": sent, "error": answer.error if answer else None}


def deaf_posters(target: Target) -> dict[str, Any]:
    """Members who post without end and never read an answer."""
    hands = []
    for _ in range(target.options["links"]):
        hand = Hand(target)
        hand.close()
        hand.enter(receive_buffer=4096)
        hands.append(hand)
    posts = b"".join(
        framed({"op": 7, "id": f"{n}-" + "i" * 1000, "for": [], "datalen": 1000}, b"x" * 1000)
        for n in range(50)
    )
    return _flood(hands, posts, target)


def deaf_readers(target: Target) -> dict[str, Any]:
    """Nodes with much in their queues, who log in and do not read."""
    options = target.options
    first, *others = hands = [Hand(target, alias=f"deaf node {n:03}") for n in range(options["links"])]
    for number, hand in enumerate(others):
        gid = "the deaf ones"
        first.ask(wire.GroupInvite(f"i{number}", gid, str(first.alias), str(hand.alias), 0, 0, None))
        hand.ask(wire.GroupEdit("j", "join", gid, None, None))
    for hand in others:
        hand.close()
    data = b"x" * options["octets"]
    for number in range(options["messages"]):
        post = wire.Post(f"p{number}", [wire.Target("the deaf ones", 3)], len(data), 0, None)
        reply = first.ask(post, data)
        assert reply.error is None, reply
    for hand in others:
        hand.enter(receive_buffer=4096)
    target.under_way()
    while not target.over:
        time.sleep(0.1)
    for hand in hands:
        hand.close()
    return {"deaf": len(others)}


def _flood(hands: list[Hand], octets: bytes, target: Target) -> dict[str, Any]:
    """Send this again and again on every link, as long as the box takes it; read nothing."""
    rests = [b""] * len(hands)
    sent = 0
    target.under_way()
    while not target.over:
        moved = 0
        for number, hand in enumerate(hands):
            rest = rests[number] or octets
            with contextlib.suppress(OSError):
                count = push(hand.sock, rest)
                rests[number] = rest[count:]
                moved += count
        sent += moved
        if not moved:
            time.sleep(0.01)
    for hand in hands:
        hand.close()
    return {"octets": sent, "times": sent // len(octets)}


ATTACKS: dict[str, Callable[[Target], dict[str, Any]]] = {
    attack.__name__: attack
    for attack in (
        endless_headers,
        heavy_headers,
        long_ids,
        huge_post,
        deaf_posters,
        deaf_readers,
    )
}
