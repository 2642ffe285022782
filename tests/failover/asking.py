"""Where a .local name leads: one question, as a simple resolver asks it, and the first answer."""

from __future__ import annotations

import socket
import struct

import trio

ANSWER_S = 0.4
GROUP = ("224.0.0.251", 5353)
TYPE_A, CLASS_IN = 1, 1
POINTER = 0xC0


async def where_is(host: str, own: str) -> str | None:
    """The IPv4 address of `host`, asked by multicast from the address `own`; None if nobody says."""
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        await sock.bind((own, 0))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        question = b"".join(bytes([len(label)]) + label.encode() for label in host.split(".")) + b"\0"
        packet = struct.pack(">6H", 7, 0, 1, 0, 0, 0) + question + struct.pack(">HH", TYPE_A, CLASS_IN)
        try:
            await sock.sendto(packet, GROUP)
            with trio.move_on_after(ANSWER_S):
                while True:
                    answer, _ = await sock.recvfrom(9000)
                    if (address := _address(answer)) is not None:
                        return address
        except OSError:
            return None
    return None


def _address(packet: bytes) -> str | None:
    """The first A record among the answers. Raises nothing for what is no answer."""
    try:
        _, _, questions, answers, _, _ = struct.unpack_from(">6H", packet)
        at = 12
        for _ in range(questions):
            at = _past_name(packet, at) + 4
        for _ in range(answers):
            at = _past_name(packet, at)
            kind, _, _, size = struct.unpack_from(">HHIH", packet, at)
            at += 10
            if kind == TYPE_A and size == 4:
                return socket.inet_ntoa(packet[at : at + 4])
            at += size
    except (struct.error, IndexError):
        return None
    return None


def _past_name(packet: bytes, at: int) -> int:
    while packet[at]:
        if packet[at] >= POINTER:
            return at + 2
        at += packet[at] + 1
    return at + 1
