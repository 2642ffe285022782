"""The data partition: what is wrong with it, and what can be done."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from appliance.reset import FOR_SYSTEM

NAME = "pocket-data"
BACKUPS = (32768, 98304, 163840)
"""Where ext4 keeps the next copies of its superblock, in blocks of BLOCK_OCTETS."""
BLOCK_OCTETS = 4096
MAKE = (
    *("mke2fs", "-q", "-F", "-t", "ext4", "-L", NAME, "-b", str(BLOCK_OCTETS), "-I", "256", "-i", "16384"),
    *("-m", "1", "-J", "size=32", "-O", "^metadata_csum_seed"),
)
"""As image/steps/data.sh makes it."""

READ_ONLY = {"ro", "emergency_ro", "shutdown"}
"""Options that say so; the second since Linux 6.15, after an error."""

CORRECTED = 0b11
"""e2fsck's exit status for: it corrected everything (1), and the machine has to start anew (2)."""

Say = Callable[[str], object]
Trouble = Literal["missing", "no-file-system", "other-file-system", "damaged", "read-only", "unmounted"]

WORDS: dict[Trouble, str] = {
    "missing": "the data partition is missing: somebody changed the partitions of this card",
    "no-file-system": "the data partition has no beginning that can be read: it was damaged, or overwritten",
    "other-file-system": "the data partition holds something else, so it was overwritten",
    "damaged": "the data partition is damaged, more than is mended without asking",
    "read-only": "the data partition can only be read since an error of the card",
    "unmounted": "the data partition looks well now, and was not taken at the start",
}
REMEDIES: dict[Trouble, str] = {
    "missing": "say   reset   for a new one (everything is lost)",
    "no-file-system": "say   repair   (there are copies of it), or   reset   (everything is lost)",
    "other-file-system": "say   reset   (everything is lost), or   repair   if you know better",
    "damaged": "say   repair   (what cannot be mended is lost), or   reset   (everything is lost)",
    "read-only": "say   restart   : that checks and mends it; if this comes again, replace the card",
    "unmounted": "say   restart",
}


class RescueError(Exception):
    """It cannot be done; says what to do."""


@dataclass(frozen=True, slots=True)
class Partition:
    """The partition as it is found on this machine; `place` is where it is mounted when all is well."""

    names: Path = Path("/dev/disk")
    place: Path = Path("/data")
    mounts: Path = Path("/proc/self/mounts")

    @property
    def device(self) -> Path | None:
        """The first of its names is that of the disk which the system was started from (image/initrd/init);
        under the second appears one that was made since."""
        for name in ("pocket/data", f"by-partlabel/{NAME}"):
            if (self.names / name).exists():
                return (self.names / name).resolve()
        return None

    def trouble(self) -> Trouble | None:
        """What is wrong; None if it is in use and can be written. Blocks for a moment. Raises RescueError
        if this machine has no such partition by its nature."""
        mounted = self._mounted()
        if mounted is None:
            raise RescueError("this machine has no data partition of its own: it does not run the firmware")
        kind, options = mounted
        if kind == "ext4":
            return None if READ_ONLY.isdisjoint(options) else "read-only"
        device = self.device
        if device is None:
            return "missing"
        found = _ask(["blkid", "-p", "-s", "TYPE", "-o", "value", str(device)]).strip()
        if found != "ext4":
            return "other-file-system" if found else "no-file-system"
        # A check that finds more than it mends without asking leaves a note of it there.
        state = re.search(r"^Filesystem state: +(.*)", _ask(["dumpe2fs", "-h", str(device)]), re.MULTILINE)
        return "unmounted" if state is not None and "errors" not in state[1] else "damaged"

    def repair(self, say: Say) -> None:
        """Mend what can be mended, with copies of the superblock if there is no other way; what e2fsck says
        goes to `say`. Blocks for minutes. Raises RescueError."""
        device = self._idle()
        for backup in (None, *BACKUPS):
            words = ["e2fsck", "-f", "-y"]
            if backup is not None:
                say(f"once more, with the copy in block {backup}")
                words += ["-b", str(backup), "-B", str(BLOCK_OCTETS)]
            status = _run([*words, str(device)], say)
            if status & ~CORRECTED:
                # One that takes the journal of a file system without a superblock ends there: the next one
                # finds a superblock, and mends the rest.
                say("once more, to see whether that is all")
                status = _run(["e2fsck", "-f", "-y", str(device)], say)
            if not status & ~CORRECTED:
                break
        else:
            raise RescueError(
                "it cannot be repaired: say   reset   for a new data partition (everything is lost)"
            )
        there = "Type: regular" in _ask(["debugfs", "-R", "stat /pocket/pocket.db", str(device)])
        say("repaired; the box's data is there" if there else "repaired, but there is no box's data on it")
        nameless = _ask(["debugfs", "-R", "ls -p /lost+found", str(device)]).count("/#")
        if nameless:
            say(f"{nameless} files have lost their names; they are in lost+found")

    def make_anew(self, say: Say) -> None:
        """An empty data partition in the place of this one, which is lost. Raises RescueError."""
        if self.device is None:
            say("making the partition")
            if _run(["systemd-repart", "--dry-run=no", "--no-pager"], say) or self._settle() is None:
                raise RescueError("it cannot be made: write the image to this card anew")
        device = self._idle()
        say("making an empty data partition")
        with TemporaryDirectory() as folder:
            mark = Path(folder) / "pocket" / FOR_SYSTEM
            mark.parent.mkdir(mode=0o700)
            mark.touch()
            if _run([*MAKE, "-d", folder, str(device)], say):
                raise RescueError("it cannot be made: replace the card")
        say("the data partition is empty; this is a new box")

    def _idle(self) -> Path:
        """The device, which nobody uses."""
        mounted, device = self._mounted(), self.device
        if mounted is not None and mounted[0] == "ext4":
            raise RescueError(
                "the data partition is in use: say   restart   , the next start checks and mends it"
            )
        if device is None:
            raise RescueError(f"{WORDS['missing']}; {REMEDIES['missing']}")
        return device

    def _mounted(self) -> tuple[str, list[str]] | None:
        """Type and options of what is mounted at `place`."""
        found = None
        for line in self.mounts.read_text().splitlines():
            _, place, kind, options, *_ = line.split(" ")
            if place == str(self.place):
                found = kind, options.split(",")
        return found

    def _settle(self) -> Path | None:
        _status(["udevadm", "settle", "--timeout=20"])
        return self.device


def _run(words: Sequence[str], say: Say) -> int:
    """The exit status; what it says goes to `say`, line by line."""
    with _started(words) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.rstrip().replace("\r", " "):
                say(text)
    return process.returncode


def _status(words: Sequence[str]) -> int:
    return _run(words, lambda _: None)


def _ask(words: Sequence[str]) -> str:
    lines: list[str] = []
    _run(words, lines.append)
    return "\n".join(lines)


@contextmanager
def _started(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise RescueError(
            f"{words[0]} cannot be run ({error.strerror}): the image is not whole, write it anew"
        ) from None
    with process:
        yield process
