"""Presence through a box is as at the site itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance import wire
from appliance.relay import presence
from appliance.relay.presence import GONE_AFTER_S, ONLINE_MAX, Presence
from tests.kit import Client
from tests.kit.upstream import Upstream
from tests.relay.house import house, until
from tests.store.kit import run


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


def made() -> tuple[Presence, list[bytes]]:
    frames: list[bytes] = []
    return Presence(frames.append), frames


def listed(uids: list[str], kind: str = "drop") -> wire.Message:
    fields = {"for": [{"id": uid, "type": 0} for uid in uids], "type": kind}
    return wire.Message("ohiedit", 1, "ANN", "", 0, 0, None, None, fields)


def test_devices_hear_who_comes_and_goes_and_that_all_are_gone_with_the_link():
    ours, frames = made()
    ours.began(["BOB"])
    ours.heard(wire.Ohi("CARL", 1))
    ours.heard(wire.Ohi("BOB", 2))
    ours.heard(wire.Ohi("BOB", 7))
    assert ours.online() == ["CARL"]
    ours.ended()
    assert ours.online() == []
    told = [("BOB", 1), ("CARL", 1), ("BOB", 2), ("CARL", 2)]
    assert frames == [wire.encode_ohi(uid, status) for uid, status in told]


def test_a_site_cannot_fill_the_memory_with_presence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(presence, "ONLINE_MAX", 10)
    ours, frames = made()
    for number in range(100):
        ours.heard(wire.Ohi(f"uid {number}", 1))
    ours.heard(wire.Ohi("x" * 50_000, 1))
    assert len(ours.online()) == 10 < ONLINE_MAX
    assert max(map(len, frames)) < 200


def test_what_devices_announced_is_said_again_after_a_login():
    ours, _ = made()
    ours.done(wire.OhiEdit("1", ["BOB", "CARL"], "add"))
    ours.done(wire.OhiEdit("2", ["DORA"], "init"))
    ours.done(wire.OhiEdit("3", ["BOB"], "drop"))
    (request,) = ours.again()
    assert (request.type, request.to) == ("init", ["CARL", "DORA"])


def test_when_the_last_device_has_gone_presence_is_withdrawn_once():
    ours, _ = made()
    ours.done(wire.OhiEdit("1", ["BOB"], "add"))
    assert ours.look(0.0, anybody=True) == []
    assert ours.look(1.0, anybody=False) == []
    assert ours.look(1.0 + GONE_AFTER_S - 0.1, anybody=False) == []
    (request,) = ours.look(1.0 + GONE_AFTER_S, anybody=False)
    assert (request.type, request.to) == ("drop", ["BOB"])
    assert ours.look(100.0, anybody=False) == [] == ours.again()
    assert not ours.is_ours(listed(["BOB"], "add"))
    assert ours.is_ours(listed(["BOB"])) and not ours.is_ours(listed(["BOB"]))


def test_a_device_that_comes_back_in_time_was_never_away():
    ours, _ = made()
    ours.done(wire.OhiEdit("1", ["BOB"], "add"))
    ours.look(0.0, anybody=False)
    ours.look(GONE_AFTER_S - 0.1, anybody=True)
    assert ours.look(GONE_AFTER_S + 0.1, anybody=False) == []


def test_a_device_announces_itself_through_the_box_and_is_withdrawn_when_it_leaves(
    club: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(presence, "GONE_AFTER_S", 0.2)

    async def body():
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            phone = await home.device(number)
            phone.come()
            bob = Client.register(club, alias="Bob at the club")

            async def bob_hears(status: int) -> None:
                hear = partial(bob.expect, "ohi", from_=home.uid(number), status=status)
                await trio.to_thread.run_sync(hear)

            await home.online(number)
            await home.outcome(await phone.ask(wire.OhiEdit("1", [bob.uid], "add")))
            await bob_hears(1)
            assert [frame.op for frame in await phone.got(1)] == ["ohiedit"]

            club.cut(home.uid(number))
            await bob_hears(2)
            await home.online(number)
            await bob_hears(1)

            bob.edit_ohi("init", home.uid(number))
            await until(lambda: wire.encode_ohi(bob.uid, 1) in phone.frames)
            assert home.relay.ohi(number) == [bob.uid]
            phone.go()
            await until(lambda: club.record.find("OhiEdit", home.uid(number))[-1].header["type"] == "drop")
            await bob_hears(2)
            ann = club.accounts.members[home.uid(number)]
            await until(lambda: not club.waiting(ann))
            assert [frame.op for frame in await phone.got(1)] == ["ohiedit"]
            bob.close()

    run(body)
