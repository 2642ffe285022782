"""A blank box joins one that is full: how long it takes, and what the members notice meanwhile.

    python -m tests.bench.joining --messages 10000 --attachments-mb 2048

A member who is away has that many messages waiting, of 1 KiB and in attachments of 8 MiB. Four others write
to each other all the time, 160 posts a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import time

from tests.harm.home import Neighbours
from tests.kit import Box, Client
from tests.load import peak_mb, reset_peak

ATTACHMENT = 8 << 20
CALM_S = 5.0
JOIN_MAX_S = 1800.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--attachments-mb", type=int, default=2048)
    args = parser.parse_args(arguments)
    config = '[log]\nlevel = "warning"\n'
    with Box(config=config) as full, Box(config=config) as blank:
        _fill(full, args.messages, args.attachments_mb << 20)
        members = Neighbours([])
        try:
            members.begin(full.address[1])
            time.sleep(CALM_S)
            reset_peak(full.pid)
            began = time.monotonic()
            invited = full.control("peer.invite")
            blank.control("peer.join", code=invited["code"], addresses=invited["addresses"])
            shown = _follow(blank, began)
            ended = time.monotonic()
            time.sleep(CALM_S)
            _say(members.end(), began, ended)
            octets = args.messages * 1024 + (args.attachments_mb << 20)
            took_s = ended - began
            print(f"joined in {took_s:.1f} s, {octets / took_s / 1e6:.0f} MB/s; progress told {shown} times")
            print(
                f"memory at most {peak_mb(full.pid):.0f} MB (serving), {peak_mb(blank.pid):.0f} MB (joining)"
            )
        finally:
            members.close()
    return 0


def _fill(box: Box, messages: int, octets: int) -> None:
    away = Client.register(box, label="in a drawer")
    away.close()
    sender = Client.register(box)
    for _ in range(messages):
        sender.post(os.urandom(1024), away)
    for _ in range(octets // ATTACHMENT):
        sender.post(os.urandom(ATTACHMENT), away)
    sender.close()


def _follow(box: Box, began: float) -> int:
    """Until the box serves; how many different things it said on the way."""
    shown: set[str] = set()
    while time.monotonic() < began + JOIN_MAX_S:
        with contextlib.suppress(OSError, json.JSONDecodeError):
            told = box.control("peer.list")
            if told.get("joining"):
                text = told["joining"]["text"]
                if text not in shown:
                    print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)
                shown.add(text)
            elif told["copies"] == 2:
                return len(shown)
        time.sleep(0.25)
    raise SystemExit("the box did not join in time")


def _say(found: dict[str, list[tuple[float, float]]], began: float, ended: float) -> None:
    assert not found["wrong"], found["wrong"]
    for what in ("acks", "deliveries"):
        before = [took for at, took in found[what] if at < began]
        during = [took for at, took in found[what] if began <= at < ended]
        for when, took in (("before", before), ("during", during)):
            p99 = statistics.quantiles(took, n=100)[98]
            print(
                f"{what:10} {when}: p50 {statistics.median(took) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms,"
                f" worst {max(took) * 1000:.0f} ms of {len(took)}"
            )


if __name__ == "__main__":
    sys.exit(main())
