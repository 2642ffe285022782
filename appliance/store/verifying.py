"""``pocket journal verify``: is the journal whole, and are the tables what it says?

Reads a snapshot through a connection of its own, so it can run beside a serving box. The accounts must be
what the lasting entries make; the queues must be what the traffic entries make; every message that somebody
waits for must be there, octet for octet. The keys of requests are not checked.

What it cannot find: entries cut off at the end together with all that came of them. For that somebody else
has to know the position.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from appliance.site import TRAFFIC, Site, content_digest, decode_facts, facts
from appliance.store import accounts
from appliance.store.database import DATABASE_NAME
from appliance.store.journal import KEY_NAME, BoxKey, Checker, Entry, box_id
from appliance.store.queues import Queues
from appliance.store.reading import KINDS, PLACES, boxes, meta, newest, read_entries, replay_tail, spilled

PROBLEMS_MAX = 100
PIECE = 1 << 20

Queue = dict[int, tuple[int, int]]
"""Rank and size by msgid."""


def verify(folder: Path) -> dict[str, Any]:
    """Check the store in ``folder``: ``{"ok", "entries", "messages", "problems": [text]}``, at most
    ``PROBLEMS_MAX`` of them. Blocks; changes nothing.

    Raises ``FileNotFoundError`` if there is no store, ``OSError`` if it is where nobody may write: SQLite
    cannot read the log beside the database there.
    """
    if not (folder / DATABASE_NAME).exists():
        raise FileNotFoundError(f"there is no database in {folder}")
    if not os.access(folder, os.W_OK):
        raise OSError("the folder cannot be written to: copy it to where it can, and verify the copy")
    with closing(_open(folder)) as connection:
        check = _Check(folder, connection)
        for step in (check.begin, check.entries, check.accounts, check.queues, check.messages, check.pages):
            try:
                for problem in step():
                    check.note(problem)
            except (sqlite3.Error, ValueError, LookupError, TypeError, OverflowError) as error:
                check.note(f"database: {step.__name__} cannot be checked: {error!r}")
    return {
        "ok": not check.problems,
        "entries": check.count,
        "messages": len(check.waiting),
        "problems": check.problems,
    }


def verify_newest(folder: Path, entries: int) -> list[str]:
    """What is wrong with the newest entries of each box and with the keys, at most so many of each: a look
    that takes moments, however much there is. Blocks; changes nothing. Raises ``sqlite3.Error``, ``OSError``.
    """
    with closing(_open(folder)) as connection:
        check = _Check(folder, connection)
        problems = list(check.begin())
        known = boxes(connection)
        for number, last in newest(connection).items():
            checker = Checker(known[number][1])
            only = {number: known[number]}
            for entry in read_entries(connection, only, {number: max(0, last.seq - entries)}):
                if problem := checker.check(entry, gap=True):
                    problems.append(problem)
        return problems[:PROBLEMS_MAX]


def _open(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{(folder / DATABASE_NAME).absolute().as_uri()}?mode=ro", uri=True)


class _Check:
    """Steps, each of which yields what is wrong; later ones use what the earlier found."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.problems: list[str] = []
        self.count = 0
        self.waiting: set[int] = set()
        self._folder = folder
        self._connection = connection
        self._replay = _Replay(set())
        self._others = False

    def note(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)

    def begin(self) -> Iterator[str]:
        """From here on all steps see the same state."""
        self._connection.execute("BEGIN")
        for number, (box, public) in boxes(self._connection).items():
            if box != box_id(public):
                yield f"box {number}: its key is not that of box {box}"
        own = self._folder / KEY_NAME
        known = {box for box, _ in boxes(self._connection).values()}
        self._others = len(known) > 1
        if own.exists() and BoxKey.load(own).box not in known:
            yield "the key file is of another box"

    def entries(self) -> Iterator[str]:
        """Chains and signatures. Traffic entries before the first that is there have been cut."""
        known = boxes(self._connection)
        self._replay = _Replay(_carried(self._connection))
        checkers = {box: Checker(public) for box, public in known.values()}
        uncut: set[str] = set()
        for entry in read_entries(self._connection, known):
            self.count += 1
            if entry.box not in checkers:
                yield f"entry {entry.seq} is of a box that is not known"
                continue
            problem = checkers[entry.box].check(entry, gap=entry.box not in uncut)
            if entry.kind == TRAFFIC:
                uncut.add(entry.box)
            problem = problem or self._apply(entry)
            if problem is not None:
                yield problem
        strays = "SELECT count(*) FROM entry WHERE place % ? NOT IN (SELECT number FROM box)"
        ((stray,),) = self._connection.execute(strays, (PLACES,))
        if stray:
            yield f"{stray} entries are of a box that is not known"
        newest_entries = newest(self._connection)
        for number, seq in spilled(self._connection).items():
            if seq > (newest_entries[number].seq if number in newest_entries else 0):
                yield f"the newest entries of box {known[number][0]} are missing"

    def _apply(self, entry: Entry) -> str | None:
        try:
            for fact in decode_facts(entry.body) if entry.kind in KINDS else ():
                self._replay.apply(fact)
        except (ValueError, KeyError) as error:
            return f"entry {entry.seq} of box {entry.box}: {error!r}"
        return None

    def accounts(self) -> Iterator[str]:
        have, want = Site(), self._replay.site
        try:
            for fact in accounts.read(self._connection):
                if not have.apply(fact):
                    yield f"the accounts' tables do not fit together: {type(fact).__name__} is about nothing"
        except LookupError as error:
            yield f"the accounts' tables do not fit together: {error!r}"
        for name in ("members", "nodes", "groups", "aliases", "alias_at", "boxes", "memberships", "sealing"):
            for key in {*getattr(want, name), *getattr(have, name)}:
                if _plain(getattr(want, name).get(key)) != _plain(getattr(have, name).get(key)):
                    yield f"{name}: {key} is not what the journal says"
        if have.identity != want.identity:
            yield "the site's name or certificate is not what the journal says"
        if have.recovery != want.recovery:
            yield "the site's recovery key is not what the journal says"
        if (have.owner, have.owner_at) != (want.owner, want.owner_at):
            yield "the owner is not who the journal says"
        given = meta(self._connection, "last_number")
        if given < have.last_number or (given != want.last_number and not self._replay.ended):
            yield "the highest number that was given out is not what the journal says"

    def queues(self) -> Iterator[str]:
        have: dict[int, Queue] = {}
        for node, msgid, rank, size in self._connection.execute("SELECT node, msgid, rank, size FROM queue"):
            have.setdefault(node, {})[msgid] = rank, size
        recent = Queues(1 << 62, 1 << 62)
        replay_tail(self._connection, recent, lambda blob: True)
        for node, pending in recent.nodes.items():
            for rank, msgid in pending.ids(set()):
                have.setdefault(node, {})[msgid] = rank, recent.messages[msgid].size
        for msgid, absent in recent.absent.items():
            for node in absent.nodes:
                have.setdefault(node, {})[msgid] = absent.rank, absent.size
        for node in {*have, *self._replay.queues}:
            if node not in self._replay.site.nodes:
                if have.get(node):
                    yield f"there is a queue of node {node}, which does not exist"
                continue
            want, got = self._replay.queues.get(node, {}), have.get(node, {})
            for msgid in want.keys() - got.keys():
                yield f"queue of node {node}: message {msgid:016x} is missing"
            for msgid in got.keys() - want.keys():
                yield f"queue of node {node}: message {msgid:016x} should not be there"
            for msgid in want.keys() & got.keys():
                if want[msgid] != got[msgid]:
                    yield f"queue of node {node}: rank or size of message {msgid:016x} is wrong"
        self.waiting.update(*have.values())

    def messages(self) -> Iterator[str]:
        for msgid in sorted(self.waiting):
            problem = self._message(msgid, self._replay.sent.get(msgid))
            if problem is not None and not self._is_gone(msgid):
                yield f"message {msgid:016x}: {problem}"
        for member, want, have in self._connection.execute(
            "SELECT sender, sum(size), coalesce((SELECT octets FROM load WHERE member = sender), 0)"
            " FROM message GROUP BY sender"
        ):
            if want != have:
                yield f"member {member} has {want} octets waiting, the table load says {have}"

    def _message(self, msgid: int, fact: facts.Sent | None) -> str | None:
        row = self._connection.execute(
            "SELECT rank, sender, size, blob, head, data FROM fresh WHERE msgid = ?1"
            " UNION ALL SELECT rank, sender, size, blob, head, data FROM message WHERE msgid = ?1",
            (msgid,),
        ).fetchone()
        if row is None:
            return "its octets cannot be found"
        if fact is None:
            return "its entry cannot be found"
        rank, sender, size, blob, head, data = row
        if not head and self._others:
            return None  # they have yet to come from another box
        if (rank, sender, size, blob) != (fact.rank, fact.sender, fact.size, fact.blob):
            return "it is not what was accepted"
        try:
            digest, octets = (
                (hashlib.sha256(data or b""), len(data or b"")) if blob is None else self._file(blob)
            )
        except FileNotFoundError:
            return None if self._others else "its file is not there"
        except OSError as error:
            return f"its file cannot be read: {error}"
        if octets != size or content_digest(head, digest.digest()) != fact.digest:
            return "its octets are not what was accepted"
        return None

    def _file(self, blob: bytes) -> tuple[Any, int]:
        """Hash and length of a blob."""
        name = blob.hex()
        hashed, octets = hashlib.sha256(), 0
        with open(self._folder / "blobs" / name[:2] / name, "rb") as file:
            while piece := file.read(PIECE):
                hashed.update(piece)
                octets += len(piece)
        return hashed, octets

    def _is_gone(self, msgid: int) -> bool:
        """Whether everybody has got the message since the snapshot: its file is not part of that."""
        seen = "SELECT 1 FROM fresh WHERE msgid = ?1 UNION ALL SELECT 1 FROM message WHERE msgid = ?1"
        with closing(_open(self._folder)) as present:
            now = present.execute(seen, (msgid,)).fetchone()
        return self._connection.execute(seen, (msgid,)).fetchone() is not None and now is None

    def pages(self) -> Iterator[str]:
        """SQLite's own opinion."""
        for (text,) in self._connection.execute("PRAGMA quick_check(10)"):
            if text != "ok":
                yield f"database: {text}"


def _carried(connection: sqlite3.Connection) -> set[int]:
    """Messages that some entry says again."""
    tag = facts.Carried.__struct_config__.tag
    rows = connection.execute(
        "SELECT body FROM entry WHERE kind = ? AND instr(body, ?)", (TRAFFIC, str(tag).encode())
    )
    return {fact.msgid for (body,) in rows for fact in decode_facts(body) if isinstance(fact, facts.Carried)}


class _Replay:
    """What the entries make. Messages that everybody has are forgotten: memory is bound by what waits.
    ``carried``: messages that were said again, perhaps by a box that did not know all acknowledgements.
    """

    def __init__(self, carried: set[int]) -> None:
        self._carried = carried
        self._acked: set[tuple[int, int]] = set()
        self.site = Site()
        self.queues: dict[int, Queue] = {}
        self.sent: dict[int, facts.Sent] = {}
        self._waiting: dict[int, int] = {}
        self.ended = False
        """A membership did: a node that another box made for it meanwhile was given a number where it came
        before that, and none where it came after.
        """

    def apply(self, fact: Any) -> None:
        match fact:
            case facts.Sent():
                self._sent(fact)
            case facts.Acked():
                for msgid in fact.msgids:
                    if msgid in self._carried:
                        self._acked.add((fact.node, msgid))
                    if self.queues.get(fact.node, {}).pop(msgid, None):
                        self._less(msgid)
            case facts.Inherited():
                for msgid, (rank, size) in list(self.queues.get(fact.source, {}).items()):
                    self._add(fact.node, msgid, rank, size)
            case facts.Requested() | facts.Relayed() | facts.Outgoing() | facts.Outcome():
                pass
            case _:
                self.ended = self.ended or isinstance(fact, facts.MembershipDropped)
                for change in self.site.apply(fact):
                    if isinstance(change, facts.NodeDropped):
                        for msgid in self.queues.pop(change.node, {}):
                            self._less(msgid)

    def _sent(self, fact: facts.Sent) -> None:
        self.sent[fact.msgid] = fact
        self._waiting[fact.msgid] = self._waiting.get(fact.msgid, 0) + 1
        for node in fact.nodes:
            if (node, fact.msgid) not in self._acked:
                self._add(node, fact.msgid, fact.rank, fact.size)
        self._less(fact.msgid)

    def _add(self, node: int, msgid: int, rank: int, size: int) -> None:
        queue = self.queues.setdefault(node, {})
        if node in self.site.nodes and msgid not in queue:
            queue[msgid] = rank, size
            self._waiting[msgid] += 1

    def _less(self, msgid: int) -> None:
        self._waiting[msgid] -= 1
        if not self._waiting[msgid]:
            del self._waiting[msgid], self.sent[msgid]


def _plain(thing: Any) -> str:
    """A member, node or group as comparable text, whatever order its parts came in."""
    if thing is None:
        return ""
    if not hasattr(thing, "__slots__"):
        return repr(thing)
    shown = {}
    for name in thing.__slots__:
        value = getattr(thing, name)
        if isinstance(value, (list, set)):
            value = sorted(value)
        elif isinstance(value, dict):
            value = sorted(value.items(), key=lambda item: str(item[0]))
        shown[name] = value
    return repr(shown)
