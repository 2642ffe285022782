"""A request sent again after a lost ack is one message, for a day."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire
from appliance.site import Decision, Payload
from appliance.store import Done, Store, keys, schema, verify
from tests.store import kit
from tests.store.model import START_NS

DAY_S = 86400.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> kit.Clock:
    clock = kit.Clock(START_NS)
    clock.drive(monkeypatch)
    return clock


async def pair(store: Store) -> tuple[kit.Device, kit.Device]:
    ann, bob = await kit.members(store, 2)
    ann.relink()
    return ann, bob


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("restart", ["none", "closed", "power cut"])
def test_a_repetition_on_a_new_link_is_answered_and_not_carried_out(
    tmp_path: Path, spilled: bool, restart: str
) -> None:
    async def main() -> None:
        folder = tmp_path / "data"
        async with kit.running(folder) as store:
            ann, bob = await pair(store)
            first = await ann.post([bob.uid], b"once", id="1")
            large = await ann.post([bob.uid], bytes(kit.LARGE), id="2")
            edit = await ann.ask(wire.UserEdit(id="3", newalias="only-once"))
            if spilled:
                await kit.spill(store)
            if restart == "none":
                await again(store, first, large, edit, ann, bob)
            elif restart == "power cut":
                folder = kit.power_cut(folder, tmp_path / "cut")
        if restart != "none":
            async with kit.running(folder) as store:
                await again(store, first, large, edit, ann, bob)
        assert verify(folder)["problems"] == []

    async def again(
        store: Store, first: Decision, large: Decision, edit: Decision, ann: kit.Device, bob: kit.Device
    ) -> None:
        queue, entries = await kit.pending_ids(store, bob.node), store.entries
        uid = bob.uid
        ann = kit.Device(store, ann.node)
        ann.relink()
        assert ann.lookup
        for _ in range(2):
            for told, answer in (
                (first, await ann.post([uid], b"once", id="1")),
                (large, await ann.post([uid], bytes(kit.LARGE), id="2")),
                (edit, await ann.ask(wire.UserEdit(id="3", newalias="only-once"))),
            ):
                assert (answer.error, answer.msgid, answer.posted_ms) == (None, told.msgid, told.posted_ms)
                assert not answer.messages and not answer.lasting
        assert await kit.pending_ids(store, bob.node) == queue
        assert store.entries == entries
        assert store.counts.repeated == 6

    kit.run(main)


def test_the_same_request_on_the_same_link_is_another_message(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await pair(store)
            msgids = [(await ann.post([bob.uid], b"again", id="1")).msgid for _ in range(2)]
            ann.relink()
            msgids += [(await ann.post([bob.uid], b"again", id="new")).msgid for _ in range(2)]
            assert await kit.pending_ids(store, bob.node) == msgids
            assert len(set(msgids)) == 4

    kit.run(main)


@pytest.mark.parametrize("other", ["id", "data", "node"])
def test_a_request_that_differs_is_another_message(tmp_path: Path, other: str) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await pair(store)
            tablet = await ann.newnode()
            await tablet.post([bob.uid], b"something else", id="0")
            first = await ann.post([bob.uid], b"once", id="1")
            await kit.spill(store)
            sender = tablet if other == "node" else ann
            sender.relink()
            data, id = (b"twice" if other == "data" else b"once"), ("2" if other == "id" else "1")
            second = await sender.post([bob.uid], data, id=id)
            assert second.msgid != first.msgid

    kit.run(main)


@pytest.mark.parametrize("spilled", [False, True])
def test_a_request_that_was_refused_is_judged_anew(tmp_path: Path, spilled: bool) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await pair(store)
            await ann.post([bob.uid], b"so that there are keys", id="0")
            to_carol = wire.Ping(id="1", from_="ann-the-first", to="carol-to-be", datalen=0, datahead=0)
            payload = (Payload.of(b""),)
            await ann.alias("ann-the-first")
            assert (await ann.ask(to_carol, payload)).error is not None
            if spilled:
                await kit.spill(store)
            await bob.alias("carol-to-be")
            ann.relink()
            answer = await ann.ask(to_carol, payload)
            assert answer.error is None and answer.msgid

    kit.run(main)


def test_a_request_is_known_for_a_day_and_forgotten_after_two(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await pair(store)
            msgid = (await ann.post([bob.uid], b"once", id="1")).msgid
            await kit.spill(store)
            node, uid = ann.node, bob.uid
        clock.advance(DAY_S)
        async with kit.running(tmp_path) as store:
            ann = kit.Device(store, node)
            ann.relink()
            assert (await ann.post([uid], b"once", id="1")).msgid == msgid
            await ann.post([uid], b"another", id="2")
            await kit.spill(store)
            ann.relink()
            assert (await ann.post([uid], b"once", id="1")).msgid == msgid
            clock.advance(2 * DAY_S)
            await ann.post([uid], b"a third", id="3")
            await kit.spill(store)
            ann.relink()
            assert (await ann.post([uid], b"once", id="1")).msgid != msgid
        assert [days for (days,) in kit.rows(tmp_path, "SELECT count(DISTINCT day) FROM request")] == [1]

    kit.run(main)


@pytest.mark.parametrize("turned_s", [-365 * DAY_S, -1e12, -DAY_S])
@pytest.mark.parametrize("spilled", [False, True])
def test_a_request_is_known_although_the_clock_went_back(
    tmp_path: Path, clock: kit.Clock, turned_s: float, spilled: bool
) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await pair(store)
            before = await ann.post([bob.uid], b"before", id="1")
            if spilled:
                await kit.spill(store)
            node, uid = ann.node, bob.uid
            clock.ns = max(0, clock.ns + int(turned_s * 1e9))
            after = await ann.post([uid], b"after", id="2")
        async with kit.running(tmp_path) as store:
            ann = kit.Device(store, node)
            ann.relink()
            assert (await ann.post([uid], b"before", id="1")).msgid == before.msgid
            assert (await ann.post([uid], b"after", id="2")).msgid == after.msgid
            assert after.msgid > before.msgid

    kit.run(main)


few_keys = st.sampled_from(
    [bytes(16), b"\1" * 16, bytes(8) + b"\1" * 8, b"\1" * 8 + bytes(8), b"\0\1" * 8, b"\1\0" * 8]
)
"""Side by side they hold one another at all kinds of places."""
answers = st.builds(
    Done,
    st.integers(0, 5),
    st.integers(0, 5),
    st.integers(0, 5),
    st.lists(st.integers(0, 1 << 63), max_size=2).map(tuple),
    st.integers(0, 5),
)
spills = st.lists(st.dictionaries(st.tuples(st.integers(1, 2), few_keys), answers, max_size=8), max_size=4)


@given(spills=spills, wanted=few_keys)
def test_the_newest_answer_is_found_and_only_whole_keys_count(
    spills: list[dict[tuple[int, bytes], Done]], wanted: bytes
) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        schema.prepare(connection)
        newest: dict[tuple[int, bytes], Done] = {}
        for seq, requests in enumerate(spills):
            rows = keys.pack(requests.items(), seq, 100 + seq // 2)
            connection.executemany("INSERT INTO request VALUES (?, ?, ?, ?, ?, ?)", rows)
            newest |= requests
        for node, key in {*newest, (1, wanted), (2, wanted)}:
            assert keys.find(connection, 100, node, key) == newest.get((node, key))


def test_a_node_without_requests_is_not_looked_up(tmp_path: Path, clock: kit.Clock) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await pair(store)
            assert not store.has_keys(ann.node)
            await ann.post([bob.uid])
            assert store.has_keys(ann.node) and not store.has_keys(bob.node)
        async with kit.running(tmp_path) as store:
            assert store.has_keys(ann.node) and not store.has_keys(bob.node)
        clock.advance(3 * DAY_S)
        async with kit.running(tmp_path) as store:
            assert not store.has_keys(ann.node)

    kit.run(main)
