"""Bits that the disk turned over are found, left out, and put right."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.site.facts import Sent, decode_facts
from appliance.store import BadEntries, verify
from tests.store import kit
from tests.store.damage import blob_path, flip, flip_in_file, nothing, scrubbed, whole


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.scrubber.LOOK_S", 0.01)


def test_nothing_is_wrong_with_what_is_right(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for turn in range(40):
                await ann.post([bob.uid], b"%d" % turn)
            await ann.post([bob.uid], bytes(kit.LARGE))
            await kit.spill(store)
            await ann.post([bob.uid], b"fresh")
            state = await scrubbed(tmp_path, store)
            assert (state["found"], state["problems"]) == (0, [])
            assert (state["messages"], state["attachments"]) == (42, 1)
            assert state["entries"] == store.entries
            assert state["octets"] >= kit.LARGE

    kit.run(main)
    assert nothing(whole(tmp_path))


@pytest.mark.parametrize("column", ["body", "signature", "prev", "clock", "kind"])
def test_a_bit_of_an_entry_is_found(tmp_path: Path, column: str) -> None:
    async def main() -> str:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for turn in range(10):
                await ann.post([bob.uid], b"%d" % turn)
            return store.replica.own

    box: list[str] = []

    async def run() -> None:
        box.append(await main())

    kit.run(run)
    [(place, value)] = kit.rows(
        tmp_path, f"SELECT place, {column} FROM entry ORDER BY place LIMIT 1 OFFSET 5"
    )
    changed = flip(value) if isinstance(value, bytes) else value ^ 1
    kit.change(tmp_path, f"UPDATE entry SET {column} = ? WHERE place = ?", changed, place)
    found = whole(tmp_path)
    assert found.entries == [(box[0], place // 256)]
    assert not found.messages and not found.blobs


def test_an_entry_that_is_gone_is_found_and_cut_ones_are_not_missed(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for turn in range(10):
                await ann.post([bob.uid], b"%d" % turn)

    kit.run(main)
    places = [p for (p,) in kit.rows(tmp_path, "SELECT place FROM entry WHERE kind = 2 ORDER BY place")]
    for place in places[:3]:
        kit.change(tmp_path, "DELETE FROM entry WHERE place = ?", place)
    assert nothing(whole(tmp_path))
    kit.change(tmp_path, "DELETE FROM entry WHERE place = ?", places[6])
    assert [seq for _, seq in whole(tmp_path).entries] == [places[6] // 256]


def test_bits_in_the_database_file_itself_are_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            await ann.post([bob.uid], b"a needle in a haystack" * 30)
            await ann.post([bob.uid], b"another")

    kit.run(main)
    [(msgid,)] = kit.rows(tmp_path, "SELECT msgid FROM message WHERE size > 100")
    assert flip_in_file(tmp_path / "pocket.db", b"a needle in a haystack" * 30)
    assert whole(tmp_path).messages == [msgid]


def test_a_damaged_message_is_left_out_and_comes_back(tmp_path: Path) -> None:
    """In the tables; the others are delivered, and its octets are wanted from other boxes."""

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid], b"data %d" % turn)).msgid for turn in range(4)]
            [before] = await store.replica.octets(msgids[1:2])
        kit.change(
            tmp_path, "UPDATE message SET data = ? WHERE msgid = ?", flip(before.data or b""), msgids[1]
        )
        async with kit.running(tmp_path) as store:
            state = await scrubbed(tmp_path, store)
            assert (state["found"], state["repaired"], state["open"]) == (1, 0, 1)
            assert "1 message;" in state["problems"][0]
            assert await kit.pending_ids(store, bob.node) == [msgids[0], *msgids[2:]]
            assert store.replica.absent_messages() == [msgids[1]]
            assert store.queues.nodes[bob.node].count == 3
            published: list[int] = []
            store.publish = lambda messages: published.extend(m.msgid for m in messages)
            with pytest.raises(BadEntries):
                await store.replica.give_octets([type(before)(before.msgid, before.head, b"datb 1")])
            await store.replica.give_octets([before])
            assert published == [msgids[1]]
            store.healing.look()
            assert (store.healing.open, store.healing.repaired) == (0, 1)
            assert store.healing.reason is None
            assert await kit.pending_ids(store, bob.node) == msgids
            assert store.queues.nodes[bob.node].count == 4
        assert nothing(whole(tmp_path))
        assert verify(tmp_path)["ok"]

    kit.run(main)


def test_a_damaged_message_that_nobody_has_yet_is_left_out_before_the_spill_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, cache_octets=1) as store:
            ann, bob = await kit.members(store, 2)
            tablet = await bob.newnode()
            msgids = [(await ann.post([bob.uid], b"data %d" % turn)).msgid for turn in range(4)]
            [before] = await store.replica.octets(msgids[1:2])
            with closing(sqlite3.connect(tmp_path / "pocket.db")) as other, other:
                other.execute("UPDATE fresh SET head = x'00' WHERE msgid = ?", (msgids[1],))
            state = await scrubbed(tmp_path, store)
            assert (state["found"], state["open"]) == (1, 1)
            mine = [m for m in await kit.pending_ids(store, bob.node) if m in msgids]
            assert mine == [msgids[0], *msgids[2:]]
            await kit.spill(store)
            await tablet.acks(msgids[1])
            assert [m for m in await kit.pending_ids(store, bob.node) if m in msgids] == mine
            await store.replica.give_octets([before])
            assert [m for m in await kit.pending_ids(store, bob.node) if m in msgids] == msgids
            assert msgids[1] not in await kit.pending_ids(store, tablet.node)
        assert verify(tmp_path)["ok"], verify(tmp_path)

    kit.run(main)


def test_what_is_still_in_memory_mends_the_disk(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid], b"data")).msgid
            with closing(sqlite3.connect(tmp_path / "pocket.db")) as other, other:
                other.execute("UPDATE fresh SET data = x'00' WHERE msgid = ?", (msgid,))
            state = await scrubbed(tmp_path, store)
            store.healing.look()
            assert (state["found"], store.healing.open) == (1, 0)
            assert await kit.pending_ids(store, bob.node) == [msgid]
        assert nothing(whole(tmp_path))

    kit.run(main)


@pytest.mark.parametrize("column", ["digest", "size", "sender", "rank"])
def test_what_goes_with_the_octets_is_put_right_from_the_journal(tmp_path: Path, column: str) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid], b"data")).msgid
        [(value,)] = kit.rows(tmp_path, f"SELECT {column} FROM message")
        changed = flip(value) if isinstance(value, bytes) else value ^ 2
        kit.change(tmp_path, f"UPDATE message SET {column} = ?", changed)
        async with kit.running(tmp_path) as store:
            await scrubbed(tmp_path, store)
            assert store.healing.open == 0
            assert await kit.pending_ids(store, bob.node) == [msgid]
        if column in ("digest", "size"):
            assert kit.rows(tmp_path, f"SELECT {column} FROM message") == [(value,)]

    kit.run(main)


def test_a_message_whose_row_is_gone_keeps_no_queue_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid], b"data %d" % turn)).msgid for turn in range(6)]
            gone = await store.replica.octets(msgids[:3])
        for msgid in msgids[:3]:
            kit.change(tmp_path, "DELETE FROM message WHERE msgid = ?", msgid)
        async with kit.running(tmp_path) as store:
            messages, _ = await store.pending(bob.node, set(), 3)
            assert [m.msgid for m in messages] == msgids[3:]
            assert sorted(store.replica.absent_messages()) == msgids[:3]
            await store.replica.give_octets(gone)
            assert await kit.pending_ids(store, bob.node) == msgids
        assert verify(tmp_path)["ok"]

    kit.run(main)


def test_a_message_of_which_nothing_is_left_keeps_no_queue_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid], b"data %d" % turn)).msgid for turn in range(2)]
        kit.change(tmp_path, "DELETE FROM message WHERE msgid = ?", msgids[0])
        for place, body in kit.rows(tmp_path, "SELECT place, body FROM entry WHERE kind = 2"):
            if any(isinstance(f, Sent) and f.msgid == msgids[0] for f in decode_facts(body)):
                kit.change(tmp_path, "UPDATE entry SET signature = x'00' WHERE place = ?", place)
        async with kit.running(tmp_path) as store:
            messages, _ = await store.pending(bob.node, set(), 1)
            assert [m.msgid for m in messages] == msgids[1:]
            assert store.replica.absent_messages() == [], "nobody could prove what it was"
            store.healing.look()
            assert "1 message;" in (store.healing.reason or "")

    kit.run(main)


def test_a_damaged_file_is_set_aside_and_comes_back(tmp_path: Path) -> None:
    reasons: list[str | None] = []

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            first = (await ann.post([bob.uid], b"before")).msgid
            msgid = (await ann.post([bob.uid], bytes(kit.LARGE))).msgid
            await kit.spill(store)
            again = (await ann.post([bob.uid], bytes(kit.LARGE))).msgid
            last = (await ann.post([bob.uid], b"after")).msgid
            path = blob_path(tmp_path)
            path.write_bytes(flip(path.read_bytes(), 12345))
            state = await scrubbed(tmp_path, store, reasons.append)
            assert (state["found"], state["open"]) == (1, 1)
            assert "1 attachment;" in state["problems"][0]
            assert not path.exists()
            assert await kit.pending_ids(store, bob.node) == [first, last]
            sha = bytes.fromhex(path.name)
            assert store.replica.absent_blobs() == {sha: kit.LARGE}
        async with kit.running(tmp_path) as store:
            assert await kit.pending_ids(store, bob.node) == [first, last], "also after a restart"
            await kit.upload(store, bytes(kit.LARGE))
            await store.replica.blob_here(sha)
            store.blobs.unpin(sha)
            assert await kit.pending_ids(store, bob.node) == [first, msgid, again, last]
            assert len(list(path.parent.iterdir())) == 1, "the damaged one is gone"
        assert verify(tmp_path)["ok"]

    kit.run(main)
    assert nothing(whole(tmp_path))
    assert any(reason and "attachment" in reason for reason in reasons)


def test_a_file_that_is_gone_is_found(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            await ann.post([bob.uid], bytes(kit.LARGE))
            blob_path(tmp_path).unlink()
            state = await scrubbed(tmp_path, store)
            assert state["open"] == 1
            assert await kit.pending_ids(store, bob.node) == []

    kit.run(main)


def test_a_file_that_was_brought_anew_meanwhile_stays(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid], bytes(kit.LARGE))).msgid
            path = blob_path(tmp_path)
            path.write_bytes(b"x" + path.read_bytes()[1:])
            [(sha, seen)] = whole(tmp_path).blobs
            await ann.post([ann.uid], bytes(kit.LARGE))
            await store.healing.blob_damaged(sha, seen)
            assert path.exists() and nothing(whole(tmp_path))
            assert await kit.pending_ids(store, bob.node) == [msgid]

    kit.run(main)


def test_a_damaged_entry_is_replaced_by_one_that_fits_and_by_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for turn in range(6):
                await ann.post([bob.uid], b"%d" % turn)
            own = store.replica.own
            arrivals = {a.seq: a for a in await store.replica.read({}, 1 << 20)}
        damaged, missing, head = 3, 5, max(arrivals)
        kit.change(tmp_path, "UPDATE entry SET body = x'90' WHERE place / 256 = ?", damaged)
        kit.change(tmp_path, "UPDATE entry SET signature = x'' WHERE place / 256 = ?", head)
        kit.change(tmp_path, "DELETE FROM entry WHERE place / 256 = ?", missing)
        async with kit.running(tmp_path) as store:
            asked: list[Any] = []
            store.healing.ask = asked.extend
            state = await scrubbed(tmp_path, store)
            assert state["open"] == 3
            assert asked == [(own, damaged), (own, missing), (own, head)]
            assert await store.healing.entry(own, damaged) is None, "nothing damaged is given to others"
            good = arrivals[damaged]
            other = store.key.sign(good.seq, good.clock, good.kind, good.prev, b"\x90")
            assert not await store.healing.mend(arrivals[4]), "nobody wants it"
            for wrong in (
                type(good)(*[*_fields(good)[:5], b"\x90", good.signature]),
                type(good)(*[own, damaged, *_fields(arrivals[4])[2:7]]),
                type(good)(*[*_fields(good)[:6], flip(good.signature)]),
                type(good).of(other),
            ):
                with pytest.raises(BadEntries):
                    await store.healing.mend(wrong)
            for seq in (damaged, missing, head):
                assert await store.healing.mend(arrivals[seq])
            assert store.healing.open == 0
            assert (await store.healing.entry(own, damaged)) == type(good)(*_fields(good)[:7])
        assert nothing(whole(tmp_path))
        assert verify(tmp_path)["ok"]

    kit.run(main)


def _fields(arrival: Any) -> list[Any]:
    return [getattr(arrival, name) for name in arrival.__struct_fields__]


def test_a_torn_database_is_told_with_what_to_do(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for turn in range(200):
                await ann.post([bob.uid], b"%d" % turn * 100)

    kit.run(main)
    path = tmp_path / "pocket.db"
    content = bytearray(path.read_bytes())
    [(root,)] = kit.rows(tmp_path, "SELECT rootpage FROM sqlite_master WHERE name = 'entry'")
    content[(root - 1) * 4096 : root * 4096] = bytes(4096)
    path.write_bytes(content)
    [problem] = whole(tmp_path).problems
    assert "damaged" in problem and "backup" in problem
