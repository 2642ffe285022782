"""make image-test-power BOARD=... CUTS=50: the plug is pulled at random moments while members write to each
other. The disk then loses of what was not flushed a random part; the box has to start by itself, with
everything that it acknowledged. An hour or more: each start takes a minute.

SEED=n repeats the choices of a run. LIES=1 has the disk lose what it had flushed as well: then the trial
has to fail.
"""

from __future__ import annotations

import os
import random
import sys
import time
from typing import cast

from image.build import build_of
from image.errors import ImageError
from tests.crash.household import Household
from tests.kit import Box, free_port

from .power_machine import PowerBox, PowerMachine
from .progress import report

PRESET = """
registration = "open"

[store]
spill_every_s = 2
spill_messages = 200

[limits]
aliases_per_member = 10000
pings_per_member_per_day = 1000000
changes_per_member_per_day = 1000000
"""
"""Members who come in without a hand on the button, and a store that has much to do."""

LIFE_S = (1.0, 20.0)
START_CUT_TOO = 0.25
"""After so many of the cuts the power goes once more while the machine starts."""

PATIENCE_S = 300.0
MOMENTS_S = 20.0
"""An emulated machine has no time for the last acknowledgements of devices."""


def cut_power(box: PowerBox, home: Household, chance: random.Random) -> list[str]:
    """What happened, a line for each cut."""
    life_s = chance.uniform(*LIFE_S)
    home.live(life_s)
    told = [f"after {life_s:.1f} s of writing; {box.cut(chance)}"]
    home.read_out()
    if chance.random() < START_CUT_TOO:
        after_s = chance.uniform(3, box.started_s)
        told.append(f"{after_s:.0f} s into the start; {box.cut_while_starting(after_s, chance)}")
    return told


def verify(box: PowerBox) -> str:
    told = box.console.say("journal verify", r"(?s)the journal .*pocket> ", PATIENCE_S)
    assert "the journal holds" in told, told
    return told.partition("the journal holds: ")[2].partition(";")[0]


def main() -> int:
    began = time.monotonic()
    cuts = int(os.environ.get("CUTS") or 50)
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 30))
    print(f"SEED={seed}", flush=True)
    chance = random.Random(seed)
    build = build_of(sys.argv[1])
    build.run()
    machine = PowerMachine(build, build.place / "power" / build.machine.name)
    machine.flash()
    ports = {"tmtp": free_port()}
    box = PowerBox(machine, ports, lies=bool(os.environ.get("LIES")))
    box.preset(PRESET)
    box.insert()
    with box:
        box.start()
        report("serving after", box.started_s)
        home = Household(cast(Box, box), seed, patience_s=PATIENCE_S, moments_s=MOMENTS_S)
        done = 0
        while done < cuts:
            for happened in cut_power(box, home, chance):
                done += 1
                print(f"cut {done}, {happened}", flush=True)
            box.start()
            entries = verify(box)
            home.come_back(PATIENCE_S)
            print(
                f"  serving after {box.started_s:.0f} s; {entries} hold; {home.ledger.promises} requests"
                f" acknowledged so far, {home.ledger.received} messages received",
                flush=True,
            )
        home.close()
        box.press_power()
    machine.disk.unlink()
    report(f"{done} cuts, nothing was lost; it took", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ImageError as problem:
        sys.exit(str(problem))
