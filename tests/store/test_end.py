"""How a store ends: nobody waits for good, and nobody is told what is not so."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.site import Decision, Message, Scene, facts
from appliance.store import DiskFull, Job, Store, StoreBroken, StoreError, verify
from tests.store import kit


def break_commits(store: Store) -> None:
    """The next commit finds that the disk does not work."""

    def commit(write: Any) -> Any:
        raise StoreBroken("the disk is gone")

    store._database.commit = commit  # type: ignore[method-assign]


async def own(store: Store, ended: list[Exception]) -> None:
    try:
        await store.run()
    except Exception as error:
        ended.append(error)


def test_a_store_that_is_closed_under_load_keeps_what_it_told(tmp_path: Path) -> None:
    told: list[int] = []

    async def main() -> None:
        store = kit.opened(tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            ann, bob = await kit.members(store, 2)

            async def work() -> None:
                while True:
                    try:
                        await store.submit(
                            ann.post_job([bob.uid], bytes(1000), lambda answer: told.append(answer.msgid))
                        )
                    except StoreError as error:
                        assert "stopping" in str(error)
                        return
                    await trio.sleep(0.0005)

            for _ in range(10):
                nursery.start_soon(work)
            await trio.sleep(0.2)
            store.close()
            store.close()
        told[:] = [msgid for msgid in told if msgid]
        assert len(told) > 50
        assert verify(tmp_path)["problems"] == []
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == told

    kit.run(main)


def test_acks_that_wait_are_durable_after_a_close(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, acks_delay_s=100.0) as store:
            ann, bob = await kit.members(store, 2)
            store.ack(bob.node, (await ann.post([bob.uid])).msgid)
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == []

    kit.run(main)


def test_a_close_ends_an_idle_store_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        store = kit.opened(tmp_path)
        with trio.fail_after(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.run)
                await trio.sleep(0.05)
                store.close()
        with pytest.raises(StoreError, match="stopping"):
            await store.perform(lambda scene: Decision())

    kit.run(main)


def test_a_broken_store_lets_everybody_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.inbox.JOBS_OCTETS", 1000)

    async def main() -> None:
        store = kit.opened(tmp_path)
        ended: list[Exception] = []
        answers: list[Decision] = []
        told: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own, store, ended)
            ann, bob = await kit.members(store, 2)
            break_commits(store)

            async def perform() -> None:
                try:
                    answer = await store.perform(
                        lambda scene: Decision(lasting=[facts.GroupAdded("a-group")])
                    )
                    assert answer.error == "the disk is gone", "it was not in the commit yet"
                except StoreBroken:
                    pass
                told.append("perform")

            async def submit() -> None:
                try:
                    await store.submit(ann.post_job([bob.uid], bytes(800), answers.append))
                except StoreBroken:
                    told.append("submit")

            with trio.fail_after(5):
                async with trio.open_nursery() as waiting:
                    waiting.start_soon(perform)
                    for _ in range(6):
                        waiting.start_soon(submit)
        assert [str(error) for error in ended] == ["the disk is gone"]
        assert not [answer for answer in answers if answer.error is None]
        assert "perform" in told and "submit" in told
        with pytest.raises(StoreBroken):
            await store.probe()
        store._database.connection.close()

    kit.run(main)


def test_requests_that_a_broken_commit_kept_waiting_are_told(tmp_path: Path) -> None:
    """They have not happened; of those in the commit nobody knows."""

    async def main() -> None:
        store = kit.opened(tmp_path)
        ended: list[Exception] = []
        within: list[Decision] = []
        behind: list[Decision] = []

        def commit(write: Any) -> Any:
            time.sleep(0.1)
            raise StoreBroken("the disk is gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(own, store, ended)
            ann, bob = await kit.members(store, 2)
            store._database.commit = commit  # type: ignore[method-assign]
            await store.submit(ann.post_job([bob.uid], b"within", within.append))
            await trio.sleep(0.05)
            await store.submit(ann.post_job([bob.uid], b"behind", behind.append))
        assert within == []
        assert [answer.error for answer in behind] == ["the disk is gone"]
        store._database.connection.close()

    kit.run(main)


def test_who_performs_within_a_broken_commit_is_thrown(tmp_path: Path) -> None:
    async def main() -> None:
        store = kit.opened(tmp_path)
        ended: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(own, store, ended)
            await kit.member(store)
            break_commits(store)
            with trio.fail_after(5), pytest.raises(StoreBroken, match="gone"):
                await store.perform(lambda scene: Decision(lasting=[facts.GroupAdded("a-group")]))
        assert ended
        store._database.connection.close()

    kit.run(main)


def fails_at_first(store: Store, times: int) -> None:
    """The next commits and probes find no space."""
    left = times

    def failing(real: Any) -> Any:
        def call(what: Any) -> Any:
            nonlocal left
            left -= 1
            if left >= 0:
                raise DiskFull("the disk is full")
            return real(what)

        return call

    store._database.commit = failing(store._database.commit)  # type: ignore[method-assign]
    store._database.probe = failing(store._database.probe)  # type: ignore[method-assign]


def test_acks_that_found_no_space_are_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.owner.FULL_RETRY_S", 0.02)

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid])).msgid for _ in range(3)]
            fails_at_first(store, 3)
            store.ack(bob.node, msgids[0])
            await kit.until(lambda: store.trouble is not None)
            store.ack(bob.node, msgids[1])
            assert await kit.pending_ids(store, bob.node) == msgids[2:]
            await kit.until(lambda: store.trouble is None)
            assert await kit.pending_ids(store, bob.node) == msgids[2:]
            assert store.queues.nodes[bob.node].count == 1
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == msgids[2:]

    kit.run(main)


def test_a_stop_does_not_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.owner.FULL_RETRY_S", 0.02)

    async def main() -> None:
        with trio.fail_after(10):
            async with kit.running(tmp_path) as store:
                ann, bob = await kit.members(store, 2)
                msgid = (await ann.post([bob.uid])).msgid
                fails_at_first(store, 1 << 30)
                store.ack(bob.node, msgid)
                await kit.until(lambda: store.trouble is not None)
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == [msgid]

    kit.run(main)


def test_the_probe_makes_room_before_it_gives_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            assert (tmp_path / "ballast").exists()
            fails_at_first(store, 1)
            await store.probe()
            assert not (tmp_path / "ballast").exists()
            fails_at_first(store, 2)
            with pytest.raises(DiskFull):
                await store.probe()
            await kit.member(store)

    kit.run(main)


def test_a_mistake_after_the_commit_ends_the_store(tmp_path: Path) -> None:
    """What is durable must not be done again."""

    async def main() -> None:
        store = kit.opened(tmp_path)
        ended: list[Exception] = []

        def publish(messages: Sequence[Message]) -> None:
            if messages:
                raise RuntimeError("a courier's mistake")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(own, store, ended)
            ann, bob = await kit.members(store, 2)
            store.publish = publish
            answer = await ann.post([bob.uid])
        assert [type(error) for error in ended] == [RuntimeError]
        with pytest.raises(StoreBroken, match="internal error"):
            await store.submit(ann.post_job([bob.uid]))
        store._database.connection.close()
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == [answer.msgid]

    kit.run(main)


def test_a_full_disk_within_a_bad_batch_ends_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            real, commits = store._database.commit, 0

            def commit(write: Any) -> Any:
                nonlocal commits
                commits += 1
                if commits == 3:
                    raise DiskFull("the disk is full")
                return real(write)

            store._database.commit = commit  # type: ignore[method-assign]
            answers: list[Decision] = []

            def bad(scene: Scene) -> Decision:
                return Decision(lasting=[facts.MemberAdded(1 << 63, "too large", 0)])

            for job in (
                ann.post_job([bob.uid], b"1", answers.append),
                Job(bad, answers.append),
                ann.post_job([bob.uid], b"2", answers.append),
                ann.post_job([bob.uid], b"3", answers.append),
            ):
                await store.submit(job)
            await kit.flush(store)
            errors = [str(answer.error) for answer in answers]
            assert errors == ["None", "the disk is full", "None", "None"] or errors == [
                "None",
                "internal error: the request could not be stored",
                "the disk is full",
                "None",
            ]
            assert len(await kit.pending_ids(store, bob.node)) == errors.count("None")
            assert len(store.site.members) == 2
        assert verify(tmp_path)["problems"] == []

    kit.run(main)


def test_the_log_shrinks_when_a_long_reader_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a reader the log cannot be emptied; afterwards it does not keep the room that it took."""
    monkeypatch.setattr("appliance.store.database.CHECKPOINT_OCTETS", 100_000)
    monkeypatch.setattr("appliance.store.connection.LOG_OCTETS", 400_000)
    log = tmp_path / "pocket.db-wal"

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)

            async def work(count: int) -> None:
                for _ in range(count):
                    await bob.acks((await ann.post([bob.uid], bytes(60_000))).msgid)

            with closing(sqlite3.connect(tmp_path / "pocket.db")) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM entry").fetchall()
                await work(30)
                assert log.stat().st_size > 1_500_000
            await work(10)
            assert log.stat().st_size < 600_000

    kit.run(main)
