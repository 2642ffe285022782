"""What is kept of updates in DATA/update: notes, what is staged for the system, the payload that runs.

    notes.json     what was tried, what is under way
    turn.json      whose turn it is (see ``turns``)
    before.json    how it was before the last update: what has to be so again
    incoming/      files on their way, under their hash
    staged/        what the system is asked to install, and the request, which is written last
    kept/          the payload of the version that runs, for the other boxes
    snapshot/      the database before its tables were changed (see ``store.snapshot``)

A power cut at any instant leaves each file as it was, or as it was to be. ``Place.tidy`` brings the folder in
order at a start: what nobody asked for any more goes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from appliance.store.journal import sync_folder, write_synced
from appliance.updating.sums import SIGNATURE, SUMS, Payload

FOLDER = "update"
REQUEST = "request.json"
SHUNNED_MAX = 16

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """What the system is asked for."""

    want: Literal["install", "rollback"]
    version: str
    downgrade: bool
    again: bool
    restart: bool
    id: str


class Notes(msgspec.Struct):
    """Times in seconds since the epoch, of the box's clock. ``request`` with ``want``, ``version``, ``again``
    and ``before`` (what ran then): what was asked of the system and is not over; "" if nothing was.
    ``armed``: the system said that it is installed.
    """

    tried: float = 0.0
    """When updates were last looked for by themselves."""

    checked: float = 0.0
    """When somebody, or the box itself, last had an answer to that."""

    newest: str = ""
    newest_from: str = ""
    problem: str = ""
    """Why the box could not look for updates, or take one, the last time that it did so by itself."""

    request: str = ""
    want: str = ""
    version: str = ""
    before: str = ""
    again: bool = False
    armed: bool = False
    starts: int = 0
    """How often the system was told to begin with the request."""

    outcome: Literal["", "installed", "given up", "failed", "went back"] = ""
    """What the last one came to."""

    outcome_version: str = ""
    outcome_at: float = 0.0
    outcome_text: str = ""
    seen: bool = True
    """Whether somebody has looked at it."""

    shunned: list[str] = []
    """What is not taken again by itself: it was given up, or somebody went back from it."""


class Before(msgspec.Struct, frozen=True):
    """How it was when an update began: ``linked`` boxes, whether there was a ``network``."""

    version: str
    linked: list[str]
    network: bool
    at: float


class Place:
    """All of it blocks. Raises ``OSError``."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.incoming = self.folder / "incoming"
        self.staged = self.folder / "staged"
        self.kept = self.folder / "kept"

    def read(self, name: str, kind: type[T]) -> T | None:
        """None if it is not there, or cannot be read."""
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, name: str, value: object) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_synced(self.folder / name, msgspec.json.encode(value))

    def begin_staging(self, sums: bytes, signature: bytes) -> None:
        """Nothing is asked of the system any more; files may be moved to ``staged``."""
        self.unstage()
        self.staged.mkdir(parents=True, mode=0o700)
        write_synced(self.staged / SUMS, sums)
        write_synced(self.staged / SIGNATURE, signature)
        sync_folder(self.folder)

    def ask(self, request: Request) -> None:
        """The last thing that is staged."""
        self.staged.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(self.folder)
        write_synced(self.staged / REQUEST, msgspec.json.encode(request))

    def asked(self) -> Request | None:
        """What is asked of the system."""
        return self.read(f"staged/{REQUEST}", Request)

    def unstage(self) -> None:
        """The request goes first."""
        with suppress(FileNotFoundError):
            (self.staged / REQUEST).unlink()
            sync_folder(self.staged)
        _remove(self.staged)

    def keep(self) -> None:
        """What was staged becomes what is kept."""
        with suppress(FileNotFoundError):
            (self.staged / REQUEST).unlink()
        _remove(self.kept)
        if self.staged.is_dir():
            self.staged.rename(self.kept)
            sync_folder(self.folder)

    def forget_kept(self) -> None:
        _remove(self.kept)

    def kept_octets(self) -> int:
        with suppress(OSError):
            return sum(path.stat().st_size for path in self.kept.iterdir())
        return 0

    def clear_incoming(self, but: Iterable[bytes] = ()) -> None:
        """Files of which nobody wants the rest, ``but`` those with this hash."""
        wanted = {sha.hex() for sha in but}
        with suppress(OSError):
            for path in list(self.incoming.iterdir()):
                if path.name.split(".")[0] not in wanted:
                    path.unlink(missing_ok=True)

    def is_whole(self, payload: Payload) -> bool:
        """Whether the files of a payload are staged, as far as can be seen from their names."""
        return all((self.staged / name).is_file() for name in payload.files)


def _remove(folder: Path) -> None:
    """At once, for who looks by name; what is left of a removal that was cut off goes with the next."""
    gone = folder.with_name(folder.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(FileNotFoundError):
        os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
