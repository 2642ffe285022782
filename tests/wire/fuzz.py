"""Feeds damaged conversations to both ends of a link: `python -m tests.wire.fuzz --frames 1000000`.

The claim: whatever octets arrive in whatever pieces, a link gives events or a RemoteProtocolError, never
holds more than its bound, and takes no longer for a frame than the frame is long. Valid conversations are
damaged at random, in the ways that have broken such code before; where atheris is installed, it then goes
on, steered by what code is reached.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance import wire

from .conversation import GREETING, LOGIN, PULSE, REGISTER, answer, client_logged_in
from .damage import client_frames, cut, server_frames, stream

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

    def line(self, seed: int, seconds: float) -> str:
        return (
            f"fuzz: {self.frames} frames in {self.streams} streams, {self.octets} octets, "
            f"{self.broken} broken in {len(self.reasons)} ways; slowest {self.slowest_s * 1000:.1f} ms, "
            f"fullest buffer {self.fullest}; {seconds:.0f} s, seed {seed}"
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


STEERED = """
import sys, atheris
with atheris.instrument_imports(include=["appliance.wire"]):
    from tests.wire import fuzz
atheris.Setup(sys.argv, fuzz.one_input)
atheris.Fuzz()
"""


def pieces_of_input(octets: bytes) -> tuple[Link, list[bytes]]:
    """The link that an input of atheris is for, and the pieces in which it gets there: both by the first
    octet.
    """
    make_link, _, opening = TARGETS[octets[0] % len(TARGETS)]
    step = octets[0] // len(TARGETS) or len(octets)
    stream_ = opening + octets[1:]
    return make_link(), [stream_[start : start + step] for start in range(0, len(stream_), step)]


def one_input(octets: bytes) -> None:
    """What atheris calls. Raises Found."""
    if octets:
        feed(*pieces_of_input(octets), Tally())


def first_inputs() -> list[bytes]:
    """Well-formed frames for atheris to start from."""
    return [bytes([which]) + part for which, (_, make, _) in enumerate(TARGETS) for part in make()]


def run_steered(inputs: int, seconds: float | None, seed: int) -> tuple[list[bytes] | None, str]:
    """The same claim with atheris, in a process of its own. The pieces of the first failure, and what it
    was.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, octets in enumerate(first_inputs()):
            corpus.joinpath(str(number)).write_bytes(octets)
        limits = [f"-runs={inputs}", f"-seed={seed}", "-max_len=4096", f"-artifact_prefix={folder}/found-"]
        if seconds is not None:
            limits.append(f"-max_total_time={max(1, int(seconds))}")
        command = [sys.executable, "-c", STEERED, str(corpus), *limits]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            return None, ""
        found = [path.read_bytes() for path in Path(folder).glob("found-*")]
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        return (pieces_of_input(found[0])[1] if found and found[0] else []), said


def failed(what: str, pieces: list[bytes]) -> int:
    print(f"FAILED: {what}\nthe pieces, in hex:")
    for piece in pieces:
        print(piece.hex())
    return 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.wire.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="how many frames to feed")
    parser.add_argument("--seconds", type=float, help="stop after this time (with atheris: twice)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="to do the same again")
    parser.add_argument("--own", action="store_true", help="do without atheris, also where it is installed")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    tally, pieces, what = run(options.frames, options.seconds, options.seed)
    print(tally.line(options.seed, time.monotonic() - started), flush=True)
    if pieces is not None:
        return failed(what, pieces)
    if options.own or importlib.util.find_spec("atheris") is None:
        return 0
    started = time.monotonic()
    inputs = options.frames // 5
    pieces, what = run_steered(inputs, options.seconds, options.seed)
    print(f"fuzz: up to {inputs} streams steered by atheris; {time.monotonic() - started:.0f} s")
    return 0 if pieces is None else failed(what, pieces)


if __name__ == "__main__":
    sys.exit(main())
