"""``pocket journal verify``: is the journal whole, and are the tables what it says?

Reads a snapshot through a connection of its own, so it can run beside a serving box. The accounts must be
what the lasting entries make; the queues must be what the traffic entries make; every message that somebody
waits for must be there, octet for octet.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from appliance.site import Site, content_digest, decode_facts, facts
from appliance.store.database import DATABASE_NAME
from appliance.store.journal import Checker
from appliance.store.queues import Queues
from appliance.store.reading import boxes, read_entries, read_lasting, replay_tail

DATABASE = "pocket.db"
PROBLEMS_MAX = 100
PIECE = 1 << 20


def verify(folder: Path) -> dict[str, Any]:
    """Check the store in ``folder``: ``{"ok", "entries", "messages", "problems": [text]}``. Blocks; changes
    nothing.

    Raises ``FileNotFoundError`` if there is no store, ``sqlite3.Error`` if it cannot be read at all.
    """
    path = folder / DATABASE_NAME
    if not path.exists():
        raise FileNotFoundError(f"there is no database in {folder}")
    problems: list[str] = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("BEGIN")
        entries, sent, replayed = _check_entries(connection, problems)
        _check_site(connection, replayed, problems)
        messages = _check_queues(connection, folder, sent, replayed, problems)
        for (text,) in connection.execute("PRAGMA quick_check(10)"):
            if text != "ok":
                problems.append(f"database: {text}")
    return {"ok": not problems, "entries": entries, "messages": messages, "problems": problems[:PROBLEMS_MAX]}


def _open(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True)


class _Replay:
    """What the entries make."""

    def __init__(self) -> None:
        self.site = Site()
        self.queues: dict[int, dict[int, None]] = {}

    def apply(self, fact: Any) -> None:
        match fact:
            case facts.Sent():
                for node in fact.nodes:
                    self.queues.setdefault(node, {})[fact.msgid] = None
            case facts.Acked():
                for msgid in fact.msgids:
                    self.queues.get(fact.node, {}).pop(msgid, None)
            case facts.Inherited():
                self.queues.setdefault(fact.node, {}).update(self.queues.get(fact.source, {}))
            case facts.Requested():
                pass
            case _:
                self.site.apply(fact)


def _check_entries(
    connection: sqlite3.Connection, problems: list[str]
) -> tuple[int, dict[int, facts.Sent], _Replay]:
    known = boxes(connection)
    checkers = {i: Checker(k) for i, k in known.values()}
    replay = _Replay()
    sent: dict[int, facts.Sent] = {}
    count = 0
    for entry in read_entries(connection, known):
        count += 1
        problem = checkers[entry.box].check(entry, gap=True)
        if problem is not None:
            problems.append(problem)
            continue
        try:
            for fact in decode_facts(entry.body):
                replay.apply(fact)
                if isinstance(fact, facts.Sent):
                    sent[fact.msgid] = fact
        except (ValueError, KeyError) as error:
            problems.append(f"entry {entry.seq} of box {entry.box}: {error!r}")
    return count, sent, replay


def _check_site(connection: sqlite3.Connection, replay: _Replay, problems: list[str]) -> None:
    tables = Site()
    try:
        for fact in read_lasting(connection):
            tables.apply(fact)
    except KeyError as error:
        problems.append(f"the accounts' tables do not fit together: {error!r}")
    for name in ("members", "nodes", "groups", "aliases"):
        want, have = getattr(replay.site, name), getattr(tables, name)
        for key in {*want, *have}:
            if _plain(want.get(key)) != _plain(have.get(key)):
                problems.append(f"{name}: {key} is not what the journal says")


def _plain(thing: Any) -> str:
    """A member, node or group as comparable text, whatever order its parts came in."""
    if thing is None:
        return ""
    shown = {}
    for name in thing.__slots__:
        value = getattr(thing, name)
        if isinstance(value, (list, set)):
            value = sorted(value)
        elif isinstance(value, dict):
            value = sorted(value.items(), key=lambda item: str(item[0]))
        shown[name] = value
    return repr(shown)


def _check_queues(
    connection: sqlite3.Connection,
    folder: Path,
    sent: dict[int, facts.Sent],
    replay: _Replay,
    problems: list[str],
) -> int:
    tables = Queues(1 << 62, 1 << 62)
    replay_tail(connection, tables)
    have: dict[int, set[int]] = {}
    for node, msgid in connection.execute("SELECT node, msgid FROM queue"):
        have.setdefault(node, set()).add(msgid)
    for node, pending in tables.nodes.items():
        have.setdefault(node, set()).update(msgid for _, msgid in pending.ids(set()))
    for node in replay.site.nodes:
        want, got = set(replay.queues.get(node, ())), have.get(node, set())
        for msgid in want - got:
            problems.append(f"queue of node {node}: message {msgid:016x} is missing")
        for msgid in got - want:
            problems.append(f"queue of node {node}: message {msgid:016x} should not be there")
    for node in have.keys() - replay.site.nodes.keys():
        if have[node]:
            problems.append(f"there is a queue of node {node}, which does not exist")
    waiting = sorted(set().union(*have.values())) if have else []
    for msgid in waiting:
        problems.extend(_check_message(connection, folder, msgid, sent.get(msgid)))
    return len(waiting)


def _is_there(folder: Path, msgid: int) -> bool:
    """Whether the message is there now: a serving box may have removed it since the snapshot."""
    with closing(_open(folder)) as connection:
        row = connection.execute(
            "SELECT 1 FROM fresh WHERE msgid = ?1 UNION ALL SELECT 1 FROM message WHERE msgid = ?1", (msgid,)
        ).fetchone()
    return row is not None


def _check_message(
    connection: sqlite3.Connection, folder: Path, msgid: int, fact: facts.Sent | None
) -> Iterator[str]:
    row = connection.execute(
        "SELECT head, data, blob, size FROM fresh WHERE msgid = ?1"
        " UNION ALL SELECT head, data, blob, size FROM message WHERE msgid = ?1",
        (msgid,),
    ).fetchone()
    if row is None or fact is None:
        yield f"message {msgid:016x}: its {'octets' if row is None else 'entry'} cannot be found"
        return
    head, data, blob, size = row
    hashed = hashlib.sha256()
    octets = 0
    if blob is None:
        hashed.update(data or b"")
        octets = len(data or b"")
    else:
        name = bytes(blob).hex()
        try:
            with open(folder / "blobs" / name[:2] / name, "rb") as file:
                while piece := file.read(PIECE):
                    hashed.update(piece)
                    octets += len(piece)
        except OSError as error:
            if not isinstance(error, FileNotFoundError) or _is_there(folder, msgid):
                yield f"message {msgid:016x}: its file cannot be read: {error}"
            return
    if octets != size or content_digest(head, hashed.digest()) != fact.digest:
        yield f"message {msgid:016x}: its octets are not what was accepted"
