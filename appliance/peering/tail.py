"""What only the old data of a box have that becomes a new one: it goes into its copy before that is used.

Its own journal, from where it and the one that the others know part, is what it acknowledged after its card
had been put back or copied. The new box says it again, entry for entry, first of all in its own journal: so
that shows how much has been said, and nothing is said twice. Entries of other boxes that the one from which
the copy was made has yet to get go along as they are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import groupby
from pathlib import Path

import msgspec
import trio

from appliance.log import get_logger
from appliance.site import LASTING, TRAFFIC, Renumbering, decode_facts, encode_facts
from appliance.site.facts import Sent
from appliance.store import DiskFull, Store
from appliance.store.arrivals import Arrival, BadEntries
from appliance.store.old import OldData

log = get_logger(__name__)

READ_OCTETS = 1 << 20
FULL_REST_S = 5.0


async def say_tail(folder: Path, old: str, copy: Store) -> None:
    """Bring what only the data in ``folder`` have, of the box that was ``old``, into ``copy``. Cancelled,
    some of it is there, and the rest goes the next time. Raises ``StoreError``, ``OSError``.
    """
    data = await trio.to_thread.run_sync(OldData, folder)
    try:
        await _say(data, old, copy)
    finally:
        data.close()


async def _say(data: OldData, old: str, copy: Store) -> None:
    replica = copy.replica
    positions = replica.positions()
    at = {box: positions[box].seq if box in positions else 0 for box in data.heads}
    at[old] = await _parting(data, old, copy)
    said = positions[replica.own].seq if replica.own in positions else 0
    log.info("what only this box has is said again", was=old, after=at[old], said=said, of=data.heads[old])
    boxes = copy.site.boxes
    renumbering = Renumbering(boxes[old].slot, boxes[replica.own].slot)
    barred: set[str] = set()
    while found := await trio.to_thread.run_sync(data.read, at, READ_OCTETS):
        for arrival in found:
            at[arrival.box] = arrival.seq
        for box in barred:
            at.pop(box, None)
        await trio.to_thread.run_sync(_bring_files, data, copy, found)
        for box, run in groupby(found, key=lambda arrival: arrival.box):
            arrivals = list(run)
            if box == old:
                arrivals = [_renumbered(arrival, renumbering) for arrival in arrivals]
                skipped = min(said, len(arrivals))
                said -= skipped
                if arrivals[skipped:]:
                    await _stored(partial(replica.adopt, arrivals[skipped:]))
            elif box not in barred:
                try:
                    await _stored(partial(replica.absorb, arrivals, replica.own))
                except BadEntries as error:
                    log.warning("entries of another box stay behind", journal=box, error=str(error))
                    barred.add(box)


def _renumbered(arrival: Arrival, renumbering: Renumbering) -> Arrival:
    if arrival.kind not in (LASTING, TRAFFIC):
        return arrival
    facts = renumbering.again(decode_facts(arrival.body))
    return arrival if facts is None else msgspec.structs.replace(arrival, body=encode_facts(facts))


async def _parting(data: OldData, box: str, copy: Store) -> int:
    """The last seq up to which both have the same journal of the box."""
    known = copy.replica.positions().get(box)
    for seq in range(min(data.heads.get(box, 0), known.seq if known is not None else 0), 0, -1):
        here = await trio.to_thread.run_sync(data.digest_at, box, seq)
        if here is not None and here == await copy.replica.digest_at(box, seq):
            return seq
    return 0


async def _stored(write: Callable[[], Awaitable[None]]) -> None:
    """Wait for room as long as it takes."""
    while True:
        try:
            return await write()
        except DiskFull as error:
            log.warning("what only this box has waits for room", error=str(error))
            await trio.sleep(FULL_REST_S)


def _bring_files(data: OldData, copy: Store, arrivals: list[Arrival]) -> None:
    """Those that the entries name, as they are: a second name, where the disk can have it."""
    for arrival in arrivals:
        facts = decode_facts(arrival.body) if arrival.kind == TRAFFIC else []
        for sha in {fact.blob for fact in facts if isinstance(fact, Sent) and fact.blob is not None}:
            place = copy.blobs.path(sha)
            source = data.blobs / place.relative_to(copy.blobs.folder)
            if place.exists() or not source.exists():
                continue
            place.parent.mkdir(exist_ok=True)
            new = copy.blobs.folder / "incoming" / f"old-{place.name}"
            new.unlink(missing_ok=True)
            try:
                os.link(source, new)
            except OSError:
                shutil.copyfile(source, new)
            new.rename(place)
