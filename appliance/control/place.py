"""Where the socket is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ADDRESS_OCTETS_MAX = 107
"""Of a Unix socket's address: 108 on Linux, with the zero at its end."""


def control_path(data_dir: Path) -> Path:
    """The control socket of the box with this data folder."""
    return data_dir / "control.sock"


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """A name for `path` that is short enough to bind or connect to, however deep its folder is.

    Raises OSError if the folder is not there.
    """
    if len(os.fsencode(path)) <= ADDRESS_OCTETS_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
