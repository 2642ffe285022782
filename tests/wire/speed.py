"""How long a frame takes in this room, in µs: `python -m tests.wire.speed`.

What the rest of the box does with a frame comes on top. Read a column against another run on the same
machine only.
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable

from appliance import wire

from .conversation import UID, client_logged_in, frame, logged_in

RECEIVE_OCTETS = 65_536
"""Frames come in receives of about this size, as from a busy link."""

REPEATS = 5

POST = '{"op":7,"id":"123","datalen":1024,"datasum":3735928559,"for":[{"id":"' + UID + '","type":1}]}'
CAPITALS = (
    POST.replace("op", "Op").replace('"id', '"Id').replace("datalen", "Datalen").replace("type", "Type")
)
DATA = bytes(range(256)) * 4


def reading(link: wire.ServerLink | wire.ClientLink, octets: bytes, frames: int) -> float:
    """µs to read one of many such frames."""
    in_one = max(1, RECEIVE_OCTETS // len(octets))
    received = octets * in_one
    rounds = max(1, frames // in_one)

    def read() -> None:
        for _ in range(rounds):
            link.receive_data(received)
            while link.next_event() is not wire.NEED_DATA:
                pass

    return min(timeit.repeat(read, number=1, repeat=REPEATS)) / (rounds * in_one) * 1e6


def writing(write: Callable[[], bytes], frames: int) -> float:
    """µs to write one frame."""
    return min(timeit.repeat(write, number=frames, repeat=REPEATS)) / frames * 1e6


def figures(frames: int) -> dict[str, float]:
    """Of each kind of frame the best of some runs, each of so many frames."""
    site, member = logged_in(), client_logged_in()
    ack = frame('{"op":10,"id":"17d0a1b2c3d4e5f6","type":"n"}')
    post, done = wire.Post("123", [wire.Target(UID, 1)], 1024, 0, 7), wire.Ack("17d0a1b2c3d4e5f6", "n")
    delivery = wire.encode_message("delivery", UID, 42, 42, 1024, 0, 7)
    return {
        "server reads a post of 1 KiB": reading(site, frame(POST, DATA), frames),
        "server reads the same with capitals": reading(site, frame(CAPITALS, DATA), frames),
        "server reads the same with an unknown key": reading(site, frame('{"x":1,' + POST[1:], DATA), frames),
        "server reads an ack": reading(site, ack, frames),
        "server writes an ack": writing(lambda: wire.encode_ack("123", 42, 1136214245678), frames),
        "server writes a delivery": writing(
            lambda: wire.encode_message("delivery", UID, 42, 42, 9, 0, 7), frames
        ),
        "server writes a note": writing(
            lambda: wire.encode_message("notify", UID, 42, 42, 9, postid="1"), frames
        ),
        "client reads a delivery of 1 KiB": reading(member, delivery + DATA, frames),
        "client reads an ack": reading(member, wire.encode_ack("123", 42, 42), frames),
        "client writes a post": writing(lambda: member.encode(post), frames),
        "client writes an ack": writing(lambda: member.encode(done), frames),
    }


def main(frames: int = 50_000) -> int:
    for what, microseconds in figures(frames).items():
        print(f"{microseconds:8.2f} µs  {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
