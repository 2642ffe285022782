"""How old traffic goes from the journals.

What a node has yet to get is what any entry sends to it, less what any entry acknowledges. So that this stays
true, entries of all boxes go together, below one clock: an acknowledgement is never gone while the entry that
it is about is still there, for its clock is higher. That clock is below all that some other box lacks, and

- below the oldest message that somebody waits for, once ``CUT_AFTER_NS`` have passed; or
- above that, once ``CARRY_AFTER_NS`` have passed, when what is pending of it has been said again (*carried*):
  else one device in a drawer would keep the whole journal since it was last seen.

Each box does this for itself with all journals. Three things would bring back what was acknowledged, so the
acknowledgement is said again by this box:

- the newest entry of each box stays, because it says how far the journal is;
- another box has carried a message that here is acknowledged (``agreeing``);
- an old message is acknowledged at another box, and was carried here before (``agreeing``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.site import TRAFFIC, decode_facts
from appliance.site.facts import Acked, Carried, Sent
from appliance.store import reading, relay
from appliance.store.database import Write
from appliance.store.journal import Entry
from appliance.store.reading import PLACES

if TYPE_CHECKING:
    from appliance.store.ledger import Ledger

DAY_NS = 86_400_000_000_000
CUT_AFTER_NS = DAY_NS
CARRY_AFTER_NS = 7 * DAY_NS
CUT_ENTRIES = 20_000
"""Of each box at once, so that others do not wait for long: some 8 MiB of the log."""
CARRY_OCTETS = 64 << 10
"""Of entries at once, so that others do not wait for long: an archive is said again as a whole, each week."""


@dataclass(slots=True)
class Horizon:
    """Entries below ``clock`` may go; ``more``: and then others."""

    clock: int
    more: bool = False


class Cutter:
    """``cut`` right after a spill, with the ledger's lock held: the tables are up to the journals then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._said: dict[tuple[str, int], int] = {}
        """When the acknowledgements were said again that belong to an entry which stays."""

    async def cut(self, limits: Mapping[str, int]) -> tuple[Write, bool]:
        """Remove what may go of each box up to a seq. Returns what was written, and whether there is more.
        Raises as ``Ledger.commit``.
        """
        ledger = self._ledger
        by_number = {ledger.numbers[box]: seq for box, seq in limits.items() if box in ledger.numbers}
        horizon = await ledger.read(find_horizon, by_number, ledger.clock - CUT_AFTER_NS)
        pending = await ledger.read(reading.oldest)
        free = min(horizon.clock, pending or horizon.clock)
        carried = min(horizon.clock, ledger.clock - CARRY_AFTER_NS)
        write = Write()
        if free < carried:
            entries = await ledger.read(_traffic, free, carried, CARRY_OCTETS)
            if entries:
                await self._carry(entries, write)
                free = entries[-1].clock + 1
                horizon.more = True
        write.cuts = await ledger.read(_ends, free)
        if not write.cuts:
            return Write(), False
        said = await self._say_acks(free, write)
        await ledger.record(write)
        self._said = {place: clock for place, clock in self._said.items() if clock >= free}
        self._said |= dict.fromkeys(said, ledger.head.clock)
        return write, horizon.more

    async def _carry(self, entries: list[Entry], write: Write) -> None:
        """Say again what is pending of these."""
        sent = {
            fact.msgid: fact
            for entry in entries
            for fact in decode_facts(entry.body)
            if isinstance(fact, Sent)
        }
        waiting = await self._ledger.read(reading.waiting_nodes, list(sent))
        for msgid, nodes in waiting.items():
            fact = sent[msgid]
            write.traffic.append(
                Carried(msgid, fact.rank, fact.sender, fact.digest, fact.size, nodes, fact.blob)
            )
        again = await self._ledger.read(relay.said_again, list(waiting))
        write.traffic += again

    async def _say_acks(self, clock: int, write: Write) -> list[tuple[str, int]]:
        """Say again who has the messages of entries that stay though they are below ``clock``."""
        ledger = self._ledger
        said = []
        newest = await ledger.read(reading.newest)
        for entry in newest.values():
            place = entry.box, entry.seq
            if entry.kind != TRAFFIC or entry.clock >= clock or self._said.get(place, 0) >= clock:
                continue
            said.append(place)
            sent = [fact for fact in decode_facts(entry.body) if isinstance(fact, Sent)]
            waiting = await ledger.read(reading.waiting_nodes, [fact.msgid for fact in sent])
            for fact in sent:
                left = set(waiting.get(fact.msgid, ()))
                done = [node for node in fact.nodes if node in ledger.site.nodes and node not in left]
                write.traffic += [Acked(node, (fact.msgid,)) for node in done]
        return said


def find_horizon(connection: sqlite3.Connection, limits: Mapping[int, int], clock: int) -> Horizon:
    """Below ``clock``, what is above no box's (number) limit, and not too many entries."""
    horizon = Horizon(clock)
    for number in reading.boxes(connection):
        beyond = _next(connection, number, (limits.get(number, 0) + 1) * PLACES)
        if beyond is not None and beyond[1] < horizon.clock:
            horizon = Horizon(beyond[1])
        first = connection.execute(
            "SELECT place FROM entry WHERE kind = ? AND place % ? = ? ORDER BY place LIMIT 1",
            (TRAFFIC, PLACES, number),
        ).fetchone()
        many = _next(connection, number, first[0] + CUT_ENTRIES * PLACES) if first is not None else None
        if many is not None and many[1] < horizon.clock:
            horizon = Horizon(many[1], more=True)
    return horizon


def _next(connection: sqlite3.Connection, number: int, place: int) -> tuple[int, int] | None:
    """Place and clock of a box's first entry from a place on."""
    row: tuple[int, int] | None = connection.execute(
        "SELECT place, clock FROM entry WHERE place >= ? AND place % ? = ? ORDER BY place LIMIT 1",
        (place, PLACES, number),
    ).fetchone()
    return row


def _traffic(connection: sqlite3.Connection, first: int, end: int, max_octets: int) -> list[Entry]:
    """Traffic entries with clocks from ``first`` to below ``end``, until their bodies have ``max_octets``."""
    found: list[Entry] = []
    for entry in reading.read_entries(connection, reading.boxes(connection)):
        if entry.clock >= end:
            break
        if entry.kind == TRAFFIC and entry.clock >= first:
            found.append(entry)
            max_octets -= len(entry.body)
            if max_octets < 0:
                break
    return found


def _ends(connection: sqlite3.Connection, clock: int) -> list[tuple[int, int]]:
    """By number of the box, up to which seq its entries are below ``clock``; of boxes of which some traffic
    can go."""
    found = []
    for number in reading.boxes(connection):
        first = connection.execute(
            "SELECT place FROM entry WHERE kind = ? AND place % ? = ? ORDER BY place LIMIT 1",
            (TRAFFIC, PLACES, number),
        ).fetchone()
        newest = connection.execute(
            "SELECT place FROM entry WHERE place % ? = ? ORDER BY place DESC LIMIT 1", (PLACES, number)
        ).fetchone()
        end = connection.execute(  # the clock rises with the place: no need to read the whole table
            "SELECT place FROM entry WHERE clock >= ? AND place % ? = ? ORDER BY place LIMIT 1",
            (clock, PLACES, number),
        ).fetchone()
        if first is None or first[0] == newest[0]:
            continue
        seq = end[0] // PLACES - 1 if end is not None else newest[0] // PLACES
        if first[0] // PLACES <= seq:
            found.append((number, seq))
    return found
