"""What devices ask for goes to the site once, in order, and its answer is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import wire
from tests.kit.upstream import Cut, Refuse, Upstream
from tests.relay.house import house, until
from tests.store.kit import run


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


def test_a_post_goes_out_and_the_other_devices_get_what_the_site_would_give_them(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, laptop = await home.device(number), await home.device(number, "laptop")
            bob = club.member("Bob at the club")
            item = await phone.post(b"hello", bob.uid)
            outcome = await home.outcome(item)
            (message,) = club.waiting(bob)
            assert (message.id, message.body.octets) == (outcome.upid, b"hello")
            (frame,) = await laptop.got(1)
            assert (frame.head, frame.data) == (message.head, b"hello")
            assert await phone.queue() == []
            assert await home.waiting(number) == 0
            assert home.count(home.store.site.memberships[number].archive) == 1

    run(body)


def test_what_was_written_while_the_site_was_away_goes_out_in_order(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, bob = await home.device(number), club.member("Bob at the club")
            await home.online(number)
            club.stop()
            items = [await phone.post(b"%d" % n, bob.uid) for n in range(40)]
            club.start()
            for item in items:
                await home.outcome(item)
            assert [m.body.octets for m in club.waiting(bob)] == [b"%d" % n for n in range(40)]

    run(body)


@pytest.mark.parametrize("step", ["data", "request", "taken", "acked"])
def test_a_link_that_is_cut_at_any_step_of_a_post_makes_it_one_all_the_same(
    club: Upstream, tmp_path: Path, step: str
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, bob = await home.device(number), club.member("Bob at the club")
            await home.online(number)
            rule = club.on(step, Cut(), op="Post", skip=2)
            items = [await phone.post(b"%d" % n, bob.uid) for n in range(6)]
            outcomes = [await home.outcome(item) for item in items]
            assert rule.hits == 1
            assert [m.body.octets for m in club.waiting(bob)] == [b"%d" % n for n in range(6)]
            assert [m.id for m in club.waiting(bob)] == [outcome.upid for outcome in outcomes]

    run(body)


def test_a_refusal_is_an_answer(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, bob = await home.device(number), club.member("Bob at the club")
            club.on("request", Refuse("not today"), op="Post")
            refused, taken = await phone.post(b"one", bob.uid), await phone.post(b"two", bob.uid)
            assert (await home.outcome(refused)).error == "not today"
            assert not (await home.outcome(taken)).error
            assert [m.body.octets for m in club.waiting(bob)] == [b"two"]

    run(body)


def test_large_data_goes_out_from_its_file(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, laptop = await home.device(number), await home.device(number, "laptop")
            bob = club.member("Bob at the club")
            data = bytes(range(256)) * 2000
            await home.outcome(await phone.post(data, bob.uid))
            (message,) = club.waiting(bob)
            assert b"".join(message.body.pieces()) == data
            (frame,) = await laptop.got(1)
            assert frame.data == data

    run(body)


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_note_and_its_message_go_to_the_other_devices(club: Upstream, tmp_path: Path, size: int):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, laptop = await home.device(number), await home.device(number, "laptop")
            bob = club.member("Bob at the club")
            data = b"note" + b"m" * size
            request = wire.PostNotify("1", [wire.Target(bob.uid, 1)], len(data), notelen=4)
            outcome = await home.outcome(await phone.ask(request, data))
            delivery, notify = await laptop.got(2)
            assert (delivery["notify"], delivery.data) == (2, b"m" * size)
            assert (notify["postid"], notify.data) == (wire.format_id(outcome.upid), b"note")

    run(body)


def test_a_post_to_oneself_comes_to_each_device_once(club: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, laptop = await home.device(number), await home.device(number, "laptop")
            ann = club.accounts.members[home.uid(number)]
            outcome = await home.outcome(await phone.post(b"to me", ann.uid))
            await until(lambda: not club.waiting(ann))
            for device in (phone, laptop):
                (frame,) = await device.got(1)
                assert (frame["id"], frame.data) == (wire.format_id(outcome.upid), b"to me")

    run(body)


def test_an_outbox_outlives_the_box(club: Upstream, tmp_path: Path):
    async def body():
        bob = club.member("Bob at the club")
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            await home.online(number)
            club.stop()
            items = [await phone.post(b"%d" % n, bob.uid) for n in range(5)]
        club.start()
        async with house(tmp_path) as home:
            for item in items:
                await home.outcome(item)
            assert [m.body.octets for m in club.waiting(bob)] == [b"%d" % n for n in range(5)]

    run(body)


def test_an_attachment_that_the_disk_has_damaged_is_refused_and_holds_up_nothing(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, bob = await home.device(number), club.member("Bob at the club")
            await home.online(number)
            club.stop()
            damaged, later = await phone.post(bytes(200_000), bob.uid), await phone.post(b"later", bob.uid)
            message = (await home.store.messages([damaged]))[0]
            assert message.blob is not None
            home.store.blobs.path(message.blob).write_bytes(b"short")
            club.start()
            assert "damaged" in (await home.outcome(damaged)).error
            assert not (await home.outcome(later)).error
            assert [m.body.octets for m in club.waiting(bob)] == [b"later"]

    run(body)


def test_a_request_that_does_not_fit_in_a_header_as_the_box_writes_it_is_refused(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, bob = await home.device(number), club.member("Bob at the club")
            head = b'{"op":6,"id":"1","act":"join","gid":"' + b"<" * 20_000 + b'"}'
            long = wire.request_of(b"%04x" % len(head) + head)
            item, later = await phone.ask(long, raw=True), await phone.post(b"later", bob.uid)
            assert "does not fit" in (await home.outcome(item)).error
            assert not (await home.outcome(later)).error

    run(body)
