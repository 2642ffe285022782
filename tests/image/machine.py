"""An image at work in QEMU, as a person has it: its serial console, its TLS port, its plug."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from image.boot import Machine
from image.flash import BOOT_START_MIB

if TYPE_CHECKING:
    from tests.kit import Client
    from tests.kit.line import Line

START_S = 420.0
"""To the box's answer on the serial console. The machine is emulated, and others work on this computer."""
STOP_S = 180.0
ANSWER_S = 60.0
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Console:
    """The serial console of the box: lines go in, text comes out."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(1)
        self.said = ""

    def say(self, line: str, wait_for: str, patience_s: float = ANSWER_S) -> str:
        """Type a line; all that comes until `wait_for`, without control codes. AssertionError if that does
        not come."""
        self.said = ""
        self.socket.sendall(line.encode() + b"\r")
        deadline = time.monotonic() + patience_s
        while not re.search(wait_for, self.said):
            assert time.monotonic() < deadline, (
                f"{line!r} brought no {wait_for!r} in {patience_s} s: {self.said!r}"
            )
            with contextlib.suppress(TimeoutError):
                octets = self.socket.recv(65536)
                assert octets, "the machine ended"
                self.said += CONTROL.sub("", octets.decode(errors="replace"))
        return self.said

    def wait_until_serving(self, patience_s: float) -> str:
        """Press Enter now and then, until somebody says that the box serves."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.say("", r"(?s)serving.*fingerprint +SHA256:[0-9a-f]{64}.*pocket> ", 10)
            except AssertionError:
                if time.monotonic() > deadline or not self.alive:
                    raise

    @property
    def alive(self) -> bool:
        try:
            return self.socket.send(b"") == 0
        except OSError:
            return False


@dataclass
class Emulated:
    """A machine that runs. As the Place of tests.kit's clients it is the box behind 127.0.0.1:PORT."""

    machine: Machine
    ports: dict[str, int]
    name: str = "Pocket"
    fingerprint: str = ""
    lines: set[Line] = field(default_factory=set)
    prompter_uid: str = ""
    started_s: float = 0.0
    """How long the last start took, to the box's answer on the console."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self.lines:
            line.close()
        if self._process.poll() is None:
            self.pull_the_plug()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.ports["tmtp"]

    def prompter(self) -> Client:
        raise NotImplementedError("nobody prompts here")

    def start(self) -> None:
        """Plug it in, and wait until the console says that the box serves."""
        began = time.monotonic()
        for path in (self.machine.console, self.machine.monitor):
            path.unlink(missing_ok=True)
        with (self.machine.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self.machine.command(self.ports, terminal=False),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not self.machine.console.exists():
            assert self._process.poll() is None, (self.machine.folder / "qemu.log").read_text()
            time.sleep(0.1)
        self.console = Console(self.machine.console)
        told = self.console.wait_until_serving(START_S)
        self.started_s = time.monotonic() - began
        (fingerprint,) = set(re.findall(r"fingerprint +SHA256:([0-9a-f]{64})", told))
        assert self.fingerprint in ("", fingerprint), "the box has another certificate than before"
        self.fingerprint = fingerprint

    def press_power(self) -> float:
        """The power button: an orderly stop. How long it took."""
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(str(self.machine.monitor))
            monitor.sendall(b"system_powerdown\n")
            monitor.settimeout(1)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        assert self._process.poll() is not None, f"it was not off {STOP_S} s after the power button"
        return time.monotonic() - began

    def pull_the_plug(self) -> None:
        """No warning. What QEMU has not given to this computer is gone."""
        self._process.kill()
        self._process.wait()

    def preset(self, content: str) -> None:
        """pocket.toml onto the boot partition of the machine, which is off."""
        file = self.machine.folder / "pocket.toml"
        file.write_text(content)
        place = f"{self.machine.disk}@@{BOOT_START_MIB}M"
        words = ["mcopy", "-o", "-i", place, str(file), "::pocket.toml"]
        subprocess.run(self.machine.build.in_tools(words, self.machine.folder), check=True)

    def ssh(self, key: Path, command: str) -> str:
        """What a command says in the machine, over SSH with that key. AssertionError if it fails."""
        words = [
            "-i",
            str(key),
            "-p",
            str(self.ports["ssh"]),
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
        ]
        words += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60"]
        ended = subprocess.run(
            ["ssh", *words, "root@127.0.0.1", command],
            capture_output=True,
            text=True,
            timeout=180,
            env={**os.environ, "SSH_AUTH_SOCK": ""},
            check=False,
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout
