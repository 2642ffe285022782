"""What a process has used, as Linux tells it in /proc/PID."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU milliseconds (user and system) and octets that went to disks, since the process began."""

    cpu_ms: float = 0.0
    written: int = 0

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.cpu_ms - other.cpu_ms, self.written - other.written)


def usage(pid: int) -> Usage:
    """Of a process of ours. 0 octets written on a file system in memory."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage((int(after_name[11]) + int(after_name[12])) * TICK_MS, _field(pid, "io", "write_bytes:"))


def rss_mb(pid: int) -> float:
    """Resident memory now, in MB of 1,048,576 octets."""
    return _field(pid, "status", "VmRSS:") / 1024


def peak_mb(pid: int) -> float:
    """The most resident memory since the start, or since `reset_peak`."""
    return _field(pid, "status", "VmHWM:") / 1024


def reset_peak(pid: int) -> None:
    """From now on `peak_mb` counts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _field(pid: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
