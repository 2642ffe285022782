"""Memberships at other sites in the store: what comes from there, what is to go there, what is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from appliance import wire
from appliance.site import (
    EMPTY,
    Decision,
    Echo,
    Payload,
    add_membership,
    add_relay_device,
    decode_facts,
    drop_membership,
    relay_answered,
    relay_in,
    relay_newnode,
    relay_out,
    set_archive,
    set_credential,
    set_membership,
    set_sealing,
    trim,
)
from appliance.site.facts import Carried, Outcome, Relayed
from appliance.store import Store, relay, schema, verify
from tests.store import kit
from tests.store.test_versions import introduce, ship

UID = "%+1234"


async def perform(store: Store, decide: Any, *args: Any, **named: Any) -> Decision:
    decision = await store.perform(lambda scene: decide(scene, *args, **named))
    assert decision.error is None, decision.error
    return decision


@asynccontextmanager
async def two_boxes(folder: Path) -> AsyncIterator[tuple[Store, Store, int, list[int]]]:
    """The first has a membership with two devices, and the second has heard of everything."""
    async with kit.running(folder / "a") as a, kit.running(folder / "b") as b:
        number, devices = await membership(a)
        for store in (a, b):
            await introduce(a, store.key)
        b.replica.trusted[a.replica.own] = a.key.public
        await ship(a, b)
    async with (
        kit.running(folder / "a") as a,
        kit.running(folder / "b") as b,
    ):  # with the slots they were given
        yield a, b, number, devices


async def membership(store: Store, name: str = "work") -> tuple[int, list[int]]:
    """A member's membership with two devices; its number, and theirs."""
    owner = await kit.member(store)
    number = (await perform(store, add_membership, owner.member, name, {"uid": UID})).node
    devices = [
        (await perform(store, add_relay_device, number, label, kit.Credentials.make())).node
        for label in ("phone", "laptop")
    ]
    return number, devices


def head(upid: int, op: str = "delivery", size: int = 5) -> bytes:
    return wire.encode_message(op, "B", upid, 1_700_000_000_000, size, 0, None)


async def come(store: Store, number: int, upid: int, text: bytes = b"hello", **named: Any) -> Decision:
    """A message comes from the site."""
    return await perform(
        store, relay_in, number, upid, "delivery", head(upid, size=len(text)), Payload.of(text), **named
    )


async def ask(store: Store, device: int, id: str, text: bytes = b"ho", key: bytes = b"") -> Decision:
    """A device posts."""
    request = wire.Post(id, [wire.Target("B", 1)], len(text), 0, None)
    request.head = wire.ClientLink().encode(wire.TmtpRev("1")) + id.encode()
    node = store.site.nodes[device]
    return await perform(store, relay_out, node, request, Payload.of(text), key or id.encode() * 16)


def test_what_comes_from_a_site_goes_to_all_devices_of_the_membership_octet_for_octet(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            number, devices = await membership(store)
            upids = [5, 7, 900]
            for upid in upids:
                await come(store, number, upid)
            for device in devices:
                waiting = await kit.pending(store, device)
                assert [m.head for m in waiting] == [head(upid) for upid in upids]
                assert {m.data for m in waiting} == {b"hello"}
            assert set(await store.relay.known(number, [5, 7, 8])) == {5, 7}
            owner = store.site.members[store.site.memberships[number].member]
            assert len(owner.nodes) == 1, "they are none of the member's devices of this site"
        async with kit.running(tmp_path / "a") as store:
            assert set(await store.relay.known(number, [5, 6])) == {5}
            for msgid in await kit.pending_ids(store, devices[0]):
                store.ack(devices[0], msgid)
            await kit.flush(store)
            assert not await kit.pending_ids(store, devices[0])
            assert len(await kit.pending_ids(store, devices[1])) == 3
        assert verify(tmp_path / "a")["ok"], verify(tmp_path / "a")

    kit.run(main)


def test_a_request_stays_in_the_outbox_over_a_crash_until_the_site_has_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            number, devices = await membership(store)
            first = (await ask(store, devices[0], "1")).msgid
            second = (await ask(store, devices[1], "1", b"x" * 1000)).msgid
            copy = kit.power_cut(tmp_path / "a", tmp_path / "b")
        async with kit.running(copy) as store:
            items = await store.relay.items(number)
            assert [(item.msgid, item.node, item.id) for item in items] == [
                (first, devices[0], "1"),
                (second, devices[1], "1"),
            ]
            out = store.site.memberships[number].out
            assert [m.data for m in await kit.pending(store, out)] == [b"ho", b"x" * 1000]
            assert await store.relay.find(devices[0], b"1" * 16) == first
            told: list[Outcome] = []
            store.relay.on_outcome.append(told.append)
            await kit.spill(store)
            echo = Echo("delivery", 77, head(77, size=2), Payload.of(b"ho"), (devices[1],))
            await perform(store, relay_answered, number, first, 77, 1_700_000_000_000, "", [echo])
            await perform(store, relay_answered, number, second, 0, 0, "no such uid")
            assert [(one.msgid, one.upid, one.error) for one in told] == [
                (first, 77, ""),
                (second, 0, "no such uid"),
            ]
            assert not await store.relay.items(number) and not await kit.pending_ids(store, out)
            assert [m.head for m in await kit.pending(store, devices[1])] == [head(77, size=2)]
            assert not await kit.pending_ids(store, devices[0]), "who posted has it"
            assert (await store.relay.known(number, [77]))[77]
            item = await store.relay.item(second)
            assert item is not None and item.answered and item.error == "no such uid"
        assert verify(copy)["ok"], verify(copy)

    kit.run(main)


def test_two_boxes_come_to_the_same_and_what_both_took_in_is_delivered_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, devices):
            await perform(a, set_sealing, b.replica.own, b"public")
            await perform(a, set_credential, number, b.replica.own, b"sealed")
            await ship(a, b)
            assert b.site.memberships[number].credentials == {b.replica.own: b"sealed"}
            await come(a, number, 5)
            await come(b, number, 5)
            await come(a, number, 6)
            await perform(b, relay_in, number, 6, "delivery", head(6), Payload.of(b"hello"), ())
            mine = (await ask(a, devices[0], "9", key=b"k")).msgid
            theirs = (await ask(b, devices[0], "9", key=b"k")).msgid
            for _ in range(3):
                await ship(a, b)
                await ship(b, a)
            for store in (a, b):
                assert [m.head for m in await kit.pending(store, devices[0])] == [head(5), head(6)]
                assert [item.msgid for item in await store.relay.items(number)] == [min(mine, theirs)]
                assert await store.relay.find(devices[0], b"k") == min(mine, theirs)
            assert await a.replica.state_digest() == await b.replica.state_digest()
            assert await a.relay.known(number, [5, 6]) == await b.relay.known(number, [5, 6])
        for folder in "ab":
            assert verify(tmp_path / folder)["ok"], verify(tmp_path / folder)

    kit.run(main)


def test_a_site_that_answers_two_boxes_has_one_outcome_on_both(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, devices):
            item = (await ask(a, devices[0], "1")).msgid
            await ship(a, b)
            await perform(a, relay_answered, number, item, 88, 5, "")
            await perform(b, relay_answered, number, item, 80, 4, "")
            for _ in range(2):
                await ship(a, b)
                await ship(b, a)
            found = [await store.relay.item(item) for store in (a, b)]
            assert [one.upid for one in found if one is not None] == [80, 80]

    kit.run(main)


def test_a_new_device_starts_with_what_another_has_yet_to_get_or_with_what_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            number, devices = await membership(store)
            archive = store.site.memberships[number].archive
            ids = [(await come(store, number, upid)).msgid for upid in (5, 6, 7)]
            await kit.spill(store)
            store.ack(devices[0], ids[0], known=False)
            await kit.flush(store)
            short = await perform(store, trim, archive, ids[1], head(6), Payload.of(b"he"))
            fresh = kit.Credentials.make()
            copied = await perform(store, add_relay_device, number, "tablet", fresh, devices[0])
            assert await kit.pending_ids(store, copied.node) == ids[1:]
            history = await perform(
                store, add_relay_device, number, "desk", kit.Credentials.make(), since_ms=0
            )
            assert await kit.pending_ids(store, history.node) == [ids[0], ids[2]], "what is whole"
            told = await perform(
                store, relay_newnode, store.site.nodes[devices[0]], "watch", kit.Credentials.make()
            )
            assert await kit.pending_ids(store, told.node) == ids[1:]
            assert b'"newnode":"watch"' in (await kit.pending(store, devices[1]))[0].head
            kept = await store.relay.archived(archive, short.msgid % 16, 0, 10)
            assert [m.msgid for m in kept] == [ids[0], ids[2], short.msgid]
            assert kept[2].data == b"he" and kept[2].head == head(6)
            assert [m.msgid for m in await store.relay.archived(archive, 0, ids[0], 1)] == [ids[2]]

    kit.run(main)


def test_a_device_in_a_drawer_gets_no_more_than_its_share_and_holds_up_nobody(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            number, (idle, busy) = await membership(store)
            store.scene.limits = replace(store.scene.limits, relay_octets_per_device=1000)
            archive = store.site.memberships[number].archive
            for upid in range(1, 5):
                for msgid in await kit.pending_ids(store, busy):
                    store.ack(busy, msgid)
                await kit.flush(store)
                await come(store, number, upid, b"x" * 400)
            assert len(await kit.pending_ids(store, idle)) == 2
            assert len(await kit.pending_ids(store, archive)) == 4
            (last,) = await kit.pending(store, busy)
            assert last.head == head(4, size=400)
            store.ack(busy, last.msgid)
            await kit.flush(store)
            await come(store, number, 5, b"x" * 5000)
            assert len(await kit.pending_ids(store, busy)) == 1, "where nothing waits, whatever its size"
            assert len(await kit.pending_ids(store, idle)) == 2

    kit.run(main)


def test_who_has_the_password_of_a_device_is_let_in_to_its_membership_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            owner = await kit.member(store)
            uid = store.site.members[owner.member].uid
            fresh = [kit.Credentials.make() for _ in range(2)]
            numbers = []
            for name, one in zip(("work", "club"), fresh, strict=True):
                number = (await perform(store, add_membership, owner.member, name, {"uid": uid})).node
                numbers.append(number)
                await perform(store, add_relay_device, number, "phone", one)
            for number, one in zip(numbers, fresh, strict=True):
                node = store.site.authenticate(uid, one.secret)
                assert node is not None and node.membership == number, "also if a site gives out our uids"
            assert store.site.authenticate("other", fresh[0].secret) is None
            await perform(store, set_membership, numbers[0], uid="other", halted="the site said no")
            assert store.site.authenticate(uid, fresh[0].secret) is None
            assert store.site.authenticate("other", fresh[0].secret) is not None
            twice = await store.perform(lambda scene: add_membership(scene, owner.member, "club", {}))
            assert twice.error is not None and "club" in twice.error

    kit.run(main)


def test_a_membership_that_is_dropped_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            number, devices = await membership(store)
            await come(store, number, 5)
            await ask(store, devices[0], "1")
            await kit.spill(store)
            dropped = await perform(store, drop_membership, number)
            assert set(dropped.dropped) > set(devices)
            assert not store.site.memberships and not store.site.relays[UID]
            assert await store.relay.known(number, [5]) == {}
            late = await store.perform(partial(_late, number=number))
            assert late.error is not None
            await kit.spill(store)
            assert kit.rows(tmp_path / "a", "SELECT * FROM message") == []
        assert verify(tmp_path / "a")["ok"]
        async with kit.running(tmp_path / "a") as store:
            assert not store.site.memberships

    kit.run(main)


def test_a_device_that_another_box_added_meanwhile_goes_with_its_membership(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, _):
            added = await perform(b, add_relay_device, number, "desk", kit.Credentials.make())
            await come(b, number, 5)
            await perform(a, drop_membership, number)
            for _ in range(2):
                await ship(a, b)
                await ship(b, a)
            for store in (a, b):
                assert added.node not in store.site.nodes and not store.site.memberships
                assert added.node not in store.queues.nodes
            assert await a.replica.state_digest() == await b.replica.state_digest()

    kit.run(main)


def _late(scene: Any, number: int) -> Decision:
    return relay_in(scene, number, 6, "delivery", head(6), Payload.of(b"hello"))


def test_what_is_kept_of_this_site_is_on_nobodys_account_and_has_no_passwords(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            writer, reader = await kit.members(store, 2)
            before = store.queues.stored_octets(writer.member)
            await perform(store, set_archive, reader.member, True)
            archive = store.site.members[reader.member].archive
            sent = await writer.post([reader.uid], b"for the archive")
            await reader.post([], b"to my own devices")
            await reader.ask(wire.OhiEdit("o", [writer.uid], "add"))
            kept = await kit.pending(store, archive)
            assert [m.data for m in kept] == [b"for the archive", b"to my own devices"]
            assert b'"op":"delivery"' in kept[0].head
            store.ack(reader.node, sent.msgid)
            await kit.flush(store)
            await kit.spill(store)
            assert store.queues.stored_octets(writer.member) == before
            assert len(await kit.pending(store, archive)) == 2
            await perform(store, set_archive, reader.member, False)
            await kit.spill(store)
            assert not store.site.members[reader.member].archive and archive not in store.queues.nodes
        assert verify(tmp_path / "a")["ok"]

    kit.run(main)


def test_two_boxes_that_switched_an_archive_on_and_one_that_switched_it_off_agree(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, _):
            owner = a.site.memberships[number].member
            for store in (a, b):
                await perform(store, set_archive, owner, True)
            await perform(a, set_archive, owner, False)
            await ship(b, a)
            await ship(a, b)
            for store in (a, b):
                assert len(store.site.members[owner].archives) == 1 == store.site.archiving
            assert await a.replica.state_digest() == await b.replica.state_digest()

    kit.run(main)


def test_entries_go_though_an_archive_never_acknowledges(tmp_path: Path) -> None:
    """What is kept is said again, with the ids that it has at its site."""

    async def main() -> None:
        async with kit.running(tmp_path / "a") as store:
            number, _ = await membership(store)
            kept = (await come(store, number, 5)).msgid
            await perform(store, relay_in, number, 6, "login", head(6, "login", 0), EMPTY, ())
            days = 8 * 86_400 * 10**9
            store.scene.mint.saw(store.replica.clock + days)
            await come(store, number, 7)
            store.upkeep._last_cut = float("-inf")
            await kit.spill(store)
            bodies = kit.rows(tmp_path / "a", "SELECT body FROM entry WHERE kind = 2 ORDER BY place")
            facts = [fact for (body,) in bodies for fact in decode_facts(body)]
            assert [f.upid for f in facts if isinstance(f, Relayed)] == [7, 5], "not what nothing is kept of"
            assert [f.msgid for f in facts if isinstance(f, Carried)] == [kept]
        assert verify(tmp_path / "a")["ok"], verify(tmp_path / "a")

    kit.run(main)


def test_what_was_refused_is_not_looked_through_for_what_was_not():
    connection = sqlite3.connect(":memory:")
    schema.prepare(connection)
    said: list[str] = []
    connection.set_trace_callback(said.append)
    relay._asked(connection, 1, b"a", b"b")
    connection.set_trace_callback(None)
    plans = [" ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")) for sql in said]
    assert "INDEX outgoing_unrefused (node=? AND key>?" in plans[0] and "TEMP" not in plans[0]
    assert "COVERING INDEX outgoing_key (node=? AND key>?" in plans[1]
