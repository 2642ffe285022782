"""Run one scenario against a server; prints one line of JSON.

    python -m tests.load --address 127.0.0.1:4433 --scenario many [--pid PID] [--data DIR]

Exit status: 0 all is as it must be, 1 it is not, 2 the run could not be made.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from .scenarios import PRESETS, Scenario, scaled


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="Put load on a TMTP server.")
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--scenario",
        choices=PRESETS,
        default="seq",
        help="; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items()),
    )
    parser.add_argument("--pid", type=int, default=0, help="measure this process too")
    parser.add_argument("--data", type=Path, help="ask the box with this data folder for its syncs")
    parser.add_argument("--share", type=float, default=1.0, help="of the scenario's length")
    for name in ("users", "senders", "window", "size", "recipients", "count"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--seconds", type=float)
    args = parser.parse_args()
    names = ("users", "senders", "window", "size", "recipients", "count", "seconds")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    preset = replace(scaled(PRESETS[args.scenario], args.share), **given)
    host, _, port = args.address.rpartition(":")
    try:
        result = Scenario(args.scenario, preset, (host.strip("[]"), int(port)), args.pid, args.data).run()
    except (RuntimeError, OSError) as error:
        print(f"tests.load: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
