"""The database as it was before a newer version changed its tables: what an older version goes back to.

It is made before the tables change, in DATA/update/snapshot, and is whole when ``about.json`` beside it says
so. Until it goes, the journals keep all that came since, so that nothing has to be lost (``going_back``).
Everything here blocks.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from appliance.log import get_logger
from appliance.notify import sd_notify
from appliance.store import reading, schema
from appliance.store.journal import sync_folder, write_synced
from appliance.store.schema import SchemaError

log = get_logger(__name__)

FOLDER = Path("update") / "snapshot"
DATABASE = "pocket.db"
ABOUT = "about.json"
SPARE_OCTETS = 64 << 20
"""What has to be free beside it: the change of the tables itself takes room."""


LONG_S = 1800
"""A large database takes its time, of which systemd has to know: it would end a start that hangs."""


class About(msgspec.Struct, frozen=True):
    """``schema``: that of the snapshot, ``to`` which the tables were changed. ``heads``: how far each journal
    (box id) was. ``done``: the tables were changed. ``proven``: the new version works, and has taken in work
    since. ``kept``: the snapshot itself is still there. ``at``: in seconds since the epoch.
    """

    schema: int
    to: int
    at: float
    heads: dict[str, int]
    done: bool = False
    proven: bool = False
    kept: bool = True


def about(folder: Path) -> About | None:
    """Of the snapshot in a data folder; None if there is none."""
    try:
        return msgspec.json.decode((folder / FOLDER / ABOUT).read_bytes(), type=About)
    except (OSError, msgspec.MsgspecError):
        return None


def take(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Before the tables of the database at ``path`` are changed. Raises ``SchemaError`` if there is no room
    for it, ``OSError``, ``sqlite3.Error``.
    """
    known = about(path.parent)
    if known is not None and known.kept and known.schema == version and not known.done:
        return  # the change was cut off: what is here by now may be neither
    place = path.parent / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, mode=0o700)
    (size,) = connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
    stat = os.statvfs(place)
    missing = size[0] + SPARE_OCTETS - stat.f_bavail * stat.f_frsize
    if missing > 0:
        raise SchemaError(
            f"this version changes the tables, and there is no room to keep them as they are before that:"
            f" {(missing >> 20) + 1} MiB are missing. Make room, or go back to the version before"
        )
    log.info("the database is kept as it is", schema=version, octets=size[0])
    sd_notify(f"EXTEND_TIMEOUT_USEC={LONG_S * 1_000_000}")
    new = place / (DATABASE + ".new")
    connection.execute("VACUUM INTO ?", (str(new),))
    _sync(new)
    new.rename(place / DATABASE)
    heads: dict[str, int] = {}
    if version > 1:  # entries were numbered in another way
        numbers = reading.boxes(connection)
        heads = {numbers[number][0]: entry.seq for number, entry in reading.newest(connection).items()}
    note(path.parent, About(version, schema.VERSION, time.time(), heads))
    sync_folder(path.parent / FOLDER.parent)
    sync_folder(path.parent)


def note(folder: Path, what: About) -> None:
    """Raises ``OSError``."""
    write_synced(folder / FOLDER / ABOUT, msgspec.json.encode(what))


def settle(path: Path, version: int) -> None:
    """The tables are those of this version. A snapshot of just that is of no use."""
    known = about(path.parent)
    if known is None:
        return
    if known.schema >= version:
        forget(path.parent)
    elif not known.done:
        note(path.parent, msgspec.structs.replace(known, done=True))


def prove(folder: Path) -> None:
    """The new version works. Raises ``OSError``."""
    known = about(folder)
    if known is not None and not known.proven:
        note(folder, msgspec.structs.replace(known, proven=True))


def drop(folder: Path) -> None:
    """Let go of the snapshot, and know that it was there. Raises ``OSError``."""
    known = about(folder)
    if known is not None and known.kept:
        note(folder, msgspec.structs.replace(known, kept=False))
        (folder / FOLDER / DATABASE).unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """All of it. ``about`` goes first: without it there is nothing."""
    with suppress(OSError):
        (folder / FOLDER / ABOUT).unlink(missing_ok=True)
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def gained(folder: Path, heads: Mapping[str, int]) -> tuple[int, str | None]:
    """How many entries the journals have gained since they were at ``heads``; and a box some of whose are not
    here any more, or None. Raises ``sqlite3.Error``.
    """
    uri = f"{(folder / DATABASE).absolute().as_uri()}?mode=ro"
    count, gap = 0, None
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        newest = reading.newest(connection)
        for number, (box, _) in reading.boxes(connection).items():
            after = heads.get(box, 0)
            last = newest[number].seq if number in newest else 0
            sql = "SELECT count(*) FROM entry WHERE place > ? AND place % ? = ?"
            row = (after * reading.PLACES + number, reading.PLACES, number)
            (found,) = connection.execute(sql, row).fetchone()
            count += found
            if found != max(0, last - after):
                gap = box
    return count, gap


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
