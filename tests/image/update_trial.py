"""make image-test-update BOARD=...: an image in QEMU takes updates, gives up those that are no good, and
lives through power cuts in an install. An hour and more, hence no part of make test.

The updates are made from the image (derive.py) and lie on a second disk. `python -m tests.image.update_trial
BOARD PART...` does some parts only: good, recorded, broken, cuts. CUTS and MOMENTS: how often the power goes
in the machine, and in what was recorded; BROKEN: how many of the versions that are no good are tried.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from image.board import MIB
from image.build import Build, build_of
from image.errors import ImageError
from tests.kit import free_port

from . import cards
from .derive import derive
from .power_disk import NOTE, Log
from .power_machine import PowerBox, PowerMachine
from .progress import report
from .replay import Fat, Judge, View, moments, replay, unpacked
from .way_in import converse

CUTS = int(os.environ.get("CUTS") or 20)
MOMENTS = int(os.environ.get("MOMENTS") or 400)
PROVE_S = 90
"""How long a version that is no good has to prove itself, in place of 300 s: three times each."""
PATIENCE_S = 1500
STAGED = "/var/lib/pocket/update/staged"
STATUS = "/run/pocket-slots/status.json"
MOUNT = (
    "mkdir -p /run/updates; mountpoint -q /run/updates || mount -o ro /dev/disk/by-label/updates /run/updates"
)
SHORT = {
    "etc/systemd/system/pocket-proof.service.d/short.conf": (
        "[Service]\nExecStart=\n"
        f"ExecStart=/usr/bin/python3 -EsS /usr/lib/pocket-image/slots.py prove {PROVE_S}\n"
    )
}


def unit(before: str, command: str, wanted_by: str, more: str = "") -> dict[str, str]:
    """A unit of the broken versions."""
    return {
        "etc/systemd/system/broken.service": (
            f"[Unit]\nDefaultDependencies=no\nBefore={before}\n{more}"
            f"[Service]\nType=oneshot\nExecStart={command}\n"
        ),
        f"etc/systemd/system/{wanted_by}.wants/broken.service": "->../broken.service",
    }


BROKEN: dict[str, dict[str, str]] = {
    "does not come up: its system is noise": {},
    "panics while it starts": unit("sysinit.target", "sh -c 'echo c >/proc/sysrq-trigger'", "sysinit.target"),
    "starts, and the box does not": SHORT
    | {"etc/systemd/system/pocket.service.d/broken.conf": "[Service]\nExecStart=\nExecStart=false\n"},
    "fills the card at its start": SHORT
    | unit(
        "pocket.service",
        "sh -c 'fallocate -l 1T /data/full; cat /dev/zero >/data/fuller; sync'",
        "multi-user.target",
        "After=var-lib-pocket.mount\n",
    ),
}
"""What is wrong with a version, and the files that make it so."""


@dataclass(frozen=True)
class UpdateMachine(PowerMachine):
    """With a second disk, which has the updates."""

    @property
    def updates(self) -> Path:
        return self.folder / "updates.ext4"

    def command(self, *words: Any, **named: Any) -> list[str]:
        more = ["-drive", f"file={self.updates},format=raw,if=none,id=updates,readonly=on"]
        return [*super().command(*words, **named), *more, "-device", "virtio-blk-pci,drive=updates"]


@dataclass
class Trial:
    """A box, two people who write to each other, and updates."""

    box: PowerBox
    key: Path
    chance: random.Random
    posted: list[bytes] = field(default_factory=list)

    def begin(self) -> None:
        public = self.key.with_suffix(".pub").read_text().strip()
        self.box.preset(f'[ssh]\nkey = "{public}"\n')
        self.box.start()
        report("serving after", self.box.started_s)
        self.ann, self.bob = converse(self.box)
        self.ann.close()
        self.bob.close()

    # What the machine says

    def ask(self, command: str) -> str:
        return self.box.ssh(self.key, command)

    def status(self) -> dict[str, Any]:
        """What the system says of its slots; empty while it cannot be asked."""
        try:
            return dict(json.loads(self.ask(f"cat {STATUS}")))
        except (AssertionError, ValueError, subprocess.TimeoutExpired):
            return {}

    def wait_for(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        began, told = time.monotonic(), {}
        while not holds(told := self.status()):
            assert time.monotonic() - began < PATIENCE_S, f"{what} did not come: {told}"
            time.sleep(2)
        report(f"{what} after", time.monotonic() - began)
        return told

    def wait_until_installed(self, version: str) -> None:
        """Or until what comes after that: the restart is soon."""

        def installed(told: dict[str, Any]) -> bool:
            work = told.get("work", {})
            mine = work.get("version") == version
            assert not mine or work["state"] != "failed", told
            return bool(told) and (
                (mine and work["state"] == "installed")
                or told["running"] == version
                or told["other"] == {"version": version, "state": "trying"}
            )

        self.wait_for(f"{version} installed", installed)

    def wait_until_given_up(self, version: str) -> dict[str, Any]:
        return self.wait_for(f"{version} given up", lambda told: version in told.get("given_up", []))

    def starts(self) -> int:
        """How often the machine has been started since it was switched on."""
        said = self.box.machine.kernel_log.read_bytes()
        return len(re.findall(rb"starting Boot0|pocket: state [12]", said))

    # What is asked of it

    def install(self, version: str, *options: str) -> None:
        """As somebody does who has the update on a stick."""
        self.ask(
            f"{MOUNT}; setsid -f pocket update install --from /run/updates/{version} --version {version} "
            f"{' '.join(options)} </dev/null >/run/install.log 2>&1"
        )

    def stage(self, version: str, damage: str) -> None:
        """In place of the box, which would not: bring an update before the system that is no good."""
        request = {"id": "0123456789abcdef", "want": "install", "version": version, "restart": True}
        self.ask(
            f"{MOUNT}; rm -rf {STAGED} && install -d -o pocket -g pocket -m 700 {STAGED} && "
            f"cp /run/updates/{version}/* {STAGED}/ && cd {STAGED} && {damage} && "
            f"echo '{json.dumps(request)}' >request.json && chown pocket:pocket * && "
            f"runuser -u pocket -- systemctl start --no-block pocket-slots-work.service"
        )

    def post(self) -> None:
        """One more message, which is acknowledged."""
        self.posted.append(b"message %d" % len(self.posted))
        self.ann.login()
        self.ann.post(self.posted[-1], self.bob)
        self.ann.close()

    def all_is_there(self) -> None:
        """What was ever acknowledged comes to the one it was for."""
        self.bob.login()
        missing = set(self.posted)
        while missing:
            missing.discard(self.bob.find("delivery", from_=self.ann).data)
        self.bob.close()
        print(f"{len(self.posted)} messages, all there", flush=True)
        self.posted = []


def taken(trial: Trial, version: str, *options: str) -> float:
    """A good version is installed, proves itself and stays. How long the installing took, in seconds."""
    before = trial.status()["running"]
    trial.post()
    began = time.monotonic()
    trial.install(version, *options)
    trial.wait_until_installed(version)
    duration_s = time.monotonic() - began
    trial.wait_for(f"{version} on trial", lambda told: told.get("running") == version)
    told = trial.wait_for(f"{version} blessed", lambda told: told.get("trial") is False)
    assert told["running"] == version and told["other"] == {"version": before, "state": "good"}, told
    report(f"{version} taken, in all", time.monotonic() - began)
    trial.post()
    return duration_s


def good(trial: Trial) -> None:
    trial.begin()
    taken(trial, "0.1.1")
    for _ in range(2):
        trial.box.press_power()
        trial.box.start()
        told = trial.wait_for("asked", bool)
        assert told["running"] == "0.1.1" and not told["trial"], told
    trial.post()
    trial.all_is_there()
    print(trial.ask("systemctl --failed --no-legend; journalctl -b -u pocket-slots --no-pager -o cat"))


def broken(trial: Trial) -> None:
    """Each comes back by itself, and nobody's message is lost."""
    trial.begin()
    for number, why in list(enumerate(BROKEN, 2))[: int(os.environ.get("BROKEN") or len(BROKEN))]:
        version = f"0.1.{number}"
        trial.post()
        began, starts = time.monotonic(), trial.starts()
        trial.install(version)
        trial.wait_until_installed(version)
        told = trial.wait_until_given_up(version)
        assert told["running"] == "0.1.0", told
        assert trial.starts() - starts == 4, f"three tries and the old one: {trial.starts() - starts}"
        report(f"{version} {why}: back in", time.monotonic() - began)
        trial.ask("rm -f /data/full /data/fuller")
        trial.post()
        trial.stage(version, "true")
        refused(trial, "given up")
    trial.stage("0.1.1", "sed -i s/0.1.1/0.1.9/ SHA256SUMS")
    refused(trial, "not signed")
    trial.stage("0.1.1", "truncate -s -1000 *.root.zst")
    refused(trial, "damaged")
    trial.all_is_there()
    taken(trial, "0.1.1")
    trial.all_is_there()


def refused(trial: Trial, why: str) -> None:
    told = trial.wait_for("refused", lambda told: told.get("work", {}).get("state") == "failed")
    assert why in told["work"]["error"] and told["running"] == "0.1.0", told
    print(f"refused: {told['work']['error']}", flush=True)


def cuts(trial: Trial) -> None:
    """The power goes at random moments of an install; the machine starts, and a second try works."""
    trial.begin()
    duration_s = taken(trial, "0.1.1")
    for number in range(1, CUTS + 1):
        running, target = trial.status()["running"], other_than(trial)
        trial.post()
        trial.install(target, "--downgrade", "--again")
        after_s = trial.chance.uniform(0, duration_s)
        time.sleep(after_s)
        work = trial.status().get("work")
        loss = trial.box.cut(trial.chance)
        trial.box.start()
        told = trial.wait_for("asked", bool)
        assert told["running"] in (running, target), told
        if told["running"] == target:
            told = trial.wait_for("blessed", lambda told: told.get("trial") is False)
        print(
            f"cut {number}, {after_s:.0f} s after asking for {target}: {work}; {loss}: "
            f"{told['running']} runs, the other is {told['other']}",
            flush=True,
        )
        trial.post()
    trial.all_is_there()
    taken(trial, other_than(trial), "--downgrade", "--again")
    trial.all_is_there()


def other_than(trial: Trial) -> str:
    """The version that does not run, of two that are good."""
    return "0.1.1" if trial.status()["running"] == "0.1.6" else "0.1.6"


def recorded(trial: Trial) -> None:
    """One good update, of which every write is recorded: then the power goes at many of them."""
    machine = trial.box.machine
    before = machine.folder / "before.img"
    subprocess.run(["cp", "--sparse=always", str(machine.disk), str(before)], check=True)
    log = Log(machine.folder / "writes.log")
    trial.box.disk.log = log
    trial.begin()
    log.add(NOTE, octets=b"install")
    taken(trial, "0.1.1")
    trial.box.pull_the_plug()
    log.close()
    trial.box.disk.log = None
    build, updates = machine.build, machine.folder / "updates"
    pack = build.last("pack")
    roots, kernels = {}, {}
    for version, folder in (("0.1.0", pack), ("0.1.1", updates / "0.1.1")):
        name = f"pocket-{build.machine.name}-{version}"
        roots[version] = unpacked(folder / f"{name}.root.zst")
        kernels[version] = unpacked(folder / f"{name}.efi.zst")[1]

    def repaired(disk: View, start: int) -> Fat:
        boot = machine.folder / "boot.img"
        boot.write_bytes(disk[start : start + int(build.settings["BOOT_MIB"]) * MIB])
        ended = subprocess.run(
            build.in_tools(["fsck.vfat", "-a", str(boot)], machine.folder), capture_output=True, check=False
        )
        assert ended.returncode in (0, 1), ended.stdout
        return Fat(boot.read_bytes(), 0)

    judge = Judge(build.machine.loader, roots, kernels, repaired)
    slots = range(*slot_span(before))
    wanted = moments(machine.folder / "writes.log", slots, MOMENTS, trial.chance)
    began = time.monotonic()
    done = replay(before, machine.folder / "writes.log", slots, judge, wanted, trial.chance)
    report(f"{done} moments, what would have been started: {judge.whole};", time.monotonic() - began)
    assert set(judge.whole) == {"0.1.0", "0.1.1"}
    before.unlink()
    (machine.folder / "writes.log").unlink()


def slot_span(disk: Path) -> tuple[int, int]:
    """Where the slots begin and end."""
    file = os.open(disk, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        parts = cards.table(View(file, size), cards_end(file))
    finally:
        os.close(file)
    return parts["pocket_0.1.0"], parts["pocket-data"]


def cards_end(file: int) -> int:
    """The number of sectors of the image, which is smaller than the disk before its first start."""
    header = os.pread(file, 512, 512)
    return int.from_bytes(header[32:40], "little") + 1


PARTS = {"good": good, "recorded": recorded, "broken": broken, "cuts": cuts}
NEEDED = {
    "good": ["0.1.1"],
    "recorded": ["0.1.1"],
    "broken": ["0.1.1", *(f"0.1.{n}" for n in range(2, 6))],
    "cuts": ["0.1.1", "0.1.6"],
}


def make_updates(build: Build, machine: UpdateMachine, versions: list[str]) -> None:
    """The second disk; that of a trial that failed is taken again."""
    made = machine.folder / "updates-made"
    made_of = f"{build.last('root').name} {build.last('initrd').name} {versions} {BROKEN}"
    if machine.updates.exists() and made.exists() and made.read_text() == made_of:
        return
    place = machine.folder / "updates"
    place.mkdir(parents=True, exist_ok=True)
    for version in versions:
        number = int(version.rsplit(".", 1)[1]) - 2
        wrong = list(BROKEN)[number] if 0 <= number < len(BROKEN) else ""
        derive(build, version, place, BROKEN.get(wrong, {}), damaged="noise" in wrong)
    octets = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    size_mib = 64 + octets * 11 // 10 // MIB
    machine.updates.unlink(missing_ok=True)
    words = [
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "updates",
        "-d",
        str(place),
        str(machine.updates),
        f"{size_mib}M",
    ]
    subprocess.run(build.in_tools(words, machine.folder), check=True)
    made.write_text(made_of)


def main() -> int:
    if shutil.which("ssh") is None:
        raise ImageError("ssh is missing: sudo apt-get install openssh-client")
    build = build_of(sys.argv[1])
    build.run()
    for part in sys.argv[2:] or PARTS:
        began = time.monotonic()
        machine = UpdateMachine(build, build.place / "trial" / f"{build.machine.name}-{part}")
        machine.flash()
        make_updates(build, machine, NEEDED[part])
        report(f"{part}: made updates in", time.monotonic() - began)
        key = machine.folder / "key"
        key.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        with PowerBox(machine, {"tmtp": free_port(), "ssh": free_port()}) as box:
            box.insert()
            PARTS[part](Trial(box, key, random.Random()))
        machine.disk.unlink()
        machine.updates.unlink()
        shutil.rmtree(machine.folder / "updates")
        report(f"{build.machine.name}: {part}: all is well; it took", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ImageError as problem:
        sys.exit(str(problem))
