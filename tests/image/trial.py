"""make image-test BOARD=...: the image in QEMU does what a person expects of it. Minutes, hence no part of
make test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from image.boot import DISK_OCTETS, Machine
from image.build import build_of
from image.errors import ImageError
from tests.kit import Client

from .machine import Emulated

LISTENING = {("tcp", 4433), ("tcp", 22), ("udp", 5353)}
"""Who may be reached from outside, SSH because the trial presets a key; the DHCP client is apart."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pair(box: Emulated) -> None:
    box.console.say("pair open", r"(?s)pairing is open.*pocket> ")


def converse(box: Emulated) -> tuple[Client, Client]:
    """Two members register over TLS; what one posts, the other gets."""
    pair(box)
    ann = Client.register(box, alias="ann and her laptop")
    bob = Client.register(box, alias="bob and his phone")
    ann.post(b"are you there?", bob)
    bob.find("delivery", from_=ann)
    return ann, bob


def first_start(box: Emulated) -> tuple[Client, Client]:
    box.start()
    report("serving after", box.started_s)
    ann, bob = converse(box)
    with socket.socket() as probe:
        probe.settimeout(20)
        probe.connect(("127.0.0.1", box.ports["ssh"]))
        assert probe.recv(100) == b"", "somebody answers on the port of SSH, though no key was preset"
    bob.close()
    ann.post(b"while you were away", bob)
    ann.close()
    report("switched off after", box.press_power())
    return ann, bob


def second_start(box: Emulated, key: Path, ann: Client, bob: Client) -> None:
    public = key.with_suffix(".pub").read_text().strip()
    box.preset(f'[wifi]\nssid = "Attic"\npsk = "correct horse"\n\n[ssh]\nkey = "{public}"\n')
    box.start()
    report("after a restart serving after", box.started_s)
    bob.login()
    bob.find("delivery", from_=ann)
    bob.close()
    look_around(box, key)
    box.pull_the_plug()
    box.start()
    report("after a power cut serving after", box.started_s)
    ann.login()
    ann.close()
    report("switched off after", box.press_power())


def look_around(box: Emulated, key: Path) -> None:
    """What only somebody inside can see."""

    def ask(command: str) -> str:
        return box.ssh(key, command)

    wait_until(lambda: ask("systemctl is-system-running || true").strip() not in ("starting", "initializing"))
    failed = ask("systemctl --failed --no-legend")
    assert not failed.strip(), failed
    data_octets = int(ask("findmnt -bno SIZE /data"))
    assert data_octets > DISK_OCTETS / 2, f"the data partition did not grow: {data_octets}"
    assert " ro," in ask("grep ' / ' /proc/mounts"), "the system can be written"
    assert not ask("tail -n +2 /proc/swaps").strip(), "there is swap"
    assert "preset" in ask("nmcli -g NAME connection")
    shadow = [line.split(":")[1] for line in ask("cat /etc/shadow").splitlines()]
    assert all(word.startswith("!") for word in shadow), "somebody has a password"
    assert not ask("ls /var/log/journal 2>/dev/null || true").strip(), "the journal is on disk"
    listening = set()
    for line in ask("ss -Hlntu").splitlines():
        kind, _, _, _, local, *_ = line.split()
        host, _, port = local.rpartition(":")
        if (
            not host.startswith(("127.", "[::1]"))
            and not host.endswith("%eth0")
            and int(port) not in (68, 546)
        ):
            listening.add((kind, int(port)))
    assert listening <= LISTENING, f"somebody else listens: {sorted(listening - LISTENING)}"
    print(ask("systemd-analyze; systemd-analyze critical-chain pocket.service --no-pager"))
    print(ask("systemd-analyze security pocket.service --no-pager | tail -n 1"))


def wait_until(holds: Callable[[], bool], patience_s: float = 120) -> None:
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(2)


def report(what: str, seconds: float) -> None:
    print(f"{what} {seconds:.0f} s", flush=True)


def main() -> int:
    if shutil.which("ssh") is None:
        raise ImageError("ssh is missing: sudo apt-get install openssh-client")
    began = time.monotonic()
    build = build_of(sys.argv[1])
    build.run()
    machine = Machine(build, build.place / "trial" / build.machine.name)
    machine.flash()
    key = machine.folder / "key"
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with Emulated(machine, {"tmtp": free_port(), "ssh": free_port()}) as box:
        ann, bob = first_start(box)
        second_start(box, key, ann, bob)
    machine.disk.unlink()
    report(f"{build.machine.name}: all is well; it took", time.monotonic() - began)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ImageError as problem:
        sys.exit(str(problem))
