"""A home network for several machines: a router that hands out addresses, and cables between all of them.

The router is a QEMU without a machine: its user network (closed: nothing gets out) and the machines' cables
are on one hub. What goes to all, such as mDNS, comes to all.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from image.boot import GUEST_PORTS
from image.build import Build

from .machine import ask_monitor


class Lan:
    """`machines`: how many can be plugged in. AssertionError if the router does not start."""

    def __init__(self, build: Build, folder: Path, machines: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        qemu = build.machine.qemu
        assert qemu is not None
        ports = ["-netdev", "user,id=router,restrict=on", "-netdev", "hubport,id=hub,hubid=0,netdev=router"]
        for number in range(machines):
            ports += ["-netdev", self._cable(f"far{number}", f"router{number}", f"machine{number}")]
            ports += ["-netdev", f"hubport,id=hub{number},hubid=0,netdev=far{number}"]
        self._monitor = folder / "router.sock"
        self._monitor.unlink(missing_ok=True)
        with (folder / "router.log").open("wb") as log:
            self._process = subprocess.Popen(
                build.in_tools(
                    [
                        *("TMPDIR=/tmp", qemu.program, "-M", "none", "-display", "none"),
                        *("-monitor", f"unix:{self._monitor},server=on,wait=off", *ports),
                    ],
                    folder,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not self._monitor.exists():
            assert self._process.poll() is None, (folder / "router.log").read_text()
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def plug(self, number: int) -> str:
        """The machine's end of its cable, as Emulated.network has it."""
        return self._cable("net", f"machine{number}", f"router{number}")

    def forward(self, ports: dict[str, int], address: str) -> None:
        """From now on those ports on 127.0.0.1 lead to the machine that has this address."""
        for name, port in ports.items():
            with contextlib.suppress(AssertionError):
                ask_monitor(self._monitor, f"hostfwd_remove router tcp:127.0.0.1:{port}")
            told = ask_monitor(
                self._monitor, f"hostfwd_add router tcp:127.0.0.1:{port}-{address}:{GUEST_PORTS[name]}"
            )
            assert not told.strip(), told

    def _cable(self, name: str, here: str, there: str) -> str:
        return (
            f"dgram,id={name},local.type=unix,local.path={self.folder / here},"
            f"remote.type=unix,remote.path={self.folder / there}"
        )
