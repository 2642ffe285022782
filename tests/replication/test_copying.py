"""A copy has all that the other box had, whatever breaks on the way."""

from __future__ import annotations

import json
import os

import pytest
import trio

from appliance.replication.copying import MARKER, Copier, Source, Spoiled
from appliance.replication.interface import Octets
from appliance.store.blobs import Blobs
from appliance.store.disk import Disk
from appliance.store.partial import Partials
from tests.replication.fakes import FakeReplica
from tests.replication.household import Home, Known, Wire, identity_of, until


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


class FakeStore:
    """What stays of it over a restart is the replica and the folder."""

    def __init__(self, folder, replica):
        self.replica = replica
        (folder / "blobs" / "incoming").mkdir(parents=True, exist_ok=True)
        self.blobs = Blobs(folder / "blobs", Disk(folder, 0, 0), lambda: None)
        self.closing = trio.Event()
        self.closed = False

    async def run(self):
        await self.closing.wait()
        self.closed = True

    def close(self):
        self.closing.set()


class Joining:
    """A box that takes a copy."""

    def __init__(self, home, seed, *sources, **kinds):
        self.folder = home.folder / f"copy{seed}"
        self.folder.mkdir(exist_ok=True)
        self.identity = identity_of(seed)
        self.replica = FakeReplica(seed, home.keys)
        self.replica.gaps = True
        self.sources = sources
        self.stores = []
        self.address = None
        self.copier = Copier(self.identity, self.find, self.folder, self.open_copy, **kinds)

    def find(self):
        return [Source(box.id, box.identity.public, (self.address or box.address,)) for box in self.sources]

    def open_copy(self):
        self.stores.append(FakeStore(self.folder, self.replica))
        return self.stores[-1]


def known(home, joining, seed):
    """The site has taken the box in."""
    home.boxes[joining.identity.box] = Known(joining.identity.public, f"box {seed}")


def run(main):
    trio.run(main)


def test_a_copy_is_complete_closed_and_marked(home):
    async def main():
        a = home.box(1)
        octets = os.urandom(2_000_000)
        sha = a.put_blob(octets)
        for _ in range(500):
            a.replica.add(100)
        a.replica.add(blobs={sha: len(octets)})
        a.replica.add(octets=[Octets(7, b"head", b"data")])
        a.replica.cut(a.id, 100)
        async with home.running(a):
            joining = Joining(home, 5, a)
            known(home, joining, 5)
            with trio.fail_after(10):
                await joining.copier.run()
            assert joining.replica.positions() == a.replica.positions()
            assert joining.stores[0].closed
            assert joining.stores[0].blobs.path(sha).read_bytes() == octets
            assert joining.replica.messages[7].data == b"data"
            note = json.loads((joining.folder / MARKER).read_text())
            assert note == {"source": a.id, "positions": {a.id: 502}}
            assert joining.copier.progress.phase == "complete"
            await joining.copier.run()
            assert len(joining.stores) == 1, "there is nothing left to do"
            assert joining.identity.box not in a.copies.seqs, "a copy counts as no second copy"

    run(main)


def test_it_waits_for_attachments_however_long_they_take(home, monkeypatch):
    read = Partials.read

    async def slowly(*asked):
        await trio.sleep(0.4)
        return await read(*asked)

    monkeypatch.setattr(Partials, "read", slowly)

    async def main():
        a = home.box(1)
        octets = os.urandom(2_000_000)
        sha = a.put_blob(octets)
        a.replica.add(blobs={sha: len(octets)})
        async with home.running(a):
            joining = Joining(home, 5, a)
            known(home, joining, 5)
            await joining.copier.run()
            assert joining.stores[0].blobs.path(sha).read_bytes() == octets

    run(main)


def test_it_follows_what_is_written_meanwhile_and_tells_how_it_does(home):
    async def main():
        a = home.box(1)
        for _ in range(3000):
            a.replica.add(500)
        async with home.running(a) as nursery:
            joining = Joining(home, 5, a)
            joining.replica.slow_s = 0.1
            known(home, joining, 5)
            seen = []

            async def watch():
                while True:
                    a.replica.add()
                    seen.append(joining.copier.progress)
                    await trio.sleep(0.05)

            async def copy():
                await joining.copier.run()
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            nursery.start_soon(copy)
            await until(lambda: any(p.phase == "entries" and p.seconds_left for p in seen))
            giving = next(p for p in a.hub.peers() if p.box == joining.identity.box)
            assert giving.copy is not None and 0 < giving.copy[0] <= giving.copy[1]
            await trio.sleep_forever()
        assert joining.replica.heads[a.id].seq > 3000
        done = [p.entries for p in seen if p.phase == "entries"]
        assert done == sorted(done) and 0 < done[len(done) // 2] < 3000
        assert all(p.octets_total >= p.octets for p in seen)

    run(main)


def test_broken_links_and_restarts_only_cost_time(home):
    async def main():
        a = home.box(1)
        octets = os.urandom(3_000_000)
        sha = a.put_blob(octets)
        for _ in range(300):
            a.replica.add(2000)
        a.replica.add(blobs={sha: len(octets)})
        async with home.running(a) as nursery:
            joining = Joining(home, 5, a)
            known(home, joining, 5)
            wire = Wire(a.address)
            await nursery.start(wire.run)
            joining.address = wire.address
            rounds = 0
            while not (joining.folder / MARKER).exists():
                rounds += 1
                wire.each = 250_000
                with trio.move_on_after(0.4 if rounds % 2 else 1.5):
                    await joining.copier.run()
                joining.copier = Copier(joining.identity, joining.find, joining.folder, joining.open_copy)
            assert rounds > 1 and wire.opened > 3
            assert joining.replica.positions() == a.replica.positions()
            assert sha in joining.replica.blobs
            assert wire.octets < 2 * (3_000_000 + 300 * 2200), "what came is not fetched again"

    run(main)


def test_a_box_with_a_tail_of_its_own_gives_that_first_and_ends_with_all_of_it(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(10):
            a.replica.add()
        a.replica.cut(a.id, 5)
        async with home.running(a, b):
            await until(lambda: b.gaps)
            b.complete = False
            for _ in range(5):
                b.replica.add()

            def given():
                return b.copies.seqs.get(a.id, 0) >= b.replica.heads[b.id].seq

            settled = []

            async def settle():
                b.replica.add()
                settled.append(b.replica.heads[b.id].seq)

            joining = Joining(
                home, 2, a, tail_given=given, settle=settle, own_seq=lambda: b.replica.heads[b.id].seq
            )
            with trio.fail_after(10):
                await joining.copier.run()
            assert settled == [6]
            assert joining.replica.heads[b.id].seq == 6 and joining.replica.heads[a.id].seq == 10

    run(main)


def test_nothing_is_copied_before_the_tail_is_given(home):
    async def main():
        a = home.box(1)
        a.replica.add()
        async with home.running(a):
            joining = Joining(home, 5, a, tail_given=lambda: False)
            known(home, joining, 5)
            with trio.move_on_after(1):
                await joining.copier.run()
            assert not joining.stores and joining.copier.progress.phase == "tail"

    run(main)


def test_what_the_source_has_not_either_holds_nobody_up(home):
    async def main():
        a = home.box(1)
        a.replica.add(blobs={bytes(32): 1000})
        a.replica.due_messages[9] = "lost"
        async with home.running(a):
            joining = Joining(home, 5, a)
            joining.replica.due_messages[9] = "lost"
            known(home, joining, 5)
            with trio.fail_after(10):
                await joining.copier.run()
            assert joining.replica.absent_blobs() and joining.replica.absent_messages() == [9]

    run(main)


def test_another_box_takes_over_when_the_source_is_gone(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(2000):
            a.replica.add(500)
        b.replica.absorb_now(a.replica.read_now({}, 1 << 30))
        async with home.running(a, b) as nursery:
            joining = Joining(home, 5, a, b)
            known(home, joining, 5)
            joining.replica.slow_s = 0.1
            finished = trio.Event()

            async def copy():
                await joining.copier.run()
                finished.set()

            nursery.start_soon(copy)
            await until(lambda: joining.replica.heads)
            a.stop()
            with trio.fail_after(20):
                await finished.wait()
            assert joining.replica.positions() == b.replica.positions()

    run(main)


def test_a_box_that_is_being_filled_itself_is_no_source(home):
    async def main():
        a = home.box(1)
        a.replica.add()
        a.complete = False
        async with home.running(a):
            joining = Joining(home, 5, a)
            known(home, joining, 5)
            with trio.move_on_after(1):
                await joining.copier.run()
            assert not (joining.folder / MARKER).exists()
            assert "filled itself" in (joining.copier.progress.problem or "")
            assert joining.stores[0].closed

    run(main)


def test_a_copy_that_does_not_fit_any_more_says_so(home):
    async def main():
        a = home.box(1)
        a.replica.add(1)
        async with home.running(a):
            joining = Joining(home, 5, a)
            known(home, joining, 5)
            other = FakeReplica(1, {})
            other.add(2)
            joining.replica.absorb_now(other.read_now({}, 1000))
            with pytest.raises(Spoiled):
                with trio.fail_after(10):
                    await joining.copier.run()
            assert joining.stores[0].closed

    run(main)
