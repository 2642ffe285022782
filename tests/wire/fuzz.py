"""Feeds damaged conversations to both ends of a link: `python -m tests.wire.fuzz --frames 1000000`.

The claim: whatever octets arrive in whatever pieces, a link gives events or a RemoteProtocolError, never
holds more than its bound, and takes no longer for a frame than the frame is long. With atheris installed it
steers the damage by coverage; without, valid conversations are damaged at random, in the ways that have
broken such code before.
"""

from __future__ import annotations

import argparse
import importlib
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance import wire

from .conversation import GREETING, LOGIN, PULSE, REGISTER, UID, answer, client_logged_in, frame

INLINE_MAX = 3000
BOUND = 4 + 65535 + INLINE_MAX
"""Octets that a link may hold, besides what was received last."""

SECONDS_A_FRAME = 0.5
"""Of processor time: far above the 30 ms that the worst of headers takes, far below what is quadratic in
65535.
"""

Link = wire.ServerLink | wire.ClientLink


class Found(Exception):
    """An input that breaks the claim."""


@dataclass
class Tally:
    """What has been fed so far."""

    streams: int = 0
    frames: int = 0
    octets: int = 0
    broken: int = 0
    slowest_s: float = 0.0
    fullest: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def line(self, seed: int, seconds: float, how: str) -> str:
        return (
            f"fuzz: {self.frames} frames in {self.streams} streams, {self.octets} octets, "
            f"{self.broken} broken in {len(self.reasons)} ways; slowest {self.slowest_s * 1000:.1f} ms, "
            f"fullest buffer {self.fullest}; {seconds:.0f} s, {how}, seed {seed}"
        )


def server_link() -> Link:
    return wire.ServerLink(INLINE_MAX)


def client_link() -> Link:
    return client_logged_in(INLINE_MAX)


def early_client_link() -> Link:
    link = wire.ClientLink(INLINE_MAX)
    link.encode(wire.TmtpRev("1"))
    link.encode(wire.Register("tablet"))
    return link


def feed(link: Link, pieces: list[bytes], tally: Tally) -> None:
    """Gives a stream to a link, piece by piece, and raises Found if that breaks the claim."""
    tally.streams += 1
    for piece in pieces:
        started = time.thread_time()
        try:
            events, reason = drain(link, piece, tally)
        except Found:
            raise
        except Exception as error:
            raise Found(f"{type(error).__name__}: {error}") from error
        seconds = (time.thread_time() - started) / max(1, events)
        tally.slowest_s = max(tally.slowest_s, seconds)
        tally.frames += events
        tally.octets += len(piece)
        if seconds > SECONDS_A_FRAME:
            raise Found(f"{seconds:.2f} s for a frame")
        if link.buffered > (0 if reason else BOUND):
            raise Found(f"{link.buffered} octets in the buffer with nothing to do")
        if reason:
            tally.broken += 1
            tally.reasons[reason] = tally.reasons.get(reason, 0) + 1
            break
    if isinstance(link, wire.ServerLink):
        link.encode_quit()


def drain(link: Link, piece: bytes, tally: Tally) -> tuple[int, str]:
    """How many frames and pieces of data a piece of the stream gave, and what broke the protocol, if that
    was broken.
    """
    events = 0
    link.receive_data(piece)
    tally.fullest = max(tally.fullest, link.buffered)
    if link.buffered > BOUND + len(piece):
        raise Found(f"{link.buffered} octets in the buffer")
    try:
        while (event := link.next_event()) is not wire.NEED_DATA:
            events += 1
            if isinstance(link, wire.ServerLink):
                answer(link, event)
            if isinstance(event, wire.TmtpRev | wire.Ack | wire.Post) and not event.head:
                raise Found("a request without its head")
    except wire.RemoteProtocolError as error:
        return events + 1, error.reason
    return events, ""


HEADERS = [
    '{"op":7,"id":"12","datalen":9,"datasum":3735928559,"for":[{"id":"' + UID + '","type":1}]}',
    '{"Datahead":2,"Datalen":9,"For":[{"Id":"' + UID + '","Type":3}],"Id":"12","Op":7}',
    '{"op":8,"id":"3","datalen":9,"notelen":3,"notehead":2,"for":[],"notefor":[{"id":"U","type":1}]}',
    '{"op":5,"id":"4","gid":"a group","from":"somebody","to":"somebody else","datalen":9}',
    '{"op":9,"id":"5","from":"somebody","to":"somebody else","datalen":9}',
    '{"op":10,"id":"17d0a1b2c3d4e5f6","type":"n"}',
    '{"op":3,"id":"6","newnode":"tablet"}',
    '{"op":4,"id":"7","for":[{"id":"U"}],"type":"add"}',
    '{"op":6,"id":"8","act":"drop","gid":"a group","to":"somebody"}',
    '{"op":11}',
    '{"op":12}',
]
"""What a client may send. All that have a datalen have the same one, so that damage to a frame does not end
the stream.
"""


REFUSED = [
    '{"op":0,"id":"1"}',
    '{"op":2,"uid":"U","node":"N"}',
    '{"op":9,"id":"5","from":"a","to":"b","datalen":500}',
    '{"op":8,"id":"3","datalen":9,"notelen":9,"for":[]}',
    '{"op":8,"id":"3","datalen":9,"notelen":3,"for":[],"fornotself":true}',
]
"""What a client may not send in a session, one for each reason to quit that a well-formed header can give."""


def client_frames() -> list[bytes]:
    valid = [frame(header, b"some text" if "atalen" in header else b"") for header in HEADERS]
    bad_text = [frame(HEADERS[4], text) for text in (b"no \xff UTF8", "\ufffd\ufffd\ufffd".encode())]
    return valid * 4 + bad_text + [frame(header) for header in REFUSED]


def server_frames() -> list[bytes]:
    sent = [wire.encode_ack("1", 42, 42), wire.encode_ack("1", error="no"), wire.encode_ohi("U", 1)]
    extras: list[dict[str, Any]] = [
        {},
        {"notify": 3},
        {"for_": [{"Id": "U", "Type": 0}], "type": "add"},
        {"act": "join", "gid": "friends", "alias": "Zoë <&>"},
    ]
    for extra in extras:
        sent.append(wire.encode_message("delivery", UID, 7, 42, 9, 1, 5, **extra) + b"some text")
    early = [
        frame('{"id":"1","name":"s","op":"tmtprev"}'),
        frame('{"nodeid":"N","op":"registered","uid":"U"}'),
    ]
    return [
        *sent,
        *early,
        frame('{"info":"login ok","ohi":["U"],"op":"info"}'),
        frame('{"error":"x","op":"quit"}'),
    ]


WORDS = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"null",
        b"true",
        b"1e9",
        b"-1",
        b"12.0",
        b"NaN",
        b"\\ud800",
    ),
    *(b"\xff", b"\xc3", b"\x00", b"\n", b" ", b"0000", b"ffff", b"FFFF", b"+001", b"9" * 30, b"9" * 4400),
    *(
        b'"op":',
        b'"Op":7,',
        b'"id":""',
        b'"datalen":',
        b'"for":[]',
        b'"DataLen":0,',
        b'"oidc":{}',
        b'"headsum":1,',
    ),
    *(b"[" * 1200, b'{"a":' * 700, b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xef\xbf\xbd", b"9223372036854775808"),
]


def damage(octets: bytes, chance: random.Random) -> bytes:
    """One change, somewhere."""
    place = chance.randrange(len(octets) + 1)
    kind = chance.randrange(7)
    if kind == 0:
        return octets[:place] + bytes([chance.randrange(256)]) + octets[place + 1 :]
    if kind == 1:
        return octets[:place] + octets[place + chance.randrange(1, 9) :]
    if kind == 2:
        return octets[:place] + chance.choice(WORDS) + octets[place:]
    if kind == 3:
        end = place + chance.randrange(1, 30)
        return octets[:end] + octets[place:end] * chance.choice([1, 1, 1, 50]) + octets[end:]
    if kind == 4:
        return octets[:place] + octets[place : place + 8].swapcase() + octets[place + 8 :]
    if kind == 5:
        bit = octets[place : place + 1]
        return (
            octets[:place]
            + (bytes([bit[0] ^ 1 << chance.randrange(8)]) if bit else b"")
            + octets[place + 1 :]
        )
    end = place + chance.randrange(1, 12)
    return octets[:place] + chance.choice(WORDS) + octets[end:]


def damage_header(whole: bytes, chance: random.Random) -> bytes:
    """Damage within the header, whose length is put right again, so that what is behind it is still found."""
    size = int(whole[:4], 16)
    header = whole[4 : 4 + size]
    for _ in range(chance.choice([1, 1, 2, 5])):
        header = damage(header, chance)
    header = (header + b" " * 8 if len(header) < 8 else header)[:65535]
    return b"%04x%b%b" % (len(header), header, whole[4 + size :])


def large_header(chance: random.Random) -> bytes:
    """A header as long as may be, of whatever may take long to read."""
    filler = chance.choice(
        [b"[", b"[],", b'{"a":', b'"x":1,', b'"",', b"1", b"\\u0041", b'{"id":"U","type":1},', b"\xff"]
    )
    start = chance.choice(
        [
            b'{"op":7,"id":"1","datalen":1,"for":[',
            b'{"op":1,"newnode":"x","oidc":{"x":[',
            b'{"id":"',
            b'{"x":',
        ]
    )
    header = (start + filler * (65535 // len(filler)))[:65535]
    return b"%04x%b" % (len(header), header)


def stream(frames: list[bytes], opening: bytes, chance: random.Random) -> bytes:
    """A conversation with some of its frames damaged."""
    parts = [opening]
    for _ in range(chance.randrange(1, 12)):
        part = chance.choice(frames)
        fate = chance.random()
        if fate < 0.25:
            part = damage_header(part, chance)
        elif fate < 0.29:
            part = damage(part, chance)
        elif fate < 0.292:
            part = large_header(chance)
        elif fate < 0.30:
            part = chance.randbytes(chance.randrange(60))
        parts.append(part)
    return b"".join(parts)


def cut(octets: bytes, chance: random.Random) -> list[bytes]:
    """The stream as it may arrive: whole, in a few pieces, or in very small ones."""
    step = chance.choice([len(octets) + 1, len(octets) + 1, 600, 97, 13, chance.randrange(1, 6)])
    if len(octets) > 5000:
        step = max(step, 97)
    return [octets[start : start + step] for start in range(0, len(octets), step)]


TARGETS: list[tuple[Callable[[], Link], Callable[[], list[bytes]], bytes]] = [
    (server_link, client_frames, GREETING + LOGIN),
    (server_link, client_frames, GREETING + REGISTER + PULSE),
    (server_link, client_frames, b""),
    (client_link, server_frames, b""),
    (early_client_link, server_frames, b""),
]


def run(frames: int, seconds: float | None, seed: int) -> tuple[Tally, list[bytes] | None, str]:
    """Feeds at least `frames` frames, for at most so many seconds. The pieces of the first failure, and
    what it was.
    """
    chance = random.Random(seed)
    tally = Tally()
    parts = [make() for _, make, _ in TARGETS]
    weights = [10, 2, 1, 6, 1]
    deadline = None if seconds is None else time.monotonic() + seconds
    while tally.frames < frames and (deadline is None or time.monotonic() < deadline):
        which = chance.choices(range(len(TARGETS)), weights)[0]
        make_link, _, opening = TARGETS[which]
        octets = stream(parts[which], opening, chance) if chance.random() < 0.98 else chance.randbytes(200)
        pieces = cut(octets, chance)
        try:
            feed(make_link(), pieces, tally)
        except Found as found:
            return tally, pieces, f"{make_link.__name__}: {found}"
    return tally, None, ""


def run_steered(atheris: Any, frames: int, seconds: float | None, seed: int) -> None:  # pragma: no cover
    """The same claim with atheris, which exits by itself: with a report when it finds something."""
    tally = Tally()

    def one_input(octets: bytes) -> None:
        if octets:
            make_link, _, opening = TARGETS[octets[0] % len(TARGETS)]
            step = octets[0] // len(TARGETS) or len(octets)
            body = opening + octets[1:]
            feed(make_link(), [body[at : at + step] for at in range(0, len(body), step)], tally)

    atheris.instrument_all()
    limits = [
        f"-runs={frames // 5}",
        f"-seed={seed}",
        *([f"-max_total_time={int(seconds)}"] if seconds else []),
    ]
    atheris.Setup([sys.argv[0], *limits], one_input)
    atheris.Fuzz()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many frames to feed")
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="to do the same again")
    parser.add_argument(
        "--own", action="store_true", help="damage at random, also where atheris is installed"
    )
    options = parser.parse_args(arguments)
    started = time.monotonic()
    tally, pieces, what = run(options.frames, options.seconds, options.seed)
    print(tally.line(options.seed, time.monotonic() - started, "damaged at random"))
    if pieces is not None:
        print(f"FAILED: {what}\nthe pieces, in hex:")
        for piece in pieces:
            print(piece.hex())
        return 1
    if not options.own:
        try:
            atheris = importlib.import_module("atheris")
        except ImportError:
            return 0
        run_steered(atheris, options.frames, options.seconds, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
