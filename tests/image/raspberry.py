"""The card of a Raspberry Pi, in an emulated Pi 3: U-Boot, the same kernel and the same system, to the
service.

What this cannot show: the first stages (QEMU starts U-Boot itself), Wi-Fi, pins and lights.
"""

from __future__ import annotations

import time

from image.build import Build
from tests.kit import free_port

from . import look
from .machine import Emulated, kept
from .progress import step
from .way_in import converse, enter, machine_of, preset_key

CHOSEN_S = 120.0
"""To boot.scr. Until then nobody may type: U-Boot would stop."""


def card_part(build: Build) -> None:
    machine = machine_of(build, "card")
    with Emulated(machine, {"tmtp": free_port(), "ssh": free_port()}) as box, kept(box):
        box.preset(preset_key(box))
        with step("U-Boot runs what chooses the version"):
            box.plug_in()
            read_until(box, f"pocket: starting {build.settings['VERSION']}")
        with step("from there to the serial console's word that it serves"):
            box.wait_until_serving()
        with step("a conversation over TLS"):
            for client in converse(box):
                client.close()
        with step("everything has started, nothing failed"):
            look.settled(enter(box))
        with step("read-only, grown, no password, nothing listens that should not"):
            look.system(enter(box))
        box.pull_the_plug()
    machine.disk.unlink()


def read_until(box: Emulated, words: str) -> None:
    """Read the serial port, and type nothing."""
    deadline, said = time.monotonic() + CHOSEN_S, ""
    while words not in said:
        assert time.monotonic() < deadline, f"no {words!r} in {CHOSEN_S:.0f} s: {said[-500:]}"
        said += box.console.read(65536).decode(errors="replace")
