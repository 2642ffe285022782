"""A box whose card was put back to an older state, or copied, goes on as a new one and loses nothing."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_peers import in_sync, join, until
from tests.kit import Box, Client, free_port, pocket
from tests.kit.box import Refused

NewBox = Callable[..., Box]
Pair = tuple[Box, Box, list[Client]]


@pytest.fixture
def placed(new_box: NewBox) -> Callable[..., Box]:
    """Makes boxes that are found again where they were."""

    def make(name: str) -> Box:
        return new_box(listen=f"127.0.0.1:{free_port()}", config=f'[peer]\nname = "{name}"\n')

    return make


def back_up(box: Box) -> Path:
    """Keep what is on the card of a box that is off."""
    kept = box.folder / "kept"
    shutil.copytree(box.data, kept, ignore=shutil.ignore_patterns("control.sock"))
    return kept


@pytest.fixture
def pair(placed: NewBox) -> Callable[..., Pair]:
    """Makes two boxes, the first with these members, and keeps what is then on the card of the second."""

    def make(*names: str) -> Pair:
        a, b = placed("attic"), placed("kitchen")
        members = [Client.register(a, alias=name) for name in names]
        join(b, a)
        in_sync(a, b)
        b.terminate()
        back_up(b)
        b.start()
        in_sync(a, b)
        return a, b, members

    return make


def put_back(box: Box) -> None:
    shutil.rmtree(box.data)
    shutil.copytree(box.folder / "kept", box.data)


def device(box: Box, client: Client) -> Client:
    """The same node, at another box."""
    found = Client(box, uid=client.uid, node=client.node, alias=client.alias)
    found.login()
    return found


def listed(box: Box) -> dict[str, dict[str, Any]]:
    return {one["box"]: one for one in box.control("peer.list")["boxes"]}


def own(box: Box) -> str:
    return str(box.control("peer.list")["box"])


def becomes_new(box: Box, old: str, within_s: float = 30.0) -> str:
    """Wait until it serves as another box; which."""

    def done() -> str | None:
        status = box.control("status")
        good = status["box"] != old and status["state"] in ("serving", "warning")
        return str(status["box"]) if good else None

    with suppress(Refused):
        return str(until(done, within_s))
    raise AssertionError(box.words())


def same(*boxes: Box) -> None:
    """All have all, and prove it."""
    until(lambda: len({box.control("state.digest")["digest"] for box in boxes}) == 1, 20)
    for box in boxes:
        assert box.control("journal.verify")["problems"] == []


def bodies(client: Client, count: int) -> list[bytes]:
    return [bytes(client.find("delivery").data) for _ in range(count)]


def test_a_box_with_an_old_card_goes_on_as_a_new_one_and_loses_nothing(pair: Callable[..., Pair]) -> None:
    a, b, (ann, bob) = pair("ann smith", "bob smith")
    old = own(b)
    ann.close()
    ann = device(b, ann)
    ann.post(b"on the card that is gone", to=bob)
    carl = Client.register(b, alias="carl smith")
    carl.post(b"so was i", to=bob)
    carl.close()
    in_sync(a, b)
    ann.close()
    b.terminate()
    bob.close()
    a.terminate()
    put_back(b)
    b.start()
    large = os.urandom(200_000)
    ann = device(b, ann)
    ann.post(b"on the old card", to=bob)
    ann.post(large, to=bob)
    eve = Client.register(b, alias="eve smith")
    eve.post(b"i am new", to=bob)
    eve.close()
    ann.close()
    b.kill9()
    b.start()
    a.start()
    new = becomes_new(b, old)
    in_sync(a, b)
    same(a, b)
    told = listed(a)
    assert told[old]["state"] == "replaced" and told[old]["replaced_by"] == new
    assert told[new]["name"] == "kitchen" and told[new]["was"] == old
    assert a.control("peer.list")["safe_to_unplug"]
    assert any(new in reason for reason in a.control("status")["reasons"])
    assert len(a.control("member.list")) == 4
    bob = device(a, bob)
    sent = [b"on the card that is gone", b"so was i", b"on the old card", large, b"i am new"]
    assert sorted(bodies(bob, 5)) == sorted(sent)
    bob.close()
    eve = device(a, eve)
    eve.post(b"nothing came twice", to=bob)
    eve.close()
    device(a, carl).close()
    bob = device(b, bob)
    assert bodies(bob, 1) == [b"nothing came twice"]
    bob.close()
    same(a, b)
    assert "came from it" in pocket(a, "peer", "revoke", old, "--yes")


def test_a_card_from_before_the_others_joined_does_not_serve_on_alone(placed: NewBox) -> None:
    a, b = placed("attic"), placed("kitchen")
    ann = Client.register(a, alias="ann smith")
    bob = Client.register(a, alias="bob smith")
    old = own(a)
    ann.close()
    bob.close()
    a.terminate()
    back_up(a)
    a.start()
    join(b, a)
    in_sync(a, b)
    ann.login()
    ann.post(b"not on the old card", to=bob)
    ann.close()
    in_sync(a, b)
    a.terminate()
    b.terminate()
    put_back(a)
    a.start()
    ann.login()
    ann.post(b"on the old card", to=bob)
    ann.close()
    b.start()
    new = becomes_new(a, old, 60)
    in_sync(a, b)
    for box in (a, b):
        boxes = listed(box)
        assert boxes[old]["state"] == "replaced" and boxes[old]["replaced_by"] == new
    bob = device(a, bob)
    assert sorted(bodies(bob, 2)) == [b"not on the old card", b"on the old card"]
    bob.close()
    same(a, b)


def test_a_revoked_box_with_an_old_card_does_not_get_in(pair: Callable[..., Pair]) -> None:
    a, b, (ann,) = pair("ann smith")
    old = own(b)
    ann.close()
    ann = device(b, ann)
    ann.post(b"later", to=ann)
    ann.close()
    in_sync(a, b)
    b.terminate()
    a.control("peer.revoke", box=old)
    put_back(b)
    b.start()
    until(lambda: b.control("status")["state"] == "error")
    time.sleep(3)
    assert own(b) == old
    assert set(listed(a)) == {own(a), old} and listed(a)[old]["state"] == "revoked"
    assert not (b.data / "joining").exists()


@pytest.fixture
def copies(placed: NewBox) -> Callable[[Box], Box]:
    """Puts a copy of a box's card into another box, which is off."""

    def copied(box: Box) -> Box:
        twin = placed("twin")
        twin.terminate()
        shutil.rmtree(twin.data)
        shutil.copytree(box.data, twin.data, ignore=shutil.ignore_patterns("control.sock"))
        return twin

    return copied


def test_of_two_boxes_with_the_same_card_one_lives_on_and_nothing_is_lost(
    placed: NewBox, copies: Callable[[Box], Box]
) -> None:
    a, b, c = placed("attic"), placed("kitchen"), placed("hall")
    ann = Client.register(a, alias="ann smith")
    bob = Client.register(a, alias="bob smith")
    join(b, a)
    in_sync(a, b)
    join(c, a)
    in_sync(a, b, c)
    old = own(b)
    b.terminate()
    twin = copies(b)
    bob.close()
    ann.close()
    b.start()
    in_sync(a, b, c)
    here = device(b, ann)
    here.post(b"from one", to=bob)
    here.close()
    in_sync(a, b, c)
    twin.start()

    def apart() -> bool:
        new = [one for one in listed(a).values() if one["was"] == old and one["state"] == "in sync"]
        return bool(new) and own(b) != own(twin)

    until(apart, 60)
    there = device(twin, ann)
    there.post(b"from the other", to=bob)
    there.close()
    until(lambda: listed(a)[old]["state"] in ("in sync", "replaced"))
    alive = [a, c, b, twin]
    same(*alive)
    bob = device(c, bob)
    assert sorted(bodies(bob, 2)) == [b"from one", b"from the other"]
    bob.close()


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(6))
def test_killed_at_any_moment_it_becomes_one_new_box_that_says_everything_once(
    pair: Callable[..., Pair], turn: int
) -> None:
    dice = random.Random(turn)
    a, b, (ann, bob) = pair("ann smith", "bob smith")
    old = own(b)
    ann.close()
    bob.close()
    ann = device(b, ann)
    ann.post(b"gone", to=bob)
    ann.close()
    in_sync(a, b)
    b.terminate()
    a.terminate()
    put_back(b)
    b.start()
    ann = device(b, ann)
    sent = [b"gone"]
    for number in range(40):
        sent.append(b"%d " % number * dice.randrange(1, 20_000))
        ann.post(sent[-1], to=bob)
    ann.close()
    b.kill9()
    a.start()
    for _ in range(5):
        b.launch()
        time.sleep(dice.uniform(0.3, 1.1))
        b.kill9()
    b.launch()
    new = becomes_new(b, old, 60)
    in_sync(a, b)
    same(a, b)
    assert [one["box"] for one in listed(a).values() if one["was"] == old] == [new]
    bob = device(a, bob)
    assert sorted(bodies(bob, len(sent))) == sorted(sent)
    ann = device(a, ann)
    ann.post(b"the end", to=bob)
    assert bodies(bob, 1) == [b"the end"]
    bob.close()
    ann.close()
