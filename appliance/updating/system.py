"""The part of an update that the system does, as root: what it says of itself, and how it is asked.

On a machine that was not started from an image there is no such part; then the person at the machine does it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec
import trio

from appliance.updating.errors import UpdateError

STATUS_OCTETS_MAX = 64 << 10
START_S = 20.0
UNIT = "pocket-slots-work.service"


class Other(msgspec.Struct, frozen=True):
    """The slot that is not running."""

    version: str | None = None
    state: Literal["good", "trying", "given-up", "empty"] = "empty"


class Work(msgspec.Struct, frozen=True):
    """What the system does, or did last. ``id`` is that of the request."""

    state: Literal["idle", "installing", "installed", "failed"] = "idle"
    version: str | None = None
    percent: float = 0
    error: str | None = None
    id: str | None = None


class Slots(msgspec.Struct, frozen=True):
    """How the slots are. ``trial``: this start is one of the tries of a new version."""

    board: str
    running: str
    trial: bool = False
    tries_left: int | None = None
    other: Other = Other()
    given_up: list[str] = []
    work: Work = Work()


@dataclass(frozen=True)
class System:
    """``root`` is where the system is: "/" but in tests."""

    root: Path = field(default_factory=lambda: Path(os.environ.get("POCKET_SYSTEM") or "/"))

    @property
    def is_managed(self) -> bool:
        """Whether this machine was started from an image."""
        return (self.root / "usr/lib/pocket-image/slots.py").exists()

    @property
    def key(self) -> Path:
        """The keys that sign updates."""
        return self.root / "usr/lib/systemd/import-pubring.gpg"

    def slots(self) -> Slots | None:
        """What the system says; None while it does not, or not in a form that can be understood."""
        try:
            with open(self.root / "run/pocket-slots/status.json", "rb") as file:
                return msgspec.json.decode(file.read(STATUS_OCTETS_MAX), type=Slots)
        except (OSError, msgspec.MsgspecError):
            return None

    async def start(self) -> None:
        """Have the system do what is staged. Raises ``UpdateError``."""
        command = ["systemctl", "start", "--no-block", UNIT]
        try:
            with trio.fail_after(START_S):
                done = await trio.run_process(
                    command, capture_stdout=True, capture_stderr=True, check=False, stdin=subprocess.DEVNULL
                )
        except (OSError, trio.TooSlowError) as error:
            raise UpdateError(f"the system does not begin to update itself: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[:300]
            raise UpdateError(f"the system does not begin to update itself: {said or done.returncode}")


def by_hand() -> list[str]:
    """The two commands that update this machine, where there are no slots."""
    sources = _sources()
    if sources is not None and (sources / ".git").exists():
        pull = f"git -C {sources} pull"
        if (sources / "appliance").resolve() == Path(__file__).resolve().parents[1]:
            return [pull, f"make -C {sources} run   (first stop the box that runs)"]
        return [pull, f"{sys.executable} -m pip install {sources}   (then start the box anew)"]
    return [
        "git pull   (in the folder with the sources)",
        f"{sys.executable} -m pip install .   (there, then start the box anew)",
    ]


def _sources() -> Path | None:
    """The folder that this program was installed from, or runs in."""
    here = Path(__file__).resolve().parents[2]
    if (here / "pyproject.toml").exists():
        return here
    try:
        told = distribution("pocket-server").read_text("direct_url.json")
        url = urlsplit(str(msgspec.json.decode(told or "{}", type=dict[str, object]).get("url") or ""))
    except (PackageNotFoundError, OSError, msgspec.MsgspecError, ValueError, AttributeError):
        return None
    return Path(unquote(url.path)) if url.scheme == "file" else None
