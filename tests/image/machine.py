"""An image at work in QEMU, as a person has it: its serial console, its TLS port, its plug."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from image.boot import Machine
from image.flash import BOOT_START_MIB

from .shell import Shell, said, words

if TYPE_CHECKING:
    from tests.kit import Client
    from tests.kit.line import Line

START_S = 420.0
"""To the box's answer on the serial console. The machine is emulated, and others work on this computer."""
STOP_S = 180.0
ANSWER_S = 60.0
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
PROMPT = "pocket> "
SERVING = "serving|warning"


class Console:
    """A serial console of the box: lines go in, text comes out. All that comes is kept in `log`, too."""

    def __init__(self, path: Path, log: Path | None = None) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(1)
        self.said = ""
        self._log = log

    def close(self) -> None:
        self.socket.close()

    def write(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def read(self, most: int) -> bytes:
        """What is there, at most after a second."""
        with contextlib.suppress(TimeoutError):
            octets = self.socket.recv(most)
            assert octets, "the machine ended"
            if self._log is not None:
                with self._log.open("ab") as log:
                    log.write(octets)
            return octets
        return b""

    def say(self, line: str, wait_for: str, patience_s: float = ANSWER_S) -> str:
        """Type a line; all that comes until `wait_for`, without control codes. AssertionError if that does
        not come."""
        self.said = ""
        self.write(line.encode() + b"\r")
        deadline = time.monotonic() + patience_s
        while not re.search(wait_for, self.said):
            assert time.monotonic() < deadline, (
                f"{line!r} brought no {wait_for!r} in {patience_s} s: {self.said!r}"
            )
            self.said += CONTROL.sub("", self.read(65536).decode(errors="replace"))
        return self.said

    def wait_until_serving(self, patience_s: float) -> str:
        """Press Enter now and then, until somebody says that the box serves."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.say("", rf"(?s): ({SERVING})\r.*fingerprint +SHA256:[0-9a-f]{{64}}.*{PROMPT}", 10)
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
    network: str = ""
    """What it is plugged into; empty: into a network of its own (see Machine.command)."""
    more: Sequence[str] = ()
    """What else it has, in QEMU's words."""
    name: str = "Pocket"
    fingerprint: str = ""
    lines: set[Line] = field(default_factory=set)
    prompter_uid: str = ""
    started_s: float = 0.0
    """How long the last start took, to the box's answer on the console."""
    told_address: str = ""
    """Where the box said that it is, after the last start."""
    starts: int = 0
    shell: Shell | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self.lines:
            line.close()
        if self.running:
            self.pull_the_plug()

    @property
    def running(self) -> bool:
        return bool(self.starts) and self._process.poll() is None

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.ports["tmtp"]

    @property
    def typed_address(self) -> str:
        """Where the box is for this computer, as it is typed."""
        return f"=127.0.0.1:{self.ports['tmtp']}"

    @property
    def console_log(self) -> Path:
        return self.machine.folder / "console.log"

    def prompter(self) -> Client:
        raise NotImplementedError("nobody prompts here")

    def plug_in(self) -> None:
        """Switch it on, and wait for nothing."""
        self._plugged_in = time.monotonic()
        for path in (self.machine.console, self.machine.monitor):
            path.unlink(missing_ok=True)
        if self.machine.kernel_log.exists():
            self.machine.kernel_log.rename(self.machine.folder / f"kernel-{self.starts}.log")
        with (self.machine.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(
                self.machine.command(self.ports, terminal=False, network=self.network, more=self.more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.starts += 1
        while not self.machine.console.exists():
            assert self._process.poll() is None, (self.machine.folder / "qemu.log").read_text()
            time.sleep(0.1)
        if self.starts == 1:
            self.console_log.unlink(missing_ok=True)
        self.console = Console(self.machine.console, self.console_log)

    def start(self) -> None:
        """Plug it in, and wait until the console says that the box serves."""
        self.plug_in()
        self.wait_until_serving()

    def wait_until_serving(self) -> None:
        """Until the console says so, after it was plugged in."""
        told = self.console.wait_until_serving(START_S)
        self.started_s = time.monotonic() - self._plugged_in
        (fingerprint,) = set(re.findall(r"fingerprint +SHA256:([0-9a-f]{64})", told))
        self.told_address = re.findall(r"address +=(\S+):\d+", told)[-1]
        assert self.fingerprint in ("", fingerprint), "the box has another certificate than before"
        self.fingerprint = fingerprint

    def ask_qemu(self, *lines: str) -> str:
        """What QEMU's monitor answers to the last of these lines."""
        return ask_monitor(self.machine.monitor, *lines)

    def press_power(self) -> float:
        """The power button: an orderly stop. How long it took."""
        with contextlib.suppress(ConnectionError):
            self.ask_qemu("system_powerdown")
        return self.wait_until_off()

    def wait_until_off(self) -> float:
        """It switches itself off. How long that took."""
        began = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        assert self._process.poll() is not None, f"it is not off after {STOP_S} s"
        self._hang_up()
        return time.monotonic() - began

    def pull_the_plug(self) -> None:
        """No warning. What QEMU has not given to this computer is gone."""
        self._process.kill()
        self._process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        self.console.close()
        if self.shell is not None:
            self.shell.close()
            self.shell = None

    def preset(self, content: str) -> None:
        """pocket.toml onto the boot partition of the machine, which is off."""
        file = self.machine.folder / "pocket.toml"
        file.write_text(content)
        place = f"{self.machine.disk}@@{BOOT_START_MIB}M"
        words = ["mcopy", "-o", "-i", place, str(file), "::pocket.toml"]
        subprocess.run(self.machine.build.in_tools(words, self.machine.folder), check=True)

    def ssh(self, key: Path, command: str) -> str:
        """What a command says in the machine, over SSH with that key, by a login of its own: the machine may
        have started anew. AssertionError if it fails."""
        return said([*words(self.ports["ssh"], key), command])

    def enter(self, key: Path) -> Shell:
        """Root's shell in there, until it is off."""
        if self.shell is None:
            self.shell = Shell(self.ports["ssh"], key, self.machine.folder / "ssh.sock")
        return self.shell


def ask_monitor(path: Path, *lines: str) -> str:
    """What QEMU's monitor at that socket answers to the last of these lines. ConnectionError if it ends."""
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(20)
        monitor.connect(str(path))
        told = _until_prompt(monitor)
        for line in lines:
            monitor.sendall(line.encode() + b"\n")
            told = _until_prompt(monitor)
    return "\n".join(told.splitlines()[1:-1])


def _until_prompt(monitor: socket.socket) -> str:
    told = ""
    while not told.endswith("(qemu) "):
        octets = monitor.recv(65536)
        if not octets:
            raise ConnectionError(f"QEMU ended: {told}")
        told += CONTROL.sub("", octets.decode(errors="replace"))
    return told


@contextlib.contextmanager
def kept(box: Emulated) -> Iterator[None]:
    """When what is done here fails, say where everything is that the machine said."""
    try:
        yield
    except BaseException:
        folder = box.machine.folder
        if box.running and box.shell is not None:
            with contextlib.suppress(AssertionError, OSError, subprocess.SubprocessError):
                (folder / "journal.log").write_text(box.shell.run("journalctl -b --no-pager", 60))
        told = [folder / name for name in ("console.log", "kernel.log", "journal.log", "qemu.log")]
        there = [str(path) for path in told if path.exists()]
        print("what the machine said:", *there, sep=f"{os.linesep}  ", flush=True)
        raise
