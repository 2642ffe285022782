"""Root's shell in a machine, over SSH: one link for all commands, since each login costs the emulated
processor a second or two."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"
"""Programs that run in the machine; they need nothing but its python3."""
LOGIN_S = 150.0
COMMAND_S = 180.0


def words(port: int, key: Path) -> list[str]:
    """SSH to the machine behind that port of 127.0.0.1, as root, with that key."""
    return [
        *("ssh", "-F", "none", "-p", str(port), "-i", str(key)),
        *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "root@127.0.0.1"),
    ]


def said(command: list[str], patience_s: float = COMMAND_S, given: str = "") -> str:
    """What the command says, which gets `given` to read. AssertionError if it fails."""
    ended = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        timeout=patience_s,
        env=_environment(),
        check=False,
    )
    assert ended.returncode == 0, f"{command[-1]}: {ended.stdout}{ended.stderr}"
    return ended.stdout


class Shell:
    """`control`: the socket of the link. AssertionError if nobody lets us in within LOGIN_S."""

    def __init__(self, port: int, key: Path, control: Path) -> None:
        self._words = words(port, key)
        self._words[1:1] = ["-S", str(control)]
        self._link: subprocess.Popen[bytes] | None = None
        deadline = time.monotonic() + LOGIN_S
        while True:
            control.unlink(missing_ok=True)
            self._link = self._start(["-M", "-N"])
            while self._link.poll() is None and not control.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            if control.exists():
                return
            assert time.monotonic() < deadline, f"no login by SSH in {LOGIN_S} s"
            self.close()
            time.sleep(1)

    def close(self) -> None:
        if self._link is not None:
            self._link.kill()
            self._link.wait()
            self._link = None

    def run(self, command: str, patience_s: float = COMMAND_S, given: str = "") -> str:
        """What the command says, which gets `given` to read. AssertionError if it fails."""
        return said([*self._words, command], patience_s, given)

    def program(self, name: str, *arguments: str) -> str:
        """What a program of INSIDE says there."""
        return self.run(" ".join(["python3", "-", *arguments]), given=(INSIDE / name).read_text())

    def leave_running(self, name: str, *arguments: str) -> None:
        """Start a program of INSIDE, which goes on there."""
        self.run(f"cat >/run/{name}", given=(INSIDE / name).read_text())
        self.run(f"systemd-run --quiet --collect python3 /run/{name} {' '.join(arguments)}")

    def follow(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A program of INSIDE, at a high priority; what it says can be read as it comes."""
        self.run(f"cat >/run/{name}", given=(INSIDE / name).read_text())
        return self._start([f"nice -n -10 python3 -u /run/{name} {' '.join(arguments)}"])

    def _start(self, more: list[str]) -> subprocess.Popen[bytes]:
        options = [word for word in more if word.startswith("-")]
        command = [word for word in more if not word.startswith("-")]
        return subprocess.Popen(
            [self._words[0], *options, *self._words[1:], *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
        )


def _environment() -> dict[str, str]:
    """No agent offers keys of its owner."""
    told = dict(os.environ)
    with contextlib.suppress(KeyError):
        del told["SSH_AUTH_SOCK"]
    return told
