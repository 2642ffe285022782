"""What comes from a site is on the disk before the site hears so: once, in order, octet for octet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance import wire
from appliance.relay import care, inbound
from appliance.site import Decision, Payload, Scene, relay_in
from appliance.store import Job
from appliance.store.disk import Room
from tests.kit import Box, Client
from tests.kit.upstream import Cut, Upstream
from tests.relay.house import house, until
from tests.store.kit import run


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


def test_a_message_reaches_all_devices_as_the_site_wrote_it(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, laptop = await home.device(number), await home.device(number, "laptop")
            await home.online(number)
            bob = club.member("Bob at the club")
            ann = club.accounts.members[home.uid(number)]
            (msgid,) = club.post(bob, [ann], b"hello", datahead=2)
            for device in (phone, laptop):
                (frame,) = await device.got(1)
                assert (frame["id"], frame.data, frame["datahead"]) == (msgid, b"hello", 2)
            await until(lambda: not club.waiting(ann))
            assert home.count(home.store.site.memberships[number].archive) == 1
            assert not home.warnings

    run(body)


def test_large_data_goes_through_files(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            data = bytes(range(256)) * 4000
            club.post(bob, [ann], b"before", data, b"after")
            frames = await phone.got(3)
            assert [frame.data for frame in frames] == [b"before", data, b"after"]
            await until(lambda: not club.waiting(ann))

    run(body)


def test_a_message_whose_ack_was_lost_is_not_stored_twice(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            rule = club.on("ack", Cut(), uid=ann.uid)
            club.post(bob, [ann], b"one", b"two")
            frames = await phone.got(2)
            assert rule.hits == 1
            await until(lambda: not club.waiting(ann))
            frames = await phone.got(2)
            assert [frame.data for frame in frames] == [b"one", b"two"]

    run(body)


def test_a_site_hears_that_a_message_is_here_only_when_it_is_on_the_disk(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            await until(lambda: not club.waiting(ann))
            held: list[Job] = []

            async def hold(job: Job) -> None:
                held.append(job)

            with monkeypatch.context() as patch:
                patch.setattr(home.store, "submit", hold)
                club.post(bob, [ann], b"one", b"two")
                await until(lambda: held)
                await trio.sleep(0.2)
                assert len(club.waiting(ann)) == 2 and len(held) == 1
            await home.store.submit(held[0])
            await phone.got(2)
            await until(lambda: not club.waiting(ann))

    run(body)


@pytest.mark.parametrize("free", [0, (9 << 20) - 1])
def test_a_full_disk_leaves_messages_at_the_site_until_there_is_room(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
):
    """Members of this site can write when others have no room any more."""
    monkeypatch.setattr(care, "NO_ROOM_S", 0.1)

    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            await until(lambda: not club.waiting(ann))
            full = Room(free=free, total=1 << 30, reserve=8 << 20, missing=0)
            with monkeypatch.context() as patch:
                patch.setattr(home.store.disk, "room", lambda within_s=1.0: full)
                assert bool(home.store.disk.problem(0)) == (not free)
                club.post(bob, [ann], b"one", bytes(200_000), b"three")
                await until(lambda: any("disk full" in text for text in home.warnings.values()))
                await until(lambda: club.asked("Login") >= 3)
                assert len(club.waiting(ann)) >= 3 and not home.count(phone.node.number)
            frames = await phone.got(3)
            assert [len(frame.data) for frame in frames] == [3, 200_000, 5]
            await until(lambda: not home.warnings)

    run(body)


def test_a_disk_that_fills_within_a_moment_is_not_filled_by_a_site(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, disk = await home.device(number), home.store.disk
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            await until(lambda: not club.waiting(ann))
            monkeypatch.setattr(disk, "_room", disk._look())
            full = Room(free=8 << 20, total=1 << 30, reserve=8 << 20, missing=0)
            monkeypatch.setattr(disk, "_look", lambda: full)
            assert disk.room().free > full.free
            club.post(bob, [ann], b"one")
            await until(lambda: home.warnings or home.count(phone.node.number))
            assert any("disk full" in text for text in home.warnings.values())

    run(body)


HEAD = {
    "threadid": "",
    "alias": "Bob at the club",
    "subject": "The film",
    "attach": [{"name": "u:film.mp4", "size": 2 << 20}],
}


@pytest.mark.parametrize("reason", ["setting", "disk"])
def test_a_message_that_is_too_large_for_ever_is_told_in_its_place_and_holds_up_nothing(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
):
    changes = {"message_octets": 1 << 20} if reason == "setting" else {}

    async def body():
        async with house(tmp_path, changes=changes) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            await home.online(number)
            if reason == "disk":
                small = Room(1 << 20, 1 << 20, 1 << 18, 0)
                monkeypatch.setattr(home.store.disk, "room", lambda within_s=1.0: small)
            for head in (msgspec.json.encode(HEAD), b"{no json"):
                data = head + b"Look!" + bytes(2 << 20)
                (large,) = club.post(bob, [ann], data, datahead=len(head))
                (small_one,) = club.post(bob, [ann], b"behind it")
                note, behind = await phone.got(2)
                assert (note["id"], note["from"], note.op) == (large, bob.uid, "delivery")
                details, text = note.data[: note["datahead"]], note.data[note["datahead"] :].decode()
                wanted = {name: value for name, value in HEAD.items() if name != "attach"}
                assert msgspec.json.decode(details) == (wanted if head[1:2] == b'"' else {})
                assert f"{len(data):,} octets" in text and "What to do: " in text
                assert ("message_octets" if reason == "setting" else "the disk") in text
                assert ("u:film.mp4" in text) == (head[1:2] == b'"')
                assert (behind["id"], behind.data) == (small_one, b"behind it")
                await until(lambda: not club.waiting(ann))
                await phone.take()
                await until(lambda: not home.count(phone.node.number))
            assert len(club.record.find("Login")) == 1, "on one link"
            assert not list((tmp_path / "blobs" / "incoming").iterdir())

    run(body)


def test_the_site_hears_of_a_message_that_is_too_large_while_its_data_come(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path, changes={"message_octets": 1 << 20}) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            await home.online(number)
            head = wire.encode_message("delivery", bob.uid, club.accounts.id(), 0, 2 << 20)
            await until(lambda: not club.waiting(ann))
            before = len(club.record.find("Ack"))
            club.inject(ann.uid, head + bytes(100_000))
            await phone.got(1)
            await until(lambda: len(club.record.find("Ack")) > before)

    run(body)


def test_a_message_that_comes_again_while_it_is_being_stored_is_stored_once(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            await until(lambda: not club.waiting(ann))
            held: list[Job] = []

            async def hold(job: Job) -> None:
                held.append(job)

            with monkeypatch.context() as patch:
                patch.setattr(home.store, "submit", hold)
                club.post(bob, [ann], b"one")
                await until(lambda: held)
                club.cut(ann.uid)
                await home.online(number)
                await until(lambda: len(club.record.find("delivery", ann.uid)) == 2)
                await trio.sleep(0.1)
            for job in held:
                await home.store.submit(job)
            await until(lambda: not club.waiting(ann))
            assert [frame.data for frame in await phone.got(1)] == [b"one"]

    run(body)


def test_a_device_in_a_drawer_keeps_the_others_from_nothing(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path, queue_messages=2) as home:
            number = await home.membership("club", club)
            drawer, phone = await home.device(number), await home.device(number, "phone")
            await home.online(number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[home.uid(number)]
            for batch in range(3):
                club.post(bob, [ann], b"a", b"b")
                await until(lambda: not club.waiting(ann))
                assert len(await phone.got(2)) == 2, batch
                await phone.take()
                await until(lambda: not home.count(phone.node.number))
            assert home.count(drawer.node.number) == 2 and home.relay.state(number)["online"]

    run(body)


def test_nothing_behind_a_message_that_was_refused_is_taken_before_it(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(care, "NO_ROOM_S", 0.1)
    refusals: list[int] = []

    def refuse_once(scene: Scene, number: int, upid: int, op: str, head: bytes, payload: Payload, *more: Any):
        if payload.data == b"2" and not refusals:
            refusals.append(upid)
            return Decision(error="no room for this one now")
        return relay_in(scene, number, upid, op, head, payload, *more)

    monkeypatch.setattr(inbound, "relay_in", refuse_once)

    async def body():
        with Box() as box:
            async with house(tmp_path) as home:
                number = await home.membership("club", box)
                phone = await home.device(number)
                await home.online(number)
                bob = Client.register(box, alias="Bob at the club")
                for data in range(6):
                    bob.send(wire.Post(f"{data}", [wire.Target(home.uid(number), 1)], 1), b"%d" % data)
                frames = await phone.got(6)
                assert refusals and [frame.data for frame in frames] == [b"%d" % n for n in range(6)]
                bob.close()

    run(body)
