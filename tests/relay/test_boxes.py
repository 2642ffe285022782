"""A membership on two boxes: each is a node of its own there, and everything is done once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance import wire
from appliance.relay import barrier
from tests.kit.plug import Plug
from tests.kit.upstream import Hold, Ignore, Upstream
from tests.relay.house import Device, until
from tests.relay.household import Side, household
from tests.store.kit import run


@pytest.fixture
def club(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setattr(barrier, "QUIET_S", 0.3)
    with Upstream("The club") as site:
        yield site


def is_offline(side: Side, number: int) -> bool:
    return not side.relay.state(number)["online"]


async def both_online(one: Side, two: Side, number: int) -> None:
    await one.online(number)
    await two.online(number, 20)


def at(side: Side, device: Device) -> Device:
    """The same device, looked at from that box."""
    return Device(side, side.store.site.nodes[device.node.number])


def test_the_second_box_gets_a_node_of_its_own_and_devices_are_told_nothing(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, _):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            ann = club.accounts.members[one.uid(number)]
            assert [node.label for node in ann.nodes] == ["pocket-box", "pocket-box"]
            await until(lambda: not any(node.pending() for node in ann.nodes))
            assert await phone.queue() == [] and await at(two, phone).queue() == []
            assert club.asked("UserEdit") == 1

    run(body)


def test_what_comes_to_both_boxes_is_stored_once(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, _):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[one.uid(number)]
            club.post(bob, [ann], *(b"%d" % n for n in range(50)))
            await until(lambda: not any(node.pending() for node in ann.nodes), 20)
            for side in (one, two):
                frames = await at(side, phone).got(50)
                assert [frame.data for frame in frames] == [b"%d" % n for n in range(50)]
                by = {message.msgid % 16 for message in await at(side, phone).queue()}
                assert by == {one.store.scene.mint.box}, "one of them stores, not both"

    run(body)


async def deliveries(device: Device) -> list[bytes]:
    """Wait for one; the data of all. A login of a box that nobody has told of shows, too."""
    count = 1
    while True:
        frames = await device.got(count)
        found = [frame.data for frame in frames if frame.op == "delivery"]
        if found:
            return found
        count = len(frames) + 1


def test_a_box_alone_takes_over_what_comes(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[one.uid(number)]
            one.die()
            club.post(bob, [ann], b"while one is gone")
            assert await deliveries(at(two, phone)) == [b"while one is gone"]
            await one.come_back(nursery)
            await until(lambda: not any(node.pending() for node in ann.nodes), 20)
            for side in (one, two):
                assert await deliveries(at(side, phone)) == [b"while one is gone"]

    run(body)


def test_a_file_that_has_yet_to_come_from_the_other_box_is_taken_from_the_site(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[one.uid(number)]
            two.box.hub.fetcher._source = lambda sha: None  # type: ignore[method-assign]
            two.scope.cancel()
            data = bytes(range(256)) * 4000
            club.post(bob, [ann], data)
            await until(two.store.replica.lacking)
            await nursery.start(two.live)
            await until(lambda: not two.store.replica.lacking(), 20)
            await until(lambda: not any(node.pending() for node in ann.nodes), 20)
            (frame,) = await at(two, phone).got(1)
            assert frame.data == data

    run(body)


def test_boxes_that_do_not_see_each_other_store_both_and_agree_when_they_meet(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[one.uid(number)]
            one.part()
            two.part()
            club.post(bob, [ann], b"a", b"b", b"c")
            for side in (one, two):
                assert len(await at(side, phone).got(3)) == 3
            await two.reach(nursery)
            await one.reach(nursery)
            await until(
                lambda: (
                    one.store.replica.positions() == two.store.replica.positions()
                    and one.count(phone.node.number) == two.count(phone.node.number) == 3
                )
            )
            ids = [[message.msgid for message in await at(side, phone).queue()] for side in (one, two)]
            assert ids[0] == ids[1]

    run(body)


def test_what_one_box_sends_comes_to_the_others_devices_once(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, _):
            number = await one.membership("club", club)
            phone, laptop = await one.device(number), await one.device(number, "laptop")
            await both_online(one, two, number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[one.uid(number)]
            posts = [await phone.post(b"%d" % n, bob.uid) for n in range(10)]
            data = b"notemessage"
            request = wire.PostNotify("1", [wire.Target(bob.uid, 1)], len(data), notelen=4)
            posts.append(await phone.ask(request, data))
            for item in posts:
                await one.outcome(item)
            await until(lambda: not any(node.pending() for node in ann.nodes), 20)
            assert club.asked("Post") == 10 and club.asked("PostNotify") == 1
            for side in (one, two):
                frames = await at(side, laptop).got(12)
                assert [f.data for f in frames] == [*(b"%d" % n for n in range(10)), b"message", b"note"]
                assert await at(side, phone).queue() == []

    run(body)


def test_what_a_box_had_sent_before_it_died_is_not_sent_again(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone, laptop = await one.device(number), await one.device(number, "laptop")
            await both_online(one, two, number)
            bob = club.member("Bob at the club")
            hold = club.on("taken", Hold(), op="Post")
            item = await phone.post(b"sent and not recorded", bob.uid)
            await until(lambda: hold.hits)
            one.die()
            outcome = await two.outcome(item, 20)
            assert [m.id for m in club.waiting(bob)] == [outcome.upid]
            (frame,) = await at(two, laptop).got(1)
            assert frame["id"] == wire.format_id(outcome.upid)
            later = await at(two, phone).post(b"later", bob.uid)
            await two.outcome(later)
            hold.do.open()
            await one.come_back(nursery)
            await both_online(one, two, number)
            await until(lambda: one.store.replica.positions() == two.store.replica.positions())
            assert [m.body.octets for m in club.waiting(bob)] == [b"sent and not recorded", b"later"]
            for side in (one, two):
                assert len(await at(side, laptop).got(2)) == 2

    run(body)


def test_what_a_box_had_sent_is_not_sent_again_where_the_other_has_it_as_somebody_elses(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone, laptop = await one.device(number), await one.device(number, "laptop")
            await both_online(one, two, number)
            bob = club.member("Bob at the club")
            one.part()
            two.part()
            hold = club.on("taken", Hold(), op="Post")
            item = await phone.post(b"sent and not recorded", bob.uid)
            await until(lambda: hold.hits)
            one.die()
            assert await deliveries(at(two, laptop)) == [b"sent and not recorded"]
            club.stop()
            hold.do.open()
            await two.reach(nursery)
            await one.come_back(nursery)
            await until(lambda: one.store.replica.positions() == two.store.replica.positions())
            club.start()
            await one.outcome(item, 20)
            assert [m.body.octets for m in club.waiting(bob)] == [b"sent and not recorded"]
            assert await deliveries(laptop) == [b"sent and not recorded"]

    run(body)


def test_what_a_box_could_not_send_before_it_died_is_sent_by_the_other_in_order(
    club: Upstream, tmp_path: Path
):
    async def body():
        with Plug(club.address) as plug:
            async with household(tmp_path) as (one, two, nursery):
                number = await one.relay.add(one.member, "club", plug.words)
                phone = await one.device(number)
                await both_online(one, two, number)
                bob = club.member("Bob at the club")
                plug.pull()
                await until(lambda: not one.relay.state(number)["online"])
                items = [await phone.post(b"%d" % n, bob.uid) for n in range(20)]
                await until(lambda: one.store.replica.positions() == two.store.replica.positions())
                one.die()
                plug.put_back()
                for item in items:
                    await two.outcome(item, 20)
                assert [m.body.octets for m in club.waiting(bob)] == [b"%d" % n for n in range(20)]
                await one.come_back(nursery)
                await both_online(one, two, number)
                await until(lambda: not any(map(len, [one.relay.state(number)["last_error"]])))
                await until(lambda: one.store.replica.positions() == two.store.replica.positions())
                assert club.asked("Post") == 20
                assert await one.waiting(number) == 0

    run(body)


def test_what_keeps_coming_does_not_keep_a_box_from_taking_over(club: Upstream, tmp_path: Path):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            bob, ann = club.member("Bob at the club"), club.accounts.members[one.uid(number)]

            async def write() -> None:
                while True:
                    club.post(bob, [ann], b"more")
                    await trio.sleep(0.05)

            club.on("request", Ignore(), op="Post", times=1)
            item = await phone.post(b"not sent", bob.uid)
            await until(lambda: club.asked("Post"))
            nursery.start_soon(write)
            links = len(club.record.find("Login"))
            one.die()
            await two.outcome(item, 10)
            assert [m.body.octets for m in club.waiting(bob)] == [b"not sent"]
            assert len(club.record.find("Login")) == links, "on the link that is there"

    run(body)


def test_a_box_stands_in_for_another_that_was_back_meanwhile_and_dies_again(club: Upstream, tmp_path: Path):
    """On one and the same link: what the other has sent in between has to be seen anew."""

    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone = await one.device(number)
            await both_online(one, two, number)
            bob = club.member("Bob at the club")
            began = trio.current_time()
            for data in (b"first", b"second"):
                lost = club.on("request", Ignore(), op="Post", times=1)
                item = await phone.post(data, bob.uid)
                await until(partial(getattr, lost, "hits"))
                one.die()
                await two.outcome(item, 20)
                await one.come_back(nursery)
                await both_online(one, two, number)
                await until(lambda: one.store.replica.positions() == two.store.replica.positions())
            assert [m.body.octets for m in club.waiting(bob)] == [b"first", b"second"]
            assert two.relay.state(number)["online_s"] >= trio.current_time() - began

    run(body)


def test_a_request_that_two_boxes_took_while_they_did_not_see_each_other_is_sent_once(
    club: Upstream, tmp_path: Path
):
    async def body():
        with Plug(club.address) as plug:
            async with household(tmp_path) as (one, two, nursery):
                number = await one.relay.add(one.member, "club", plug.words)
                phone = await one.device(number)
                await both_online(one, two, number)
                bob = club.member("Bob at the club")
                plug.pull()
                for side in (one, two):
                    await until(partial(is_offline, side, number))
                    side.part()
                request = wire.Post("1", [wire.Target(bob.uid, 1)], 5)
                items = [await at(side, phone).ask(request, b"hello", key=bytes(16)) for side in (one, two)]
                later = await at(two, phone).post(b"later", bob.uid)
                await two.reach(nursery)
                await one.reach(nursery)
                await until(lambda: one.store.replica.positions() == two.store.replica.positions())
                plug.put_back()
                await two.outcome(later, 20)
                assert [m.body.octets for m in club.waiting(bob)] == [b"hello", b"later"]
                answers = [await two.outcome(item, 20) for item in items]
                assert len({answer.upid for answer in answers}) == 1, "who asks at either box is told"

    run(body)


def test_what_a_box_took_that_then_died_is_not_sent_again_where_another_one_was_asked_and_sent_it(
    club: Upstream, tmp_path: Path
):
    async def body():
        async with household(tmp_path) as (one, two, nursery):
            number = await one.membership("club", club)
            phone, laptop = await one.device(number), await one.device(number, "laptop")
            await both_online(one, two, number)
            bob = club.member("Bob at the club")
            one.die()
            request = wire.PostNotify("1", [wire.Target(bob.uid, 1)], 9, notelen=4)
            items = [await at(side, phone).ask(request, b"notehello", key=bytes(16)) for side in (one, two)]
            sent = await two.outcome(items[1], 20)
            await one.come_back(nursery)
            await both_online(one, two, number)
            answer = await one.outcome(items[0], 20)
            assert (answer.upid, answer.posted_ms) == (sent.upid, sent.posted_ms)
            await until(lambda: one.store.replica.positions() == two.store.replica.positions())
            assert club.asked("PostNotify") == 1
            for side in (one, two):
                ops = [frame.op for frame in await at(side, laptop).got(2)]
                assert (ops.count("delivery"), ops.count("notify")) == (1, 1)

    run(body)
