"""Boxes that find each other over real TLS, and stay the same."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
from functools import partial

import pytest
import trio
import trio.lowlevel

from appliance.replication import link
from appliance.replication.interface import Octets
from tests.replication.household import Home, Wire, until


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def wired(nursery, near, far):
    """Both run, and reach each other by a wire only, which far calls."""
    near.published = ["=127.0.0.1:1"]
    far.published = ["=127.0.0.1:1"]
    await nursery.start(near.run)
    wire = Wire(near.address)
    await nursery.start(wire.run)
    near.published = [wire.address]
    await nursery.start(far.run)
    far.hub.add_address(near.id, wire.address)
    return wire


def same(*boxes) -> bool:
    return all(box.replica.positions() == boxes[0].replica.positions() for box in boxes)


def test_two_boxes_become_the_same_and_stay_so(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(300):
            a.replica.add(200)
        for _ in range(200):
            b.replica.add()
        async with home.running(a, b):
            await until(lambda: same(a, b))
            await until(lambda: a.status(b).state == b.status(a).state == "in sync")
            for _ in range(20):
                entry = a.replica.add()
                began = trio.current_time()
                await until(partial(lambda seq: a.copies.seqs.get(b.id, 0) >= seq, entry.seq))
                assert trio.current_time() - began < 0.2
            assert a.copies.reached[b.id] and b.copies.reached[a.id]
            status = a.status(b)
            assert (status.name, status.version, status.lag_entries, status.problem) == (
                "box 2",
                "0.1",
                0,
                None,
            )
            b.stop()
            await until(lambda: a.status(b).state == "away", 3)
            assert not a.copies.reached[b.id]
            a.replica.add()
            assert a.status(b).lag_entries == 1
            assert not a.warnings

    trio.run(main)


def test_a_box_that_is_linked_was_seen(home):
    async def main():
        a, b = home.box(1), home.box(2)
        seen = []
        a.hub.on_link.append(lambda box, up: seen.append(a.status(b).seen_s))
        async with home.running(a, b):
            await until(lambda: seen)
            assert seen[0] is not None

    trio.run(main)


def test_a_file_that_comes_otherwise_is_asked_for_at_once_by_who_lacks_it(home):
    async def main():
        a, b = home.box(1), home.box(2)
        octets = bytes(100_000)
        sha = hashlib.sha256(octets).digest()
        async with home.running(a, b):
            await until(lambda: a.status(b).state == b.status(a).state == "in sync")
            a.replica.add(blobs={sha: len(octets)})
            await until(lambda: (a.id, sha) in b.hub.fetcher._later)
            a.put_blob(octets)  # its sender has sent it again
            await a.replica.blob_here(sha)
            await until(lambda: sha in b.replica.blobs, 5)

    trio.run(main)


def test_a_box_that_has_yet_to_get_what_is_in_a_message_is_not_in_sync(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.status(b).state == b.status(a).state == "in sync")
            sha = hashlib.sha256(b"nobody has it").digest()
            entry = a.replica.add(blobs={sha: 13})
            await until(lambda: a.copies.seqs.get(b.id, 0) >= entry.seq)
            assert a.status(b).absent == 1, "said with the confirmation"
            assert a.copies.lacks[b.id] == 1
            await until(lambda: a.status(b).state == "catching up", 4)
            assert a.status(b).lag_entries == 0
            b.replica.blobs.add(sha)
            await until(lambda: (now := a.status(b)).state == "in sync" and not now.absent, 4)
            assert a.copies.lacks[b.id] == 0

    trio.run(main)


def test_a_box_that_was_never_in_reach_counts_among_those_to_wait_for(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a):
            await until(lambda: a.copies.reached == {b.id: False})

    trio.run(main)


def test_a_box_that_is_put_out_does_not_get_what_is_said_with_that(home):
    """The site's new key comes right after, often in the same batch."""

    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.status(b).state == b.status(a).state == "in sync")
            before = b.replica.positions()
            home.boxes[b.id].cut = 0
            a.replica.add()
            assert not a.hub.neighbours[b.id].session.stream.queued
            await until(lambda: a.status(b).state == "revoked")
            assert b.replica.positions() == before

    trio.run(main)


def test_one_link_stays_of_two_that_are_begun_at_once(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.session(b) and b.session(a) and a.session(b).open and b.session(a).open)
            await trio.sleep(0.5)
            assert a.session(b).link.dialed != b.session(a).link.dialed
            assert any(call.is_proven for call in [*a.calls, *b.calls]), "it stays longer than a guest may"
            entry = a.replica.add()
            await until(lambda: a.copies.seqs.get(b.id) == entry.seq)
            assert not a.warnings and not b.warnings

    for _ in range(3):
        trio.run(main)
        home = Home(home.folder / "next")


def test_three_boxes_pass_on_what_they_have(home):
    async def main():
        a, b, c = home.box(1), home.box(2), home.box(3)
        async with trio.open_nursery() as nursery:
            for box in (a, b, c):
                await nursery.start(box.run)
            a.boxes = {k: v for k, v in home.boxes.items() if k != c.id}
            c.boxes = {k: v for k, v in home.boxes.items() if k != a.id}
            for _ in range(50):
                a.replica.add()
                c.replica.add()
                await trio.lowlevel.checkpoint()
            await until(lambda: same(a, b, c))
            a.replica.add()
            c.replica.add()
            await until(lambda: same(a, b, c))
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_link_that_breaks_anywhere_is_made_anew_and_loses_nothing(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(30):
            a.replica.add(3000)
            b.replica.add(100)
        async with trio.open_nursery() as nursery:
            wire = await wired(nursery, b, a)
            sizes = iter(range(500, 1 << 20, 4500))
            while not same(a, b):
                wire.left = next(sizes)
                await until(
                    partial(
                        lambda seen: same(a, b) or (wire.opened > seen and a.session(b) is None), wire.opened
                    )
                )
            wire.left = float("inf")
            entry = a.replica.add()
            await until(lambda: a.copies.seqs.get(b.id) == entry.seq)
            assert wire.opened > 10
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_peer_that_falls_silent_is_gone_after_three_seconds(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with trio.open_nursery() as nursery:
            wire = await wired(nursery, b, a)
            await until(lambda: a.copies.reached.get(b.id))
            wire.freeze()
            began = trio.current_time()
            await until(lambda: not a.copies.reached[b.id])
            assert 2 < trio.current_time() - began < 3.6
            wire.frozen.set()
            await until(lambda: a.copies.reached[b.id])
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_somebody_who_accepts_and_never_answers_holds_up_nobody(home, monkeypatch):
    async def main():
        a, b = home.box(1), home.box(2)
        silent = socket.create_server(("127.0.0.1", 0))
        dead = f"=127.0.0.1:{silent.getsockname()[1]}"
        async with trio.open_nursery() as nursery:
            await nursery.start(b.run)
            b.boxes = {}
            a.published, b.published = ["=127.0.0.1:1"], [dead, b.address]
            home.boxes[b.id].addresses = (dead, b.address)
            await nursery.start(a.run)
            b.boxes = home.boxes
            began = trio.current_time()
            await until(lambda: a.copies.reached.get(b.id))
            assert trio.current_time() - began < 3
            assert a.status(b).address == b.address
            nursery.cancel_scope.cancel()
        silent.close()

    trio.run(main)


def test_an_address_that_becomes_known_is_tried_at_once(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with trio.open_nursery() as nursery:
            a.published = b.published = ["=127.0.0.1:1"]
            await nursery.start(b.run)
            await nursery.start(a.run)
            await trio.sleep(1)
            assert a.status(b).state == "away"
            began = trio.current_time()
            a.hub.add_address(b.id, b.address)
            await until(lambda: a.copies.reached.get(b.id))
            assert trio.current_time() - began < 1
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_box_makes_its_own_address_known(home):
    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            home.boxes[a.id].addresses = ()
            a.hub.placing.looked_at = float("-inf")
            await until(lambda: home.boxes[a.id].addresses == (a.address,))

    trio.run(main)


def test_blobs_are_fetched_proven_and_confirmed(home):
    async def main():
        a, b = home.box(1), home.box(2)
        octets = os.urandom(3_000_000)
        sha = a.put_blob(octets)
        async with home.running(a, b):
            await until(lambda: a.copies.reached.get(b.id) and b.copies.reached.get(a.id))
            a.replica.add(blobs={sha: len(octets)})
            await until(lambda: (b.id, sha) in a.copies.blobs)
            assert b.blobs.path(sha).read_bytes() == octets and sha in b.replica.blobs
            assert a.copies.moved > 0
            assert not b.blobs._pins, "whoever wants it keeps it now"
            again = a.replica.add(blobs={sha: len(octets)})
            a.copies.blobs.clear()
            await until(lambda: (b.id, sha) in a.copies.blobs)  # one that is here already is confirmed, too
            assert a.copies.seqs[b.id] == again.seq

    trio.run(main)


def test_a_blob_goes_on_where_it_was_when_the_link_breaks(home):
    async def main():
        a, b = home.box(1), home.box(2)
        octets = os.urandom(8_000_000)
        sha = a.put_blob(octets)
        a.replica.add(blobs={sha: len(octets)})
        async with trio.open_nursery() as nursery:
            wire = await wired(nursery, a, b)
            wire.left = 4_500_000
            await until(lambda: sha in b.replica.blobs, 20)
            assert wire.opened > 1
            assert wire.octets < 10_500_000
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_blob_that_several_have_is_fetched_once(home):
    async def main():
        a, b, c = home.box(1), home.box(2), home.box(3)
        octets = os.urandom(4_000_000)
        sha = a.put_blob(octets)
        b.put_blob(octets)
        b.replica.blobs.add(sha)
        async with home.running(a, b, c):
            await until(
                lambda: all(x.copies.reached.get(y.id) for x in (a, b, c) for y in (a, b, c) if x is not y)
            )
            a.replica.add(blobs={sha: len(octets)})
            await until(lambda: sha in c.replica.blobs)
            assert sum(c.session(x).octets_in for x in (a, b)) < 4_500_000

    trio.run(main)


def test_one_that_does_not_have_it_is_passed_over(home, monkeypatch):
    async def main():
        a, b, c = home.box(1), home.box(2), home.box(3)
        octets = os.urandom(100_000)
        sha = b.put_blob(octets)
        b.replica.blobs.add(sha)
        async with home.running(a, b, c):
            await until(
                lambda: all(x.copies.reached.get(y.id) for x in (a, b, c) for y in (a, b, c) if x is not y)
            )
            a.replica.add(blobs={sha: len(octets)})
            a.replica.blobs.discard(sha)
            await until(lambda: sha in c.replica.blobs and sha in a.replica.blobs)

    trio.run(main)


def test_octets_that_were_too_many_to_come_along_are_asked_for(home):
    async def main():
        a, b = home.box(1), home.box(2)
        messages = [Octets(i, b"head%d" % i, os.urandom(5000)) for i in range(1, 200)]
        async with home.running(a, b):
            await until(lambda: a.copies.reached.get(b.id))
            b.replica.due_messages.update(
                {m.msgid: hashlib.sha256(m.head + (m.data or b"")).hexdigest() for m in messages}
            )
            a.replica.messages.update({m.msgid: m for m in messages})
            await until(lambda: b.replica.messages == a.replica.messages)

    trio.run(main)


def test_a_full_disk_lets_entries_come_again_when_there_is_room(home, monkeypatch):
    from appliance.store import DiskFull

    monkeypatch.setattr(link, "FULL_REST_S", 0.2)

    async def main():
        a, b = home.box(1), home.box(2)
        async with home.running(a, b):
            await until(lambda: a.copies.reached.get(b.id))
            b.replica.failure = DiskFull("disk full")
            for _ in range(50):
                a.replica.add()
                await trio.sleep(0.01)
            entry = b.replica.add()
            await until(lambda: b.copies.seqs.get(a.id) == entry.seq)  # what b has goes out all the same
            assert a.copies.seqs.get(b.id, 0) == 0 and b.status(a).state != "away"
            b.replica.failure = None
            await until(lambda: same(a, b))

    trio.run(main)


def test_what_is_told_arrives_and_is_not_kept(home):
    async def main():
        a, b = home.box(1), home.box(2)
        heard = []
        b.hub.on_tell.append(lambda *told: heard.append(told))
        async with home.running(a, b):
            a.hub.tell("presence", b"lost: nobody is there")
            await until(lambda: a.copies.reached.get(b.id) and b.copies.reached.get(a.id))
            a.hub.tell("presence", b"\x01")
            await until(lambda: heard)
            assert heard == [(a.id, "presence", b"\x01")]

    trio.run(main)


def test_a_gap_is_told_to_who_can_take_a_copy(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(5):
            a.replica.add()
        a.replica.cut(a.id, 3)
        async with home.running(a, b):
            await until(lambda: b.gaps == [a.id])
            entry = b.replica.add()
            await until(lambda: b.copies.seqs.get(a.id) == entry.seq)  # its own tail still gets through

    trio.run(main)


def test_catching_up_takes_batches_and_leaves_the_box_time(home):
    async def main():
        a, b = home.box(1), home.box(2)
        for _ in range(5000):
            a.replica.add(500)
        b.replica.slow_s = 0.05
        async with home.running(a, b):
            await until(lambda: same(a, b), 30)
            assert max(b.replica.absorbed) <= 1000
            commits = b.replica.commits
            assert len(commits) > 3
            for (began, ended), (following, _) in itertools.pairwise(commits[:-1]):
                assert following - ended > 0.8 * (ended - began), "it rests between commits"

    trio.run(main)


def test_boxes_that_come_later_are_found(home):
    async def main():
        a = home.box(1)
        async with home.running(a) as nursery:
            b = home.box(2)
            await nursery.start(b.run)
            await until(lambda: a.copies.reached.get(b.id))
            nursery.cancel_scope.cancel()

    trio.run(main)
