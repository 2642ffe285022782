"""A holiday: the box was off, and at every membership's site messages wait. How long until it has them all?

    python -m tests.bench.holiday                                    50 memberships, 10,000 messages at each
    python -m tests.bench.holiday --memberships 10 --messages 1000
    python -m tests.bench.holiday --folder /media/card               on that disk

The site is the scripted one of the tests, in this process: it has one message in flight for each member, as
the deployed sites do, so that a membership costs a round trip a message, and many of them share each commit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance import wire
from tests.e2e.relay.house import House, Membership, until
from tests.e2e.relay.large import Heavy
from tests.kit import Box, Client
from tests.kit.upstream import Body, Member, Message, Upstream
from tests.load import Usage, peak_mb, usage

HEAD = b'{"threadid":"0123456789abcdef","alias":"Bob at the club","subject":"Holiday","cc":[],"attach":[]}'
TEXT_OCTETS = 400
LARGE_EVERY, LARGE_OCTETS = 100, 20_000


@dataclass
class Result:
    """Of one drain. Octets that were written to the disk and syncs are those of the box since its start."""

    memberships: int
    messages: int
    drained_s: float
    per_s: float
    memory_before_mb: float
    peak_mb: float
    written_kb_per_message: float
    syncs_per_message: float
    cpu_ms_per_message: float
    device_s: float
    """Until a device of one membership had its queue."""


def backlog(site: Upstream, sender: Member, count: int) -> Iterator[Message]:
    """Messages as people send them, made when they are due."""
    for number in range(count):
        size = LARGE_OCTETS if number % LARGE_EVERY == LARGE_EVERY - 1 else TEXT_OCTETS
        data = HEAD + b"%06d" % number + bytes(size - 6)
        msgid, now_ms = site.accounts.id(), site.accounts.now_ms()
        head = wire.encode_message("delivery", sender.uid, msgid, now_ms, len(data), len(HEAD))
        yield Message("delivery", msgid, head, Body(len(data), data))


def measure(memberships: int, messages: int, within_s: float = 3600.0) -> Result:
    """AssertionError if something is missing afterwards."""
    with Upstream("The club", record=False) as club:
        house = House()
        try:
            kept = house.add_many(club, [f"Member {n:04} of the club" for n in range(memberships)])
            devices = [membership.device("phone") for membership in kept]
            until(lambda: all(club.linked(one.uid) for one in kept), "all are linked", 120)
            return _drain(house.box, club, kept, devices[0], messages, within_s)
        finally:
            house.close()


def _drain(
    box: Box, club: Upstream, kept: list[Membership], device: Client, messages: int, within_s: float
) -> Result:
    assert box.terminate() == 0
    bob = club.member("Bob at the club")
    nodes = [club.accounts.members[one.uid].nodes[0] for one in kept]
    for node in nodes:
        node.acked = 0
        club.queue(node, backlog(club, bob, messages))
    box.start()
    before, used, syncs = peak_mb(box.pid), usage(box.pid), box.control("status")["store"]["syncs"]
    began = time.monotonic()
    total = messages * len(nodes)
    until(lambda: sum(node.acked for node in nodes) >= total, f"{total} messages at the box", within_s)
    took_s = time.monotonic() - began
    spent: Usage = usage(box.pid) - used
    stored = box.control("status")["store"]["syncs"] - syncs
    for one in kept:
        waiting = one.show()["device_list"][0]["queued"]
        assert waiting >= messages, f"{one.name}: {waiting} of {messages} wait for the device"
    began = time.monotonic()
    with Heavy(device) as link:
        for _ in range(messages):
            link.message()
    return Result(
        len(kept),
        messages,
        round(took_s, 2),
        round(total / took_s, 1),
        round(before, 1),
        round(peak_mb(box.pid), 1),
        round(spent.written / 1024 / total, 3),
        round(stored / total, 4),
        round(spent.cpu_ms / total, 3),
        round(time.monotonic() - began, 2),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.holiday",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--memberships", type=int, default=50, metavar="N")
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="at each of them")
    parser.add_argument("--folder", type=Path, help="measure with the data in this folder")
    args = parser.parse_args(arguments)
    if args.folder is not None:
        tempfile.tempdir = str(args.folder.resolve())
    print(json.dumps(asdict(measure(args.memberships, args.messages)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
