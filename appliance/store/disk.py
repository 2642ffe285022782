"""How much room there is, and the reserve that keeps a full disk from locking the box out.

Below the *reserve* new messages are refused while queues drain. The *ballast* is a file that holds some
room against everybody else who writes to the disk: when a commit finds no space, the ballast goes, so that
acknowledgements can still be written; it comes back when there is room again.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.store.errors import DiskFull, StoreBroken

BALLAST_OCTETS = 24 << 20
"""More than the log grows between two checkpoints: what is in it can be copied into the database then, so
that the log's own room serves acknowledgements.
"""

LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Room:
    """Octets: ``free`` for this user, ``total`` of the file system, the ``reserve``, and what is ``missing``
    of the ballast. Where it had to go, there is to be room for it twice before new work is taken in.
    """

    free: int
    total: int
    reserve: int
    missing: int

    @property
    def needed(self) -> int:
        return self.reserve + 2 * self.missing

    @property
    def low(self) -> bool:
        return self.free < self.needed


class Disk:
    """``reserve_percent`` of the file system, at most ``reserve_octets``."""

    def __init__(self, folder: Path, reserve_percent: float, reserve_octets: int) -> None:
        self._folder = folder
        self._percent = reserve_percent
        self._octets = reserve_octets
        self._ballast = folder / "ballast"
        self._looked = float("-inf")
        self._room = self._look()

    def room(self, within_s: float = LOOK_EVERY_S) -> Room:
        """As of at most ``within_s`` ago."""
        if time.monotonic() - self._looked > within_s:
            self._room = self._look()
        return self._room

    def problem(self, size: int) -> str | None:
        """Why ``size`` octets cannot be taken in; None if they can."""
        room = self.room()
        if room.free - size < room.needed:
            free, reserve = max(0, room.free) >> 20, room.needed >> 20
            return f"disk full: {free} MiB free, of which {reserve} MiB are a reserve; try again later"
        return None

    def set_ballast(self) -> None:
        """Put the ballast in place if there is room for it. Blocks."""
        room = self._look()
        if not room.missing or room.free - BALLAST_OCTETS < room.reserve:
            return
        try:
            with open(self._ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, BALLAST_OCTETS)
        except OSError:
            self._ballast.unlink(missing_ok=True)
        self._looked = float("-inf")

    def drop_ballast(self) -> bool:
        """Make its room usable; False if it had gone already. Blocks."""
        try:
            self._ballast.unlink()
        except OSError:
            return False
        finally:
            self._looked = float("-inf")
        return True

    def _look(self) -> Room:
        stat = os.statvfs(self._folder)
        total = stat.f_blocks * stat.f_frsize
        try:
            missing = max(0, BALLAST_OCTETS - self._ballast.stat().st_size)
        except OSError:
            missing = BALLAST_OCTETS
        self._looked = time.monotonic()
        reserve = min(int(total * self._percent / 100), self._octets)
        return Room(stat.f_bavail * stat.f_frsize, total, reserve, missing)


@contextmanager
def full_if_no_space() -> Iterator[None]:
    """Turn the errors of file operations into the store's."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull("disk full: an attachment could not be stored; try again later") from error
        raise StoreBroken(
            f"a file could not be written ({error}): see whether the disk is there, writable and healthy"
        ) from error
