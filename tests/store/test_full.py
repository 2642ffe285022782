"""A full disk: new work is refused with a clear error, queues drain, and what was acknowledged stays."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.store import DiskFull, Store, StoreBroken, verify
from appliance.store.disk import BALLAST_OCTETS
from tests.store import kit

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
]

DISK_MIB = 96


class Small:
    """A small file system, and what else takes its room."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.data = at / "data"
        self.filler = at / "filler"

    @property
    def free(self) -> int:
        stat = os.statvfs(self.at)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Somebody else takes all the room but ``leave`` octets."""
        with open(self.filler, "ab", buffering=0) as file:
            while (room := self.free - leave) > 0:
                try:
                    file.write(bytes(min(room, 1 << 20)))
                except OSError:
                    break

    def make_room(self) -> None:
        self.filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Small]:
    at = tmp_path / "disk"
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "pocket-test", at], check=True)
    try:
        yield Small(at)
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


async def some_posts(ann: kit.Device, uid: str, count: int, size: int = 5000) -> list[int]:
    return [(await ann.post([uid], os.urandom(size))).msgid for _ in range(count)]


def test_a_full_disk_refuses_posts_takes_acks_and_loses_nothing(disk: Small) -> None:
    async def main() -> None:
        async with kit.running(disk.data, spill_every_s=0.3) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 150)
            await kit.spill(store)
            told += await some_posts(ann, bob.uid, 150)
            disk.fill()
            refused: list[str | None] = []
            for _ in range(3000):
                answer = await ann.post([bob.uid], os.urandom(60_000))
                if answer.error is not None:
                    refused.append(answer.error)
                    break
                told.append(answer.msgid)
            disk.fill()
            refused.append((await ann.post([bob.uid], b"one more")).error)
            assert all("disk" in str(error) and "full" in str(error) for error in refused), refused
            assert store.trouble is None or "disk is full" in store.trouble
            assert await kit.pending_ids(store, bob.node) == told
            # the queue drains, one acknowledgement a commit
            for msgid in told[:200]:
                with trio.fail_after(5):
                    await bob.acks(msgid)
            told = told[200:]
            assert await kit.pending_ids(store, bob.node) == told
            assert disk.free < 1 << 20
        # a start on the full disk
        async with kit.running(disk.data) as store:
            assert await kit.pending_ids(store, bob.node) == told
            ann, bob = kit.Device(store, ann.node), kit.Device(store, bob.node)
            await bob.acks(told.pop(0))
            assert "full" in str((await ann.post([bob.uid], bytes(5000))).error)
            disk.make_room()
            await trio.sleep(1.1)
            told += await some_posts(ann, bob.uid, 10)
            assert await kit.pending_ids(store, bob.node) == told
            assert store.trouble is None
        assert verify(disk.data)["problems"] == []

    kit.run(main)


def test_a_power_cut_on_a_full_disk_loses_nothing(disk: Small, tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(disk.data) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 100)
            disk.fill()
            for _ in range(3000):
                answer = await ann.post([bob.uid], os.urandom(60_000))
                if answer.error is not None:
                    break
                told.append(answer.msgid)
            after = kit.power_cut(disk.data, tmp_path / "after")
        assert verify(after)["problems"] == []
        async with kit.running(after) as store:
            assert await kit.pending_ids(store, bob.node) == told

    kit.run(main)


def test_posts_do_not_keep_acknowledgements_out(disk: Small) -> None:
    """A commit with both fails; from then on posts are refused before they take room."""

    async def main() -> None:
        async with kit.running(disk.data) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 200)
            await kit.spill(store)
            store.disk._looked = float("inf")  # nobody has looked at the disk for a moment
            disk.fill()
            errors: list[str | None] = []
            for msgid in told:
                store.ack(bob.node, msgid)
                for _ in range(4):
                    job = ann.post_job([bob.uid], os.urandom(60_000), lambda d: errors.append(d.error))
                    await store.submit(job)
                if msgid in told[::20]:
                    await kit.flush(store)
            await kit.flush(store)
            accepted = errors.count(None)
            assert accepted < len(errors)
            assert len(await kit.pending_ids(store, bob.node)) == accepted
            assert not store._inbox.acks

    kit.run(main)


def test_the_reserve_is_kept_and_queues_drain_below_it(disk: Small) -> None:
    async def main() -> None:
        settings: dict[str, Any] = {"reserve_percent": 30.0, "reserve_octets": 1 << 40}
        async with kit.running(disk.data, **settings) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 20)
            disk.fill(leave=20 << 20)
            await trio.sleep(1.1)
            for size in (0, 10, 5000):
                error = (await ann.post([bob.uid], bytes(size))).error
                assert error is not None and "disk full" in error and "reserve" in error and "MiB" in error
            assert store.trouble is None
            await bob.acks(told.pop(0))
            assert (await ann.alias("what-takes-no-room")).error is None
            with pytest.raises(DiskFull, match="reserve"):
                await kit.upload(store, bytes(kit.LARGE))
            assert kit.unfinished(disk.data) == []
            disk.make_room()
            await trio.sleep(1.1)
            told += await some_posts(ann, bob.uid, 1)
            assert await kit.pending_ids(store, bob.node) == told
        assert verify(disk.data)["problems"] == []

    kit.run(main)


def test_the_log_stays_small_on_a_nearly_full_disk(disk: Small) -> None:
    """It would take the room that acknowledgements need."""

    async def main() -> None:
        async with kit.running(disk.data, reserve_percent=30.0, reserve_octets=1 << 40) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 300, size=100)
            await kit.spill(store)
            store._database.checkpoint("TRUNCATE")
            disk.fill(leave=20 << 20)
            await trio.sleep(1.1)
            for msgid in told:
                await bob.acks(msgid)
            assert (disk.data / "pocket.db-wal").stat().st_size < 3 << 20

    kit.run(main)


def test_a_disk_that_fills_during_an_upload_fails_the_upload_alone(disk: Small) -> None:
    async def main() -> None:
        async with kit.running(disk.data) as store:
            ann, bob = await kit.members(store, 2)
            store.disk._looked = float("inf")  # nobody has looked at the disk for a moment
            disk.fill(leave=4 << 20)
            upload = store.blobs.upload()
            with pytest.raises(DiskFull, match="disk full"):
                for _ in range(100):
                    await upload.write([bytes(256 << 10)])
            upload.abort()
            assert kit.unfinished(disk.data) == []
            assert disk.free > 3 << 20
            assert (await ann.post([bob.uid], b"small")).error is None

    kit.run(main)


def test_uploads_stop_at_the_reserve(disk: Small) -> None:
    """Each of them had room when it began."""

    async def main() -> None:
        async with kit.running(disk.data, reserve_percent=40.0, reserve_octets=1 << 40) as store:
            uploads = [store.blobs.upload() for _ in range(4)]
            with pytest.raises(DiskFull, match="reserve"):
                for _ in range(100):
                    for upload in uploads:
                        await upload.write([bytes(1 << 19)])
                    await trio.sleep(0.1)
            assert disk.free > 0
            for upload in uploads:
                upload.abort()
            assert kit.unfinished(disk.data) == []

    kit.run(main)


def test_a_start_on_a_full_disk_uses_the_ballast(disk: Small) -> None:
    async def main() -> None:
        async with kit.running(disk.data) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 20)
        assert (disk.data / "ballast").stat().st_size == BALLAST_OCTETS
        disk.fill()
        async with kit.running(disk.data) as store:
            assert not (disk.data / "ballast").exists()
            bob = kit.Device(store, bob.node)
            await bob.acks(told.pop(0))
            assert await kit.pending_ids(store, bob.node) == told
            await store.probe()
        assert verify(disk.data)["problems"] == []

    kit.run(main)


def test_a_start_without_any_room_says_so(disk: Small) -> None:
    async def main() -> None:
        async with kit.running(disk.data):
            pass
        (disk.data / "ballast").unlink()
        disk.fill()
        with pytest.raises((DiskFull, StoreBroken), match=r"disk|database"):
            kit.opened(disk.data)
        disk.make_room()
        async with kit.running(disk.data) as store:
            await kit.member(store)

    kit.run(main)


def test_a_first_start_on_a_full_disk_can_be_repeated(disk: Small) -> None:
    async def main() -> None:
        for leave in (0, 4096, 16384, 65536, 150_000):
            disk.fill(leave)
            with contextlib.suppress(DiskFull, StoreBroken, OSError):
                kit.opened(disk.data)._database.close()
            disk.make_room()
        async with kit.running(disk.data) as store:
            await kit.member(store)
        assert verify(disk.data)["problems"] == []

    kit.run(main)


def test_the_ballast_is_put_back_when_there_is_room(disk: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.upkeep.BALLAST_EVERY_S", 0.0)
    ballast = disk.data / "ballast"

    async def main() -> None:
        async with kit.running(disk.data) as store:
            ann = await kit.member(store)
            assert ballast.stat().st_size == BALLAST_OCTETS
            disk.fill()
            for _ in range(2000):
                if (await ann.post([ann.uid], os.urandom(60_000))).error:
                    break
            assert not ballast.exists()
            assert store.disk.room().low
            disk.make_room()
            await trio.sleep(1.1)
            assert (await ann.post([ann.uid], b"again")).error is None
            await kit.flush(store)
            assert ballast.stat().st_size == BALLAST_OCTETS

    kit.run(main)


def test_a_ballast_that_a_power_cut_left_short_is_made_whole(disk: Small) -> None:
    disk.data.mkdir()
    (disk.data / "ballast").write_bytes(b"")
    store: Store = kit.opened(disk.data)
    store._database.close()
    assert (disk.data / "ballast").stat().st_size == BALLAST_OCTETS


def test_a_spill_that_finds_no_room_comes_later(disk: Small) -> None:
    async def main() -> None:
        async with kit.running(disk.data) as store:
            ann, bob = await kit.members(store, 2)
            told = await some_posts(ann, bob.uid, 30, size=60_000)
            disk.fill()
            store.disk.drop_ballast()
            disk.fill()
            for _ in range(3):
                await kit.spill(store)
            assert await kit.pending_ids(store, bob.node) == told
            disk.make_room()
            await kit.spill(store)
            assert store.queues.weight == 0
            assert await kit.pending_ids(store, bob.node) == told
        assert verify(disk.data)["problems"] == []

    kit.run(main)
