"""Real boxes on machines whose system is a stand-in: each with slots, a key, and a stick."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.kit import Box, free_port
from tests.kit.box import COMMAND
from tests.updating.signing import Signer, publish
from tests.updating.system import FakeSystem

WAIT_S = 40.0
CONFIG = """
[panel]
show = "none"

[discovery]
enabled = false

[peer]
name = "{name}"
"""


def until(what: Callable[[], Any], within_s: float = WAIT_S) -> Any:
    """What it returns when that is something; a box that is not there is waited for."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if found := what():
                return found
        except (OSError, json.JSONDecodeError):
            pass
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)


class Managed(Box):
    """A box on a machine that was started from an image. ``command``: another version of it than this."""

    def __init__(
        self,
        signer: Signer,
        place: Path,
        name: str = "attic",
        config: str = "",
        running: str = "1.1",
        other: str | None = None,
        command: list[str] | None = None,
    ) -> None:
        self.place, self.label = place, name
        self._signer, self._running, self._other = signer, running, other
        self.command = command
        self.system: FakeSystem | None = None
        where = f"127.0.0.1:{free_port()}"  # the same after each restart
        super().__init__(config=CONFIG.format(name=name) + config, name="Home", listen=where)
        self.id = self.control("status")["box"]

    def launch(self) -> None:
        if self.system is None:
            self.system = FakeSystem(
                self.place / self.label, self.data, self._signer.public, self._running, self._other
            )
        environ = dict(os.environ)
        os.environ.update(self.system.environment)
        try:
            self._launch()
        finally:
            os.environ.clear()
            os.environ.update(environ)

    def _launch(self) -> None:
        from tests.kit import box

        before = box.COMMAND
        box.COMMAND = self.command or before
        try:
            super().launch()
        finally:
            box.COMMAND = before

    @property
    def machine(self) -> FakeSystem:
        assert self.system is not None
        return self.system

    def say(self, *words: str, code: int = 0) -> str:
        """What `pocket update WORDS` says: on stdout, or on stderr if it is to fail."""
        done = self.saying(*words)
        assert done.returncode == code, (done.stdout, done.stderr, self.words())
        return done.stdout if code == 0 else done.stderr

    def saying(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "update", *words],
            capture_output=True,
            text=True,
            env={**os.environ, **self.machine.environment, "POCKET_DATA": str(self.data)},
            check=False,
            timeout=90,
        )

    @property
    def update(self) -> dict[str, Any]:
        state: dict[str, Any] = self.control("update.state")
        return state

    def restart_machine(self, good: bool = True, kill: bool = False) -> None:
        """As after an update. ``good``: a version that is armed comes up, else it was tried in vain."""
        self.kill9() if kill else self.terminate()
        self.machine.boot(good)
        self.start()

    def publish(self, *versions: str, octets: int = 300_000) -> Path:
        return publish(self.folder / "stick", self._signer, versions, octets=octets)

    def settled(self) -> dict[str, Any]:
        """When nothing is under way any more."""
        return until(lambda: (s := self.update)["phase"] is None and s["running"] is None and s)  # type: ignore[no-any-return]

    def has(self, folder: str) -> set[str]:
        """The names of what is in a folder of updates."""
        return {path.name for path in (self.data / "update" / folder).glob("*")}


def join(box: Managed, host: Managed) -> None:
    """Have a blank box join the host's site, and wait until both have everything."""
    code = str(host.control("peer.invite")["code"])
    address = f"={host.address[0]}:{host.address[1]}"
    done = subprocess.run(
        [*COMMAND, "peer", "join", address, code, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "POCKET_DATA": str(box.data)},
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    box.fingerprint = host.fingerprint
    box.id = box.control("status")["box"]
    in_sync(box, host)


def in_sync(*boxes: Managed) -> None:
    for box in boxes:
        until(lambda box=box: box.control("peer.list")["copies"] == len(boxes))  # type: ignore[misc]


NewBox = Callable[..., Managed]
"""Makes a box, with the options of ``Managed``."""
