"""The box loses its power between any two steps of a send; each message arrives once, in order.

POCKET_KILLS=30 pytest tests/e2e/relay/test_kills.py      kills at so many moments, and at every step
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable

import pytest

from appliance import wire
from tests.kit import Box, Client, before_curtain, settle
from tests.kit.upstream import Hold, Upstream

from .house import House, come_back, data_of, post_surely

KILLS = int(os.environ.get("POCKET_KILLS", "2"))
SEED = int(os.environ.get("POCKET_SEED", "1"))
STEPS = [("taken", "sent"), ("", "ack"), ("acked", ""), ("request", "message"), ("data", "sent")]
"""Of a request, and of a message that comes meanwhile."""


@pytest.mark.parametrize(("out", "back"), STEPS if "POCKET_KILLS" in os.environ else STEPS[:2])
def test_a_box_that_dies_at_a_step_of_a_send_sends_and_delivers_once(
    out: str, back: str, new_house: Callable[..., House], club: Upstream
) -> None:
    house = new_house()
    ann = house.add(house.member(), club, "club", "Ann at the club")
    laptop, phone = ann.devices("laptop", "phone")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, phone, bob)
    hold, data = Hold(), [b"%d" % n * 70000 for n in range(3)]
    reached = [club.on(out, hold, op="Post", uid=ann.uid, skip=1)] if out else []
    if back:
        reached.append(club.on(back, hold, uid=ann.uid, op="Ack" if back == "ack" else "delivery"))
    for n in range(3):
        laptop.send(wire.Post(f"mine {n}", [wire.Target(bob.uid, 1)], 70000), data[n])
    if out:
        reached[0].wait()
    told = bob.post(b"from Bob", ann.uid)
    reached[-1].wait()
    house.box.kill9()
    hold.open()
    house.box.start()
    come_back(laptop)
    acks = []
    for n in range(3):
        laptop.send(wire.Post(f"mine {n}", [wire.Target(bob.uid, 1)], 70000), data[n])
        acks.append(laptop.answer(f"mine {n}")["msgid"])
    come_back(phone)
    at_bob, at_phone, at_laptop = before_curtain(bob, phone, laptop)
    assert [(f["id"], f.data) for f in at_bob if f.op == "delivery"] == list(zip(acks, data, strict=True))
    assert sorted(data_of(at_phone)) == sorted([*data, b"from Bob"])
    assert {f["id"] for f in at_phone if f.data == b"from Bob"} <= {told["msgid"]}
    assert data_of(at_laptop) in ([b"from Bob"], [])


@pytest.mark.parametrize("make", ["far", "club"])
def test_a_box_that_dies_at_any_moment_sends_and_delivers_once_and_in_order(
    new_house: Callable[..., House], make: str, request: pytest.FixtureRequest
) -> None:
    """At a site of our own make, and at one that takes a request that comes again for a new one."""
    far: Box | Upstream = request.getfixturevalue(make)
    chance = random.Random(SEED)
    house = new_house()
    ann = house.add(house.member(), far, "club", "Ann at the club")
    laptop, phone = ann.devices("laptop", "phone")
    bob, reader = Client.register(far, alias="Bob at the club"), Client.register(far, alias="Eve at the club")
    settle(laptop, phone, bob, reader)
    phone.close()
    reader.order = "none"  # it reads at the end, and what is not acknowledged in 30 s comes again
    over = threading.Event()
    mine: list[tuple[str, bytes]] = []
    his: list[tuple[str, bytes]] = []

    def write(client: Client, name: bytes, to: str, said: list[tuple[str, bytes]]) -> None:
        while not over.is_set() or not said:
            data = b"%s %06d" % (name, len(said))
            said.append((post_surely(client, [data], to)[0], data))
            time.sleep(0.002 if make == "far" else 0.03)  # a site with one message in flight is slow

    writers = [
        threading.Thread(target=write, args=(laptop, b"ann", reader.uid, mine)),
        threading.Thread(target=write, args=(bob, b"bob", ann.uid, his)),
    ]
    for writer in writers:
        writer.start()
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.0))
            house.box.kill9()
            house.box.start()
    finally:
        over.set()
        for writer in writers:
            writer.join()
    come_back(phone)
    at_reader, at_phone = before_curtain(reader, phone)
    assert list({f["id"]: f.data for f in at_reader if f.op == "delivery"}.items()) == mine
    for said, name in ((mine, b"ann"), (his, b"bob")):
        found = {f["id"]: f.data for f in at_phone if f.op == "delivery" and f.data.startswith(name)}
        assert list(found.items()) == said
    print(f"\n{KILLS} kills; {len(mine)} posts there and {len(his)} back, each once and in order")
