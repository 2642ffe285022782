"""The file of the index: opened, made anew, thrown away; and its transactions and errors. Blocks."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from appliance.mail.schema import TABLES, VERSION

INDEX_NAME: Final = "mail.db"
CACHE_KIB: Final = 2048
LOG_OCTETS: Final = 4 << 20

Row = tuple[Any, ...]


class Damaged(Exception):
    """The file is not what was written, or of another version: throw it away."""


class IndexFile:
    """``box`` is the id of the box that it is of: another one's has other numbers for the same archives.

    Raises ``Damaged``, or ``sqlite3.Error`` for what may be otherwise the next time: a full disk.
    """

    def __init__(self, folder: Path, box: str) -> None:
        self.path = folder / INDEX_NAME
        self._box = box
        self._connection: sqlite3.Connection | None = None

    # opening

    def open(self) -> bool:
        """Open it; make it anew where that cannot be done. False if it was made anew."""
        with suppress(Damaged):
            if self.path.exists() and self._try():
                return True
        self.discard()
        with self._connect() as connection:
            connection.executescript(TABLES)
            connection.execute("INSERT INTO about VALUES (?)", (self._box,))
            connection.execute(f"PRAGMA user_version = {VERSION}")
        return False

    def _try(self) -> bool:
        try:
            connection = self._connect()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == VERSION:
                connection.execute("SELECT rowid FROM words LIMIT 1").fetchone()
                return connection.execute("SELECT box FROM about").fetchall() == [(self._box,)]
        except sqlite3.Error as error:
            raise translated(error) from error
        return False

    def _connect(self) -> sqlite3.Connection:
        self.close()
        connection = self._connection = sqlite3.connect(
            self.path, check_same_thread=False, cached_statements=64
        )
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"cache_size=-{CACHE_KIB}",
            f"journal_size_limit={LOG_OCTETS}",
            "secure_delete=OFF",
            "temp_store=MEMORY",
        ):
            connection.execute("PRAGMA " + pragma)
        return connection

    def close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def discard(self) -> None:
        """Throw it away. ``open`` makes it anew."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(INDEX_NAME + suffix).unlink(missing_ok=True)

    def renew(self) -> None:
        """Make it anew, so that what was removed is in no part of the file."""
        self.discard()
        self.open()

    @property
    def connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("the index is not open")
        return self._connection

    # the connection

    def all(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a question."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error

    def transaction(self) -> Transaction:
        return Transaction(self.connection)


class Transaction:
    """All of it or nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise translated(error) from error
        return self._connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if error is None:
                self._connection.execute("COMMIT")
                return
        except sqlite3.Error as failed:
            self._undo()
            raise translated(failed) from failed
        self._undo()
        if isinstance(error, sqlite3.Error):
            raise translated(error) from error

    def _undo(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def translated(error: sqlite3.Error) -> Exception:
    """``Damaged`` where the file is, and also where it lacks a table; else the error itself."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_ERROR):
        return Damaged(str(error))
    return error
