"""Links and copies over real stores: what one box acknowledged is on the other."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.replication import Copier, Hub, Identity, Site, Source
from appliance.session import LinkLost
from appliance.site import TRAFFIC, Limits, decode_facts
from appliance.site.boxes import add_box, place_box, revoke_box
from appliance.site.facts import Sent
from appliance.store import Store, StoreSettings
from appliance.store.arrivals import Arrival
from appliance.store.journal import KEY_NAME, BoxKey
from appliance.store.partial import Partials
from tests.replication.household import Box, Home, until
from tests.store.kit import SETTINGS, Device, member, pending


def opened(folder: Path, gaps: bool = False) -> Store:
    settings = StoreSettings(**{**SETTINGS, "second_copy_wait_s": 2.0})
    return Store.open(folder, settings, Limits(disk_octets_per_member=1 << 40), gaps=gaps)


def named_blobs(arrival: Arrival) -> list[bytes]:
    facts = decode_facts(arrival.body) if arrival.kind == TRAFFIC else []
    return [fact.blob for fact in facts if isinstance(fact, Sent) and fact.blob is not None]


class RealBox(Box):
    """As in the household, over a store."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.store = opened(folder)
        self.identity = Identity.load(folder / KEY_NAME)
        self.id = self.identity.box
        self.warnings = {}
        self.gaps, self.restored, self.revoked = [], [], []
        self.address, self.published, self.calls = "", [], []
        self.scope = trio.CancelScope()
        site = Site(
            boxes=lambda: self.store.site.boxes,
            addresses=lambda: self.published or [self.address],
            place=self.place,
            warn=self.warn,
            named=named_blobs,
            on_gap=self.gaps.append,
            on_restored=self.restored.append,
            on_revoked=self.revoked.append,
        )
        self.hub = Hub(self.identity, self.store.replica, self.store.copies, Partials(self.store.blobs), site)

    async def place(self, addresses: tuple[str, ...]) -> None:
        await self.store.perform(partial(place_box, box=self.id, addresses=addresses, name="box"))


@asynccontextmanager
async def first_box(home: Home, kind: type[RealBox] = RealBox):
    """A box that has a site, in a nursery where others may run."""
    async with trio.open_nursery() as nursery:
        a = kind(home, home.folder / "first")
        nursery.start_soon(a.store.run)
        key = a.store.key
        await a.store.perform(lambda scene: add_box(scene, key.box, key.public, "first", scene.mint.box))
        await nursery.start(a.run)
        yield a, nursery
        a.stop()
        a.store.close()


async def join(home: Home, a: RealBox, folder: Path) -> None:
    """A blank box gets everything."""
    folder.mkdir()  # noqa: ASYNC240
    key = BoxKey.load_or_create(folder / KEY_NAME)
    await a.store.perform(partial(add_box, box=key.box, public=key.public, name="second"))
    source = Source(a.id, a.identity.public, (a.address,))

    def open_copy() -> Store:
        store = opened(folder, gaps=True)
        store.replica.trusted[a.id] = a.identity.public
        return store

    with trio.fail_after(30):
        await Copier(Identity.load(folder / KEY_NAME), lambda: [source], folder, open_copy).run()


@asynccontextmanager
async def two_boxes(home: Home, prepare=None):
    async with first_box(home) as (a, nursery):
        if prepare is not None:
            await prepare(a)
        await join(home, a, home.folder / "second")
        b = RealBox(home, home.folder / "second")
        nursery.start_soon(b.store.run)
        await nursery.start(b.run)
        await until(lambda: a.hub.peers() and a.status(b).state == b.status(a).state == "in sync")
        yield a, b
        b.stop()
        b.store.close()


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


def same(a: RealBox, b: RealBox) -> bool:
    return a.store.replica.positions() == b.store.replica.positions()


def test_a_blank_box_gets_everything_and_goes_on_with_what_comes(home):
    async def main():
        told: dict[str, Device] = {}
        large = os.urandom(300_000)

        async def prepare(a):
            alice, bob = await member(a.store), await member(a.store)
            for number in range(50):
                await alice.post([bob.uid], b"before %d" % number)
            await alice.post([bob.uid], large)
            told.update(alice=alice, bob=bob)

        async with two_boxes(home, prepare) as (a, b):
            alice, bob = told["alice"], told["bob"]
            messages = await pending(b.store, bob.node)
            assert [message.data for message in messages[:50]] == [b"before %d" % n for n in range(50)]
            assert b.store.blobs.path(messages[50].blob).read_bytes() == large
            one_copy = a.store.copies.one_copy
            began = trio.current_time()
            for number in range(20):
                assert (await alice.post([bob.uid], b"after %d" % number)).error is None
            assert trio.current_time() - began < 2
            assert (await alice.post([bob.uid], large + b"x")).error is None
            assert a.store.copies.one_copy == one_copy, "each answer waited for its second copy"
            assert same(a, b)
            there = Device(b.store, bob.node)
            messages = await pending(b.store, bob.node)
            assert len(messages) == 72
            await there.acks(*(message.msgid for message in messages))
            await until(lambda: same(a, b))
            assert await pending(a.store, bob.node) == []
            assert not a.warnings and not b.warnings

    trio.run(main)


def test_both_sides_write_while_apart_and_agree_when_they_meet(home):
    async def main():
        async with two_boxes(home) as (a, b):
            alice = await member(a.store)
            bob = await member(b.store)
            await until(lambda: same(a, b))
            for box in (a, b):
                box.hub.neighbours[(b if box is a else a).id].session.end(LinkLost("cut"))
            await alice.post([bob.uid], b"from a")
            await bob.post([alice.uid], b"from b")
            await until(lambda: same(a, b) and a.store.replica.positions())
            for box in (a, b):
                for device, text in ((alice, b"from b"), (bob, b"from a")):
                    messages = await pending(box.store, device.node)
                    assert text in [message.data for message in messages]

    trio.run(main)


def test_a_box_that_is_put_out_is_cut_off_and_hears_of_it(home):
    async def main():
        async with two_boxes(home) as (a, b):
            seq = a.store.replica.positions()[b.id].seq
            await a.store.perform(partial(revoke_box, box=b.id, seq=seq))
            await until(lambda: b.revoked)
            assert a.status(b).state == "revoked"
            await member(b.store)
            await trio.sleep(0.5)
            assert a.store.replica.positions()[b.id].seq == seq

    trio.run(main)
