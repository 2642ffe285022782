"""A home network for several machines: a router that hands out addresses, a switch, and cables.

The router is a QEMU without a machine, of which only the user network is at work (closed: nothing gets out).
It answers whatever it hears, hence the switch, which lets it hear what is for it or for all.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from image.boot import GUEST_PORTS
from image.build import Build

from .machine import ask_monitor

FRAME_OCTETS = 1 << 16


class Switch:
    """Each cable is a pair of datagram sockets in `folder`: ours is portN, the other end's endN."""

    def __init__(self, folder: Path, cables: int) -> None:
        self._folder = folder
        self._ports: list[socket.socket] = []
        self._where: dict[bytes, int] = {}
        """At which port somebody with this address was heard last."""
        for number in range(cables):
            path = folder / f"port{number}"
            path.unlink(missing_ok=True)
            port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            port.bind(str(path))
            port.setblocking(False)
            self._ports.append(port)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cable(self, number: int, name: str) -> str:
        """The other end, in QEMU's words, as a netdev of that name."""
        return (
            f"dgram,id={name},local.type=unix,local.path={self._folder / f'end{number}'},"
            f"remote.type=unix,remote.path={self._folder / f'port{number}'}"
        )

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for port in self._ports:
            port.close()

    def _run(self) -> None:
        while not self._over.is_set():
            for port in select.select(self._ports, [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    self._pass_on(self._ports.index(port), port.recv(FRAME_OCTETS))

    def _pass_on(self, came_at: int, frame: bytes) -> None:
        to, sender = frame[:6], frame[6:12]
        self._where[sender] = came_at
        known = None if to[0] & 1 else self._where.get(to)
        for number, port in enumerate(self._ports):
            if number != came_at and known in (None, number):
                # A machine that is off, or slow, does not get it: so it is with cables.
                with contextlib.suppress(OSError):
                    port.sendto(frame, str(self._folder / f"end{number}"))


class Lan:
    """`machines`: how many can be plugged in. AssertionError if the router does not start."""

    def __init__(self, build: Build, folder: Path, machines: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        qemu = build.machine.qemu
        assert qemu is not None
        self._switch = Switch(folder, machines + 1)
        self._monitor = folder / "router.sock"
        self._monitor.unlink(missing_ok=True)
        ports = ["user,id=router,restrict=on", "hubport,id=in,hubid=0,netdev=router"]
        ports += [self._switch.cable(machines, "far"), "hubport,id=out,hubid=0,netdev=far"]
        with (folder / "router.log").open("wb") as log:
            self._process = subprocess.Popen(
                build.in_tools(
                    [
                        *("TMPDIR=/tmp", qemu.program, "-M", "none", "-display", "none"),
                        *("-monitor", f"unix:{self._monitor},server=on,wait=off"),
                        *(word for port in ports for word in ("-netdev", port)),
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
        self._switch.close()

    def plug(self, number: int) -> str:
        """The machine's end of its cable, as Emulated.network has it."""
        return self._switch.cable(number, "net")

    def forward(self, ports: dict[str, int], address: str) -> None:
        """From now on those ports on 127.0.0.1 lead to the machine that has this address."""
        for name, port in ports.items():
            ask_monitor(self._monitor, f"hostfwd_remove router tcp:127.0.0.1:{port}")
            told = ask_monitor(
                self._monitor, f"hostfwd_add router tcp:127.0.0.1:{port}-{address}:{GUEST_PORTS[name]}"
            )
            assert not told.strip(), told
