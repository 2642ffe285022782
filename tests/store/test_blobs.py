"""Attachments: stored once, there for as long as a message needs them, and gone when none does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import trio

from appliance.site import Decision
from appliance.store import Store, StoreBroken, verify
from tests.store import kit

OCTETS = bytes(range(256)) * 300
OTHER = bytes(kit.LARGE)


def name(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


async def read(store: Store, octets: bytes) -> bytes:
    found = b""
    async with store.blobs.download(hashlib.sha256(octets).digest(), len(octets)) as download:
        while piece := await download.read():
            found += piece
    return found


async def gone(folder: Path, octets: bytes) -> None:
    await kit.until(lambda: name(octets) not in kit.blob_files(folder))


def test_an_attachment_is_stored_and_read_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            assert (await ann.post([bob.uid], OCTETS)).error is None
            [message] = await kit.pending(store, bob.node)
            assert (message.size, message.data) == (len(OCTETS), None)
            assert message.blob == hashlib.sha256(OCTETS).digest()
            assert await read(store, OCTETS) == OCTETS
            assert kit.unfinished(tmp_path) == []
        assert verify(tmp_path)["ok"]

    kit.run(main)


def test_the_same_octets_are_one_file_until_both_messages_are_gone(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob, eve = await kit.members(store, 3)
            first = await ann.post([bob.uid], OCTETS)
            second = await ann.post([eve.uid], OCTETS)
            assert kit.blob_files(tmp_path) == {name(OCTETS)}
            await bob.acks(first.msgid)
            await kit.spill(store)
            assert kit.blob_files(tmp_path) == {name(OCTETS)}
            assert await read(store, OCTETS) == OCTETS
            await eve.acks(second.msgid)
            await kit.spill(store)
            await gone(tmp_path, OCTETS)

    kit.run(main)


def test_acknowledgements_alone_make_room(tmp_path: Path) -> None:
    """Below the reserve nobody can post, so nothing but acknowledgements may happen for long."""

    async def main() -> None:
        async with kit.running(tmp_path, spill_every_s=0.2) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid], OCTETS)).msgid
            await kit.spill(store)
            assert store.queues.weight == 0
            await bob.acks(msgid)
            await gone(tmp_path, OCTETS)
            assert kit.rows(tmp_path, "SELECT count(*) FROM message") == [(0,)]
            assert store.queues.stored_octets(ann.member) == 0

    kit.run(main)


def test_a_refused_attachment_is_removed(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann = await kit.member(store)
            assert (await ann.post(["nobody"], OCTETS)).error is not None
            await gone(tmp_path, OCTETS)

    kit.run(main)


def test_an_attachment_for_nobody_is_removed(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            uid = ann.uid
            await ann.drop()
            answer = await bob.post([uid], OCTETS)
            assert answer.error is None and answer.msgid
            await gone(tmp_path, OCTETS)

    kit.run(main)


def test_an_attachment_sent_again_is_removed_with_its_only_message(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            ann.relink()
            first = await ann.post([bob.uid], OCTETS, id="1")
            await bob.acks(first.msgid)
            await kit.spill(store)
            ann.relink()
            again = await ann.post([bob.uid], OCTETS, id="1")
            assert again.msgid == first.msgid
            await gone(tmp_path, OCTETS)
            assert await kit.pending_ids(store, bob.node) == []

    kit.run(main)


def test_an_attachment_that_nobody_posted_is_removed(tmp_path: Path) -> None:
    """The link was lost between the end of the data and the request's turn."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            payload = await kit.upload(store, OCTETS)
            assert kit.blob_files(tmp_path) == {name(OCTETS)}
            store.blobs.unpin(payload.digest)
            await gone(tmp_path, OCTETS)

    kit.run(main)


def test_a_pinned_attachment_outlives_the_removal_of_the_message_before(tmp_path: Path) -> None:
    """Uploaded again, and not yet posted, when the first message with the same octets goes."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            first = await ann.post([bob.uid], OCTETS)
            payload = await kit.upload(store, OCTETS)
            await bob.acks(first.msgid)
            await kit.spill(store)
            assert await read(store, OCTETS) == OCTETS
            second = await ann.ask(kit.post_request([bob.uid], payload.size), (payload,))
            await kit.spill(store)
            assert await read(store, OCTETS) == OCTETS
            await bob.acks(second.msgid)
            await kit.spill(store)
            await gone(tmp_path, OCTETS)

    kit.run(main)


def test_two_uploads_race_with_a_removal(tmp_path: Path) -> None:
    """Whatever comes first, what is acknowledged has its octets."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            answers: list[Decision] = []

            async def post(delay_s: float) -> None:
                await trio.sleep(delay_s)
                answers.append(await ann.post([bob.uid], OCTETS))

            for turn in range(40):
                first = await ann.post([bob.uid], OCTETS)
                await bob.acks(first.msgid)
                answers.clear()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(post, turn % 10 * 0.0003)
                    nursery.start_soon(post, turn % 7 * 0.0003)
                    nursery.start_soon(kit.spill, store)
                assert [answer.error for answer in answers] == [None, None]
                assert await read(store, OCTETS) == OCTETS
                await bob.acks(*(answer.msgid for answer in answers))
            await kit.spill(store)
            await gone(tmp_path, OCTETS)
        assert verify(tmp_path)["ok"]

    kit.run(main)


def test_what_an_aborted_upload_left_is_removed(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            upload = store.blobs.upload()
            await upload.write([OCTETS])
            assert len(kit.unfinished(tmp_path)) == 1
            upload.abort()
            assert kit.unfinished(tmp_path) == []
            assert kit.blob_files(tmp_path) == set()

    kit.run(main)


def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            for delay_s in (0.0, 0.0005, 0.001, 0.002, 0.004):
                with trio.move_on_after(delay_s):
                    payload = await kit.upload(store, OCTETS)
                    store.blobs.unpin(payload.digest)
            await gone(tmp_path, OCTETS)
            assert kit.unfinished(tmp_path) == []

    kit.run(main)


def test_a_start_removes_unfinished_uploads_and_files_without_a_message(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def main() -> None:
        async with kit.running(data) as store:
            ann, bob = await kit.members(store, 2)
            await ann.post([bob.uid], OCTETS)
            await kit.upload(store, OTHER)
            unfinished = store.blobs.upload()
            await unfinished.write([OTHER])
            after = kit.power_cut(data, tmp_path / "after")
            unfinished.abort()
        assert kit.blob_files(after) == {name(OCTETS), name(OTHER)}
        async with kit.running(after) as store:
            assert kit.blob_files(after) == {name(OCTETS)}
            assert kit.unfinished(after) == []
            assert len(await kit.pending(store, bob.node)) == 1
            assert await read(store, OCTETS) == OCTETS

    kit.run(main)


def test_a_file_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            with pytest.raises(StoreBroken, match="cannot be read"):
                await read(store, OCTETS)

    kit.run(main)


def test_a_file_that_was_cut_short_is_not_sent(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            assert (await ann.post([bob.uid], OCTETS)).error is None
            os.truncate(store.blobs.path(hashlib.sha256(OCTETS).digest()), len(OCTETS) - 1)
            with pytest.raises(StoreBroken, match=f"has {len(OCTETS) - 1} octets instead of {len(OCTETS)}"):
                await read(store, OCTETS)

    kit.run(main)
