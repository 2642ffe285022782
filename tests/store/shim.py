"""Builds faults.c and runs a process on top of it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("faults.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """Returns the library."""
    library = folder / "faults.so"
    assert COMPILER is not None
    command = [
        COMPILER,
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fPIC",
        "-shared",
        "-o",
        str(library),
        str(SOURCE),
        "-ldl",
    ]
    subprocess.run(command, check=True)
    return library


def run(module: str, library: Path, folder: Path, *arguments: str, record: Path | None = None) -> list[Any]:
    """Run a module of this folder with everything in ``folder`` under the shim. Returns what it printed, in
    JSON lines.
    """
    environment = {**os.environ, "LD_PRELOAD": str(library), "FAULTS_FOLDER": str(folder)}
    if record is not None:
        environment["FAULTS_LOG"] = str(record)
    command = [sys.executable, "-m", f"tests.store.{module}", str(folder), *arguments]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


# inside such a process


def function(name: str, *kinds: Any) -> Callable[..., None]:
    found = getattr(ctypes.CDLL(os.environ["LD_PRELOAD"]), name)
    found.argtypes = kinds
    found.restype = None
    return found  # type: ignore[no-any-return]


def arm(
    types: str, part: str, *, after: int = 0, times: int = 1 << 30, error: int = 0, partial: bool = False
) -> None:
    """Make calls fail: see faults.c. ``times=0`` ends it."""
    kinds = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int)
    function("faults_arm", *kinds)(types.encode(), part.encode(), after, times, error, partial)


def mark(remark: Any) -> None:
    """Put a remark into the record."""
    function("faults_mark", ctypes.c_char_p)(json.dumps(remark).encode())
