"""The data folder: whether it is there, whose it is, whether what is written there lasts, and the room."""

from __future__ import annotations

import os
import pwd
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from appliance import reset
from appliance.config import Config, format_size
from appliance.doctor.finding import Finding, well, wrong

SQLITE_MIN = (3, 37, 0)
"""The first with STRICT tables."""

SYNC_SLOW_S = 0.5
"""A sync on a good SD card takes 5 to 20 ms."""

FILES_MIN = 1000
TRIAL = "doctor"
SECRETS = ("box.key", "tls/key.pem", "oidc-keys.json")


def check_versions() -> Iterator[Finding]:
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        need = ".".join(map(str, SQLITE_MIN))
        yield wrong(
            "SQLite", f"version {sqlite3.sqlite_version} is too old", f"install SQLite {need} or newer"
        )
    else:
        yield well("SQLite", f"version {sqlite3.sqlite_version}")


def check_folder(config: Config) -> Iterator[Finding]:
    """Owner, permissions, and whether files can be written and last."""
    folder = config.data
    try:
        found = folder.stat()
    except FileNotFoundError:
        yield _future(folder)
        return
    except OSError as error:
        yield wrong(
            "data", f"{folder} cannot be looked at: {error.strerror}", "look as root: sudo pocket doctor"
        )
        return
    if not stat.S_ISDIR(found.st_mode):
        yield wrong("data", f"{folder} is no folder", "name the box's data folder with --data DIR")
        return
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        owner = _name(found.st_uid)
        yield wrong(
            "data", f"{folder} belongs to {owner}", f"look as its user: sudo -u {owner} pocket doctor"
        )
        return
    yield from _permissions(folder, found)
    if reset.is_marked(folder):
        yield wrong("data", "a reset to factory state was begun", "start the box: it finishes that first")
    yield _writing(folder)


def check_room(config: Config) -> Iterator[Finding]:
    """The disk's room against the reserve of the configuration."""
    folder = next(path for path in (config.data, *config.data.absolute().parents) if path.exists())
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        yield wrong(
            "disk", f"it does not say how full it is: {error.strerror}", "see whether the disk is there"
        )
        return
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    reserve = config.disk.reserve_of(total)
    told = f"{_size(free)} free of {_size(total)}, {_size(reserve)} kept in reserve"
    if free < reserve:
        yield wrong(
            "disk",
            told + ": new messages are refused",
            "make room; pocket device list shows for whom messages wait",
        )
    elif disk.f_files and disk.f_favail < FILES_MIN:
        yield wrong("disk", f"only {disk.f_favail} more files can be made", "delete files that nobody needs")
    else:
        yield well("disk", told)


def _future(folder: Path) -> Finding:
    """A folder that the first start will make."""
    above = next(path for path in folder.absolute().parents if path.exists())
    if os.access(above, os.W_OK | os.X_OK):
        return well("data", f"{folder} is not there yet: the first start makes it")
    return wrong(
        "data", f"{folder} is not there, and cannot be made in {above}", "name another one with --data DIR"
    )


def _permissions(folder: Path, found: os.stat_result) -> Iterator[Finding]:
    if found.st_mode & 0o077:
        yield wrong("permissions", f"{folder} is open to others", f"chmod 700 {folder}")
    fine = True
    for name in SECRETS:
        path = folder / name
        with suppress(OSError):
            state = path.stat()
            if state.st_mode & 0o077:
                fine = False
                yield wrong("permissions", f"{path} is open to others", f"chmod 600 {path}")
            if state.st_uid != found.st_uid:
                fine = False
                owner = _name(found.st_uid)
                yield wrong(
                    "permissions",
                    f"{path} belongs to {_name(state.st_uid)}, the folder to {owner}",
                    f"chown -R {owner} {folder}",
                )
    if fine and not found.st_mode & 0o077:
        yield well("permissions", f"{folder} is for {_name(found.st_uid)} alone")


def _writing(folder: Path) -> Finding:
    """Write a small file, have it on stable storage, and take it away."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return wrong(
            "data",
            f"the disk of {folder} is read-only",
            "look for errors in dmesg: a card does so when it fails; then mount it again, or replace it",
        )
    path = folder / TRIAL
    try:
        began = time.monotonic()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, bytes(4096))
            os.fsync(fd)
        finally:
            os.close(fd)
            path.unlink()
        took_s = time.monotonic() - began
    except OSError as error:
        return wrong(
            "data", f"nothing can be written to {folder}: {error.strerror}", "make room, or see dmesg"
        )
    if took_s > SYNC_SLOW_S:
        return wrong(
            "data",
            f"it took {took_s:.1f} s until a small file was safe on the disk of {folder}",
            "a card does so when it wears out, or when something else writes much: replace it, or end that",
        )
    return well("data", f"{folder}: a small file is safe after {took_s * 1000:.0f} ms")


def _size(octets: int) -> str:
    return format_size(octets >> 20 << 20) if octets < 10 << 30 else f"{octets >> 30} GiB"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
