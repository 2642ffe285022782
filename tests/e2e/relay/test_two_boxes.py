"""Each of two boxes is a node of its own at the site; one sends at a time, and the other takes over."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from appliance import wire
from tests.kit import Client, before_curtain, settle
from tests.kit.upstream import Hold, Ignore, Upstream

from .house import AWAY, House, Membership, come_back, until

KILLS = int(os.environ.get("POCKET_KILLS", "0"))
SEED = int(os.environ.get("POCKET_SEED", "1"))


@dataclass
class Pair:
    """Two boxes, `laptop` at the first and `phone` at the second; `bob` is at the site, `club`."""

    club: Upstream
    house: House
    ann: Membership
    laptop: Client
    phone: Client
    bob: Client


@pytest.fixture(scope="module")
def pair(shared_house: Callable[..., House]) -> Iterator[Pair]:
    """All tests of this file share it, and leave it running and quiet."""
    with Upstream("The club") as club:
        house = shared_house(2)
        ann = house.add(house.member(), club, "club", "Ann at the club")
        until(lambda: club.linked(ann.uid) == 2, "each box has a node of its own there, and is logged in")
        (laptop,) = ann.devices("laptop")
        phone = ann.device("phone")
        house.in_sync()
        phone = ann.at(phone, 1)
        come_back(phone)
        bob = Client.register(club, alias="Bob at the club")
        settle(laptop, phone, bob)
        yield Pair(club, house, ann, laptop, phone, bob)


def deliveries(client: Client) -> list[tuple[str, bytes]]:
    return [(f["id"], f.data) for f in before_curtain(client)[0] if f.op == "delivery"]


def test_what_comes_to_both_boxes_comes_to_each_device_once(pair: Pair) -> None:
    told = [(pair.bob.post(b"%02d" % n, pair.ann.uid)["msgid"], b"%02d" % n) for n in range(20)]
    assert deliveries(pair.laptop) == told
    assert deliveries(pair.phone) == told


def test_what_one_device_sends_comes_to_the_one_at_the_other_box_once(pair: Pair) -> None:
    said = [(pair.laptop.post(b"%02d" % n, pair.bob)["msgid"], b"%02d" % n) for n in range(10)]
    said += [(pair.phone.post(b"%02d" % n, pair.bob)["msgid"], b"%02d" % n) for n in range(10, 20)]
    assert deliveries(pair.bob) == said
    assert deliveries(pair.phone) == said[:10]
    assert deliveries(pair.laptop) == said[10:]


def test_a_device_that_asks_the_other_box_again_gets_the_same_answer(pair: Pair) -> None:
    asked = pair.club.asked("Post", pair.ann.uid)
    ack = pair.laptop.post(b"hello", pair.bob)
    octets = pair.laptop.last_request
    pair.house.in_sync()
    pair.laptop.close()
    laptop = pair.ann.at(pair.laptop, 1)
    come_back(laptop)
    again = laptop.send_again(octets)
    assert (again["msgid"], again["posted"]) == (ack["msgid"], ack["posted"])
    assert pair.club.asked("Post", pair.ann.uid) == asked + 1
    laptop.close()
    come_back(pair.laptop)
    settle(pair.laptop, pair.phone, pair.bob)


@pytest.mark.parametrize("arrived", [True, False])
def test_a_box_that_dies_between_sending_and_recording_is_stood_in_for_and_nothing_is_sent_twice(
    pair: Pair, arrived: bool
) -> None:
    hold, club = Hold(), pair.club
    rule = club.on("taken", hold, op="Post") if arrived else club.on("request", Ignore(), op="Post")
    pair.laptop.send(wire.Post(f"arrived: {arrived}", [wire.Target(pair.bob.uid, 1)], 5), b"hello")
    octets = pair.laptop.last_request
    rule.wait()
    pair.house.boxes[0].kill9()
    hold.open()
    laptop = pair.ann.at(pair.laptop, 1)
    come_back(laptop)
    ack = laptop.send_again(octets)
    then = laptop.post(b"and then", pair.bob)
    expected = [(ack["msgid"], b"hello"), (then["msgid"], b"and then")]
    assert deliveries(pair.bob) == expected
    assert deliveries(pair.phone) == expected
    pair.house.boxes[0].start()
    until(lambda: club.linked(pair.ann.uid) == 2, "the first box is back")
    pair.house.in_sync()
    last = laptop.post(b"last", pair.bob)
    assert deliveries(pair.bob) == [(last["msgid"], b"last")]
    assert deliveries(pair.phone) == [(last["msgid"], b"last")]
    assert pair.ann.show()["outbox"] == pair.ann.show(1)["outbox"] == 0
    laptop.close()
    come_back(pair.laptop)
    settle(pair.laptop, pair.phone, pair.bob)


@pytest.mark.skipif(not KILLS, reason="takes minutes: POCKET_KILLS=30 kills so many times")
def test_whichever_box_dies_at_any_moment_each_message_arrives_once(pair: Pair) -> None:
    chance = random.Random(SEED)
    over = threading.Event()
    mine: list[tuple[str, bytes]] = []
    his: list[tuple[str, bytes]] = []
    pair.club.resend_s = pair.club.idle_timeout_s = 3600  # eve reads at the end
    eve = Client.register(pair.club, alias="Eve at the club")
    devices = [pair.laptop, pair.ann.at(pair.laptop, 1)]
    for client in (*devices, pair.phone):
        client.order = "none"

    def write() -> None:
        number = 0
        while not over.is_set():
            data = b"ann %06d" % len(mine)
            mine.append((surely(devices[number:] + devices[:number], data, eve.uid), data))
            number = chance.randrange(2)
            time.sleep(0.005)

    def write_back() -> None:
        while not over.is_set():
            data = b"bob %06d" % len(his)
            his.append((pair.bob.post(data, pair.ann.uid)["msgid"], data))
            time.sleep(0.005)

    writers = [threading.Thread(target=work) for work in (write, write_back)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            victim = pair.house.boxes[chance.randrange(2)]
            victim.kill9()
            time.sleep(chance.choice([0.0, 5.0]))
            victim.start()
            pair.house.in_sync()
    finally:
        over.set()
        for writer in writers:
            writer.join()
    come_back(pair.phone)
    at_eve, at_phone = before_curtain(eve, pair.phone)
    assert [(f["id"], f.data) for f in at_eve if f.op == "delivery"] == mine
    for said, name in ((mine, b"ann"), (his, b"bob")):
        found = {f["id"]: f.data for f in at_phone if f.op == "delivery" and f.data.startswith(name)}
        assert sorted(found.items()) == said
    print(f"\n{KILLS} kills; {len(mine)} posts there and {len(his)} back, each once")


def surely(devices: list[Client], data: bytes, to: str) -> str:
    """The id of a post by a device that tries one box after the other until it is acknowledged."""
    request = b""
    for client in devices:
        client.last_request = b""
    for client in itertools.cycle(devices):
        try:
            for other in devices:
                if other is not client:
                    other.close()
            if not client._line:
                client.login()
            ack = client.send_again(request) if request else client.post(data, to)
            return str(ack["msgid"])
        except AWAY:
            client.close()
            request = request or client.last_request
            time.sleep(0.05)
    raise AssertionError
