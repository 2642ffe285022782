"""Which boxes an answer waits for, and what is said of them meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.store.copies import Copies
from tests.store import kit

WAIT_S = 0.5
OTHER = "OTHERBOX"


class Commits:
    """Entries that are committed one after the other, and confirmed some time after that."""

    def __init__(self) -> None:
        self.copies = Copies(WAIT_S, lambda: None)
        self.copies.reach(OTHER, True)
        self.seq = 0
        self.level_2 = 0

    async def go_on(self, seconds: float, every_s: float, confirmed_after_s: float) -> None:
        """With an answer in each."""
        async with trio.open_nursery() as nursery:
            end = trio.current_time() + seconds
            while trio.current_time() < end:
                self.seq += 1
                self.copies.committed(self.seq)
                self.copies.hold(set(), [], lambda level_2: None, 1)
                nursery.start_soon(self._confirm, self.seq, confirmed_after_s)
                nursery.start_soon(self._expire)
                await trio.sleep(every_s)

    async def _confirm(self, seq: int, after_s: float) -> None:
        await trio.sleep(after_s)
        self.copies.confirmed(OTHER, seq)

    async def _expire(self) -> None:
        await trio.sleep(WAIT_S + 0.001)
        self.copies.expire()


def run(body: Callable[[Commits], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(Commits())

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_box_that_confirms_in_time_is_waited_for_again_though_it_never_has_everything() -> None:
    async def body(commits: Commits) -> None:
        copies = commits.copies
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commits.go_on, 3.0, 0.1, 0.8)
            await trio.sleep(2.95)
            assert copies.one_copy > 10 and not copies.in_reach
            nursery.start_soon(commits.go_on, 3.0, 0.1, 0.4)
            await trio.sleep(1.0)
            assert copies.in_reach and copies.behind(OTHER)[0] > 0
            before = copies.one_copy
            await trio.sleep(1.9)
            assert copies.one_copy == before

    run(body)


def test_a_box_that_is_too_slow_holds_up_one_answer_and_is_not_said_to_be_in_sync() -> None:
    async def body(commits: Commits) -> None:
        copies = commits.copies
        await commits.go_on(0.3, 0.1, confirmed_after_s=0.1)
        assert copies.in_sync(OTHER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commits.go_on, 5.0, 0.1, 0.8)
            await trio.sleep(1.0)
            for _ in range(40):
                assert not copies.in_sync(OTHER) and copies.waiting == 0 and copies.level == 1
                await trio.sleep(0.1)
        await trio.sleep(1.0)
        assert copies.in_sync(OTHER), "it has caught up"

    run(body)


def test_a_file_that_moves_holds_up_those_behind_it_no_longer_than_others_wait() -> None:
    async def body(commits: Commits) -> None:
        copies = commits.copies
        told: list[tuple[str, bool, float]] = []

        def hold(what: str, blobs: set[bytes]) -> None:
            commits.seq += 1
            copies.committed(commits.seq)
            copies.hold(blobs, [], lambda level_2: told.append((what, level_2, trio.current_time())), 1)

        began = trio.current_time()
        hold("large", {bytes(32)})
        for _ in range(30):
            await trio.sleep(0.1)
            copies.progress(OTHER)
            copies.expire()
        assert told == [], "it moves, and nobody is behind it"
        copies.confirmed(OTHER, commits.seq)
        hold("small", set())
        copies.confirmed(OTHER, commits.seq)
        while len(told) < 2:
            await trio.sleep(copies.wait_left_s)
            copies.progress(OTHER)
            copies.expire()
        (_, large_2, at), (_, small_2, small_at) = told
        assert not large_2 and small_2 and at - began <= 3.0 + WAIT_S + 0.01 and small_at == at
        assert copies.in_reach, "it has the entries in time"

    run(body)


def test_a_strict_site_does_not_acknowledge_what_no_other_box_confirmed_in_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, strict=False) as store:
            ann, bob = await kit.members(store, 2)
        async with kit.running(tmp_path, strict=True, second_copy_wait_s=0.05) as store:
            ann, bob = (kit.Device(store, device.node, 1) for device in (ann, bob))
            refused = await ann.post([bob.uid], b"nobody is there", id="1")
            assert "no other box is in reach" in (refused.error or "")
            store.copies.reach(OTHER, True)
            unsure = await ann.post([bob.uid], b"it says nothing", id="2")
            assert "no other box confirmed it in time" in (unsure.error or "")
            store.copies.confirmed(OTHER, store.entries)
            ann.relink()
            again = await ann.post([bob.uid], b"it says nothing", id="2")
            store.copies.confirmed(OTHER, store.entries)
            assert again.error is None and await kit.pending_ids(store, bob.node) == [again.msgid]

    kit.run(main)


@pytest.mark.parametrize("spilled", [False, True])
def test_what_no_other_box_confirmed_is_the_same_request_on_the_same_link(
    tmp_path: Path, spilled: bool
) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
        async with kit.running(tmp_path, strict=True, second_copy_wait_s=0.05) as store:
            ann = kit.Device(store, ann.node, store.link_id())
            store.copies.reach(OTHER, True)
            unsure = await ann.post([bob.uid], b"it says nothing", id="1")
            assert "no other box confirmed it in time: send the same again" in (unsure.error or "")
            if spilled:
                await kit.spill(store)
            store.copies.reach(OTHER, True)
            store.copies.confirmed(OTHER, 1 << 40)
            first = await ann.post([bob.uid], b"it says nothing", id="1")
            assert first.error is None and await kit.pending_ids(store, bob.node) == [first.msgid]
            second = await ann.post([bob.uid], b"it says nothing", id="1")
            assert second.error is None and second.msgid > first.msgid, "a new one, with the same id"

    kit.run(main)


def test_a_request_that_comes_again_waits_until_its_file_is_on_another_box_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
        async with kit.running(tmp_path, strict=True, second_copy_wait_s=0.05) as store:
            ann = kit.Device(store, ann.node, store.link_id())
            data = bytes(kit.LARGE)
            for lacks in (None, 1):
                store.copies.reach(OTHER, True)
                store.copies.confirmed(OTHER, 1 << 40)
                if lacks is not None:
                    store.copies.lacking(OTHER, lacks)
                unsure = await ann.post([bob.uid], data, id="1")
                assert "no other box confirmed it in time" in (unsure.error or "")
            store.copies.reach(OTHER, True)
            store.copies.lacking(OTHER, 0)
            sure = await ann.post([bob.uid], data, id="1")
            assert sure.error is None and await kit.pending_ids(store, bob.node) == [sure.msgid]

    kit.run(main)
