"""Measure the box: throughput, latency, memory, CPU and what is written.

    make bench                                   everything, twice: as the disk is, and with slow syncs
    make bench ARGS="--scenario many --repeat 5"     medians of five runs
    make bench ARGS="--folder /media/card"           on that disk
    make bench ARGS="--boxes 2 --delay 2.5"          beside each: the same with a second box, 2.5 ms away

The load generator is a process of its own, and checks that nothing is lost, doubled or damaged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.load import PRESETS

from . import table
from .runs import Result, RunFailed, Setup, measure

SLOW_SYNC_MS = 15
QUICK_SHARE = 0.05
SLOW_SHARE = 0.25
"""Of the scenarios' length where each sync is slow: as long in seconds, at least."""


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    if args.folder is not None:
        tempfile.tempdir = str(args.folder.resolve())
    names = args.scenario or list(PRESETS)
    results: list[Result] = []
    say = (lambda text: None) if args.json else (lambda text: print(text, flush=True))
    say(f"{table.machine()}\n\n{table.legend(names)}\n")
    failed = False
    for sync_ms in _sync_times(args):
        share = QUICK_SHARE if args.quick else SLOW_SHARE if sync_ms else 1.0
        setup = Setup(share, sync_ms, args.load_program, args.repeat)
        say(f"{table.title(sync_ms, args.repeat)}\n{table.heading()}")
        for name in names:
            try:
                result = measure(name, setup)
            except (RunFailed, RuntimeError) as error:
                print(f"{name}: {error}", file=sys.stderr)
                failed = True
                continue
            results.append(result)
            say(table.row(result))
            if args.boxes > 1:
                more = replace(setup, boxes=args.boxes, delay_ms=args.delay)
                try:
                    several = measure(name, more)
                except (RunFailed, RuntimeError) as error:
                    print(f"{name}: {error}", file=sys.stderr)
                    failed = True
                    continue
                results.append(several)
                say(table.compared(result, several))
        say("")
    if args.json:
        print(json.dumps(results, indent=1))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenario", action="append", choices=list(PRESETS), help="only this; may be repeated"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of the length: does it work at all?"
    )
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="medians of N runs")
    parser.add_argument(
        "--slow-sync",
        type=int,
        nargs="?",
        const=SLOW_SYNC_MS,
        metavar="MS",
        help=f"only with syncs that take so much longer [{SLOW_SYNC_MS}]",
    )
    parser.add_argument("--no-slow-sync", action="store_true", help="only with the disk as it is")
    parser.add_argument(
        "--boxes", type=int, default=1, metavar="N", help="compare with a site of so many boxes"
    )
    parser.add_argument(
        "--delay", type=float, default=0.0, metavar="MS", help="between these boxes, one way [0]"
    )
    parser.add_argument("--folder", type=Path, help="measure with the data in this folder")
    parser.add_argument(
        "--load-program", type=Path, metavar="PATH", help="put the load on with this program instead"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


def _sync_times(args: argparse.Namespace) -> list[int]:
    if args.slow_sync is not None:
        return [args.slow_sync]
    return [0] if args.no_slow_sync else [0, SLOW_SYNC_MS]


if __name__ == "__main__":
    sys.exit(main())
