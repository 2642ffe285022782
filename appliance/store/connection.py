"""How the database is opened, and what its errors mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from appliance.store import schema, snapshot
from appliance.store.errors import DiskFull, StoreBroken, StoreDamaged

LOG_OCTETS = 64 << 20
"""What the log keeps of its room when it begins anew; it grows beyond while somebody reads for long."""

CACHE_KIB = 4096


def connect(path: Path, newer: bool = False) -> sqlite3.Connection:
    """Open the database, and make or upgrade its tables, of which a snapshot is kept before. ``newer``: leave
    them as they are. Raises ``sqlite3.Error``, ``SchemaError``, ``OSError``.
    """
    connection = sqlite3.connect(path, check_same_thread=False, cached_statements=96)
    try:
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            f"journal_size_limit={LOG_OCTETS}",
            "secure_delete=OFF",  # on in Debian: it would write every page that becomes free
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
        ):
            connection.execute("PRAGMA " + pragma)
        if not newer:
            _bring_up_to_date(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if 0 < version < schema.VERSION:
        snapshot.take(connection, path, version)
    schema.prepare(connection)
    snapshot.settle(path, schema.VERSION)


def translated(error: sqlite3.Error) -> Exception:
    """The store's error for one of SQLite; itself where only a row was wrong."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return DiskFull("the disk is full: make room, or let devices fetch what waits for them")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return error
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(
            f"the database is damaged ({error}): copy the data folder away, see whether the card is dying,"
            " and restore a backup"
        )
    return StoreBroken(
        f"the database does not work ({error}): see whether the disk is there, writable and healthy"
    )
