"""What went with a box that nobody will see again: it is not waited for forever, and its sender is told."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from appliance.health import Health
from appliance.peering import losses
from appliance.peering.losses import Losses
from appliance.peering.standing import Standing
from appliance.session import LinkLost
from appliance.site import Box, revoke_box
from appliance.store import DiskFull
from tests.replication.household import Home, until
from tests.replication.test_stores import RealBox, first_box, join, same
from tests.store.kit import member, pending


class Living(RealBox):
    """A box that looks for losses, too."""

    def __init__(self, home, folder):
        super().__init__(home, folder)
        self.health = Health()
        self.standing = Standing(self.store, self.hub)
        self.losses = Losses(
            self.store, self.standing, self.health, self.hub.tell, lambda: self.hub.fetcher.is_stuck
        )
        self.hub.on_tell.append(self.losses.heard)
        self.hub.companions.append(self.losses.run)
        self.hub.on_link.append(lambda box, up: self.losses.parted(box))

    def part(self, other):
        self.session(other).end(LinkLost("cut"))


@asynccontextmanager
async def three(home):
    """The first box, the second, and the third, which is about to die: it has members that all know."""
    async with first_box(home, Living) as (a, nursery):
        others = []
        for name in ("second", "third"):
            await join(home, a, home.folder / name)
            box = Living(home, home.folder / name)
            nursery.start_soon(box.store.run)
            await nursery.start(box.run)
            others.append(box)
        b, c = others
        alice, bob = await member(c.store), await member(c.store)
        await until(lambda: same(a, b) and same(b, c))
        yield a, b, c, alice, bob
        for box in others:
            box.stop()
            box.store.close()


async def dies_with_files(a, c, alice, bob, count=1):
    """The third box takes messages with files, of which the first gets the entries only."""
    c.stop()
    await until(lambda: a.session(c) is None)
    known = {box: at.seq for box, at in a.store.replica.positions().items()}
    for _ in range(count):
        assert (await alice.post([bob.uid], os.urandom(100_000))).error is None
    await a.store.replica.absorb(await c.store.replica.read(known, 1 << 20), c.id)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(losses, "LOOK_S", 0.05)
    return Home(tmp_path)


def revoke(box, other):
    seq = box.store.replica.positions()[other.id].seq
    return box.store.perform(partial(revoke_box, box=other.id, seq=seq))


def test_a_file_that_went_with_its_box_is_given_up_and_its_sender_told(home):
    async def main():
        async with three(home) as (a, b, c, alice, bob):
            await dies_with_files(a, c, alice, bob)
            for box in (a, b):
                await until(box.store.replica.lacking)
                await until(partial(getattr, box.health, "reasons"), 20)
                (reason,) = box.health.reasons
                assert reason.startswith("what is in 1 message has yet to come, and only box box can have it")
                assert reason.endswith(f"pocket peer revoke {c.id}") and box.standing.missing == reason
            await trio.sleep(0.3)
            assert a.store.replica.lacking() and b.store.replica.lacking(), "it may come back"
            await revoke(b, c)
            await until(lambda: not a.store.replica.lacking() and not b.store.replica.lacking())
            await until(lambda: same(a, b) and a.status(b).state == b.status(a).state == "in sync")
            for box in (a, b):
                assert await pending(box.store, bob.node) == []
                (letter,) = await pending(box.store, alice.node)
                assert letter.data is not None
                assert b"What was in a message of yours is lost" in letter.data
                assert b"100,000 octets, to " + bob.uid.encode() in letter.data
                assert box.standing.missing is None
            speaker = a if a.id < b.id else b
            (reason,) = speaker.health.reasons
            assert reason.startswith("what was in 1 message is lost with box box")
            assert await a.store.replica.state_digest() == await b.store.replica.state_digest()

    trio.run(main)


def test_nothing_is_given_up_while_a_box_that_may_have_it_is_away(home):
    async def main():
        async with three(home) as (a, b, c, alice, bob):
            await dies_with_files(a, c, alice, bob)
            await until(lambda: b.store.replica.lacking())
            b.stop()
            await until(lambda: a.session(b) is None)
            await revoke(a, c)
            await until(lambda: b.id in (a.standing.missing or ""))
            await trio.sleep(0.3)
            assert a.store.replica.lacking()
            await revoke(a, b)
            await until(lambda: not a.store.replica.lacking())
            assert len(await pending(a.store, alice.node)) == 1

    trio.run(main)


def test_what_one_of_them_has_is_not_given_up(home):
    async def main():
        async with three(home) as (a, b, c, alice, bob):
            lacks, has = sorted((a, b), key=lambda box: box.id)
            for box in (a, b):
                box.hub.fetcher._source = lambda sha: None
            await dies_with_files(a, c, alice, bob, 2)
            await until(lambda: len(has.store.replica.lacking()) == 2)
            sha, _ = has.store.replica.absent_blobs()
            place = has.store.blobs.path(sha)
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(c.store.blobs.path(sha).read_bytes())
            await has.store.replica.blob_here(sha)
            await revoke(a, c)
            await until(lambda: len(lacks.store.replica.lacking()) == 1)
            await trio.sleep(0.3)
            assert list(lacks.store.replica.absent_blobs()) == [sha]
            assert len(await pending(has.store, bob.node)) == 1
            del lacks.hub.fetcher._source
            await until(lambda: not lacks.store.replica.lacking(), 30)
            for box in (a, b):
                assert len(await pending(box.store, bob.node)) == 1
                assert len(await pending(box.store, alice.node)) == 1

    trio.run(main)


def test_what_cannot_be_given_up_for_want_of_room_is_given_up_later_and_its_sender_told(home, monkeypatch):
    async def main():
        async with three(home) as (a, b, c, alice, bob):
            await dies_with_files(a, c, alice, bob)
            await until(b.store.replica.lacking)
            speaker = a if a.id < b.id else b
            real, refused = speaker.store._database.commit, 0

            def commit(write):
                nonlocal refused
                if write.quiet_acks and not refused:
                    refused += 1
                    raise DiskFull("the disk is full")
                return real(write)

            monkeypatch.setattr(speaker.store._database, "commit", commit)
            await revoke(b, c)
            await until(lambda: not a.store.replica.lacking() and not b.store.replica.lacking())
            await until(lambda: same(a, b))
            assert refused == 1
            (letter,) = await pending(speaker.store, alice.node)
            assert b"is lost" in (letter.data or b"")

    trio.run(main)


LOW, HIGH, DEAD = "A" * 8, "B" * 8, "C" * 8


class Alone:
    """A box by itself, with another as the test says that it is."""

    def __init__(self, own: str = LOW, other: str = HIGH) -> None:
        dead = Box(DEAD, b"", 3, "dead", 1, cut=7)
        boxes = [Box(own, b"", 1, "own", 1), Box(other, b"", 2, "other", 1), dead]
        self.given: list[list[int]] = []
        self.told: list[bytes] = []
        self.lacks = [19, 35]
        self.linked = "in sync"
        standing: Any = SimpleNamespace(
            own=own,
            all=boxes,
            known={box.box: box for box in boxes},
            others=[boxes[1]],
            state=lambda box: {DEAD: "revoked", other: self.linked}.get(box.box, "replaced"),
        )
        self.standing = standing
        store: Any = SimpleNamespace(replica=SimpleNamespace(lacking=lambda: self.lacks))
        self.losses = Losses(
            store, standing, Health(), lambda topic, what: self.told.append(what), lambda: True
        )
        self.losses._give_up = self.give_up  # type: ignore[method-assign]

    async def give_up(self, msgids: list[int]) -> None:
        self.given.append(msgids)

    def hears(self, *msgids: int) -> None:
        self.losses.heard(self.losses._standing.others[0].box, losses.TOPIC, msgspec.msgpack.encode(msgids))


def alone(body: Callable[[Alone], Awaitable[None]], box: Alone) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.losses.run)
            await body(box)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_another_box_told_some_time_ago_does_not_count() -> None:
    async def body(box: Alone) -> None:
        box.lacks = []
        box.hears(19)
        await trio.sleep(losses.FRESH_S + 1)
        box.lacks = [19, 35]
        await trio.sleep(10)
        assert not box.given and msgspec.msgpack.decode(box.told[0]) == [19, 35]
        box.hears(35, 51)
        await trio.sleep(losses.LOOK_S + 1)
        assert box.given and all(msgids == [35] for msgids in box.given)

    alone(body, Alone())


def test_only_the_box_with_the_lowest_id_says_so() -> None:
    async def body(box: Alone) -> None:
        box.hears(19)
        await trio.sleep(losses.LOOK_S + 1)
        assert box.told and not box.given

    alone(body, Alone(own=HIGH, other=LOW))


def test_of_a_box_that_is_away_nothing_is_believed() -> None:
    async def body(box: Alone) -> None:
        box.linked = "away"
        box.hears(19)
        await trio.sleep(losses.LOOK_S + 1)
        assert not box.given

    alone(body, Alone())


def test_a_box_that_has_become_another_one_and_may_live_on_as_a_copy_is_waited_for() -> None:
    async def body(box: Alone) -> None:
        box.hears(19)
        before = Box("D" * 8, b"", 4, "before", 1)
        box.standing.all.append(before)
        box.standing.known[before.box] = before
        await trio.sleep(losses.LOOK_S + 1)
        assert box.told and not box.given

    alone(body, Alone())


def test_boxes_that_lack_very_much_tell_the_same_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "TOLD_MAX", 2)

    async def body(box: Alone) -> None:
        box.lacks = [51, 35, 19]
        await trio.sleep(losses.LOOK_S + 1)
        assert msgspec.msgpack.decode(box.told[0]) == [19, 35]

    alone(body, Alone())


def test_what_makes_no_sense_is_left_alone() -> None:
    async def body(box: Alone) -> None:
        for payload in (b"", b"\xc1", b"\xa3abc", msgspec.msgpack.encode(["x"])):
            box.losses.heard(HIGH, losses.TOPIC, payload)
        box.losses.heard(HIGH, "another topic", msgspec.msgpack.encode([19]))
        await trio.sleep(losses.LOOK_S + 1)
        assert not box.given

    alone(body, Alone())
