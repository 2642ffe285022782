"""What only an old card has is said again by the new box, in its own name, once."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.peering import tail
from appliance.peering.tail import say_tail
from appliance.site import Limits, add_box, replace_box
from appliance.store import Store, StoreSettings
from appliance.store.journal import KEY_NAME, BoxKey
from tests.store import kit
from tests.store.kit import Device, members, pending, running


async def ship(source: Store, to: Store) -> None:
    """Everything that the one has and the other lacks."""
    after = {box: at.seq for box, at in to.replica.positions().items()}
    while found := await source.replica.read_all(after, 1 << 20):
        await to.replica.absorb(found, source.replica.own)
        after |= {arrival.box: arrival.seq for arrival in found}


async def introduce(store: Store, key: BoxKey, name: str) -> None:
    decision = await store.perform(partial(add_box, box=key.box, public=key.public, name=name))
    assert decision.error is None


class Home:
    """Box ``a``, and a box with an old card in the folder ``old``, whose id was ``was``."""

    def __init__(self, a: Store, folder: Path) -> None:
        self.a = a
        self.folder = folder
        self.old = folder / "old"
        self.key = BoxKey.load_or_create(folder / "new.key")
        self.was = ""
        self.large = os.urandom(kit.LARGE)
        self.told: dict[str, str] = {}
        """uids of who registered where."""

    @asynccontextmanager
    async def copying(self) -> AsyncIterator[Store]:
        """The copy, as far as it is."""
        copy = self.folder / "copy"
        copy.mkdir(exist_ok=True)
        shutil.copyfile(self.folder / "new.key", copy / KEY_NAME)
        store = Store.open(copy, StoreSettings(**kit.SETTINGS), Limits(disk_octets_per_member=1 << 40), True)
        store.replica.trusted[self.a.replica.own] = self.a.key.public
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            try:
                await ship(self.a, store)
                yield store
            finally:
                store.close()


async def prepare(home: Home) -> None:
    """The same box lives twice from one moment on, and a third one is heard by the old card alone."""
    a, folder = home.a, home.folder
    (folder / "c").mkdir()
    third = BoxKey.load_or_create(folder / "c" / KEY_NAME)
    await introduce(a, a.key, "attic")
    await introduce(a, third, "hall")
    (bob,) = await members(a, 1)
    async with running(folder / "b") as b, running(folder / "c") as c:
        home.was = b.replica.own
        await introduce(a, b.key, "kitchen")
        for store in (b, c):
            store.replica.trusted[a.replica.own] = a.key.public
            await ship(a, store)
        await b.perform(lambda scene: add_box(scene, "X" * 8, bytes(32), "before they parted"))
        await ship(b, a)
    shutil.copytree(folder / "b", home.old)
    async with running(folder / "b") as b:
        (true,) = await members(b, 1)
        home.told["true"] = true.uid
        await true.post([bob.uid], b"true")
        await ship(b, a)
    async with running(home.old) as old, running(folder / "c") as c:
        (forked,) = await members(old, 1)
        home.told["forked"] = forked.uid
        assert forked.node == true.node, "both gave the same number"
        await forked.post([bob.uid], b"forked", id="again")
        await forked.post([bob.uid], home.large)
        tablet = await forked.newnode()
        await forked.post([forked.uid], b"to myself")
        for message in await pending(old, tablet.node):
            await tablet.acks(message.msgid)
        home.told["bob"] = bob.uid
        (elsewhere,) = await members(c, 1)
        home.told["elsewhere"] = elsewhere.uid
        await ship(c, old)
    decision = await a.perform(lambda scene: replace_box(scene, home.was, home.key.box, home.key.public))
    assert decision.error is None


def run(test, folder):
    async def main():
        async with running(folder / "a") as a:
            home = Home(a, folder)
            await prepare(home)
            await test(home)

    trio.run(main)


async def look(home: Home, store: Store) -> None:
    """Everything that either life of the box acknowledged is here."""
    site = store.site
    for who, uid in home.told.items():
        assert uid in site.uids, who
    bob = site.uids[home.told["bob"]].nodes[0]
    texts = [message.data for message in await pending(store, bob) if message.blob is None]
    assert sorted(text for text in texts if text in (b"true", b"forked")) == [b"forked", b"true"]
    (blob,) = [message.blob for message in await pending(store, bob) if message.blob is not None]
    assert blob is not None and store.blobs.path(blob).read_bytes() == home.large
    forked = site.uids[home.told["forked"]]
    assert forked.number != site.uids[home.told["true"]].number and len(forked.nodes) == 2
    queues = [[message.data for message in await pending(store, node)] for node in forked.nodes]
    assert sum(b"to myself" in queue for queue in queues) <= 1, "the tablet has it"


def test_all_that_only_the_old_card_has_is_in_the_copy_and_then_everywhere(tmp_path):
    async def test(home):
        async with home.copying() as copy:
            await say_tail(home.old, home.was, copy)
            await look(home, copy)
            said = copy.replica.positions()[home.key.box]
            await say_tail(home.old, home.was, copy)
            assert copy.replica.positions()[home.key.box] == said, "once is enough"
            await ship(copy, home.a)
            for sha in home.a.replica.absent_blobs():
                home.a.blobs.path(sha).parent.mkdir(exist_ok=True)
                shutil.copyfile(copy.blobs.path(sha), home.a.blobs.path(sha))
                await home.a.replica.blob_here(sha)
            await look(home, home.a)
        async with home.copying() as copy:
            assert await copy.replica.state_digest() == await home.a.replica.state_digest()

    run(test, tmp_path)


def test_a_request_that_is_sent_again_gets_the_same_answer_at_the_new_box(tmp_path):
    async def test(home):
        async with home.copying() as copy:
            await say_tail(home.old, home.was, copy)
        async with running(home.folder / "copy") as new:
            forked = new.site.uids[home.told["forked"]]
            device = Device(new, min(forked.nodes))
            device.relink()
            repeated = new._ledger.counts.repeated
            answer = await device.post([home.told["bob"]], b"forked", id="again")
            assert answer.error is None and new._ledger.counts.repeated == repeated + 1

    run(test, tmp_path)


@pytest.mark.parametrize("stops", range(1, 6))
def test_stopped_between_any_two_commits_it_goes_on_where_it_was(tmp_path, monkeypatch, stops):
    monkeypatch.setattr(tail, "READ_OCTETS", 1)

    async def test(home):
        async with home.copying() as copy:
            whole = copy.replica.adopt
            left = [stops]

            async def adopt(arrivals):
                if not left[0]:
                    raise InterruptedError
                left[0] -= 1
                await whole(arrivals)

            copy.replica.adopt = adopt
            try:
                await say_tail(home.old, home.was, copy)
                assert stops > 4
            except InterruptedError:
                assert copy.replica.positions()[home.key.box].seq == stops
        async with home.copying() as copy:
            await say_tail(home.old, home.was, copy)
            await look(home, copy)
            verified = copy.replica.positions()[home.key.box].seq
            await say_tail(home.old, home.was, copy)
            assert copy.replica.positions()[home.key.box].seq == verified

    run(test, tmp_path)
