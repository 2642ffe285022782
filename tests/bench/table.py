"""The figures as a table, and what they were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable

from tests.load import PRESETS

from .runs import Result

COLUMNS = (
    ("scenario", "scenario", "{}"),
    ("posts/s", "acked_per_s", "{:,.0f}"),
    ("deliveries/s", "delivered_per_s", "{:,.0f}"),
    ("MB/s", "delivered_mb_per_s", "{:,.0f}"),
    ("ack p50", "ack_p50_ms", "{:,.1f}"),
    ("p99 ms", "ack_p99_ms", "{:,.1f}"),
    ("delivery p50", "delivery_p50_ms", "{:,.1f}"),
    ("p99 ms", "delivery_p99_ms", "{:,.1f}"),
    ("CPU ms/post", "cpu_ms_per_post", "{:.3f}"),
    ("KB/post", "write_kb_per_post", "{:,.1f}"),
    ("syncs/post", "syncs_per_post", "{:.3f}"),
    ("peak MB", "rss_peak_mb", "{:.0f}"),
)
"""Heading, the figure's name, how it is written."""

IDLE = "idle: {users:.0f} links: {kb_per_session:.1f} KiB each; the box without links: {rss_before_mb:.1f} MB"


def machine() -> str:
    """What shares what while it is measured."""
    model = "an unknown processor"
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith(("model name", "Model")):
                model = line.partition(":")[2].strip()
                break
    folder = tempfile.gettempdir()
    kind = subprocess.run(
        ["stat", "--file-system", "--format=%T", folder], capture_output=True, text=True
    ).stdout.strip()
    note = "; in memory, so nothing is written to a disk" if kind == "tmpfs" else ""
    return (
        f"box and load generator share {len(os.sched_getaffinity(0))} cores of {model};"
        f" load average {os.getloadavg()[0]:.1f}\n"
        f"Python {platform.python_version()}, Linux {platform.release()};"
        f" data in {folder} ({kind or 'unknown file system'}{note})"
    )


def legend(names: Iterable[str]) -> str:
    return "\n".join(f"  {name:9} {PRESETS[name].about}" for name in names)


def title(sync_ms: int, repeat: int) -> str:
    syncs = (
        f"with a sync that takes {sync_ms} ms more, as an SD card's" if sync_ms else "with the disk as it is"
    )
    return syncs + (f"; medians of {repeat} runs" if repeat > 1 else "")


def heading() -> str:
    return "  ".join(_cell(head, number) for number, (head, _, _) in enumerate(COLUMNS))


def row(result: Result) -> str:
    """One scenario's line."""
    if "kb_per_session" in result:
        return IDLE.format(**result)
    cells = (pattern.format(result[name]) if name in result else "-" for _, name, pattern in COLUMNS)
    return "  ".join(_cell(cell, number) for number, cell in enumerate(cells))


def compared(one: Result, several: Result) -> str:
    """The line of a site of several boxes, and what it is beside that of one."""
    line = row(several | {"scenario": f"{several['boxes']} boxes"})
    if not one.get("acked_per_s"):
        return line
    share = 100 * several["acked_per_s"] / one["acked_per_s"]
    added_ms = several["ack_p50_ms"] - one["ack_p50_ms"]
    return (
        f"{line}\n  {share:.0f} % of the posts/s of one box; acks {added_ms:+.1f} ms (p50);"
        f" {several['one_copy']} answered at one copy"
    )


def _cell(text: str, number: int) -> str:
    width = max(len(COLUMNS[number][0]), 8)
    return text.ljust(width) if number == 0 else text.rjust(width)
