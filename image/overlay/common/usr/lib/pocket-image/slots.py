"""slots.py WORD: the system's side of updates, as root. The box (`pocket update`) stages one and asks for it.

    status    what /run/pocket-slots/status.json says
    note      at the start: what a power cut left half done, and how the version that runs stands
    work      do what /var/lib/pocket/update/staged/request.json asks for
    prove     wait until the box says that it is well; exit code 1 if it does not
    bless     the version that runs is started from now on

Two partitions, the slots, take turns. A new version goes into the one that is not in use, and is armed: it is
started three times at most (slots_start.py). When the box has proved itself, it is blessed; when it has not,
the machine starts anew, and after the third time with the version before. One that did not prove itself is
given up: it is installed again only when somebody asks for that.

A power cut at any instant leaves what runs bootable, and nothing is armed that was not read back from the
card (slots_pair.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slots_disk import VERSION, Disk, DiskError, Folder, Refused, State, Table
from slots_pair import Slots
from slots_start import Scheme, SystemdBoot, UBoot

if TYPE_CHECKING:
    from slots_payload import Request, Staged

STATUS = Path("/run/pocket-slots/status.json")
SETTLED = STATUS.with_name("settled")
"""Is there when the version that runs is not on trial: nobody waits for a proof then."""
GIVEN_UP = Path("/data/slots/given-up")
GIVEN_UP_MAX = 20
PROOF = Path("/run/pocket/proven")
PROOF_S = 300
KEYS = Path("/usr/lib/systemd/import-pubring.gpg")
BOARD = Path("/usr/lib/pocket-image/board")
BOOT = Path("/boot")
DEVICES = Path("/dev/disk/pocket")
STAGED = (Path("/var/lib/pocket"), ("update", "staged"))
COUNTED = Path("/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
"""Is there when systemd-boot counted at this start."""
SEEN_S = 3
"""Between saying that an update is installed and the restart."""


@dataclass
class Status:
    """What everybody may know, in STATUS."""

    board: str
    slots: Slots
    work: dict[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        left = self.slots.trial()
        version, word = self.slots.other()
        given_up = read_given_up()
        if word == "given-up" and version not in given_up:
            given_up.append(str(version))
        idle = {"id": None, "state": "idle", "version": None, "percent": 0, "error": None}
        return {
            "board": self.board,
            "running": self.slots.running(),
            "trial": left is not None,
            "tries_left": left,
            "other": {"version": version, "state": word},
            "given_up": given_up,
            "work": idle | self.work,
        }

    def write(self, **work: Any) -> None:
        self.work |= work
        whole(STATUS, json.dumps(self.told()) + "\n")


def whole(path: Path, text: str) -> None:
    """The file is the old one or the new one, also after a power cut."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_given_up() -> list[str]:
    """Versions that did not prove themselves, the oldest first."""
    try:
        words = GIVEN_UP.read_text().split()
    except OSError:
        return []
    return [word for word in words if re.fullmatch(VERSION, word)][-GIVEN_UP_MAX:]


def keep_given_up(versions: list[str]) -> None:
    if versions == read_given_up():
        return
    try:
        GIVEN_UP.parent.mkdir(mode=0o755, exist_ok=True)
        whole(GIVEN_UP, "".join(f"{version}\n" for version in versions[-GIVEN_UP_MAX:]))
    except OSError as problem:
        tell(4, f"which versions were given up cannot be kept: {problem}")


def tell(level: int, text: str) -> None:
    """To the log."""
    print(f"<{level}>{text}", file=sys.stderr, flush=True)


@contextmanager
def this_machine() -> Iterator[Slots]:
    """Its slots, for one process at a time. DiskError if it has none."""
    told = re.search(rf"(?:^| )root=PARTLABEL=pocket_({VERSION})(?: |$)", Path("/proc/cmdline").read_text())
    if told is None:
        raise DiskError("this system does not run from a slot")
    device = os.stat("/").st_dev
    place = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    number = int((place / "partition").read_text())
    with open(STATUS.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        disk = Disk(Path("/dev") / place.parent.name)
        try:
            table = Table(disk)
            boot, state = Folder(BOOT, DEVICES / "boot"), table.named("pocket-state")
            scheme: Scheme = UBoot(State(disk, state.start)) if state else SystemdBoot(boot)
            yield Slots(disk, table, boot, scheme, told[1], number)
        finally:
            disk.close()


@contextmanager
def writable_boot() -> Iterator[None]:
    """The boot partition can be written meanwhile. What a power cut left of it half written is freed
    before. DiskError if it is not there."""

    def run(*words: str, good: tuple[int, ...] = (0,)) -> None:
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode not in good:
            said = (ended.stderr or ended.stdout).strip()
            raise DiskError(f"the boot partition cannot be written: {words[0]}: {said}")

    device = DEVICES / "boot"
    if not os.path.ismount(BOOT):
        run("mount", str(BOOT))
    with device.open("rb") as file:
        dirty = file.read(512)[65] & 1
    if dirty:
        tell(6, "the boot partition was being written when the power went: checking it")
        run("umount", str(BOOT))
        try:
            run("fsck.vfat", "-a", str(device), good=(0, 1))
        finally:
            run("mount", str(BOOT))
    run("mount", "-o", "remount,rw", str(BOOT))
    try:
        yield
    finally:
        run("mount", "-o", "remount,ro", str(BOOT))


def work(status: Status) -> bool:
    """Do what is asked for; whether the machine is to be restarted."""
    from slots_payload import Request, Staged  # not needed at each start

    slots, asked = status.slots, Request()
    try:
        staged = Staged(*STAGED)
        asked = Request.read(staged.small("request.json"))
        status.write(id=asked.id, state="installing", version=asked.version, percent=0, error=None)
        with writable_boot():
            if asked.want == "rollback":
                roll_back(slots, asked)
            else:
                install(status, staged, asked)
    except (Refused, DiskError, OSError) as problem:
        tell(3, f"no update: {problem}")
        status.write(id=asked.id, state="failed", version=asked.version or None, error=str(problem))
        return False
    tell(5, f"{asked.version} is installed, and is tried at the next start")
    status.write(state="installed", percent=100)
    return asked.restart


def roll_back(slots: Slots, asked: Request) -> None:
    version, word = slots.other()
    if word != "good" or asked.version != version:
        raise Refused(f"there is no version {asked.version} to go back to: pocket update status")
    slots.go_back()


def install(status: Status, staged: Staged, asked: Request) -> None:
    from slots_payload import Payload, rank

    slots, version, running = status.slots, asked.version, status.slots.running()
    if slots.trial() is not None:
        raise Refused(f"{running} has yet to prove itself: wait some minutes")
    if rank(version) == rank(running):
        raise Refused(f"{version} runs already")
    if rank(version) < rank(running) and not asked.downgrade:
        raise Refused(f"{version} is older than {running}: pocket update install --downgrade")
    if version in status.told()["given_up"] and not asked.again:
        raise Refused(f"{version} was tried and given up: take a newer one, or pocket update install --again")
    payload = Payload.open(staged, KEYS, status.board, version)
    if slots.other() == (version, "trying"):
        return
    keep_given_up([other for other in status.told()["given_up"] if other != version])

    def said(percent: int) -> None:
        if percent != status.work["percent"]:
            status.write(percent=percent)

    slots.install(payload, said)


def note(status: Status) -> None:
    """At the start of the machine."""
    slots = status.slots
    slots.mend()
    left = slots.trial()
    version, word = slots.other()
    if left is not None:
        tell(5, f"{slots.running()} is on trial, {left} tries left after this one")
    elif os.path.ismount(BOOT) or not COUNTED.exists():
        SETTLED.touch()
    if word == "given-up":
        tell(4, f"{version} did not prove itself and was given up")
    status.write()


def proven(running: str) -> bool:
    """Whether the box says that this version is well."""
    try:
        file = os.open(PROOF, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    with open(file, "rb") as proof:
        return proof.read(100).decode(errors="replace").strip() == running


def prove(running: str, patience_s: float) -> bool:
    """Wait for the box's word."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if proven(running):
            return True
        time.sleep(1)
    tell(3, f"{running} has not proved itself in {patience_s:.0f} s: the machine starts anew")
    return False


def bless(status: Status) -> None:
    slots = status.slots
    if not proven(slots.running()):
        raise DiskError(f"{slots.running()} has not proved itself")
    with writable_boot() if isinstance(slots.scheme, SystemdBoot) else nullcontext():
        if slots.trial() is not None:
            slots.bless()
            tell(5, f"{slots.running()} has proved itself, and is started from now on")
    keep_given_up([other for other in read_given_up() if other != slots.running()])
    SETTLED.touch()
    status.write()


def do(word: str, *more: str) -> int:
    board = BOARD.read_text().strip()
    with this_machine() as slots:
        status = Status(board, slots)
        match word:
            case "status":
                print(json.dumps(status.told(), indent=1))
            case "note":
                note(status)
            case "bless":
                bless(status)
            case "work":
                if work(status):
                    time.sleep(SEEN_S)
                    subprocess.run(["systemctl", "reboot"], check=False)
            case "prove":
                running = slots.running()
            case _:
                sys.exit(__doc__)
    if word == "prove":
        return 0 if prove(running, float(more[0]) if more else PROOF_S) else 1
    return 0


def main() -> int:
    os.umask(0o022)
    try:
        return do(*sys.argv[1:])
    except (DiskError, OSError) as problem:
        tell(3, str(problem))
        if sys.argv[1:2] == ["note"] and not COUNTED.exists():
            SETTLED.touch()
        return 1


if __name__ == "__main__":
    sys.exit(main())
