"""The card of a Raspberry Pi, in an emulated Pi 3: U-Boot, the same kernel and system, to the service.

What this cannot show: the first stages (QEMU starts U-Boot itself), what is behind USB, as the network is,
Wi-Fi, pins, lights and the watchdog. So all is asked on the serial console.
"""

from __future__ import annotations

import time

from image.build import Build

from .machine import PROMPT, Emulated, kept
from .progress import step
from .way_in import machine_of

CHOSEN_S = 120.0
"""To boot.scr. Until then nobody may type: U-Boot would stop."""


def card_part(build: Build) -> None:
    machine = machine_of(build, "card")
    with Emulated(machine, {}) as box, kept(box):
        box.preset('name = "Attic"\n')
        with step("U-Boot runs what chooses the version"):
            box.plug_in()
            read_until(box, f"pocket: starting {build.settings['VERSION']}")
        with step("from there to the serial console's word that it serves"):
            box.wait_until_serving()
        with step("the box has the preset name, and opens pairing"):
            box.console.say("status", rf"(?s)Attic.*{PROMPT}")
            box.console.say("pair open", rf"(?s)pairing is open.*{PROMPT}")
        box.pull_the_plug()
    machine.disk.unlink()


def read_until(box: Emulated, words: str) -> None:
    """Read the serial port, and type nothing."""
    deadline, said = time.monotonic() + CHOSEN_S, ""
    while words not in said:
        assert time.monotonic() < deadline, f"no {words!r} in {CHOSEN_S:.0f} s: {said[-500:]}"
        said += box.console.read(65536).decode(errors="replace")
