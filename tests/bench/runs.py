"""One scenario against a fresh box, with a load generator in a process of its own."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit import Box
from tests.load import PRESETS, Preset
from tests.load.scenarios import scaled
from tests.load.shims import slow_sync

from .couple import boxes

CONFIG = '[log]\nlevel = "warning"\n'
RUN_MAX_S = 600.0
Result = dict[str, Any]


class RunFailed(Exception):
    """A scenario could not be run, or something was lost, doubled or damaged in it."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the runs have in common. `share` of the scenarios' length; `sync_ms`: what a sync costs on top;
    `boxes` of the site, and how far apart they are, one way."""

    share: float = 1.0
    sync_ms: int = 0
    load_program: Path | None = None
    repeat: int = 1
    boxes: int = 1
    delay_ms: float = 0.0


def measure(name: str, setup: Setup) -> Result:
    """Medians of `setup.repeat` runs. Raises RunFailed."""
    results = [_measure(name, setup) for _ in range(setup.repeat)]
    merged: Result = dict(results[0])
    for key, value in merged.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            merged[key] = statistics.median(result[key] for result in results)
    return merged | {
        "sync_ms": setup.sync_ms,
        "runs": setup.repeat,
        "boxes": setup.boxes,
        "delay_ms": setup.delay_ms,
    }


def _measure(name: str, setup: Setup) -> Result:
    preset = scaled(PRESETS[name], setup.share)
    with _card(setup.sync_ms), boxes(setup.boxes, CONFIG, setup.delay_ms) as (box, *others):
        address = f"{box.address[0]}:{box.address[1]}"
        if setup.load_program is not None:
            return _run_program(setup.load_program, name, preset, box, address)
        command = [sys.executable, "-m", "tests.load", "--scenario", name, "--share", str(setup.share)]
        result = _run([*command, "--address", address, "--pid", str(box.pid), "--data", str(box.data)], box)
        if others:
            result["one_copy"] = box.control("peer.list")["one_copy_acks"]
        return result


@contextlib.contextmanager
def _card(sync_ms: int) -> Iterator[None]:
    if not sync_ms:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="pocket-bench-") as folder, slow_sync(Path(folder), sync_ms):
        yield


def _run_program(program: Path, name: str, preset: Preset, box: Box, address: str) -> Result:
    """The other generator's figures; it knows nothing of syncs, so those of its registrations count, too."""
    command = [str(program), "-addr", address, "-pid", str(box.pid)]
    command += ["-scenario", "attach" if name == "attach20" else name]
    command += ["-users", str(preset.users), "-senders", str(preset.senders), "-n", str(preset.count)]
    if preset.seconds:
        command += ["-secs", str(preset.seconds)]
    before = box.control("status")["store"]["syncs"]
    result = _run(command, box)
    syncs = box.control("status")["store"]["syncs"] - before
    if result.get("acked"):
        result["syncs_per_post"] = float(f"{syncs / result['acked']:.4g}")
    return result | {"scenario": name}


def _run(command: list[str], box: Box) -> Result:
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=RUN_MAX_S)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"{' '.join(command)} took more than {RUN_MAX_S:.0f} s") from None
    if run.returncode != 0 or not box.running:
        raise RunFailed(f"{' '.join(command)}\n{run.stdout}{run.stderr}\n{box.words()}")
    result: Result = json.loads(run.stdout)
    return result
