"""Writing a backup from a running box: what is new since the last one, or all of it anew.

    key                 the backup's key, sealed with the recovery key: once, first
    journal-000001 ...  the journals, in the order in which they can be applied
    files/ab/...        attachments, each once
    state-0, state-1    what there is, and how far: in turn, after all that it names was read back and proven
    about.json          for people and programs without the key

What was written after the last whole state does not count: an interrupted backup is as if it had not begun,
but attachments that are whole are not written again. What the new state does not name goes after it is there.

All is written anew when entries have gone from the journals that the backup lacks, when what came on top is
more than what it stands on, and after ``ANEW_S``: acknowledged messages would fill the stick else.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import trio

from appliance.backup import keys
from appliance.backup.attachments import Attachments
from appliance.backup.errors import BackupError, Damaged, StickError, WrongKey
from appliance.backup.format import (
    FORMAT,
    Entries,
    Filled,
    Head,
    Packer,
    Record,
    Sealer,
    Segment,
    State,
    encode_state,
)
from appliance.backup.opening import (
    KEY_NAME,
    STATES,
    Backup,
    Chain,
    parts,
    read_states,
)
from appliance.backup.pacing import each, rested, thread
from appliance.backup.stick import ABOUT, TOP, About, Folder, Writing, telling
from appliance.log import get_logger
from appliance.site import Site
from appliance.store import Arrival, Gap, Store
from appliance.store.journal import KEY_NAME as BOX_KEY_NAME

log = get_logger(__name__)

READ_OCTETS = 1 << 20
SEGMENT_OCTETS = 1 << 29
ANEW_S = 30 * 86400.0
ANEW_OCTETS = 16 << 20
"""On top of that what came later may be as much as what was there first."""

OCTETS_AT_ONCE = 64

Phase = Literal["beginning", "journals", "attachments", "checking", "done"]


@dataclass(slots=True)
class Progress:
    """How far it is; octets of what is new. ``total`` is 0 as long as it is not known."""

    phase: Phase = "beginning"
    anew: bool = False
    entries: int = 0
    entries_total: int = 0
    octets: int = 0
    total: int = 0


def site_id(site: Site) -> str:
    """What tells this site from others, the same on all its boxes."""
    first = min(site.boxes.values(), key=lambda box: (box.at, box.box))
    return hashlib.sha256(b"pocket site " + first.public).hexdigest()[:8]


def folder_of(store: Store, place: Path, secret: bytes) -> Folder:
    """Where this box's backup is on a stick."""
    return Folder(place / TOP / site_id(store.site) / f"{store.key.short}-{keys.key_id(secret)}")


class Writer:
    """Writes one backup of ``store``, whose data are in ``data``, below the folder ``place``."""

    def __init__(self, store: Store, data: Path, secret: bytes, place: Path, program: str = "") -> None:
        self.progress = Progress()
        self.folder = folder_of(store, place, secret)
        self._store = store
        self._replica = store.replica
        self._data = data
        self._secret = secret
        self._place = place
        self._program = program
        self._key = b""
        self._before: State | None = None
        self._segments: list[Segment] = []
        self._fresh: list[Segment] = []
        self._number = 0
        self._heads: dict[str, Head] = {}
        self._files: dict[bytes, int] = {}
        self._writing: tuple[Writing, Sealer, Packer, str] | None = None

    async def run(self) -> State:
        """What is on the stick then. Cancelled or failed, what was backed up before stays. Raises
        ``BackupError``, ``StoreError``.
        """
        await thread(self._begin)
        try:
            absent = await self._write_journals()
            await self._write_files()
            await self._prove()
            state = self._state(absent)
            await thread(self._conclude, state)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._drop)
        self.progress.phase = "done"
        return state

    # the beginning

    def _begin(self) -> None:
        """Raises ``BackupError``."""
        with telling(self._place):
            if not self._place.is_dir():
                raise StickError(
                    f"there is no folder {self._place}: is the stick plugged in, and mounted there?"
                )
        self.folder.make()
        sealed = self.folder.get(KEY_NAME)
        if sealed is None:
            self._key = os.urandom(keys.KEY_OCTETS)
            self.folder.put(KEY_NAME, keys.seal_key(self._key, self._secret))
        else:
            try:
                self._key = keys.open_key(sealed, self._secret)
            except WrongKey:
                raise Damaged(
                    f"the key of the backup in {self.folder.path} is damaged, so that nothing in it can be"
                    " read: delete that folder, and make the backup again"
                ) from None
        states = read_states(self.folder, self._key)
        self._before = states[0] if states else None
        numbers = [
            int(n[8:14]) for n in self.folder.names() if n.startswith("journal-") and n[8:14].isdigit()
        ]
        self._number = max(numbers, default=0)

    async def _goes_on(self) -> bool:
        """Whether what is on the stick is what this box's journals continue."""
        before = self._before
        if before is None or before.box != self._replica.own:
            return False
        first = before.first_octets
        added = sum(segment.octets for segment in before.segments) - first
        if added > first + ANEW_OCTETS or not 0 <= time.time() - before.first_made < ANEW_S:
            return False
        positions = self._replica.positions()
        for box, head in before.heads.items():
            if box not in positions or positions[box].seq < head.seq:
                return False
            if (await self._replica.digest_at(box, head.seq)) not in (None, head.digest):
                return False
        return await thread(self._are_there, before)

    def _are_there(self, before: State) -> bool:
        return all(self.folder.size(segment.name) == segment.octets for segment in before.segments)

    # journals

    async def _write_journals(self) -> list[int]:
        """Returns messages whose octets are not in the backup."""
        until = self._replica.positions()
        self.progress.phase = "journals"
        before = self._before if await self._goes_on() else None
        if before is not None:
            try:
                return await self._write_entries(before, {b: at.seq for b, at in until.items()})
            except Gap as gap:
                log.info("the backup is written anew", reason=str(gap))
                await trio.to_thread.run_sync(self._drop)
        return await self._write_entries(None, {b: at.seq for b, at in until.items()})

    async def _write_entries(self, before: State | None, until: Mapping[str, int]) -> list[int]:
        self.progress.anew = before is None
        self._heads = dict(before.heads) if before is not None else {}
        self._segments = list(before.segments) if before is not None else []
        self._fresh = []
        lacked = set(before.absent) if before is not None else set()
        absent = set(self._replica.absent_messages())
        read = self._replica.read if before is not None else self._replica.read_all
        after = {box: head.seq for box, head in self._heads.items()}
        self.progress.entries = 0
        self.progress.entries_total = sum(until.values()) - sum(after.values())
        while any(after.get(box, 0) < seq for box, seq in until.items()):
            arrivals = await read(after, READ_OCTETS)
            if not arrivals:
                break
            for arrival in arrivals:
                self.progress.entries += max(0, arrival.seq - after.get(arrival.box, 0))
                after[arrival.box] = arrival.seq
            await rested(self._put, Entries(arrivals))
            self._note(arrivals)
        absent |= lacked | set(self._replica.absent_messages())
        for at in range(0, len(lacked), OCTETS_AT_ONCE):
            octets = await self._replica.octets(sorted(lacked)[at : at + OCTETS_AT_ONCE])
            if octets:
                await rested(self._put, Filled(octets))
                absent.difference_update(one.msgid for one in octets)
        await thread(self._finish_segment)
        return sorted(absent & {*self._replica.lacking(), *self._replica.absent_messages()})

    def _note(self, arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            box = self._store.site.boxes.get(arrival.box)
            public = box.public if box is not None else self._store.key.public
            self._heads[arrival.box] = Head(public, arrival.seq, arrival.entry.digest())

    def _put(self, record: Record) -> None:
        if self._writing is None:
            self._number += 1
            name = f"journal-{self._number:06}"
            writing, sealer = self.folder.create(name), Sealer(self._key, name)
            self._writing = writing, sealer, Packer(), name
            writing.write(sealer.begin())
        writing, sealer, packer, _ = self._writing
        sealed = sealer.seal(packer.pack(record))
        writing.write(sealed)
        self.progress.octets += len(sealed)
        if writing.octets >= SEGMENT_OCTETS:
            self._finish_segment()

    def _finish_segment(self) -> None:
        if self._writing is None:
            return
        writing, sealer, packer, name = self._writing
        writing.write(sealer.seal(packer.finish()) + sealer.finish())
        writing.finish()
        self._writing = None
        self._fresh.append(Segment(name, writing.octets))

    def _drop(self) -> None:
        if self._writing is not None:
            self._writing[0].abort()
            self._writing = None

    # attachments

    async def _write_files(self) -> None:
        progress = self.progress
        progress.phase = "attachments"
        known = self._before.files if self._before is not None else {}
        attachments = Attachments(self.folder, self._key, self._store.blobs, self._wrote)
        self._files, new = await attachments.missing(await self._replica.named_blobs(), known)
        progress.octets, progress.total = 0, sum(new.values())
        for sha, size in new.items():
            if await attachments.bring(sha, size):
                self._files[sha] = size

    def _wrote(self, octets: int) -> None:
        self.progress.octets += octets

    # the end

    async def _prove(self) -> None:
        """Read back what is new of the journals. Raises ``Damaged``, ``StickError``."""
        self.progress.phase = "checking"
        before = self._before.heads if self._before is not None and not self.progress.anew else {}
        chain = Chain(dict(before), {box: head.public for box, head in self._heads.items()})
        backup = Backup(self.folder, self._key, self._state([]))
        for segment in self._fresh:
            await each(backup.check_segment(segment, chain))
        chain.ends(self._heads)

    def _state(self, absent: list[int]) -> State:
        before, site = self._before, self._store.site
        identity = site.identity
        if identity is None:
            raise BackupError("the site has no certificate yet: try again in a minute")
        segments = [*self._segments, *self._fresh]
        now = time.time()
        going_on = before is not None and not self.progress.anew
        queues = self._store.queues.nodes
        devices = [node.number for node in site.nodes.values() if node.role == "device"]
        return State(
            number=before.number + 1 if before is not None else 1,
            made=now,
            program=self._program,
            site=identity.name,
            site_id=site_id(site),
            cert=identity.cert,
            key=identity.key,
            box=self._replica.own,
            box_key=(self._data / BOX_KEY_NAME).read_bytes(),
            heads=self._heads,
            segments=segments,
            first_octets=before.first_octets if before and going_on else sum(s.octets for s in segments),
            first_made=before.first_made if before and going_on else now,
            files=self._files,
            absent=absent,
            members=len(site.members),
            devices=len(devices),
            messages=sum(queues[node].count for node in devices if node in queues),
        )

    def _conclude(self, state: State) -> None:
        name = STATES[state.number % len(STATES)]
        sealer = Sealer(self._key, name)
        stream = sealer.begin() + sealer.seal(encode_state(state)) + sealer.finish()
        self.folder.overwrite(name, stream)
        if read_states(self.folder, self._key)[:1] != [state]:
            raise Damaged("what was written to the stick is not there: it is broken, use another one")
        about = About(
            FORMAT,
            state.site_id,
            state.box,
            keys.key_id(self._secret),
            state.made,
            state.octets,
            self._program,
        )
        self.folder.put(ABOUT, msgspec.json.format(msgspec.json.encode(about)) + b"\n")
        named = {KEY_NAME, ABOUT, *STATES, *(segment.name for segment in state.segments)}
        for sha, size in state.files.items():
            named.update(part.name for part in parts(self._key, sha, size))
        for other in self.folder.names() - named:
            self.folder.remove(other)
