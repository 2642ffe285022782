"""Starts an image in QEMU: its ports on loopback, the box's serial console in the terminal, the kernel's
in a file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .board import Qemu
from .build import Build, build_of, need_root
from .errors import ImageError

DISK_OCTETS = 4 << 30
"""As large as a small card; the image is smaller, so that the data partition has something to grow into."""
MEMORY_MIB = 1024
"""That of a Raspberry Pi 4 with the least of it."""
GUEST_PORTS = {"tmtp": 4433, "ssh": 22}
SERIAL_NUMBERS = uuid.UUID("5a7fa6f8-30a4-4b0e-a8f0-1b3f0cde6f11")


@dataclass(frozen=True)
class Machine:
    """An emulated machine with a disk of its own, that lasts from one start to the next."""

    build: Build
    folder: Path
    """Disk, sockets and what the kernel says."""

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def console(self) -> Path:
        """The socket of the box's serial console, when it is not in the terminal."""
        return self.folder / "console.sock"

    @property
    def monitor(self) -> Path:
        """The socket of QEMU's monitor."""
        return self.folder / "monitor.sock"

    @property
    def kernel_log(self) -> Path:
        return self.folder / "kernel.log"

    def flash(self) -> None:
        """A fresh disk with the image."""
        self.folder.mkdir(parents=True, exist_ok=True)
        copy = ["cp", "--sparse=always", str(self.build.last("disk") / "disk.img"), str(self.disk)]
        subprocess.run(copy, check=True)
        os.truncate(self.disk, DISK_OCTETS)
        (self.folder / "image").write_text(self.build.last("disk").name)
        for name in ("variables.fd",):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def fresh(self) -> bool:
        """Whether the disk is of this build."""
        told = self.folder / "image"
        return self.disk.exists() and told.exists() and told.read_text() == self.build.last("disk").name

    @property
    def serial_number(self) -> uuid.UUID:
        """What tells it from other machines, the same at each start."""
        return uuid.uuid5(SERIAL_NUMBERS, str(self.folder))

    @property
    def mac(self) -> str:
        digest = hashlib.sha256(self.serial_number.bytes).hexdigest()
        return f"52:54:00:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"

    def command(
        self, ports: dict[str, int], terminal: bool, network: str = "", more: Sequence[str] = ()
    ) -> list[str]:
        """QEMU with its arguments, and `more`. `ports`: port on 127.0.0.1 for each of GUEST_PORTS that is
        wanted. `network`: the -netdev, its id being net, in place of one of its own with those ports."""
        qemu = self.build.machine.qemu
        if qemu is None:
            raise ImageError(
                f"{self.build.machine.name} is no virtual machine: BOARD=virt-amd64 or virt-arm64"
            )
        if terminal:
            console = ["-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "chardev=console"]
        else:
            console = [
                *("-chardev", f"socket,id=console,path={self.console},server=on,wait=off"),
                *("-monitor", f"unix:{self.monitor},server=on,wait=off"),
            ]
        return self.build.in_tools(
            [
                *(
                    "TMPDIR=/tmp",
                    qemu.program,
                    *qemu.arguments,
                    "-accel",
                    "tcg,thread=multi",
                    "-display",
                    "none",
                ),
                *("-smp", str(qemu.processors), "-m", str(MEMORY_MIB), *self._firmware(qemu)),
                *self._disk(qemu),
                *("-netdev", network or "user,id=net" + forwards(ports)),
                *("-device", f"{qemu.network},netdev=net,mac={self.mac}", "-uuid", str(self.serial_number)),
                *console,
                *("-serial", f"file:{self.kernel_log}", "-serial", "chardev:console", *more),
            ],
            self.folder,
        )

    def _disk(self, qemu: Qemu) -> list[str]:
        drive = f"file={self.disk},format=raw,cache=writeback,if="
        if qemu.disk == "sd":
            return ["-drive", f"{drive}sd"]
        return [
            *("-drive", f"{drive}none,id=disk", "-device", f"{qemu.disk},drive=disk"),
            *("-device", "virtio-rng-pci"),
        ]

    def _firmware(self, qemu: Qemu) -> list[str]:
        if qemu.kernel:
            tree = self.build.last("debs") / "tree"
            (original,) = tree.glob(qemu.device_tree)
            device_tree = self.folder / "device-tree.dtb"
            device_tree.write_bytes(without(original.read_bytes(), qemu.hidden))
            return ["-kernel", str(tree / qemu.kernel), "-dtb", str(device_tree)]
        if "OVMF_CODE" not in qemu.firmware:
            return ["-bios", qemu.firmware]
        variables = self.folder / "variables.fd"
        if not variables.exists():
            tools = self.build.last("tools") / "root"
            shutil.copy(str(tools) + qemu.firmware.replace("CODE", "VARS"), variables)
        return [
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={qemu.firmware}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={variables}"),
        ]


def without(device_tree: bytes, names: list[str]) -> bytes:
    """The device tree, in which no driver finds the devices with those words as `compatible`."""
    for name in names:
        device_tree = device_tree.replace(name.encode() + b"\0", b"-" * len(name) + b"\0")
    return device_tree


def forwards(ports: dict[str, int]) -> str:
    """For QEMU's user network: those ports on 127.0.0.1 lead into the machine, and to nobody else."""
    return "".join(f",hostfwd=tcp:127.0.0.1:{port}-:{GUEST_PORTS[name]}" for name, port in ports.items())


def boot(name: str) -> int:
    """`make boot`: the machine in this terminal, until it is switched off. Its exit status."""
    need_root(f"make boot BOARD={name}")
    build = build_of(name)
    machine = Machine(build, build.place / "boot" / name)
    if os.environ.get("FRESH") or not machine.fresh:
        print("a fresh disk with this image", flush=True)
        machine.flash()
    port = int(os.environ.get("PORT") or 4433)
    print(
        f"{name}: TLS at 127.0.0.1:{port}; what the kernel says: {machine.kernel_log}\n"
        "The serial console of the box is here: press Enter when it has started (a minute or two). "
        "Ctrl-a x ends the machine.",
        flush=True,
    )
    began = time.monotonic()
    ended = subprocess.run(machine.command({"tmtp": port}, terminal=True), check=False)
    print(f"it ran for {time.monotonic() - began:.0f} s")
    return ended.returncode
