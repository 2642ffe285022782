"""Many random schedules, for as long as somebody wants: `python -m tests.sim --schedules 5000`.

Each is one number, and the same each time: `python -m tests.sim --seed 123` runs that one and tells its
steps.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
import traceback
from collections import Counter

from tests.sim.lab import lab
from tests.sim.schedule import run

SAY_EVERY_S = 10.0
FAILURES_MAX = 20


def soak(seeds: range) -> int:
    """Run them all. Prints how far it is, and the seed of each that fails."""
    began = said = time.monotonic()
    counts: Counter[str] = Counter()
    failed: list[int] = []
    done = 0
    print(f"sim: {len(seeds)} schedules, from {seeds.start}", flush=True)
    with lab() as place:
        for done, seed in enumerate(seeds, 1):
            try:
                counts.update(run(place, seed).counts)
            except Exception as error:
                failed.append(seed)
                print(f"FAILED: --seed {seed}: {first_line(error)}", flush=True)
                if len(failed) >= FAILURES_MAX:
                    break
            if time.monotonic() - said > SAY_EVERY_S:
                said = time.monotonic()
                left_s = (said - began) / done * (len(seeds) - done)
                print(f"sim: {done} done, {len(failed)} failed, {left_s:.0f} s left", flush=True)
    took_s = time.monotonic() - began
    told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))
    print(f"sim: {done} schedules in {took_s:.0f} s, {len(failed)} failed: {failed}\n     {told}")
    return 1 if failed else 0


def one(seed: int) -> int:
    """Run a schedule and say what happened in it."""
    with lab() as place:
        try:
            house = run(place, seed)
        except Exception as error:
            traceback.print_exception(error)
            return 1
    print(" / ".join(house.trace))
    return 0


def first_line(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error)[:300]}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--schedules", type=int, default=5000, help="how many")
    parser.add_argument("--first", type=int, help="the first one's number; random if not given")
    parser.add_argument("--seed", type=int, help="run this one, and tell its steps")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        return one(options.seed)
    first = options.first if options.first is not None else random.SystemRandom().randrange(1 << 31)
    return soak(range(first, first + options.schedules))


if __name__ == "__main__":
    sys.exit(main())
