"""The two slots of a machine, and how a new version gets into the one that does not run.

What started the old version of that slot goes first, then its name; then the new system is written, read
back and compared, the kernel file the same; then the slot gets its name, and last the version is armed. So
whatever can be started is whole, at any instant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slots_disk import EMPTY, Disk, DiskError, Folder, Partition, Refused, Table, read_slot, write_slot
from slots_start import KERNELS, Scheme, kernel

if TYPE_CHECKING:
    from slots_payload import Part, Payload

SPARE_OCTETS = 1 << 20
"""What is left free on the boot partition."""


@dataclass
class Slots:
    """The two slots of this machine, and the one of them that runs."""

    disk: Disk
    table: Table
    boot: Folder
    scheme: Scheme
    version: str
    """The one that runs."""
    number: int
    """Its partition."""

    def running(self) -> str:
        return self.version

    def trial(self) -> int | None:
        """Tries left after this one; None if the version that runs is not on trial."""
        standing = self.scheme.standing(self.version)
        return None if standing.left is None else standing.left

    def slot(self) -> Partition:
        """The one that does not run. DiskError if this system does not run from a slot of its name."""
        mine, other = self.table.slots()
        if other.number == self.number:
            mine, other = other, mine
        if mine.number != self.number or mine.version != self.version:
            raise DiskError(f"this system does not run from the partition pocket_{self.version}")
        return other

    def other(self) -> tuple[str | None, str]:
        """The version in the other slot and how it stands: good, trying, given-up; empty, without one."""
        version = self.slot().version
        if version is None:
            return None, "empty"
        word = self.scheme.standing(version).word
        return (None if word == "empty" else version), word

    def arm(self, version: str) -> None:
        self.scheme.arm(version)

    def bless(self) -> None:
        self.scheme.bless(self.version)

    def go_back(self) -> str:
        """Start the other version from now on; which one that is. It is on trial once more: its slot may
        have rotten since. DiskError if there is none that was good."""
        version, word = self.other()
        if version is None or word != "good" or os.path.basename(kernel(version)) not in self.kernels():
            raise DiskError("there is no version to go back to")
        if self.trial() is not None:
            self.scheme.give_up(self.version)
        else:
            self.arm(version)
        return version

    def kernels(self) -> list[str]:
        return self.boot.names(KERNELS)

    def mend(self) -> None:
        self.table.mend()
        self.scheme.mend()

    def install(self, payload: Payload, said: Callable[[int], None]) -> None:
        """Write it, and arm it. `said` gets percents. Refused if it cannot be had: then, mostly, nothing
        was changed. DiskError if the card does not hold what is written to it."""
        slot = self.slot()
        octets = checked(payload.root, slot.octets, "slot", lambda done: said(15 * done // slot.octets))
        spared = os.path.basename(kernel(self.version))
        gone = [name for name in self.kernels() if name.lower() != spared]
        room = self.boot.free() + sum(self.boot.octets(f"{KERNELS}/{name}") for name in gone) - SPARE_OCTETS
        checked(payload.kernel, room, "room on the boot partition")
        self._clear(slot, gone)

        proven = Digest(payload.root.unpacked())
        write_slot(self.disk, slot, proven, lambda done: said(15 + 60 * done // octets))
        written = digest_of(read_slot(self.disk, slot, octets), lambda done: said(75 + 15 * done // octets))
        if written != proven.hex():
            raise DiskError("the card does not hold what was written to it: replace it")
        name = kernel(payload.version)
        proven = Digest(payload.kernel.unpacked())
        self.boot.write(name, proven)
        if digest_of(self.boot.read(name)) != proven.hex():
            raise DiskError("the boot partition does not hold what was written to it: replace the card")
        said(95)
        self.table.rename(slot.number, f"pocket_{payload.version}")
        self.arm(payload.version)
        said(100)

    def _clear(self, slot: Partition, kernels: list[str]) -> None:
        """Nothing starts what the other slot has, and nothing is left of it."""
        if slot.version is not None:
            self.scheme.forget(slot.version)
        if slot.name != EMPTY:
            self.table.rename(slot.number, EMPTY)
        for name in kernels:
            self.boot.remove(f"{KERNELS}/{name}")
        self.boot.sync()


class Digest:
    """Pieces that go through, and the SHA-256 of those that went."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        import hashlib  # not needed at each start

        self._pieces, self._digest = pieces, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._digest.update(piece)
            yield piece

    def hex(self) -> str:
        return self._digest.hexdigest()


def digest_of(pieces: Iterator[bytes], said: Callable[[int], None] = lambda _: None) -> str:
    digest, done = Digest(pieces), 0
    for piece in digest:
        done += len(piece)
        said(done)
    return digest.hex()


def checked(part: Part, room: int, where: str, said: Callable[[int], None] = lambda _: None) -> int:
    """Read the whole part before anything is changed for it: how many octets it has unpacked."""
    octets = 0
    for piece in part.unpacked():
        octets += len(piece)
        said(octets)
        if octets > room:
            raise Refused(f"{part.name} is larger than the {where}, {room >> 20} MiB: write the image anew")
    return octets
