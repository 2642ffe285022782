"""Which version is started, and how often it was tried: two schemes with one face.

systemd-boot takes the first of the entries in loader/entries. An entry whose name has a count, as
pocket_1.2+3.conf, is on trial; systemd-boot itself counts down in the name (+2-1, ..., +0-3) before it
starts it, and takes one with +0 only when there is no other. An entry is one sector, and one that is not
whole is not taken, so that it can be written under its own name: nothing is renamed, which FAT cannot do at
one stroke. Where a version has two entries, the one with the count says how it stands.

With U-Boot the script boot/u-boot.cmd does the same with variables in the partition pocket-state.

Every word is on the card when it returns, and a power cut in it leaves the state before or after it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from slots_disk import VERSION, Folder, State

TRIES = 3
"""How often a version is started that has not proved itself."""
ENTRIES = "loader/entries"
ENTRY = re.compile(rf"pocket_({VERSION})(?:\+([0-9]{{1,2}})(?:-[0-9]{{1,2}})?)?\.conf", re.IGNORECASE)
KERNELS = "EFI/pocket"


def kernel(version: str) -> str:
    """The kernel file of a version."""
    return f"{KERNELS}/pocket_{version}.efi"


@dataclass(frozen=True)
class Standing:
    """How a version stands: good, trying, given-up, or empty (nothing ever starts it)."""

    word: str
    left: int | None = None
    """Tries left, when trying; 0 when given up, which the last try is, too, while it is under way."""


class Scheme(Protocol):
    """Which version is started."""

    def standing(self, version: str) -> Standing: ...

    def forget(self, version: str) -> None:
        """Nothing starts it any more."""

    def arm(self, version: str) -> None:
        """It is started next, and as often as TRIES says; when it has not been blessed then, what was
        started before is started again."""

    def bless(self, version: str) -> None:
        """It is started from now on."""

    def give_up(self, version: str) -> None:
        """It is not started any more, as if all its tries had been used up."""

    def mend(self) -> None:
        """At the start: what a power cut left half done."""


class SystemdBoot:
    """Entries on the boot partition, whose names systemd-boot counts in."""

    def __init__(self, boot: Folder) -> None:
        self._boot = boot

    def _entries(self, version: str) -> dict[str, int | None]:
        """The names of a version's entries, and tries left."""
        found: dict[str, int | None] = {}
        for name in self._boot.names(ENTRIES):
            told = ENTRY.fullmatch(name)
            if told and told[1] == version and self._order(name):
                found[name] = None if told[2] is None else int(told[2])
        return found

    def _order(self, name: str) -> int:
        """The place of an entry in the order; 0 if it is not whole."""
        text = b"".join(self._boot.read(f"{ENTRIES}/{name}")).decode(errors="replace")
        told = re.search(r"^version ([0-9]{1,9})$.*^efi \S+\.efi\n\Z", text, re.MULTILINE | re.DOTALL)
        return int(told[1]) if told else 0

    def standing(self, version: str) -> Standing:
        counts = self._entries(version).values()
        left = [count for count in counts if count is not None]
        if left:
            return Standing("trying", max(left)) if max(left) else Standing("given-up", 0)
        return Standing("good" if counts else "empty")

    def forget(self, version: str) -> None:
        for name in self._boot.names(ENTRIES):
            told = ENTRY.fullmatch(name)
            if told and told[1] == version:
                self._boot.remove(f"{ENTRIES}/{name}")
        self._boot.sync()

    def arm(self, version: str) -> None:
        orders = [self._order(name) for name in self._boot.names(ENTRIES) if ENTRY.fullmatch(name)]
        self._only(version, f"+{TRIES}", 1 + max(orders, default=0))

    def bless(self, version: str) -> None:
        self._only(version, "", self._present(version))

    def give_up(self, version: str) -> None:
        self._only(version, "+0", self._present(version))

    def _present(self, version: str) -> int:
        return max((self._order(name) for name in self._entries(version)), default=1)

    def _only(self, version: str, count: str, order: int) -> None:
        """Make this the version's one entry: the new one first. systemd-boot sorts by the field version,
        highest first; it is a number of ours, since one can go back to an older version."""
        name = f"pocket_{version}{count}.conf"
        if list(self._entries(version)) == [name] and self._order(name) == order:
            return
        path = f"/{kernel(version)}"
        text = f"title Pocket {version}\nsort-key pocket\nversion {order}\nefi {path}\n"
        self._boot.write(f"{ENTRIES}/{name}", [text.encode()])
        for other in self._boot.names(ENTRIES):
            told = ENTRY.fullmatch(other)
            if told and told[1] == version and other.lower() != name.lower():
                self._boot.remove(f"{ENTRIES}/{other}")
        self._boot.sync()

    def mend(self) -> None:
        """An entry that is not whole is written anew when its turn comes."""


class UBoot:
    """Variables that boot/u-boot.cmd reads and counts in: pocket_version is started, or pocket_try, while
    pocket_left is not 0; pocket_old was started before pocket_version, pocket_bad was given up."""

    def __init__(self, state: State) -> None:
        self._state = state

    def standing(self, version: str) -> Standing:
        told = self._state.read()
        if version == told.get("pocket_try"):
            left = int(told.get("pocket_left", "0"), 16)
            return Standing("trying", left) if left else Standing("given-up", 0)
        if version == told.get("pocket_bad"):
            return Standing("given-up", 0)
        good = version in (told.get("pocket_version"), told.get("pocket_old"))
        return Standing("good" if good else "empty")

    def _write(self, **changes: str) -> None:
        told = self._state.read() | {f"pocket_{name}": value for name, value in changes.items()}
        self._state.write({name: value for name, value in told.items() if value})

    def _without(self, version: str, *names: str) -> dict[str, str]:
        told = self._state.read()
        return {name: "" for name in names if told.get(f"pocket_{name}") == version}

    def forget(self, version: str) -> None:
        self._write(**self._without(version, "try", "old", "bad"))

    def arm(self, version: str) -> None:
        self._write(**self._without(version, "bad") | {"try": version, "left": str(TRIES)})

    def bless(self, version: str) -> None:
        before = self._state.read().get("pocket_version", "")
        old = {"old": before} if before != version else {}
        self._write(**{"version": version, "try": "", "left": "0"} | self._without(version, "bad") | old)

    def give_up(self, version: str) -> None:
        self._write(**{"try": "", "left": "0", "bad": version})

    def mend(self) -> None:
        self._state.mend()
