"""Over whatever cuts of the link, and starts of the box, each message arrives once, in order, both ways."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from appliance.relay import care
from tests.kit.upstream import Cut, Upstream
from tests.relay.house import Device, House, house, until
from tests.store.kit import run

STEPS = ("connect", "greet", "login", "data", "request", "taken", "acked", "message", "sent", "ack")
EACH_WAY = 60
SIZES = (1, 300, 70_000, 300_000)


@pytest.fixture
def club(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setattr(care, "BUSY_S", 0.05)
    with Upstream("The club") as site:
        yield site


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_cut_each_message_arrives_once_and_in_order(club: Upstream, tmp_path: Path, seed: int):
    chance = random.Random(seed)

    def data(number: int) -> bytes:
        return b"%04d" % number + bytes(chance.choice(SIZES))

    there, here = ([data(number) for number in range(EACH_WAY)] for _ in range(2))

    async def write(home: House, phone: Device, bob: str) -> None:
        for octets in there:
            await phone.post(octets, bob)
            await trio.sleep(chance.random() * 0.01)

    async def body() -> None:
        bob = club.member("Bob at the club")
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone, laptop = await home.device(number), await home.device(number, "laptop")
            ann = club.accounts.members[home.uid(number)]
            await home.online(number)
            for _ in range(12):
                step = chance.choice(STEPS)
                club.on(step, Cut(reset=chance.random() < 0.5), uid=ann.uid, skip=chance.randrange(12))
            club.post(bob, [ann], *here)
            await write(home, phone, bob.uid)
            await trio.sleep(chance.random())
        club.behave()
        nodes = phone.node.number, laptop.node.number
        async with house(tmp_path) as home:
            out = home.store.site.memberships[number].out
            await until(lambda: not home.count(out), 30)
            await until(lambda: not club.waiting(ann), 30)
            assert [b"".join(m.body.pieces()) for m in club.waiting(bob)] == there
            phone, laptop = (Device(home, home.store.site.nodes[node]) for node in nodes)
            frames = await phone.got(EACH_WAY)
            assert [f.data for f in frames if f.op == "delivery"] == here
            frames = await laptop.got(2 * EACH_WAY)
            assert [f.data for f in frames if f.op == "delivery" and f["from"] == bob.uid] == here
            assert [f.data for f in frames if f.op == "delivery" and f["from"] == ann.uid] == there

    run(body, limit_s=100)
