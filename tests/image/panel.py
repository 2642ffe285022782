"""Lights and a button on pins that the kernel simulates (gpio-sim), in a machine."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from .progress import until
from .rhythm import RHYTHMS, Edge, Rhythm, fades, shows
from .shell import Shell

LED, DIMMED, BUTTON = 17, 27, 23
PRESET = f"""
[[panel.led]]
pin = {LED}

[[panel.led]]
pin = {DIMMED}
pwm = true

[panel.button]
pin = {BUTTON}
"""
PLUG_IN = """
modprobe gpio-sim
systemctl start sys-kernel-config.mount
folder=/sys/kernel/config/gpio-sim/header
mkdir -p $folder/bank0
echo 28 >$folder/bank0/num_lines
echo 1 >$folder/live
echo /sys/devices/platform/$(cat $folder/dev_name)/$(cat $folder/bank0/chip_name)
"""
SEEN_S = 40.0
"""How long we wait for a pattern; the longest takes 6 s to be seen."""


class Panel:
    """What a person has before him: a light is watched from now on, a button can be pressed."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self.folder = shell.run(PLUG_IN).strip()
        assert self.folder.endswith("/gpiochip0"), f"not the first chip: {self.folder}"
        self._edges: list[Edge] = []
        self._shares: list[tuple[float, float]] = []
        self._until = 0.0
        self._lock = threading.Lock()
        self._watch: subprocess.Popen[bytes] = shell.follow(
            "watch_lights.py", self._pin(LED, "value"), self._pin(DIMMED, "value")
        )
        threading.Thread(target=self._read, daemon=True).start()
        until(lambda: self._until, "nobody watches the lights")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.kill()
        self._watch.wait()

    def _pin(self, number: int, file: str) -> str:
        return f"{self.folder}/sim_gpio{number}/{file}"

    def _read(self) -> None:
        assert self._watch.stdout is not None
        for line in self._watch.stdout:
            kind, at, value = line.split()
            with self._lock:
                if kind == b"edge":
                    self._edges.append((float(at), int(value)))
                else:
                    self._shares.append((float(at), float(value)))
                self._until = max(self._until, float(at))

    @property
    def level(self) -> int:
        """1: it is lit, as far as we have heard."""
        with self._lock:
            return self._edges[-1][1]

    def sees(self, *rhythms: Rhythm, when: Callable[[], object] | None = None) -> None:
        """Wait until the light has shown each of these, in any order, after `when` was done. AssertionError
        with what it showed instead."""
        with self._lock:
            begin = self._until
        if when is not None:
            when()
        deadline = time.monotonic() + SEEN_S
        while not all(shows(each, *self._since(begin)) for each in rhythms):
            if time.monotonic() > deadline:
                edges, end = self._since(begin)
                seen = [each.name for each in RHYTHMS if shows(each, edges, end)]
                wanted = " and ".join(each.name for each in rhythms)
                raise AssertionError(f"not {wanted} but {seen or edges[-20:]}")
            time.sleep(0.3)

    def _since(self, begin: float) -> tuple[list[Edge], float]:
        with self._lock:
            known = [edge for edge in self._edges if edge[0] > begin]
            before = [level for at, level in self._edges if at <= begin]
            return [*((begin, level) for level in before[-1:]), *known], self._until

    def sees_a_fade(self) -> None:
        """Wait until the light that can be dimmed fades."""
        with self._lock:
            begin = self._until
        until(lambda: fades([each for each in self._shares if each[0] > begin]), "a fade", SEEN_S)

    def hold(self, seconds: float) -> None:
        """Press the button for so long."""
        pull = self._pin(BUTTON, "pull")
        self._shell.run(f"echo pull-down >{pull}; sleep {seconds}; echo pull-up >{pull}")
