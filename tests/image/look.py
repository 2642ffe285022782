"""What only somebody inside a machine can see."""

from __future__ import annotations

import re

from image.boot import DISK_OCTETS

from .progress import tell, until
from .shell import Shell

LISTENING = {("tcp", 4433), ("tcp", 22), ("udp", 5353)}
"""Who may be reached from outside, SSH because the trial presets a key."""
CLIENTS = {("udp", 68), ("udp", 546)}
"""DHCP, of NetworkManager."""
EXPOSURE = 1.5


def listening(told: str) -> set[tuple[str, int]]:
    """What `ss -Hlntu` says that others can reach: kind and port."""
    found = set()
    for line in told.splitlines():
        kind, _, _, _, local, *_ = line.split()
        host, _, port = local.rpartition(":")
        if not host.startswith(("127.", "[::1]")):
            found.add((kind, int(port)))
    return found - CLIENTS


def settled(shell: Shell) -> None:
    """Wait until the system has started; nothing may have failed."""
    state = "systemctl is-system-running || true"
    until(lambda: shell.run(state).strip() not in ("starting", "initializing"), "the start is over", 180)
    failed = shell.run("systemctl --failed --no-legend").strip()
    assert not failed, failed
    found = shell.run(state).strip()
    assert found == "running", f"the system is {found}"


def system(shell: Shell, reachable: set[tuple[str, int]] = LISTENING) -> None:
    """The system is as image/README.md says: it cannot be written, has grown, keeps little on the card."""
    data_octets = int(shell.run("findmnt -bno SIZE /data"))
    assert data_octets > DISK_OCTETS / 2, f"the data partition did not grow: {data_octets}"
    assert " ro," in shell.run("grep ' / ' /proc/mounts"), "the system can be written"
    assert "noatime" in shell.run("grep ' /data ' /proc/mounts")
    assert not shell.run("tail -n +2 /proc/swaps").strip(), "there is swap"
    shadow = [line.split(":")[1] for line in shell.run("cat /etc/shadow").splitlines()]
    assert all(word.startswith("!") for word in shadow), "somebody has a password"
    assert not shell.run("ls /var/log/journal 2>/dev/null || true").strip(), "the journal is on disk"
    heard = listening(shell.run("ss -Hlntu"))
    assert heard <= reachable, f"somebody else listens: {sorted(heard - reachable)}"
    problems = shell.run("journalctl -b -p err --no-pager -q -o cat").strip()
    if problems:
        tell(f"errors in the log:\n{problems}")


def watchdog(shell: Shell) -> None:
    """A machine that hangs is started again by its hardware."""
    told = shell.run("cd /sys/class/watchdog/watchdog0 && cat identity state timeout")
    *_, state, timeout = told.splitlines()
    assert (state, timeout) == ("active", "30"), told


def hardened(shell: Shell) -> None:
    told = shell.run("systemd-analyze security pocket.service --no-pager | tail -n 1").strip()
    found = re.search(r"level for pocket\.service: ([\d.]+) ", told)
    assert found and float(found[1]) <= EXPOSURE, told


def timeline(shell: Shell) -> str:
    """Where the time of the start went."""
    return shell.run(
        "systemd-analyze --no-pager; systemd-analyze critical-chain pocket.service --no-pager;"
        " systemd-analyze blame --no-pager | head -n 12"
    )
