"""The tables of accounts, groups and boxes: how a change of the site's state is written and read back.

Written inside a transaction. What counts and what does not was decided by ``Site.apply``.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from appliance.site import LASTING, Change, NameLost, Site, facts
from appliance.site.facts import LastingFact
from appliance.store.reading import boxes, read_entries

Execute = Callable[..., sqlite3.Cursor]
ACCOUNT_TABLES = (
    "standing",
    "team",
    "alias",
    "node",
    "member",
    "peer",
    "membership_field",
    "credential",
    "sealing",
    "membership",
)
"""Made of lasting facts alone; those that refer to others come first."""
META = ("owner", "owner_at", "identity", "recovery")
"""And in the table ``meta``."""


def write(execute: Execute, change: Change) -> list[int]:
    """Write a change. Returns the messages that lost a queue by it."""
    match change:
        case facts.MemberAdded():
            execute(
                "INSERT INTO member (number, uid, at_ms) VALUES (?, ?, ?)",
                (change.member, change.uid, change.at_ms),
            )
            _note_number(execute, change.member)
        case facts.NodeAdded():
            execute(
                "INSERT INTO node VALUES (?, ?, ?, ?, ?, 0, 'device')",
                (change.node, change.member, change.label, change.secret, change.at_ms),
            )
            _note_number(execute, change.node)
        case facts.NodeDropped():
            execute("DELETE FROM node WHERE number = ?", (change.node,))
            rows = execute("DELETE FROM queue WHERE node = ? RETURNING msgid", (change.node,)).fetchall()
            return [msgid for (msgid,) in rows]
        case facts.AliasAdded():
            execute(
                "INSERT INTO alias (alias, member, at) VALUES (?, ?, ?)"
                " ON CONFLICT (alias) DO UPDATE SET at = excluded.at",
                (change.alias, change.member, change.at),
            )
        case facts.GroupAdded():
            execute(
                "INSERT INTO team (gid, at, made_by) VALUES (?, ?, ?)", (change.gid, change.at, change.by)
            )
        case facts.RoleSet():
            execute(
                "INSERT INTO standing (gid, member, alias, role, at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (gid, member) DO UPDATE"
                " SET alias = excluded.alias, role = excluded.role, at = excluded.at",
                (change.gid, change.member, change.alias, change.role, change.at),
            )
        case facts.SubjectBound():
            execute(
                "UPDATE member SET issuer = ?, subject = ?, audience = ?, subject_at = ? WHERE number = ?",
                (change.issuer, change.subject, change.audience, change.at, change.member),
            )
        case facts.OwnerSet():
            _set(execute, "owner", change.member)
            _set(execute, "owner_at", change.at)
        case NameLost():
            if change.held and change.group:
                execute("DELETE FROM standing WHERE gid = ?", (change.name,))
                execute("DELETE FROM team WHERE gid = ?", (change.name,))
            elif change.held:
                execute("DELETE FROM alias WHERE alias = ?", (change.name,))
        case facts.IdentitySet():
            _set(execute, "identity", facts.encode_facts([change]))
        case facts.RecoverySet():
            _set(execute, "recovery", facts.encode_facts([change]))
        case facts.BoxAdded() | facts.BoxPlaced() | facts.BoxRevoked():
            _write_box(execute, change)
        case _:
            _write_membership(execute, change)
    return []


def _write_box(execute: Execute, change: Change) -> None:
    match change:
        case facts.BoxAdded():
            execute(
                "INSERT INTO peer VALUES (?, ?, ?, ?, ?, '', 0, NULL, ?) ON CONFLICT (id) DO UPDATE"
                " SET slot = excluded.slot, at = excluded.at, was = excluded.was,"
                " name = CASE placed_at WHEN 0 THEN excluded.name ELSE name END",
                (change.box, change.public, change.slot, change.name, change.at, change.of),
            )
        case facts.BoxPlaced():
            execute(
                "UPDATE peer SET addresses = ?, name = ?, placed_at = ? WHERE id = ?",
                ("\n".join(change.addresses), change.name, change.at, change.box),
            )
        case facts.BoxRevoked():
            execute("UPDATE peer SET cut = ? WHERE id = ?", (change.seq, change.box))


def _write_membership(execute: Execute, change: Change) -> None:
    match change:
        case facts.MembershipAdded():
            execute(
                "INSERT INTO membership VALUES (?, ?, ?, ?)",
                (change.membership, change.member, change.name, change.at),
            )
            _note_number(execute, change.membership)
        case facts.MembershipSet():
            execute(
                "INSERT OR REPLACE INTO membership_field VALUES (?, ?, ?, ?)",
                (change.membership, change.field, change.value, change.at),
            )
        case facts.MembershipDropped():
            for table in ("membership_field", "credential", "relayed", "outgoing"):
                execute(f"DELETE FROM {table} WHERE membership = ?", (change.membership,))
            execute("DELETE FROM membership WHERE number = ?", (change.membership,))
        case facts.RelayNodeAdded():
            execute(
                "INSERT INTO node VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    change.node,
                    change.member,
                    change.label,
                    change.secret,
                    change.at_ms,
                    change.membership,
                    change.role,
                ),
            )
            _note_number(execute, change.node)
        case facts.CredentialSet():
            execute(
                "INSERT OR REPLACE INTO credential VALUES (?, ?, ?, ?)",
                (change.membership, change.box, change.sealed, change.at),
            )
        case facts.BoxSealing():
            execute("INSERT OR REPLACE INTO sealing VALUES (?, ?, ?)", (change.box, change.public, change.at))


def _note_number(execute: Execute, number: int) -> None:
    execute(
        "INSERT INTO meta VALUES ('last_number', ?1)"
        " ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
        (number,),
    )


def _set(execute: Execute, key: str, value: Any) -> None:
    execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def read(connection: sqlite3.Connection) -> Iterator[LastingFact]:
    """The tables as facts, in an order in which they can be applied."""
    execute = connection.execute
    meta = dict(execute(f"SELECT key, value FROM meta WHERE key IN {META}"))
    for number, uid, at_ms, issuer, subject, audience, at in execute(
        "SELECT number, uid, at_ms, issuer, subject, audience, subject_at FROM member ORDER BY number"
    ):
        yield facts.MemberAdded(number, uid, at_ms)
        if issuer is not None:
            yield facts.SubjectBound(number, issuer, subject, audience, at)
    yield from _read_memberships(execute)
    for number, member, label, secret, at_ms, membership, role in execute(
        "SELECT number, member, label, secret, at_ms, membership, role FROM node ORDER BY number"
    ):
        if membership or role != "device":
            yield facts.RelayNodeAdded(number, member, membership, label, secret, role, at_ms)
        else:
            yield facts.NodeAdded(number, member, label, secret, at_ms)
    for row in execute("SELECT alias, member, at FROM alias ORDER BY at, rowid"):
        yield facts.AliasAdded(*row)
    made = {}
    for gid, at, by in execute("SELECT gid, at, made_by FROM team ORDER BY at, rowid"):
        made[gid] = at
        yield facts.GroupAdded(gid, at, by)
    for gid, member, alias, role, at in execute(
        "SELECT gid, member, alias, role, at FROM standing ORDER BY rowid"
    ):
        yield facts.RoleSet(gid, member, alias, role, at, made[gid])
    if owner := meta.get("owner"):
        yield facts.OwnerSet(owner, meta.get("owner_at", 0))
    for row in execute("SELECT * FROM peer ORDER BY id"):
        box, public, slot, name, at, addresses, placed_at, cut, of = row
        yield facts.BoxAdded(box, bytes(public), slot, name, at, of)
        if placed_at:
            yield facts.BoxPlaced(box, tuple(addresses.split("\n")) if addresses else (), name, placed_at)
        if cut is not None:
            yield facts.BoxRevoked(box, cut)
    for key in ("identity", "recovery"):
        if encoded := meta.get(key):
            for fact in facts.decode_facts(encoded):
                if isinstance(fact, facts.IdentitySet | facts.RecoverySet):
                    yield fact


def _read_memberships(execute: Execute) -> Iterator[LastingFact]:
    for row in execute("SELECT number, member, name, at FROM membership ORDER BY number").fetchall():
        yield facts.MembershipAdded(*row)
    for row in execute("SELECT membership, field, value, at FROM membership_field ORDER BY at").fetchall():
        yield facts.MembershipSet(*row)
    for row in execute("SELECT membership, box, sealed, at FROM credential ORDER BY at").fetchall():
        yield facts.CredentialSet(*row)
    for row in execute("SELECT box, public, at FROM sealing ORDER BY box").fetchall():
        yield facts.BoxSealing(*row)


def keep_up(connection: sqlite3.Connection) -> bool:
    """Make the tables anew from the journals if they were made by a version that knew other facts: boxes of
    several versions keep and pass on what they do not understand. Returns whether that was so.
    """
    known = zlib.crc32(" ".join(sorted(facts.KNOWN_TAGS)).encode())
    row = connection.execute("SELECT value FROM meta WHERE key = 'facts'").fetchone()
    if row is not None and row[0] == known:
        return False
    with connection:
        if row is not None:
            for table in ACCOUNT_TABLES:
                connection.execute(f"DELETE FROM {table}")
            connection.execute(f"DELETE FROM meta WHERE key IN {META}")
            site = Site()
            for entry in read_entries(connection, boxes(connection)):
                if entry.kind == LASTING:
                    for fact in facts.decode_facts(entry.body):
                        for change in site.apply(fact):  # type: ignore[arg-type]
                            write(connection.execute, change)
        _set(connection.execute, "facts", known)
    return row is not None
