"""A box with members and a stick, both folders; and a blank one that is restored."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance.backup import restoring
from appliance.backup.format import State
from appliance.backup.opening import Backup, choose
from appliance.backup.restoring import Restoring
from appliance.backup.writing import Writer
from appliance.peering import ensure_box, ensure_identity
from appliance.peering import folder as joining
from appliance.session.certificate import ensure_certificate
from appliance.site import Limits
from appliance.store import Store, StoreSettings, verify
from tests.store import kit

SECRET = bytes(range(20))
LARGE = 200_000


@dataclass
class House:
    store: Store
    folder: Path
    stick: Path
    written: list[State] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def writer(self) -> Writer:
        return Writer(self.store, self.data, SECRET, self.stick, "1")

    async def back_up(self) -> State:
        await kit.flush(self.store)
        self.written.append(await self.writer().run())
        return self.written[-1]

    def backup(self) -> Backup:
        return choose(self.stick, SECRET)

    def octets(self) -> int:
        return sum(path.stat().st_size for path in self.stick.rglob("*") if path.is_file())


@asynccontextmanager
async def house(folder: Path, name: str = "attic") -> AsyncIterator[House]:
    """A box that runs, and a stick."""
    stick = folder / "stick"
    stick.mkdir(exist_ok=True, parents=True)
    async with kit.running(folder / "data") as store:
        await ensure_box(store, name)
        cert, key = await trio.to_thread.run_sync(ensure_certificate, folder / "data" / "tls", "Home")
        await ensure_identity(store, "Home", cert, key, theirs=False)
        yield House(store, folder, stick)


def new_box(folder: Path, name: str = "new") -> Restoring:
    """A blank box on the way to be restored from ``folder``/stick."""
    data = folder / "restored"
    data.mkdir(exist_ok=True)
    if restoring.find(data) is None:
        restoring.begin(data, choose(folder / "stick", SECRET))
    note = restoring.find(data)
    assert note is not None
    return Restoring(data, note, name, opened_copy)


def opened_copy(folder: Path) -> Store:
    limits = Limits(disk_octets_per_member=1 << 40)
    return Store.open(folder, StoreSettings(**kit.SETTINGS), limits, gaps=True)


@asynccontextmanager
async def restored(folder: Path) -> AsyncIterator[Store]:
    """What comes of it."""
    work = new_box(folder)
    assert await work.run(), work.gave_up
    joining.mark(folder / "restored")
    assert joining.finish(folder / "restored")
    async with kit.running(folder / "restored") as store:
        yield store


def forget_restored(folder: Path) -> None:
    shutil.rmtree(folder / "restored", ignore_errors=True)


def run(test: Callable[[], Any]) -> None:
    kit.run(test, limit_s=120)


async def the_same(folder: Path, home: House, changed: bool = False) -> None:
    """A blank box that is restored has what this one has."""
    forget_restored(folder)
    async with restored(folder) as store:
        assert store.key.box != home.store.key.box
        assert {u: m.aliases for u, m in _members(store)} == {u: m.aliases for u, m in _members(home.store)}
        for node in home.store.site.nodes:
            mine, theirs = await kit.pending(home.store, node), await kit.pending(store, node)
            assert [(m.msgid, m.head, m.data, m.blob) for m in theirs] == [
                (m.msgid, m.head, m.data, m.blob) for m in mine
            ]
        assert store.replica.lacking() == []
        old = store.site.boxes[home.store.key.box]
        own = store.site.boxes[store.key.box]
        assert old.cut == home.store.entries and own.cut is None and own.slot != old.slot
        assert store.site.identity == home.store.site.identity
        if changed:
            ann = await kit.member(store)
            last = max(home.store.scene.mint.last, 0)
            assert (await ann.post([ann.uid], b"new")).msgid > last
    assert verify(folder / "restored")["problems"] == []


def _members(store: Any) -> Any:
    return store.site.uids.items()


async def people(home: House) -> tuple[kit.Device, kit.Device]:
    ann, bob = await kit.members(home.store, 2)
    await ann.alias("ann smith")
    await ann.acks(*await kit.pending_ids(home.store, ann.node))
    return ann, bob
