"""The index follows the archives: what comes from here and from other boxes, late or not, and what goes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.mail import Mail, MailError, MailSettings, indexer
from appliance.mail.file import INDEX_NAME
from appliance.mail.index import Entry
from appliance.site import Message
from appliance.site.relaying import drop_membership, set_archive, trim
from appliance.store.disk import Disk, Room
from tests.store import kit as stores

from . import kit


def test_what_comes_is_found_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            for n in range(5):
                await home.comes(f"word number{n}", f"s{n}")
            assert await home.found("word") == ["s4", "s3", "s2", "s1", "s0"]
            await home.comes("word", "s5")
            assert await home.found("word number3") == ["s3"] and await home.found("subject:s5") == ["s5"]

    stores.run(main)


def test_what_was_there_before_a_restart_is_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path, running=False) as home:
            for n in range(5):
                await home.comes("word", f"s{n}")
            member, archive = home.member, home.archive
        async with stores.running(tmp_path) as store:
            mail = Mail(store, tmp_path, MailSettings(), lambda text: None, lambda: True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(mail.run)
                assert len((await mail.search(member, "word"))["found"]) == 5
                assert (await mail.state(member))["indexed"] == store.queues.nodes[archive].count == 5
                nursery.cancel_scope.cancel()

    stores.run(main)


def test_many_are_taken_in_by_batches_of_messages_and_octets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "BATCH", 8)
    monkeypatch.setattr(indexer, "BATCH_OCTETS", 1000)
    monkeypatch.setattr(indexer, "IDS", 10)
    monkeypatch.setattr(indexer, "REST_MIN_S", 0.0)

    async def main() -> None:
        async with kit.home(tmp_path) as home:
            assert await home.found("word") == []
            added: list[int] = []
            add = home.mail._shelf.index.add

            def counted(entries: Iterable[Entry], *args: Any) -> int:
                some = list(entries)
                added.append(len(some))
                return add(some, *args)

            monkeypatch.setattr(home.mail._shelf.index, "add", counted)
            sent = [await home.comes("word " * (500 if n == 25 else 1), f"s{n}") for n in range(50)]
            found = (await home.mail.search(home.member, "word", limit=100))["found"]
            assert [hit["subject"] for hit in found] == [f"s{n}" for n in reversed(range(50))]
            assert sum(added) == 50 and max(added) < 8
            gone = sent[43].msgid
            await home.store.perform(lambda scene: trim(scene, home.archive, gone, b"", None))
            assert "s43" not in await home.found("word")

    stores.run(main)


def test_of_a_large_message_the_text_is_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await home.comes("word", "large", files=[("film.mp4", bytes(200_000))])
            await home.comes("lorem " * 30_000 + "unread", "long")
            assert await home.found("word film") == ["large"] and await home.found("lorem") == ["long"]
            assert await home.found("unread") == []

    stores.run(main)


def test_a_message_whose_octets_come_late_is_found_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another box's message that is behind the mark already when its octets are here."""

    async def main() -> None:
        async with kit.home(tmp_path) as home:
            relay = home.store.relay
            late: set[int] = set()
            archived, ids = relay.archived, relay.archived_ids

            async def without(node: int, slot: int, after: int, limit: int) -> list[Message]:
                return [m for m in await archived(node, slot, after, limit) if m.msgid not in late]

            async def ids_without(node: int, after: int, limit: int) -> list[int]:
                return [msgid for msgid in await ids(node, after, limit) if msgid not in late]

            monkeypatch.setattr(relay, "archived", without)
            monkeypatch.setattr(relay, "archived_ids", ids_without)
            late.add((await home.comes("word", "late")).msgid)
            pending = home.store.queues.nodes[home.archive]
            pending.count -= 1
            await home.comes("word", "next")
            assert await home.found("word") == ["next"]
            late.clear()
            pending.count += 1
            assert await home.found("word") == ["next", "late"]

    stores.run(main)


def test_what_the_archive_lets_go_of_is_not_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            first = await home.comes("word", "first")
            await home.comes("word", "second")
            assert await home.found("word") == ["second", "first"]
            await home.store.perform(lambda scene: trim(scene, home.archive, first.msgid, b"", None))
            assert await home.found("word") == ["second"]

    stores.run(main)


def test_each_box_has_a_mark_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A box that was away brings messages with lower ids than those that are in the index."""

    async def no_comparing(self: indexer.Indexer, node: int) -> None:
        return None

    async def main() -> None:
        async with kit.home(tmp_path) as home:
            asked: list[tuple[int, int]] = []
            archived = home.store.relay.archived

            async def noted(node: int, slot: int, after: int, limit: int) -> list[Message]:
                asked.append((slot, after))
                return await archived(node, slot, after, limit)

            monkeypatch.setattr(home.store.relay, "archived", noted)
            monkeypatch.setattr(indexer, "slots", lambda site: [0, 3])
            monkeypatch.setattr(indexer.Indexer, "_compare", no_comparing)
            here = await home.comes("word", "here")
            assert await home.found("word") == ["here"]
            asked.clear()
            mint = home.store.scene.mint
            last = mint.last
            with monkeypatch.context() as earlier:
                earlier.setattr(mint, "id", lambda: last - 160_000 + 3)
                there = await home.comes("word", "there", at_ms=kit.POSTED_MS)
            assert there.msgid < here.msgid and there.msgid % 16 == 3
            assert await home.found("word") == ["here", "there"]
            assert asked == [(0, here.msgid), (3, 0), (3, there.msgid)]

    stores.run(main)


def test_a_dropped_membership_is_not_found_at_once_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "LOOK_S", 0.02)

    async def main() -> None:
        async with kit.home(tmp_path) as home:
            bob = await stores.member(home.store)
            await home.mail.keep(bob.member, True)
            await home.device.post([bob.uid], b"zebra")
            await home.comes("word", "gone")
            assert await home.found("word") == ["gone"] and await home.found("zebra") == []
            await home.store.perform(lambda scene: drop_membership(scene, home.membership))
            assert await home.found("word") == []
            await stores.until(lambda: rows(tmp_path) == 2)
            assert b"zebra" in octets(tmp_path)
            assert len((await home.mail.search(bob.member, "zebra"))["found"]) == 1
            await home.mail.keep(bob.member, False)
            await stores.until(lambda: b"zebra" not in octets(tmp_path))

    stores.run(main)


def octets(folder: Path) -> bytes:
    """All that is in the files of the index."""
    return b"".join(path.read_bytes() for path in folder.glob(INDEX_NAME + "*"))


def rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / INDEX_NAME)) as connection:
        (messages,) = connection.execute("SELECT count(*) FROM message").fetchone()
        (marks,) = connection.execute("SELECT count(*) FROM done").fetchone()
        return int(messages + marks)


def test_nobody_finds_another_members_mail(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            bob = await stores.member(home.store)
            club = await kit.membership(home.store, bob.member, "club")
            await home.comes("word", "anns")
            head, data = kit.frame(101, "word", "bobs")
            await kit.relayed(home.store, club, 101, head, data)
            assert await home.found("word") == ["anns"]
            hits = (await home.mail.search(bob.member, "word"))["found"]
            assert [(hit["subject"], hit["archive"]) for hit in hits] == [("bobs", "club")]
            assert (await home.mail.search(bob.member, "word", membership=home.membership))["found"] == []
            assert (await home.mail.search(99, "word"))["found"] == []

    stores.run(main)


def test_the_own_site_is_found_by_who_has_it_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            bob, eve = await stores.members(home.store, 2)
            await home.store.perform(lambda scene: set_archive(scene, bob.member, True))
            head, data = kit.frame(1, "word", "from eve")
            decision = await eve.post([bob.uid, home.device.uid], data)
            assert decision.error is None
            hits = (await home.mail.search(bob.member, ""))["found"]
            assert [(hit["op"], hit["from"], hit["archive"]) for hit in hits] == [("delivery", eve.uid, "")]
            assert (await home.mail.search(eve.member, ""))["found"] == []
            assert await home.found("") == []
            assert head

    stores.run(main)


def test_a_damaged_index_is_made_anew_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            for n in range(300):
                await home.comes("word " * 50, f"s{n}")
            assert len((await home.mail.search(home.member, "word", limit=200))["found"]) == 200
            shelf = home.mail._shelf
            await shelf.use(shelf.index.connection.execute, "PRAGMA wal_checkpoint(TRUNCATE)")
            path = tmp_path / INDEX_NAME
            octets = bytearray(path.read_bytes())
            octets[4096:] = b"\xa5" * (len(octets) - 4096)
            await shelf.close()
            path.write_bytes(octets)
            with trio.fail_after(20):
                while True:
                    try:
                        result = await home.mail.search(home.member, "word", limit=200)
                    except MailError as error:
                        assert "made anew" in str(error)
                        continue
                    if result["indexed"] and len(result["found"]) == 200:
                        break
            assert home.warned == [] or "made anew" in home.warned[0]

    stores.run(main)


def test_a_full_disk_is_told_and_what_is_there_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await home.comes("word", "before")
            assert await home.found("word") == ["before"]
            full = Room(free=1 << 20, total=1 << 40, reserve=512 << 20, missing=0)
            monkeypatch.setattr(Disk, "room", lambda disk: full)
            await home.comes("word", "after")
            result = await home.mail.search(home.member, "word")
            assert [hit["subject"] for hit in result["found"]] == ["before"] and not result["indexed"]
            await stores.until(lambda: bool(home.warned))
            assert "nearly full" in home.warned[0]
            monkeypatch.undo()
            assert await home.found("word") == ["after", "before"]

    stores.run(main)


def test_it_writes_once_for_many_and_rests_between_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "BATCH", 10)
    rests: list[float] = []
    sleep = trio.sleep

    async def noted(seconds: float) -> None:
        rests.append(seconds)
        await sleep(0)

    async def main() -> None:
        async with kit.home(tmp_path) as home:
            assert await home.found("word") == []
            for n in range(35):
                await home.comes("word", f"s{n}")
            used: list[object] = []
            add = home.mail._shelf.index.add

            def counted(*args: object) -> int:
                used.append(args)
                return add(*args)  # type: ignore[arg-type]

            monkeypatch.setattr(home.mail._shelf.index, "add", counted)
            monkeypatch.setattr(trio, "sleep", noted)
            assert len(await home.found("word")) == 20
            monkeypatch.undo()
            assert len(used) == 4 and len(rests) >= 3 and min(rests) >= indexer.REST_MIN_S

    stores.run(main)


def test_many_are_taken_in_without_anybody_searching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer, "LOOK_S", 0.01)
    monkeypatch.setattr(indexer, "BATCH", 5)

    async def main() -> None:
        async with kit.home(tmp_path) as home:
            assert await home.found("word") == []
            for n in range(4):
                await home.comes("word", f"s{n}")
            await trio.sleep(0.1)
            assert rows(tmp_path) == 0
            await home.comes("word", "s4")
            await stores.until(lambda: rows(tmp_path) > 5)

    stores.run(main)


def test_a_mistake_of_ours_costs_the_index_and_not_the_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await home.comes("word", "before")
            assert await home.found("word") == ["before"]
            monkeypatch.setattr(indexer, "read", None)
            await home.comes("word", "after")
            assert await home.found("word") == ["before"]
            await stores.until(lambda: bool(home.warned))
            assert home.warned == [indexer.INTERNAL]
            monkeypatch.undo()
            assert await home.found("word") == ["after", "before"]

    stores.run(main)
