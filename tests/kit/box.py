"""A real box: the server's process, its data folder, its control socket."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from .client import Client
    from .line import Line

READY_S = 60.0
STOP_S = 20.0
COMMAND = shlex.split(os.environ.get("POCKET", "")) or [sys.executable, "-m", "appliance.cli"]
"""What is tested: this checkout, or the `pocket` command that the environment names."""

SITE = "Müller & <Söhne>"
"""A name that canonical JSON has something to do for."""


class Refused(Exception):
    """The control socket's answer was an error."""


class Box:
    """A `pocket serve` on a free port of 127.0.0.1, or where `listen` says. Its folder goes when it is
    closed; so does its process, also when the tests are killed (setpriv, where there is one). `within`: a
    command that runs it somewhere else, as `ip netns exec NAME`."""

    def __init__(
        self,
        *,
        registration: str = "open",
        config: str = "",
        name: str = SITE,
        listen: str = "127.0.0.1:0",
        within: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="pocket-test-"))
        self.data = self.folder / "data"
        self.address: tuple[str, int] = ("", 0)
        self.fingerprint = ""
        self.lines: set[Line] = set()
        """All connections that were made to it: what a failed test leaves open, `close` closes."""
        self._within = list(within)
        self._arguments = ["--data", str(self.data), "--listen", listen, "--name", name]
        self._arguments += ["--registration", registration]
        if config:
            (self.folder / "config.toml").write_text(config)
            self._arguments += ["--config", str(self.folder / "config.toml")]
        self._process: subprocess.Popen[bytes] | None = None
        self._prompter: Client | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the box is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it says `ready`; AssertionError with its words if it does not."""
        self.launch()
        try:
            self._read_greeting(self._wait_for_ready())
        except BaseException:
            self.kill9()
            raise

    def launch(self) -> None:
        """Start the process."""
        assert not self.running
        guard = [found, "--pdeathsig", "KILL"] if (found := shutil.which("setpriv")) else []
        with (self.folder / "stdout").open("wb") as stdout, (self.folder / "stderr").open("ab") as stderr:
            self._process = subprocess.Popen(
                [*guard, *self._within, *COMMAND, "serve", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def _wait_for_ready(self) -> list[str]:
        deadline = time.monotonic() + READY_S
        while True:
            lines = (self.folder / "stdout").read_text().splitlines()
            if "ready" in lines:
                return lines
            assert self.running, f"the box stopped before it was ready\n{self.words()}"
            assert time.monotonic() < deadline, f"the box was not ready in {READY_S} s\n{self.words()}"
            time.sleep(0.02)

    def _read_greeting(self, lines: list[str]) -> None:
        told = dict(line.split(" ", 1) for line in lines if " " in line)
        assert told.get("site") == self.name, lines
        host, port = told["address"].strip().removeprefix("=").rsplit(":", 1)
        self.address = host, int(port)
        self.fingerprint = told["fingerprint"].strip().removeprefix("SHA256:").replace(":", "").lower()

    def kill9(self) -> None:
        """SIGKILL, at once."""
        self.stop(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        return self.stop(signal.SIGTERM)

    def stop(self, number: signal.Signals) -> int:
        """Send this signal, and wait for the end; the exit status."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the box did not stop in {STOP_S} s\n{self.words()}") from None

    def restart(self) -> None:
        """An orderly stop and a start with the same data."""
        assert self.terminate() == 0, self.words()
        self.start()

    def control(self, word: str, **args: Any) -> Any:
        """Say a word on the control socket; its result, or Refused."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(self.data / "control.sock"))
            sock.sendall(json.dumps({"word": word, "args": args}).encode() + b"\n")
            with sock.makefile("rb") as answers:
                answer = json.loads(answers.readline())
                assert answers.read() == b"", "the server closes after one answer"
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer["result"]

    def prompter(self) -> Client:
        """A member that nobody knows, who lets the curtain fall (see people.py)."""
        from .client import Client

        if self._prompter is None:
            self._prompter = Client.register(self, alias="the prompter in his box")
        elif not self._prompter.alive:
            self._prompter.login()
        return self._prompter

    @property
    def prompter_uid(self) -> str:
        return self._prompter.uid if self._prompter else ""

    def words(self, octets: int = 8000) -> str:
        """The end of what the box has said on stderr."""
        return (self.folder / "stderr").read_bytes()[-octets:].decode(errors="replace")

    def close(self) -> None:
        """End the process, orderly if it will, and remove its folder."""
        try:
            for line in self.lines:
                line.close()
            if self.running:
                self.terminate()
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(self.folder)
