"""A USB serial adapter that is put into the machine and pulled out while it runs."""

from __future__ import annotations

from pathlib import Path

from .machine import Console, Emulated
from .progress import until
from .shell import Shell

PRESET_PORTS = '"/dev/ttyUSB*"'
"""For console.ports."""


def socket_of(folder: Path) -> Path:
    return folder / "adapter.sock"


def has(folder: Path) -> list[str]:
    """What the machine needs, in QEMU's words: a USB controller, and the far end of the cable."""
    return [
        *("-device", "qemu-xhci,id=usb"),
        *("-chardev", f"socket,id=adapter,path={socket_of(folder)},server=on,wait=off"),
    ]


class Adapter:
    def __init__(self, box: Emulated, shell: Shell) -> None:
        self._box, self._shell = box, shell

    def plug_in(self) -> Console:
        """The adapter, and somebody at the other end."""
        told = self._box.ask_qemu("device_add usb-serial,chardev=adapter,id=adapter,bus=usb.0")
        assert "rror" not in told, told
        person = Console(socket_of(self._box.machine.folder), self._box.machine.folder / "adapter.log")
        until(lambda: "ttyUSB" in self._shell.run("ls /dev"), "the adapter has no port", 30)
        return person

    def pull_out(self, person: Console) -> None:
        person.close()
        self._box.ask_qemu("device_del adapter")
        until(lambda: "ttyUSB" not in self._shell.run("ls /dev"), "the adapter is still there", 30)
