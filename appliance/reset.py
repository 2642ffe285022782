"""Back to factory state: everything in the data folder goes, identity and messages, but the configuration.

A *mark* on stable storage says that it was wanted. It goes last, so whatever interrupts the wiping, the next
start goes on with it, and no box ever runs on the half of a data folder. Files are deleted and not
overwritten: what a card's controller keeps of them is beyond reach.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MARK = "factory-reset"
FOR_SYSTEM = "forget-system"
FIRMWARE = Path("/usr/lib/pocket-image/forget.py")
"""Where it is, it forgets at the next start of the machine what is not in the folder, Wi-Fi and keys, if
the mark FOR_SYSTEM is there."""
KEPT = ("pocket.toml", "lock", "lost+found", MARK, FOR_SYSTEM)
"""The configuration; the lock that the wiper holds, which is empty; and what belongs to the file system."""


def mark(folder: Path) -> None:
    """Let the data in ``folder`` be wiped, by ``finish``. Blocks. Raises ``OSError``."""
    for name in (FOR_SYSTEM, MARK) if FIRMWARE.exists() else (MARK,):
        fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    _sync(folder)


def is_marked(folder: Path) -> bool:
    return (folder / MARK).exists()


def finish(folder: Path) -> bool:
    """Wipe ``folder`` if it is marked, which may have begun before; whether it was. Nothing else may use it.
    Blocks. Raises ``OSError``, and the folder stays marked.
    """
    if not is_marked(folder):
        return False
    for path in folder.iterdir():
        if path.name in KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    _sync(folder)
    (folder / MARK).unlink()
    _sync(folder)
    return True


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
