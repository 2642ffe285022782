"""The tables of the index: DATA/mail.db."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Kept in ``PRAGMA user_version``. A file of another version is thrown away."""

TABLES: Final = """
-- One row: the id of the box that the index is of.
CREATE TABLE about (box TEXT NOT NULL) STRICT;

-- How far each archive (node) has been read, of what each box (slot) made.
CREATE TABLE done (
    node INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    msgid INTEGER NOT NULL,
    PRIMARY KEY (node, slot)
) WITHOUT ROWID, STRICT;

-- A message in an archive; one that is in several is here several times, so that no archive's words are
-- found by who may not read it. The body comes last: what is looked for by the rest does not read it.
CREATE TABLE message (
    number INTEGER PRIMARY KEY,       -- seconds since the epoch * 256, and up: the order of time
    node INTEGER NOT NULL,
    msgid INTEGER NOT NULL,
    upid INTEGER NOT NULL,            -- its id at the site that it came from
    posted_ms INTEGER NOT NULL,
    op TEXT NOT NULL,
    uid TEXT NOT NULL,                -- who sent it
    alias TEXT NOT NULL,
    subject TEXT NOT NULL,
    thread TEXT NOT NULL,
    size INTEGER NOT NULL,            -- octets of data that it had, and of those that are there
    kept INTEGER NOT NULL,
    files INTEGER NOT NULL,           -- attachments, and their octets
    files_octets INTEGER NOT NULL,
    body_octets INTEGER NOT NULL,
    names TEXT NOT NULL,
    body BLOB NOT NULL                -- plain text, zlib
) STRICT;
CREATE UNIQUE INDEX message_place ON message (node, msgid);
CREATE INDEX message_upid ON message (node, upid);
CREATE INDEX message_files ON message (node, number) WHERE files_octets > 0;

-- Its words. Without the texts, which are above; they are needed once more to remove it. ``place`` has the
-- words n1, n2, ... for the archive, and "files" if there are any.
CREATE VIRTUAL TABLE words USING fts5 (
    place, subject, sender, names, body,
    content = '',
    tokenize = 'unicode61 remove_diacritics 2'
);
"""
