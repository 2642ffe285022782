"""Small libraries in C that lie to a process about its clock or its disk, compiled when they are needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


def have_compiler() -> bool:
    return shutil.which("cc") is not None


def compiled(name: str, folder: Path) -> Path:
    """The library made from NAME.c, in `folder`. Raises RuntimeError if there is no C compiler."""
    if not have_compiler():
        raise RuntimeError("no C compiler: on Debian, apt-get install gcc libc6-dev")
    library = folder / f"{name}.so"
    if not library.exists():
        subprocess.run(
            ["cc", "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-o", library, HERE / f"{name}.c", "-ldl"],
            check=True,
        )
    return library


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Processes that are started meanwhile have these variables too."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def wrong_clock(folder: Path, offset_s: int) -> Iterator[None]:
    """Processes that are started meanwhile have a clock that is off by so much."""
    with environment(LD_PRELOAD=str(compiled("clock", folder)), CLOCK_OFFSET_S=str(offset_s)):
        yield


@contextmanager
def slow_sync(folder: Path, milliseconds: int) -> Iterator[None]:
    """Processes that are started meanwhile wait so long for each sync, one at a time."""
    with environment(LD_PRELOAD=str(compiled("slow_sync", folder)), SLOW_SYNC_MS=str(milliseconds)):
        yield
