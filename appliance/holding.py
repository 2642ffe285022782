"""One process at a time on a data folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.control.errors import ControlError


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the data folder, made if it is missing, against a second box. Raises ``ControlError`` if there is
    one, or the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ControlError(
            f"the data folder {folder} cannot be used ({error.strerror}): make it writable for this user, or"
            " name another one with --data"
        ) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlError(
                f"a box is running on {folder} already: stop it first, or use another --data"
            ) from None
        yield
    finally:
        os.close(fd)
