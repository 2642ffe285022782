"""The `pocket` command of a made-up newer version, whose tables are others: a column more, and a table."""

from __future__ import annotations

import sqlite3

from appliance.store import schema

OLD = schema.VERSION
NEW = OLD + 1
make = schema.prepare


def prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < NEW:
        make(connection)
        connection.execute("ALTER TABLE member ADD COLUMN shoe_size INTEGER NOT NULL DEFAULT 42")
        connection.execute("CREATE TABLE shoe (member INTEGER, colour TEXT)")
        connection.execute(f"PRAGMA user_version = {NEW}")
        connection.commit()


if __name__ == "__main__":
    schema.VERSION = NEW
    schema.prepare = prepare
    from appliance.cli import main

    main(prog_name="pocket")
