"""The clock. A box works with a wrong one; people, logs and certificates do not."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

from appliance.doctor.finding import Finding, well, wrong

BUILT = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock is right that shows a time before this."""

ASK_S = 5.0


def check_clock(now: datetime | None = None) -> Iterator[Finding]:
    now = now or datetime.now(UTC)
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    if now < BUILT:
        yield wrong(
            "clock",
            f"it is {shown} here, which cannot be",
            "connect the box to the Internet, or: date -s '2026-02-28 12:00'; messages go on meanwhile",
        )
        return
    synchronised = is_synchronised()
    if synchronised is False:
        yield wrong(
            "clock",
            f"{shown}, not synchronised with the network's",
            "timedatectl set-ntp true, or connect the box to the Internet; messages go on meanwhile",
        )
    else:
        yield well(
            "clock", shown + (", synchronised" if synchronised else "; nothing here knows if it is right")
        )


def is_synchronised() -> bool | None:
    """What the machine's time service says; None if there is none."""
    said = answer("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    if said == "yes":
        return True
    lines = answer("chronyc", "-n", "tracking").splitlines()
    leap = next((line.partition(":")[2].strip() for line in lines if line.startswith("Leap status")), "")
    if leap:
        return leap != "Not synchronised"
    return False if said == "no" else None


def answer(*command: str) -> str:
    """What a program says, in English; "" if there is none or it fails."""
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_S,
            check=True,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
