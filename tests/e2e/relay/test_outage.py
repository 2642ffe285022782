"""Weather: the Internet is away, the site is killed, acks get lost, devices come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from appliance import wire
from tests.kit import Box, Client, Frame, before_curtain, mentions, settle
from tests.kit.plug import Plug
from tests.kit.upstream import Cut, Delay, Hold, Ignore, Refuse, Upstream

from .house import House, Membership, come_back, until

CUT_S = float(os.environ.get("POCKET_CUT_S", "2"))
SOME = 8


def deliveries(frames: list[Frame]) -> list[tuple[str, bytes]]:
    return [(frame["id"], frame.data) for frame in frames if frame.op == "delivery"]


def test_while_the_internet_is_away_both_sides_post_and_all_arrives_once_in_order(
    new_house: Callable[..., House], far: Box
) -> None:
    house = new_house()
    with Plug(far.address) as plug:
        ann = house.add(house.member(), far, "club", "Ann at the club", plug.words)
        laptop, phone = ann.devices("laptop", "phone")
        bob = Client.register(far, alias="Bob at the club")
        settle(laptop, phone, bob)
        plug.pull()
        until(lambda: ann.show()["state"] != "online", "the box notices")
        began = time.monotonic()
        asked = [
            device.send(
                wire.Post(f"{device.node[:8]} {n}", [wire.Target(bob.uid, 1)], 8), b"%s %02d" % (name, n)
            )
            for n in range(SOME)
            for device, name in ((laptop, b"ann  "), (phone, b"phone"))
        ]
        told = [bob.post(b"bob %02d" % n, ann.uid) for n in range(SOME)]
        threads = [bob.post(b'{"threadid":"%s"}' % told[0]["msgid"].encode(), ann.uid, datahead=31)]
        laptop.expect_nothing(max(0.2, CUT_S - (time.monotonic() - began)))
        plug.put_back()
        acks = {request: (laptop if n % 2 == 0 else phone).answer(request) for n, request in enumerate(asked)}
        heard = before_curtain(bob, laptop, phone)
        at_bob, at_laptop, at_phone = map(deliveries, heard)
        assert [data for _, data in at_bob if data.startswith(b"ann")] == [
            b"ann   %02d" % n for n in range(SOME)
        ]
        assert sorted(at_bob) == sorted(
            (acks[request]["msgid"], (b"ann   %02d" if n % 2 == 0 else b"phone %02d") % (n // 2))
            for n, request in enumerate(asked)
        )
        from_bob = [
            *((ack["msgid"], b"bob %02d" % n) for n, ack in enumerate(told)),
            (threads[0]["msgid"], b'{"threadid":"%s"}' % told[0]["msgid"].encode()),
        ]
        for mine, others in ((at_laptop, b"phone"), (at_phone, b"ann")):
            assert [entry for entry in mine if not entry[1].startswith(others)] == from_bob
            assert [entry for entry in mine if entry[1].startswith(others)] == [
                entry for entry in at_bob if entry[1].startswith(others)
            ]


def test_the_site_is_killed_while_both_sides_post(new_house: Callable[..., House], far: Box) -> None:
    house = new_house()
    ann = house.add(house.member(), far, "club", "Ann at the club")
    (laptop,) = ann.devices("laptop")
    bob = Client.register(far, alias="Bob at the club")
    settle(laptop, bob)
    asked = [
        laptop.send(wire.Post(str(n), [wire.Target(bob.uid, 1)], 2), b"%02d" % n) for n in range(3 * SOME)
    ]
    bob.post(b"before", ann.uid)
    far.kill9()
    far.start()
    come_back(bob)
    bob.post(b"after", ann.uid)
    acks = [laptop.answer(request) for request in asked]
    at_bob, at_laptop = (deliveries(frames) for frames in before_curtain(bob, laptop))
    assert dict(at_bob).items() <= {(ack["msgid"], b"%02d" % n) for n, ack in enumerate(acks)}
    assert [data for _, data in at_laptop] == [b"before", b"after"]
    assert [ack["msgid"] for ack in acks] == sorted({ack["msgid"] for ack in acks})


@pytest.mark.parametrize("step", ["request", "taken", "acked"])
def test_an_ack_that_is_lost_with_the_link_is_asked_for_again(
    step: str, club: Upstream, ann: Membership
) -> None:
    laptop, phone = ann.devices("laptop", "phone")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, phone, bob)
    rule = club.on(step, Cut(reset=step == "taken"), op="Post", skip=1)
    posts = [laptop.send(wire.Post(str(n), [wire.Target(bob.uid, 1)], 1), b"%d" % n) for n in range(5)]
    rule.wait()
    acks = [laptop.answer(request) for request in posts]
    expected = [(ack["msgid"], b"%d" % n) for n, ack in enumerate(acks)]
    at_bob, at_phone = before_curtain(bob, phone)
    assert deliveries(at_bob) == deliveries(at_phone) == expected
    assert len({entry.header["id"] for entry in club.record.find("Post", ann.uid)}) == 5


def test_a_device_that_was_away_gets_the_answer_when_it_asks_again(club: Upstream, ann: Membership) -> None:
    laptop, phone = ann.devices("laptop", "phone")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, phone, bob)
    hold = Hold()
    rule = club.on("taken", hold, op="Post", uid=ann.uid)
    laptop.send(wire.Post("mine", [wire.Target(bob.uid, 1)], 5), b"hello")
    rule.wait()
    octets = laptop.last_request
    laptop.hang_up()
    laptop.login()
    laptop.line.send(octets)  # it waits for the same answer
    laptop.expect("login", from_=ann.uid, node="tbd")
    laptop.hang_up()
    hold.open()
    sent = bob.expect("delivery", from_=ann.uid, data=b"hello")
    for _ in range(2):
        laptop.login()
        ack = laptop.send_again(octets)
        assert (ack["msgid"], ack["posted"]) == (sent["id"], sent["posted"])
        laptop.hang_up()
    assert club.asked("Post", ann.uid) == 1
    assert deliveries(before_curtain(phone)[0]) == [(sent["id"], b"hello")]


def test_what_was_written_while_the_site_was_away_goes_out_though_the_device_is_off(
    club: Upstream, ann: Membership
) -> None:
    (laptop,) = ann.devices("laptop")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, bob)
    club.stop()
    until(lambda: ann.show()["state"] == "offline", "the box notices")
    laptop.send(wire.Post("mine", [wire.Target(bob.uid, 1)], 5), b"hello")
    octets = laptop.last_request
    until(lambda: ann.show()["outbox"] == 1, "it is in the outbox")
    laptop.hang_up()
    club.start()
    come_back(bob)
    sent = bob.find("delivery", **{"from": ann.uid})
    laptop.login()
    assert laptop.send_again(octets)["msgid"] == sent["id"]
    assert ann.show()["outbox"] == 0


def test_a_refused_request_is_told_with_the_words_of_the_site_and_not_tried_again(
    club: Upstream, ann: Membership
) -> None:
    laptop, phone = ann.devices("laptop", "phone")
    settle(laptop, phone)
    club.on("request", Refuse("the club is closed on Mondays"), op="Post", uid=ann.uid)
    laptop.post(b"x", error="the club is closed on Mondays")
    laptop.post(b"x", "B" * 32, error=mentions("unknown uid"))
    laptop.post(b"fine")
    assert club.asked("Post", ann.uid) == 3
    assert [data for _, data in deliveries(before_curtain(phone)[0])] == [b"fine"]


def test_a_site_that_takes_its_time_holds_up_nobody_else(
    club: Upstream, ann: Membership, house: House
) -> None:
    (laptop,) = ann.devices("laptop")
    with Upstream("The school") as school:
        other = house.add(ann.member, school, "school", "Ann at school")
        (tablet,) = other.devices("tablet")
        club.on("request", Delay(1.0), op="Post", uid=ann.uid)
        asked = laptop.send(wire.Post("slow", [], 1), b"x")
        began = time.monotonic()
        tablet.post(b"quick")
        assert time.monotonic() - began < 0.8
        laptop.answer(asked)
        tablet.close()
        other.drop()


def test_a_message_whose_ack_the_site_did_not_hear_comes_to_the_devices_once(
    club: Upstream, ann: Membership
) -> None:
    club.resend_s = 0.3
    (laptop,) = ann.devices("laptop")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, bob)
    lost = club.on("ack", Ignore(), uid=ann.uid)
    first = bob.post(b"first", ann.uid)
    lost.wait()
    cut = club.on("ack", Cut(), uid=ann.uid)
    second = bob.post(b"second", ann.uid)
    cut.wait()
    third = bob.post(b"third", ann.uid)
    assert deliveries(before_curtain(laptop)[0]) == [
        (first["msgid"], b"first"),
        (second["msgid"], b"second"),
        (third["msgid"], b"third"),
    ]


def test_a_box_that_was_killed_logs_in_again_though_the_site_takes_it_for_connected(
    new_house: Callable[..., House], club: Upstream
) -> None:
    house = new_house()
    ann = house.add(house.member(), club, "club", "Ann at the club")
    (laptop,) = ann.devices("laptop")
    settle(laptop)
    club.lingers_s = 600
    house.box.kill9()
    house.box.start()
    come_back(laptop)
    asked = laptop.send(wire.Post("mine", [], 10), b"here again")
    club.record.wait(
        lambda: club.record.find("quit")[-1].header["error"] == "node already connected", 20, "a refusal"
    )
    assert ann.show()["state"] == "offline"
    club.notice(ann.uid)
    laptop.answer(asked)
