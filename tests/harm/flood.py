"""What a hostile machine says to the multicast address of mDNS, as fast as it goes:

    python -m tests.harm.flood KIND INTERFACE-ADDRESS SECONDS NAME ADDRESS

NAME and ADDRESS are those of a box that it can name. Prints `{"packets": so many}` at the end.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
import time

GROUP = ("224.0.0.251", 5353)
A, PTR, TXT, SRV, ANY = 1, 12, 16, 33, 255
RESPONSE, QUERY, TRUNCATED_QUERY = 0x8400, 0, 0x0200
TOO_LARGE = 8900

Record = tuple[bytes, int, int, bytes]
"""Name, type, time to live, data."""


def name(*labels: str) -> bytes:
    return b"".join(bytes([len(label.encode())]) + label.encode() for label in labels) + b"\0"


def response(*records: Record) -> bytes:
    octets = struct.pack(">HHHHHH", 0, RESPONSE, 0, len(records), 0, 0)
    for owner, kind, ttl, data in records:
        octets += owner + struct.pack(">HHIH", kind, 0x8001, ttl, len(data)) + data
    return octets


def query(flags: int, *questions: tuple[bytes, int, int]) -> bytes:
    octets = struct.pack(">HHHHHH", 0, flags, len(questions), 0, 0, 0)
    return octets + b"".join(owner + struct.pack(">HH", *rest) for owner, *rest in questions)


def junk() -> list[bytes]:
    """What is no message, or one that never ends, and as many new names as fit into one packet."""
    chance = random.Random(4)
    packets = [chance.randbytes(chance.randrange(1, 1400)) for _ in range(50)]
    packets += [struct.pack(">HHHHHH", 0, RESPONSE, 65535, 65535, 65535, 65535) + b"\xc0\x0c" * 600]
    packets += [response((b"\xc0\x0c", A, 120, b"\x7f\0\0\1"))]
    for number in range(20):
        records = [(name(f"{number:x}-{each:x}", "local"), A, 4500, bytes(4)) for each in range(400)]
        whole = response(*records)[:TOO_LARGE]
        packets += [whole, whole[: len(whole) // 3]]
    return packets


def conflicts(box: str, address: str) -> list[bytes]:
    """Others have all names that the box could take, and the box is gone."""
    packets = []
    service, stranger = name("_tmtp", "_tcp", "local"), socket.inet_aton("10.99.99.99")
    for number in range(1, 60):
        label = box if number == 1 else f"{box} ({number})"
        host = name(box.lower() if number == 1 else f"{box.lower()}-{number}", "local")
        instance = name(label, "_tmtp", "_tcp", "local")
        packets.append(
            response(
                (instance, TXT, 4500, b"\x0bid=00000000"),
                (instance, SRV, 120, struct.pack(">HHH", 0, 0, number) + name("other", "local")),
                (host, A, 120, stranger),
            )
        )
        packets.append(response((service, PTR, 0, instance), (host, A, 0, socket.inet_aton(address))))
    return packets


def queries(box: str) -> list[bytes]:
    """Everything there is to ask, of everybody and of each, whole and to be continued."""
    service = name("_tmtp", "_tcp", "local")
    instance, host = name(box, "_tmtp", "_tcp", "local"), name(box.lower(), "local")
    packets = []
    for unicast in (1, 0x8001):
        asked = [(service, PTR, unicast), (instance, ANY, unicast), (host, ANY, unicast)]
        packets += [query(QUERY, each) for each in asked]
        packets += [query(TRUNCATED_QUERY, *asked), query(QUERY, *asked * 100)]
    return packets


def main(kind: str, interface: str, seconds: str, box: str, address: str) -> None:
    packets = {"junk": junk, "conflicts": lambda: conflicts(box, address), "queries": lambda: queries(box)}[
        kind
    ]()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("", 5353))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
    count, end = 0, time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for packet in packets:
            try:
                sock.sendto(packet, GROUP)
                count += 1
            except OSError:
                time.sleep(0.001)
    print(json.dumps({"packets": count}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
