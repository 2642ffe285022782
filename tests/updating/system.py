"""What stands in for the system's side of updates: slots that are files, and no machine to restart.

`systemctl` in a folder of its own, first in PATH, runs `fake_slots.py`, which does what the box staged as the
system would: it verifies everything anew and trusts nothing. A restart of the machine is ``boot``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.updating import fake_slots
from tests.updating.signing import BOARD

SCRIPT = Path(fake_slots.__file__)


class FakeSystem:
    """One machine below ``root``. ``running`` and ``other`` are versions, ``trial`` as status.json has it."""

    def __init__(self, root: Path, data: Path, key: bytes, running: str = "1.1", other: str | None = None):
        self.root, self.data = root, data
        for folder in ("usr/lib/pocket-image", "usr/lib/systemd", "run/pocket-slots", "run/pocket", "bin"):
            (root / folder).mkdir(parents=True)
        (root / "usr/lib/pocket-image/slots.py").write_text("")
        (root / "usr/lib/systemd/import-pubring.gpg").write_bytes(key)
        tool = root / "bin/systemctl"
        work = f'setsid "{sys.executable}" "{SCRIPT}" "{root}" "{data}" &'
        tool.write_text(f'#!/bin/sh\necho "$@" >>"{root}/asked"\n{work}\n')
        tool.chmod(0o755)
        self.write(running=running, other={"version": other, "state": "good" if other else "empty"})

    @property
    def environment(self) -> dict[str, str]:
        return {
            "POCKET_SYSTEM": str(self.root),
            "RUNTIME_DIRECTORY": str(self.root / "run/pocket"),
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
        }

    @property
    def status(self) -> dict[str, Any]:
        return fake_slots.read(self.root)

    @property
    def asked(self) -> list[str]:
        path = self.root / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def proven(self) -> str | None:
        path = self.root / "run/pocket/proven"
        return path.read_text().strip() if path.exists() else None

    def write(self, **changes: Any) -> None:
        base = {
            "board": BOARD,
            "trial": False,
            "tries_left": None,
            "given_up": [],
            "work": {"id": None, "state": "idle", "version": None, "percent": 0, "error": None},
        }
        path = self.root / "run/pocket-slots/status.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        fake_slots.write(self.root, {**base, **before, **changes})

    def boot(self, good: bool = True) -> None:
        """The machine restarts: a version that was armed is tried, or (not ``good``) was tried in vain."""
        now, other = self.status, self.status["other"]
        (self.root / "run/pocket/proven").unlink(missing_ok=True)
        idle = {"id": None, "state": "idle", "version": None, "percent": 0, "error": None}
        if other["state"] == "trying" and good:
            swapped = {"version": now["running"], "state": "good"}
            self.write(running=other["version"], other=swapped, trial=True, tries_left=2, work=idle)
        elif other["state"] == "trying":
            lost = {**other, "state": "given-up"}
            self.write(other=lost, given_up=[*now["given_up"], other["version"]], work=idle)
        else:
            self.write(work=idle)

    def bless(self) -> None:
        self.write(trial=False, tries_left=None)

    def give_up(self) -> None:
        """What is on trial did not prove itself in time: the one before runs again."""
        now = self.status
        lost = {"version": now["running"], "state": "given-up"}
        self.write(
            running=now["other"]["version"],
            other=lost,
            trial=False,
            tries_left=None,
            given_up=[*now["given_up"], now["running"]],
        )
