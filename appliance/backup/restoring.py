"""A blank box becomes a new box of the site that a backup is of.

It goes the way of a box that joins (`peering.folder`): DATA/joining has the new key, the site's certificate
and where the backup is; DATA/copy is filled from it; when all is there the copy takes the place of the old
data. What interrupts it only costs time, a stick that was pulled out is waited for.

The new box has a key of its own, because the old one's journal may have gone on after the backup, and no
number in it may be used twice. As the last thing in the copy, in one entry, it says that it is one of the
site's boxes and that all that were there before are out, and seals anew for itself what was sealed for the
old one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.backup.errors import BackupError, Damaged, StickError
from appliance.backup.format import Entries, Record, State
from appliance.backup.opening import Backup
from appliance.backup.stick import Folder
from appliance.log import get_logger
from appliance.peering import folder as joining
from appliance.relay.sealing import NotSealed, SealingKey, seal
from appliance.site import LASTING, Mint, encode_facts, facts
from appliance.site.facts import LastingFact
from appliance.site.mint import BOXES
from appliance.store import Arrival, BadEntries, DiskFull, Store, write_synced
from appliance.store.journal import BoxKey
from appliance.store.partial import Partials, WrongBlob

log = get_logger(__name__)

RETRY_S = 2.0


class Note(msgspec.Struct, frozen=True):
    """Where the backup is, and the key that opens it (hex digits)."""

    folder: str
    key: str


def begin(data: Path, backup: Backup) -> str:
    """Let the blank box with this data folder be restored from a backup when it starts the next time; the id
    that it will have. Blocks. Raises ``OSError``, ``ValueError``.
    """
    state = backup.state
    joining.forget(data)
    key = joining.new_key(data)
    note = Note(str(backup.folder.path.absolute()), backup.key.hex())
    write_synced(data / joining.DRAFT / joining.RESTORE, msgspec.json.encode(note))
    joining.renew(data, joining.Joining(state.site, 0, "", []), state.cert, state.key)
    return key.box


def find(data: Path) -> Note | None:
    """What a box that is joining is restored from; None if it is not. Blocks. Raises ``OSError``,
    ``ValueError``.
    """
    try:
        return msgspec.json.decode((data / joining.JOINING / joining.RESTORE).read_bytes(), type=Note)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ValueError(
            f"{data / joining.JOINING / joining.RESTORE} cannot be read ({error}): reset this box with"
            "   pocket factory-reset   and restore again"
        ) from error


class Restoring:
    """``data`` is the box's data folder, ``name`` what it is called; ``open_copy`` blocks, and opens the
    store in a folder as a copy.
    """

    def __init__(self, data: Path, note: Note, name: str, open_copy: Callable[[Path], Store]) -> None:
        self.gave_up: str | None = None
        """Why this box cannot be restored; None if it can."""
        self.text = "restoring: beginning"
        """How far it is."""
        self.problem: str | None = None
        """What keeps it from going on."""
        self.octets = 0
        """Of attachments, taken from the stick."""
        self._data = data
        self._note = note
        self._name = name
        self._open_copy = open_copy
        self._lost = 0

    async def run(self) -> bool:
        """Until all that is in the backup is in the copy, and that is closed; False if it never will be.
        Cancelled, what came so far stays. Raises ``OSError``, ``StoreError``, ``ValueError``.
        """
        again = False
        while True:
            try:
                await self._restore()
                return True
            except* BadEntries as group:  # of another backup, maybe
                if again:
                    self.gave_up = f"this box was not restored: {_first(group)}"
                again = True
                log.warning("the copy is begun anew", reason=str(_first(group)))
                await trio.to_thread.run_sync(shutil.rmtree, self._data / joining.COPY)
            except* StickError as group:
                self.problem = f"{_first(group)}. It goes on when the stick is there"
                log.warning("restoring waits", problem=self.problem)
                await trio.sleep(RETRY_S)
            except* BackupError as group:
                self.gave_up = f"this box was not restored: {_first(group)}"
            if self.gave_up is not None:
                return False

    async def _restore(self) -> None:
        folder, key = Folder(Path(self._note.folder)), bytes.fromhex(self._note.key)
        backup = await trio.to_thread.run_sync(Backup.open_with, folder, key)
        copy = await trio.to_thread.run_sync(joining.prepare_copy, self._data)
        store = await trio.to_thread.run_sync(self._open_copy, copy)
        store.replica.trusted.update({box: head.public for box, head in backup.state.heads.items()})
        closed = trio.Event()

        async def own() -> None:
            try:
                with trio.CancelScope(shield=True):  # it ends when it is closed
                    await store.run()
            finally:
                closed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(own)
            try:
                await self._fill(store, backup)
            finally:
                store.close()
                with trio.CancelScope(shield=True):
                    await closed.wait()

    async def _fill(self, store: Store, backup: Backup) -> None:
        state, replica = backup.state, store.replica
        total, done = max(1, sum(segment.octets for segment in state.segments)), 0
        for segment in state.segments:
            records = backup.records(segment)
            while (record := await trio.to_thread.run_sync(next, records, None)) is not None:
                self.problem = None
                await self._patiently(partial(self._take, store, record))
            done += segment.octets
            self.text = f"restoring: {done / total:.0%} of the journal, {state.octets >> 20:,} MiB in all"
        positions = replica.positions()
        if any(box not in positions or positions[box].seq < head.seq for box, head in state.heads.items()):
            raise Damaged("the journals in the backup do not go as far as they should")
        await self._fill_files(store, backup)
        if replica.own not in replica.positions():
            body = encode_facts(said(store, state, self._name))
            await self._patiently(
                lambda: replica.adopt([Arrival(replica.own, 0, 0, LASTING, b"", body, b"")])
            )
        self.text = "restoring: everything is here"
        log.info("restored", site=state.site, made=state.made, box=replica.own, lost=self._lost)

    async def _take(self, store: Store, record: Record) -> None:
        if isinstance(record, Entries):
            await store.replica.absorb(record.arrivals, store.replica.own)
        else:
            await store.replica.give_octets(record.octets)

    async def _patiently(self, write: Callable[[], Awaitable[None]]) -> None:
        """Wait for room as long as it takes."""
        while True:
            try:
                return await write()
            except DiskFull as error:
                self.problem = str(error)
                await trio.sleep(RETRY_S)

    async def _fill_files(self, store: Store, backup: Backup) -> None:
        partials, wanted = Partials(store.blobs), store.replica.absent_blobs()
        done, total = 0, sum(wanted.values())
        for sha, size in wanted.items():
            self.text = f"restoring: attachments, {done >> 20:,} of {total >> 20:,} MiB"
            if backup.state.files.get(sha) == size:
                await self._patiently(partial(self._fill_file, store, backup, partials, sha, size))
            else:
                self._lost += 1
            done += size

    async def _fill_file(
        self, store: Store, backup: Backup, partials: Partials, sha: bytes, size: int
    ) -> None:
        """One that is damaged in the backup is as one that was lost with a box: who sent it is told."""
        for _ in range(2):  # what came of it before may be damaged, and is gone then
            try:
                await self._copy_file(backup, partials, sha, size)
                break
            except (Damaged, WrongBlob) as error:
                problem = error
        else:
            log.error("an attachment in the backup is damaged", sha=sha.hex(), error=str(problem))
            self._lost += 1
            return
        try:
            await store.replica.blob_here(sha)
        finally:
            store.blobs.unpin(sha)

    async def _copy_file(self, backup: Backup, partials: Partials, sha: bytes, size: int) -> None:
        incoming = await partials.open(sha, size)
        try:
            pieces, there = backup.file(sha), incoming.size
            while (octets := await trio.to_thread.run_sync(next, pieces, None)) is not None:
                if new := octets[there:]:
                    self.octets += len(new)
                    await incoming.write(new)
                there = max(0, there - len(octets))
            await incoming.finish()
        finally:
            incoming.close()


def said(store: Store, state: State, name: str) -> list[LastingFact]:
    """What the new box says first of all."""
    site, replica, key = store.site, store.replica, store.key
    taken = {box.slot for box in site.boxes.values()}
    free = [slot for slot in range(BOXES) if slot not in taken]
    slot = free[0] if free else min(site.boxes.values(), key=lambda box: replica.clock_of(box.box)).slot
    mint = Mint(max([replica.clock, *map(replica.clock_of, site.boxes)]), slot)
    mint.tick(time.time_ns())
    own = SealingKey(key)
    positions = replica.positions()
    told: list[LastingFact] = [facts.BoxAdded(key.box, key.public, slot, name, mint.id())]
    for box in site.boxes.values():
        seq = positions[box.box].seq if box.box in positions else 0
        if box.cut is None or box.cut < seq:
            told.append(facts.BoxRevoked(box.box, seq))
    told.append(facts.BoxSealing(key.box, own.public, mint.id()))
    old = SealingKey(BoxKey(Ed25519PrivateKey.from_private_bytes(state.box_key)))
    for membership in site.memberships.values():
        sealed = membership.credentials.get(state.box)
        try:
            secret = old.open(sealed, membership.number, state.box) if sealed is not None else None
        except NotSealed as error:
            log.warning("a membership has to log in anew", membership=membership.name, error=str(error))
            continue
        if secret is not None:
            again = seal(secret, own.public, membership.number, key.box)
            told.append(facts.CredentialSet(membership.number, key.box, again, mint.id()))
    return told


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
