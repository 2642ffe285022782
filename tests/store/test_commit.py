"""Group commit: who shares a commit, who is told, and when."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance import wire
from appliance.site import Decision, Message, Scene, decode_facts, drop_node, facts
from appliance.site.facts import Acked, MemberAdded
from appliance.store import Job, Store, verify
from appliance.store.inbox import DOUBTFUL_ACKS
from appliance.store.reading import boxes, read_entries
from tests.store import kit


def entry_facts(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        entries = list(read_entries(connection, boxes(connection)))
    return [fact for entry in entries for fact in decode_facts(entry.body)]


def test_requests_that_wait_share_one_sync(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            syncs, commits = store.syncs, store.counts.commits
            answers: list[Decision] = []
            for _ in range(200):
                job = ann.post_job([bob.uid], done=answers.append)
                await store.submit(job)
            await kit.flush(store)
            assert len(answers) == 200 and not any(answer.error for answer in answers)
            assert store.counts.commits - commits == 1
            assert store.syncs - syncs == 1
            assert store.queues.nodes[bob.node].count == 200

    kit.run(main)


def test_an_answer_comes_after_the_commit(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)

            def done(decision: Decision) -> None:
                found = kit.rows(tmp_path, "SELECT count(*) FROM fresh WHERE msgid = ?", decision.msgid)
                seen.append((decision.msgid, found[0][0]))

            published: list[Message] = []
            store.publish = lambda messages: published.extend(messages)
            await store.submit(ann.post_job([bob.uid], done=done))
            await kit.flush(store)
            assert seen == [(published[0].msgid, 1)]

    kit.run(main)


def test_a_request_that_breaks_the_judge_fails_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            answers: list[Decision] = []

            def broken(scene: Scene) -> Decision:
                raise ZeroDivisionError

            await store.submit(ann.post_job([bob.uid], done=answers.append))
            await store.submit(Job(broken, answers.append))
            await store.submit(ann.post_job([bob.uid], done=answers.append))
            await kit.flush(store)
            assert [bool(answer.error) for answer in answers] == [False, True, False]
            assert store.queues.nodes[bob.node].count == 2

    kit.run(main)


def breaks_the_table(scene: Scene) -> Decision:
    """A member without a uid."""
    uid: Any = None
    return Decision(lasting=[MemberAdded(scene.mint.number(scene.site.last_number), uid, 0)])


def cannot_be_encoded(scene: Scene) -> Decision:
    return Decision(
        lasting=[MemberAdded(scene.mint.number(scene.site.last_number), "lone surrogate \ud800", 0)]
    )


def has_a_number_too_large(scene: Scene) -> Decision:
    return Decision(lasting=[MemberAdded(1 << 63, "huge", 0)])


@pytest.mark.parametrize("bad", [breaks_the_table, cannot_be_encoded, has_a_number_too_large])
def test_a_request_that_cannot_be_written_fails_alone(tmp_path: Path, bad: Any) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            first = (await bob.post([ann.uid])).msgid
            await kit.spill(store)
            second = (await bob.post([ann.uid])).msgid
            store.ack(ann.node, first)
            store.ack(ann.node, second)
            answers: list[Decision] = []
            await store.submit(
                ann.job(wire.UserEdit(id="a", newalias="taken-once-only"), done=answers.append)
            )
            await store.submit(Job(bad, answers.append))
            await store.submit(ann.post_job([bob.uid], done=answers.append))
            await kit.flush(store)
            assert [bool(answer.error) for answer in answers] == [False, True, False]
            assert len(store.site.members) == 2
            [told] = await kit.pending_ids(store, ann.node)
            await ann.acks(told)
            assert await kit.pending_ids(store, ann.node) == []
            assert store.queues.nodes[ann.node].count == 0
            assert await kit.pending_ids(store, bob.node) == [answers[2].msgid]
        assert verify(tmp_path)["ok"]
        async with kit.running(tmp_path) as store:
            assert list(store.site.aliases) == ["taken-once-only"]

    kit.run(main)


def test_an_answer_that_raises_harms_nobody_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            answers: list[Decision] = []

            def broken(decision: Decision) -> None:
                raise RuntimeError("a link's mistake")

            await store.submit(ann.post_job([bob.uid], done=broken))
            await store.submit(ann.post_job([bob.uid], done=answers.append))
            await kit.flush(store)
            assert len(answers) == 1
            assert len(await kit.pending_ids(store, bob.node)) == 2

    kit.run(main)


def test_acks_wait_for_company_but_not_longer_than_set(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, acks_delay_s=0.3) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid])).msgid for _ in range(3)]
            commits = store.counts.commits
            started = time.monotonic()
            for msgid in msgids:
                store.ack(bob.node, msgid)
                await trio.sleep(0.02)
            assert store.counts.commits == commits
            await kit.until(lambda: store.counts.commits > commits)
            assert 0.25 < time.monotonic() - started < 3
            assert store.counts.commits == commits + 1
            assert store.queues.nodes[bob.node].count == 0

    kit.run(main)


def test_acks_go_along_with_a_request(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, acks_delay_s=30.0) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid])).msgid
            commits = store.counts.commits
            store.ack(bob.node, msgid)
            await trio.sleep(0.02)
            with trio.fail_after(5):
                await ann.post([bob.uid])
            assert store.counts.commits == commits + 1
            assert msgid not in await kit.pending_ids(store, bob.node)

    kit.run(main)


def test_a_message_acknowledged_twice_is_gone_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            old = [(await ann.post([bob.uid], b"abc")).msgid for _ in range(2)]
            await kit.spill(store)
            new = [(await ann.post([bob.uid], b"abc")).msgid for _ in range(2)]
            for msgid in (old[0], new[0], old[0], new[0]):
                store.ack(bob.node, msgid)
            assert await kit.pending_ids(store, bob.node) == [old[1], new[1]]
            await kit.flush(store)
            await bob.acks(old[0], new[0])
            queue = store.queues.nodes[bob.node]
            assert (queue.count, queue.octets) == (2, 6)
            assert await kit.pending_ids(store, bob.node) == [old[1], new[1]]
            assert Acked(bob.node, (old[0], new[0]), itself=True) in entry_facts(tmp_path)

    kit.run(main)


def test_any_message_in_the_queue_can_be_acknowledged_and_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            old = [(await ann.post([bob.uid], b"abc")).msgid for _ in range(3)]
            await kit.spill(store)
            new = [(await ann.post([bob.uid], b"abc")).msgid for _ in range(3)]
            entries = store.entries
            for msgid in (0, 2**63 - 1, old[0] + 1):
                store.ack(bob.node, msgid, known=False)
                store.ack(ann.node, old[0], known=False)
            await kit.flush(store)
            assert store.entries == entries, "nothing to say"
            for msgid in (old[1], 5, new[1], old[1]):
                store.ack(bob.node, msgid, known=False)
            assert await kit.pending_ids(store, bob.node) == [old[0], old[2], new[0], new[2]]
            await kit.flush(store)
            store.ack(bob.node, old[1], known=False)
            await kit.flush(store)
            assert entry_facts(tmp_path)[-1] == Acked(bob.node, (old[1], new[1]), itself=True)
            queue = store.queues.nodes[bob.node]
            assert (queue.count, queue.octets) == (4, 12)
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == [old[0], old[2], new[0], new[2]]
            queue = store.queues.nodes[bob.node]
            assert (queue.count, queue.octets) == (4, 12)

    kit.run(main)


def test_who_acknowledges_anything_does_not_fill_the_memory(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, acks_delay_s=5.0) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid])).msgid for _ in range(2)]
            for junk in range(10_000):
                store.ack(bob.node, junk, known=False)
            store.ack(bob.node, msgids[0])
            assert len(store._inbox.acks[bob.node]) <= DOUBTFUL_ACKS + 1
            await kit.flush(store)
            assert await kit.pending_ids(store, bob.node) == msgids[1:]

    kit.run(main)


def holding(store: Store, count: int) -> bool:
    """Whether so many messages wait for a second copy."""
    return len(store.copies.held_ids) == count


def test_what_is_acknowledged_while_it_waits_for_a_second_copy_is_not_published(tmp_path: Path) -> None:
    """The node got it at the other box, came here, and said so."""

    async def main() -> None:
        async with kit.running(tmp_path, acks_delay_s=60.0, second_copy_wait_s=60.0) as store:
            published: list[int] = []
            store.publish = lambda messages: published.extend(m.msgid for m in messages for _ in m.nodes)
            ann, bob = await kit.members(store, 2)
            store.copies.reach("other", True)
            for count in (1, 2, 3):
                await store.submit(ann.post_job([bob.uid]))
                await kit.until(partial(holding, store, count))
            held = sorted(store.copies.held_ids)
            assert await kit.pending_ids(store, bob.node) == []
            assert store.awaits(bob.node, held[1])
            store.ack(bob.node, held[1])
            store.copies.confirmed("other", store.copies.head)
            assert published == [held[0], held[2]]
            assert await kit.pending_ids(store, bob.node) == [held[0], held[2]]

    kit.run(main)


def test_a_cancelled_submitters_request_still_happens(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.submit(ann.post_job([bob.uid]))
            with trio.move_on_after(0):
                await ann.post([bob.uid])
            await kit.flush(store)
            assert len(await kit.pending_ids(store, bob.node)) >= 1

    kit.run(main)


def test_submitting_waits_while_too_much_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.inbox.JOBS_OCTETS", 1000)

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            most = 0

            async def one() -> None:
                nonlocal most
                await ann.post([bob.uid], bytes(600))
                most = max(most, store._inbox._octets)

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(one)
            assert most <= 1600
            assert store._inbox._octets == 0
            assert store.queues.nodes[bob.node].count == 50

    kit.run(main)


def test_a_device_dropped_after_its_heir_was_made_leaves_the_inheritance(tmp_path: Path) -> None:
    """Both requests wait for the same commit."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            old = (await ann.post([bob.uid])).msgid
            await kit.spill(store)
            new = (await ann.post([bob.uid])).msgid
            made: list[Decision] = []
            await store.submit(
                bob.job(
                    wire.UserEdit(id="n", newnode="phone"), done=made.append, fresh=kit.Credentials.make()
                )
            )
            await store.submit(Job(lambda scene: drop_node(scene, bob.node), made.append))
            await store.submit(ann.post_job([ann.uid], done=made.append))
            await kit.flush(store)
            assert [answer.error for answer in made] == [None] * 3
            ids = await kit.pending_ids(store, made[0].node)
            assert ids[-2:] == [old, new]
        assert verify(tmp_path)["problems"] == []
        reopened = kit.opened(tmp_path)
        assert reopened.queues.nodes[made[0].node].count == len(ids)
        assert facts.NodeDropped(bob.node) in entry_facts(tmp_path)
        reopened._database.close()

    kit.run(main)
