"""An older version finds the tables of a newer one: it goes back to the snapshot, and takes what the journals
have gained since along.

The snapshot is copied, and the newer database's entries, with the octets of their messages, are taken in as
those of other boxes are: signature, chain and octets are looked at, and this box's own are among them. Of the
newer tables only entries and the octets of messages are read; what they say that this version does not know
it keeps and passes on, as boxes of several versions do. The outcome takes the place of the newer database in
one step: whatever interrupts this, the next start does it again.

If that cannot be done (the newer tables cannot be read, or entries are gone) and the newer version never took
in work, the snapshot alone is what was; else the box does not start, and says what to do.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import trio

from appliance.log import get_logger
from appliance.notify import sd_notify
from appliance.store import schema, snapshot
from appliance.store.arrivals import BadEntries
from appliance.store.database import DATABASE_NAME
from appliance.store.errors import DiskFull, StoreError
from appliance.store.journal import KEY_NAME, sync_folder
from appliance.store.old import OldData
from appliance.store.schema import SchemaError
from appliance.store.store import Store

log = get_logger(__name__)

WORK = Path("update") / "back"
READ_OCTETS = 1 << 20
READ = (
    "SELECT number, id, public_key FROM box LIMIT 0",
    "SELECT place, clock, kind, prev, body, signature FROM entry LIMIT 0",
    "SELECT msgid, head, data, blob FROM fresh LIMIT 0",
    "SELECT msgid, head, data, blob FROM message LIMIT 0",
)

CANNOT = (
    "the data was written by a newer version (schema {newer}, this one knows {known}), and what came since"
    " cannot be brought back ({why}): start that version again   pocket update rollback   does so if this one"
    " runs; or keep a copy of the data folder, and restore a backup"
)


async def go_back(folder: Path, open_store: Callable[[Path], Store]) -> bool:
    """Do so, if it is needed and there is a snapshot; whether it was done. ``open_store`` opens a copy in
    another folder, to be filled. Nothing else may use the data. Raises ``SchemaError``, ``StoreError``,
    ``OSError``.
    """
    newer = await trio.to_thread.run_sync(_schema, folder / DATABASE_NAME)
    about = await trio.to_thread.run_sync(snapshot.about, folder)
    if newer <= schema.VERSION or about is None or not about.kept or about.schema > schema.VERSION:
        return False
    log.warning("a newer version was here: going back", schema=newer, to=about.schema)
    sd_notify(f"EXTEND_TIMEOUT_USEC={snapshot.LONG_S * 1_000_000}")
    work = folder / WORK
    try:
        await trio.to_thread.run_sync(_lay_out, folder, work)
        count = await _take_over(folder, work, open_store)
        log.info("what came since is here, too", entries=count)
    except (DiskFull, OSError):
        raise
    except (StoreError, sqlite3.Error, ValueError, LookupError, TypeError) as error:
        if about.proven:
            raise SchemaError(CANNOT.format(newer=newer, known=schema.VERSION, why=error)) from error
        log.warning("the snapshot alone is taken: the newer version never served", reason=str(error))
        await trio.to_thread.run_sync(_lay_out, folder, work)
    await trio.to_thread.run_sync(_put_in_place, folder, work)
    return True


def _schema(path: Path) -> int:
    """Of the tables at ``path``; 0 if there are none, or they cannot be read."""
    if not path.exists():
        return 0
    try:
        with closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error:
        return 0


def _look(path: Path) -> None:
    """Whether there is what is read of the newer tables. Raises ``LookupError``."""
    with closing(sqlite3.connect(path)) as connection:
        for sql in READ:
            try:
                connection.execute(sql)
            except sqlite3.OperationalError as error:
                raise LookupError(f"its tables are unknown here: {error}") from None


def _lay_out(folder: Path, work: Path) -> None:
    """A copy of the snapshot, to be worked on."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, mode=0o700)
    shutil.copyfile(folder / snapshot.FOLDER / snapshot.DATABASE, work / DATABASE_NAME)
    shutil.copyfile(folder / KEY_NAME, work / KEY_NAME)


async def _take_over(folder: Path, work: Path, open_store: Callable[[Path], Store]) -> int:
    """How many entries that were."""
    await trio.to_thread.run_sync(_look, folder / DATABASE_NAME)
    data = await trio.to_thread.run_sync(lambda: OldData(folder, newer=True))
    try:
        store = await trio.to_thread.run_sync(open_store, work)
        store.upkeep.kept = dict  # nothing may be said, or cut, before all is here
        count = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            try:
                at = {box: position.seq for box, position in store.replica.positions().items()}
                while found := await trio.to_thread.run_sync(data.read, _after(data, at), READ_OCTETS):
                    for arrival in found:
                        if arrival.seq != at.get(arrival.box, 0) + 1:
                            raise BadEntries(f"entries of box {arrival.box} are gone")
                        at[arrival.box] = arrival.seq
                    await store.replica.absorb(found, store.replica.own)
                    count += len(found)
            finally:
                store.close()
        return count
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        data.close()


def _after(data: OldData, at: dict[str, int]) -> dict[str, int]:
    return {box: at.get(box, 0) for box in data.heads}


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _put_in_place(folder: Path, work: Path) -> None:
    """The log of the newer database goes first: it would be taken for one of the other."""
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreError("the database is in use by somebody else: end that, and start again")
    for end in ("-wal", "-shm"):
        (folder / (DATABASE_NAME + end)).unlink(missing_ok=True)
    fd = os.open(work / DATABASE_NAME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(folder)
    (work / DATABASE_NAME).replace(folder / DATABASE_NAME)
    sync_folder(folder)
    snapshot.forget(folder)
    shutil.rmtree(work, ignore_errors=True)
