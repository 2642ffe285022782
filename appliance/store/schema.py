"""The tables, and how a database of an older version becomes one of this.

``entry`` is the truth; every other table is derived from it and from the octets in ``message`` and the blob
files.
"""

from __future__ import annotations

import sqlite3

VERSION = 4
"""Kept in ``PRAGMA user_version``; sqlite-utils' own table says which migrations have run."""

TABLES_1 = """
-- The boxes whose journals are here. This one is the row whose id is made from the key file.
CREATE TABLE box (
    number INTEGER PRIMARY KEY,       -- 0 to 255
    id TEXT NOT NULL UNIQUE,
    public_key BLOB NOT NULL          -- Ed25519, 32 octets
) STRICT;

-- Small facts about the tables: 'last_number' the highest number that a member or node was given, 'probe'
-- what the watchdog wrote last, 'owner' the number of the member whose site it is.
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- The journal. place = seq * 16 + box number (256 since version 2).
CREATE TABLE entry (
    place INTEGER PRIMARY KEY,
    clock INTEGER NOT NULL,           -- the highest id minted when it was made
    kind INTEGER NOT NULL,            -- 1 lasting facts, 2 traffic
    prev BLOB NOT NULL,               -- digest of the box's entry before
    signature BLOB NOT NULL,
    body BLOB NOT NULL                -- MessagePack array of facts
) STRICT;

CREATE TABLE member (
    number INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    issuer TEXT, subject TEXT, audience TEXT
) STRICT;

CREATE TABLE node (
    number INTEGER PRIMARY KEY,
    member INTEGER NOT NULL REFERENCES member (number),
    label TEXT NOT NULL,
    secret BLOB NOT NULL,             -- SHA-256 of the password's text
    at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE alias (
    alias TEXT NOT NULL UNIQUE,
    member INTEGER NOT NULL REFERENCES member (number)
) STRICT;

CREATE TABLE team (gid TEXT PRIMARY KEY) STRICT;

CREATE TABLE standing (
    gid TEXT NOT NULL REFERENCES team (gid),
    member INTEGER NOT NULL REFERENCES member (number),
    alias TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('invited', 'joined', 'barred')),
    UNIQUE (gid, member)
) STRICT;

-- The octets of messages since 'spilled'. Emptied as a whole by each spill, which costs next to nothing,
-- where deleting rows would write their pages to the card once more.
CREATE TABLE fresh (
    msgid INTEGER PRIMARY KEY,
    rank INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    size INTEGER NOT NULL,            -- octets of data
    blob BLOB,                        -- SHA-256 of the data where they are a file
    head BLOB NOT NULL,               -- the frame head as it goes over the wire
    data BLOB                         -- NULL where they are a file
) STRICT;

-- Those of them that some node had yet to acknowledge at the spill.
CREATE TABLE message (
    msgid INTEGER PRIMARY KEY,
    rank INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    size INTEGER NOT NULL,
    blob BLOB,
    head BLOB NOT NULL,
    data BLOB
) STRICT;
CREATE INDEX message_blob ON message (blob) WHERE blob IS NOT NULL;

-- What nodes have yet to acknowledge, as of 'spilled'.
CREATE TABLE queue (
    node INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    msgid INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (node, rank, msgid)
) WITHOUT ROWID, STRICT;
CREATE INDEX queue_message ON queue (msgid);

-- Keys of the requests of the last day, as of 'spilled': one row a node and spill.
-- day = its clock, in ns, / 86,400,000,000,000.
CREATE TABLE request (
    day INTEGER NOT NULL,
    node INTEGER NOT NULL,
    seq INTEGER NOT NULL,             -- 'spilled' when it was written
    keys BLOB NOT NULL,               -- 16 octets each
    answers BLOB NOT NULL,            -- 24 octets each: msgid, posted_ms, link, big-endian
    PRIMARY KEY (day, node, seq)
) WITHOUT ROWID, STRICT;

-- Octets of each member's messages in the table message, as of 'spilled'.
CREATE TABLE load (member INTEGER PRIMARY KEY, octets INTEGER NOT NULL) STRICT;
"""


TABLES_2 = """
-- Several boxes. place = seq * 256 + number; the number is this database's own, the slot is the site's.
UPDATE entry SET place = -(place / 16 * 256 + place % 16);
UPDATE entry SET place = -place;

-- The seq up to which its traffic is in the tables.
ALTER TABLE box ADD COLUMN spilled INTEGER NOT NULL DEFAULT 0;
UPDATE box SET spilled = coalesce((SELECT value FROM meta WHERE key = 'spilled'), 0);
DELETE FROM meta WHERE key = 'spilled';
-- In meta: 'facts' says which kinds of facts the tables are made of, 'owner_at' is when the owner was set,
-- 'identity' an encoded IdentitySet.

-- The boxes of the site as the lasting facts say. cut: NULL, or the box is revoked and its journal ends
-- there.
CREATE TABLE peer (
    id TEXT PRIMARY KEY,
    public_key BLOB NOT NULL,
    slot INTEGER NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    addresses TEXT NOT NULL,          -- a line each
    placed_at INTEGER NOT NULL,
    cut INTEGER
) STRICT;

-- When it was said: see appliance/site/state.py.
ALTER TABLE member ADD COLUMN subject_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alias ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE team ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE team ADD COLUMN made_by INTEGER NOT NULL DEFAULT 0;
ALTER TABLE standing ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

-- Of a message's octets, as in its Sent fact. A head of no octets: they have yet to come from another box.
ALTER TABLE fresh ADD COLUMN digest BLOB NOT NULL DEFAULT x'';
ALTER TABLE message ADD COLUMN digest BLOB NOT NULL DEFAULT x'';
CREATE INDEX message_absent ON message (msgid) WHERE head = x'';
"""

TABLES_3 = """
-- The id of the box that it was, whose card was put back or copied. The tables are made anew: a box of an
-- older version left this out.
ALTER TABLE peer ADD COLUMN was TEXT NOT NULL DEFAULT '';
UPDATE meta SET value = 0 WHERE key = 'facts';
"""


TABLES_4 = """
-- Accounts at other sites. A node of role 'out' or 'archive' is only a queue; membership 0 is this site.
ALTER TABLE node ADD COLUMN membership INTEGER NOT NULL DEFAULT 0;
ALTER TABLE node ADD COLUMN role TEXT NOT NULL DEFAULT 'device';

CREATE TABLE membership (
    number INTEGER PRIMARY KEY,
    member INTEGER NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- The last word about each: see appliance/site/memberships.py.
CREATE TABLE membership_field (
    membership INTEGER NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (membership, field)
) WITHOUT ROWID, STRICT;

-- What each box (id) logs in with, sealed for it; and the key to seal for a box.
CREATE TABLE credential (
    membership INTEGER NOT NULL,
    box TEXT NOT NULL,
    sealed BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (membership, box)
) WITHOUT ROWID, STRICT;
CREATE TABLE sealing (box TEXT PRIMARY KEY, public BLOB NOT NULL, at INTEGER NOT NULL) STRICT;

-- Which message of ours is which of a membership's site; 0: none, -1: none, it tells of a box of ours. clock:
-- of the entry that said so.
CREATE TABLE relayed (
    membership INTEGER NOT NULL,
    upid INTEGER NOT NULL,
    msgid INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    PRIMARY KEY (membership, upid)
) WITHOUT ROWID, STRICT;
CREATE INDEX relayed_message ON relayed (msgid) WHERE msgid <> 0;

-- Requests of devices to a membership's site, and what it said: answered is the clock of the entry that says
-- so, 0 before.
CREATE TABLE outgoing (
    msgid INTEGER PRIMARY KEY,
    membership INTEGER NOT NULL,
    node INTEGER NOT NULL,
    key BLOB NOT NULL,
    id TEXT NOT NULL,                 -- the device's
    upid INTEGER NOT NULL DEFAULT 0,
    posted_ms INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    answered INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX outgoing_waiting ON outgoing (membership, msgid) WHERE answered = 0;
CREATE INDEX outgoing_key ON outgoing (node, key);
CREATE INDEX outgoing_unrefused ON outgoing (node, key) WHERE error = '';

-- What else the requests made, by place in 'keys': MessagePack, empty if none made more than one message.
ALTER TABLE request ADD COLUMN more BLOB NOT NULL DEFAULT x'';
"""


class SchemaError(Exception):
    """The database cannot be used by this version; the text says why."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make or upgrade the tables. Raises ``SchemaError`` for a database of a newer version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    if version > VERSION:
        raise SchemaError(
            f"the data was written by a newer version (schema {version}, this one knows {VERSION}):"
            " install that version again"
        )
    from sqlite_utils import Database, Migrations  # only when needed: it costs 4 MB of memory

    migrations = Migrations("pocket")

    @migrations()
    def tables_1(db: Database) -> None:
        for statement in _statements(TABLES_1):
            db.execute(statement)

    @migrations()
    def tables_2(db: Database) -> None:
        for statement in _statements(TABLES_2):
            db.execute(statement)

    @migrations()
    def tables_3(db: Database) -> None:
        for statement in _statements(TABLES_3):
            db.execute(statement)

    @migrations()
    def tables_4(db: Database) -> None:
        for statement in _statements(TABLES_4):
            db.execute(statement)

    migrations.apply(Database(connection))
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.commit()


def _statements(script: str) -> list[str]:
    statements, current = [], ""
    for line in script.splitlines():
        current += line + "\n"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
