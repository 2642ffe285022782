"""Where sticks are: what is mounted below the folders where this system mounts them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from appliance.backup.errors import BackupError, StickError
from appliance.backup.stick import KEY_FILE, TOP, Folder, find

DEPTH = 2
"""/media/STICK, or /media/USER/STICK."""

LISTED_MAX = 64
KEY_OCTETS_MAX = 1024


class Sticks:
    """``search`` are the folders below which sticks are mounted; ``folder``: the one to use, or None."""

    def __init__(self, search: Sequence[Path], folder: Path | None) -> None:
        self._search = search
        self._folder = folder

    def mounted(self) -> list[Path]:
        """Where sticks are mounted now. Blocks."""
        return [path for path in self._below() if os.path.ismount(path)]

    def to_write_to(self, named: Path | None) -> Path:
        """The folder that backups go to. Blocks. Raises ``StickError``: there is none, or more than one."""
        place = named or self._folder
        if place is None:
            found = self.mounted()
            if not found:
                where = ", ".join(map(str, self._search))
                raise StickError(
                    f"no stick is mounted in {where}: plug one in, or name its folder:   pocket backup make"
                    " --to DIR"
                )
            with_backup = [path for path in found if (path / TOP).is_dir()] or found
            if len(with_backup) > 1:
                names = ", ".join(map(str, with_backup))
                raise StickError(
                    f"there are several sticks: say which   pocket backup make --to DIR   ({names})"
                )
            return with_backup[0]
        if not place.is_absolute():
            raise StickError(f"{place}: name the folder from the root, as in /media/stick")
        if not self._is_there(place):
            raise StickError(f"there is no folder {place}: is the stick plugged in, and mounted there?")
        return place

    def _is_there(self, place: Path) -> bool:
        """An empty folder where a stick is not mounted is on the box's own disk."""
        for base in self._search:
            if place != base and place.is_relative_to(base):
                names = place.relative_to(base).parts
                steps = [base.joinpath(*names[: count + 1]) for count in range(len(names))]
                return place.is_dir() and any(os.path.ismount(step) for step in (base, *steps))
        return place.is_dir()

    def backups(self) -> list[Folder]:
        """What is on all sticks, the newest first of each. Blocks."""
        found: list[Folder] = []
        places = [*([self._folder] if self._folder is not None else []), *self._below()]
        for place in places:
            if (place / TOP).is_dir():
                with suppress(BackupError):
                    found += [one for one in find(place) if one.path not in {known.path for known in found}]
        return found[:LISTED_MAX]

    def key_beside(self, folder: Folder) -> str | None:
        """What is in the file with the recovery key that lies beside a backup. Blocks."""
        for place in folder.path.parents:
            if place.name == TOP:
                with suppress(OSError, ValueError), open(place.parent / KEY_FILE, encoding="ascii") as file:
                    return file.read(KEY_OCTETS_MAX).strip()
        return None

    def _below(self) -> Iterator[Path]:
        for base in self._search:
            for depth in range(1, DEPTH + 1):
                with suppress(OSError):
                    yield from sorted(path for path in base.glob("*/" * depth) if path.is_dir())
