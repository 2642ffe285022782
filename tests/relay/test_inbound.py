"""What comes from a site is on the disk before the site hears so: once, in order, octet for octet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
