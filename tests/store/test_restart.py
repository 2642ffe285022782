"""What is on the disk is the whole truth: whenever the store is opened anew, with or without having been
closed, it goes on as if nothing had happened."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import wire
from appliance.site import Payload
from appliance.store import Store, schema, verify
from tests.store import kit
from tests.store.model import START_NS, Household

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Syncs cost nothing there, and a copy of the files is what a power cut leaves, as SQLite writes."""

YEAR_S = 365 * 86400.0
DATA = [b"", b"x", b"hello" * 20, bytes(kit.LARGE), bytes([1]) * kit.LARGE]

number = st.integers(0, 1000)
which = st.integers(0, len(DATA) - 1)
step = st.one_of(
    st.tuples(st.just("post"), number, number, which),
    st.tuples(st.just("post"), number, number, which),
    st.tuples(st.just("ack"), number, st.integers(0, 3), st.integers(1, 5)),
    st.tuples(st.just("ack"), number, st.just(0), st.just(100)),
    st.tuples(st.sampled_from(["alias", "newnode", "drop", "repeat"]), number),
    st.tuples(st.just("together"), number, number, number, which),
    st.tuples(st.sampled_from(["spill", "cut", "week", "reopen", "power_cut"])),
    st.tuples(st.just("turn_clock"), st.sampled_from([-YEAR_S, -1e12, -60.0, 60.0, 3 * 86400.0, YEAR_S])),
)


async def happen(house: Household, name: str, *args: Any) -> None:
    """One step, its numbers brought into range."""
    nodes = sorted(house.queues)
    members = sorted(set(house.uids))
    match name:
        case "post":
            sender, mask, data = args
            targets = [m for at, m in enumerate(members) if mask >> at & 1] or members[:1]
            await house.post(nodes[sender % len(nodes)], targets, DATA[data])
        case "ack":
            await house.ack(nodes[args[0] % len(nodes)], args[1], args[2])
        case "together":
            sender, heir_of, dropped = (nodes[n % len(nodes)] for n in args[:3])
            await house.together(sender, heir_of, dropped, DATA[args[3] % 3])
        case "alias" | "newnode" | "drop":
            await getattr(house, name)(nodes[args[0] % len(nodes)])
        case _:
            await getattr(house, name)(*args)


def history(clock: kit.Clock, steps: list[Any]) -> Callable[[], Awaitable[None]]:
    async def main() -> None:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            house = Household(Path(folder) / "data", clock)
            await house.open()
            try:
                await house.settle(members=2, nodes=2)
                for name, *args in steps:
                    await happen(house, name, *args)
                    await house.compare()
                await house.power_cut()
                await house.compare()
                await house.spill()
                await house.compare()
                await house.compare_disk()
            finally:
                await house.close()

    return main


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(step, min_size=3, max_size=25))
def test_any_history_is_as_the_model_says(steps: list[Any]) -> None:
    clock = kit.Clock(START_NS)
    with pytest.MonkeyPatch.context() as patch:
        clock.drive(patch)
        kit.run(history(clock, steps))


def everything(store: Store) -> dict[str, Any]:
    """What a store knows, in comparable form. Ids of links are of one life only."""
    site, queues = store.site, store.queues
    return {
        "members": {n: repr(m) for n, m in site.members.items()},
        "nodes": {n: repr(node) for n, node in site.nodes.items()},
        "groups": {gid: repr(group) for gid, group in site.groups.items()},
        "names": (
            {uid: m.number for uid, m in site.uids.items()},
            {a: m.number for a, m in site.aliases.items()},
        ),
        "last number": site.last_number,
        "queues": {n: (p.count, p.octets) for n, p in queues.nodes.items() if p.count},
        "stored": {member: octets for member, octets in queues.stored.items() if octets},
        "entries": store.entries,
        "keyed": store._ledger.keyed,
    }


async def household(store: Store) -> tuple[kit.Device, kit.Device]:
    """Some of everything."""
    ann, bob = await kit.members(store, 2)
    await ann.alias("ann-the-first")
    await bob.alias("bob-the-second")
    await ann.newnode("phone")
    lost = await bob.newnode("lost")
    invite = wire.GroupInvite(id="g", gid="household", from_="ann-the-first", to="bob-the-second")
    assert (await ann.ask(invite, (Payload.of(b""),))).error is None
    join = wire.GroupEdit(id="j", act="join", gid="household", newalias="bob-the-second")
    assert (await bob.ask(join)).error is None
    for data in (b"one", bytes(kit.LARGE), b"three"):
        await ann.post([bob.uid], data)
    await kit.spill(store)
    await bob.acks(*(await kit.pending_ids(store, bob.node))[:3])
    await lost.drop()
    await ann.post([bob.uid], b"four")
    return ann, bob


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "power cut"])
@pytest.mark.parametrize("spilled", [True, False], ids=["spilled", "not spilled"])
def test_a_start_finds_everything_as_it_was(tmp_path: Path, closed: bool, spilled: bool) -> None:
    async def main() -> None:
        folder = tmp_path / "data"
        async with kit.running(folder) as store:
            await household(store)
            if spilled:
                await kit.spill(store)
            before = everything(store)
            if not closed:
                folder = kit.power_cut(folder, tmp_path / "cut")
        assert verify(folder)["problems"] == []
        async with kit.running(folder) as store:
            assert everything(store) == before
        assert verify(folder)["problems"] == []

    kit.run(main)


@pytest.mark.parametrize("then_ns", [0, START_NS - int(YEAR_S * 1e9), START_NS + int(YEAR_S * 1e9)])
def test_ids_rise_over_restarts_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then_ns: int
) -> None:
    clock = kit.Clock(START_NS)
    clock.drive(monkeypatch)
    ids: list[int] = []

    async def main() -> None:
        ann, bob = 0, ""
        for ns in (START_NS, then_ns, START_NS, then_ns):
            clock.ns = ns
            async with kit.running(tmp_path) as store:
                if not ann:
                    devices = await kit.members(store, 2)
                    ann, bob = devices[0].node, devices[1].uid
                ids.append(store.link_id())
                for _ in range(3):
                    ids.append((await kit.Device(store, ann).post([bob])).msgid)
                ids.append((await kit.Device(store, ann).post([], b"")).msgid)
        assert ids == sorted(set(ids))
        assert all(msgid % 16 == 0 for msgid in ids)

    kit.run(main)


def test_an_id_that_was_told_is_never_told_again_after_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest entry stays, and with it the floor of the ids."""
    clock = kit.Clock(START_NS)
    clock.drive(monkeypatch)

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            msgid = (await ann.post([bob.uid])).msgid
            await bob.acks(msgid)
            clock.advance(3 * 86400)
            await kit.spill(store)
        clock.ns = 0
        async with kit.running(tmp_path) as store:
            assert (await kit.Device(store, ann.node).post([])).msgid > msgid

    kit.run(main)


def test_numbers_of_dropped_nodes_are_not_used_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann = await kit.member(store)
            lost = await ann.newnode()
            await lost.drop()
        async with kit.running(tmp_path) as store:
            found = await kit.Device(store, ann.node).newnode()
            assert found.node > lost.node

    kit.run(main)


def test_messages_that_a_crash_left_without_a_queue_are_removed_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def main() -> None:
        async with kit.running(data) as store:
            ann, bob = await kit.members(store, 2)
            msgids = [(await ann.post([bob.uid], content)).msgid for content in (b"old", bytes(kit.LARGE))]
            await kit.spill(store)
            await bob.acks(*msgids)
            after = kit.power_cut(data, tmp_path / "after")
        assert kit.rows(after, "SELECT count(*) FROM message") == [(2,)]
        async with kit.running(after) as store:
            assert kit.rows(after, "SELECT count(*) FROM message") == [(0,)]
            assert kit.blob_files(after) == set()
            assert store.queues.stored_octets(ann.member) == 0

    kit.run(main)


def test_a_power_cut_in_the_first_start_is_made_good_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are all there or none of them, whichever statement was the last."""
    cuts: list[Path] = []
    real = schema.prepare

    def prepare(connection: sqlite3.Connection) -> None:
        def before(statement: str) -> None:
            cuts.append(kit.power_cut(tmp_path / "data", tmp_path / f"cut{len(cuts)}"))

        connection.set_trace_callback(before)
        real(connection)
        connection.set_trace_callback(None)

    monkeypatch.setattr(schema, "prepare", prepare)
    kit.opened(tmp_path / "data")._database.close()
    monkeypatch.undo()
    assert len(cuts) > 20
    for cut in cuts:
        store = kit.opened(cut)
        assert not store.site.members
        store._database.close()
        assert verify(cut)["problems"] == []
        shutil.rmtree(cut)


def test_a_queue_is_read_whole_and_in_order_while_it_is_brought_to_the_tables(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path, spill_weight=30, cache_octets=2000) as store:
            ann, bob = await kit.members(store, 2)
            told: list[int] = []
            working = True

            async def post() -> None:
                nonlocal working
                for turn in range(300):
                    told.append((await ann.post([bob.uid], b"%d" % turn)).msgid)
                working = False

            async with trio.open_nursery() as nursery:
                nursery.start_soon(post)
                while working:
                    known = len(told)
                    found = [message.msgid for message in (await store.pending(bob.node, set(), 10_000))[0]]
                    assert found == sorted(set(found))
                    assert found[:known] == told[:known]
                    await trio.sleep(0.001)
            assert await kit.pending_ids(store, bob.node) == told

    kit.run(main)
