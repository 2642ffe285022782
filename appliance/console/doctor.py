"""Looks at what the console needs, and says what is wrong and what to do. It opens no port, so it may be
asked while the box runs.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.console.port import find
from appliance.console.run import ConsoleSettings
from appliance.console.wifi import find_wifi

KERNELS_CONSOLES = Path("/sys/class/tty/console/active")
PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `do` is empty if it is `ok`."""

    ok: bool
    what: str
    do: str = ""


async def check_console(settings: ConsoleSettings) -> list[Finding]:
    """What is right and wrong with serial ports and Wi-Fi. Takes some seconds at most; raises nothing."""
    if not settings.ports:
        return [Finding(True, "the serial console is off: console.ports names no port")]
    found = [finding for pattern in settings.ports for finding in _pattern(pattern)]
    problem = await find_wifi(settings.wifi).problem()
    if problem is None:
        found.append(Finding(True, "Wi-Fi can be set up over a serial port"))
    elif settings.wifi != "off":
        what, colon, do = problem.partition(": ")
        found.append(Finding(False, f"no Wi-Fi to set up over a serial port: {what}", do if colon else ""))
    return found


def _pattern(pattern: str) -> Iterator[Finding]:
    paths = find([pattern])
    if not paths:
        yield Finding(True, f"serial port {pattern}: nothing is connected there now")
    for path in paths:
        yield _port(path)


def _port(path: str) -> Finding:
    name = os.path.basename(os.path.realpath(path))
    if not stat.S_ISCHR(os.stat(path).st_mode):
        return Finding(False, f"{path} is no serial port", "take it out of console.ports")
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(
            False,
            f"serial port {path}: permission denied",
            "give the box's user the group dialout, and look as that user",
        )
    if name in _kernels_consoles():
        return Finding(
            False,
            f"serial port {path}: the kernel writes its own messages there",
            f"take console={name} out of the kernel's command line (cmdline.txt), and start again",
        )
    if _has_getty(name):
        return Finding(
            False,
            f"serial port {path}: the system's own login is there",
            f"systemctl disable --now serial-getty@{name}",
        )
    return Finding(True, f"serial port {path}")


def _kernels_consoles() -> list[str]:
    with suppress(OSError):
        return KERNELS_CONSOLES.read_text().split()
    return []


def _has_getty(name: str) -> bool:
    """Whether a program that asks for logins was started on this terminal."""
    for command in PROCESSES.glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = command.read_bytes().decode("utf-8", "replace").split("\0")
            if words[0].rpartition("/")[2].endswith("getty") and {name, f"/dev/{name}"} & set(words[1:]):
                return True
    return False
