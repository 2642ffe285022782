"""A site that is hostile or broken harms its own membership, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance import wire
from appliance.relay import RelayError, care, membership
from appliance.relay.ending import why_of
from appliance.relay.presence import Presence
from appliance.relay.upstream import IDLE_EVENTS_PER_S
from tests.kit import head_of
from tests.kit.upstream import Deaf, Say, Upstream, hostile
from tests.relay.house import QUICK, House, house, until
from tests.store.kit import run

WATCHED_S = 1.0
LATE_S = 0.5
"""On a busy machine. What takes a link its turn is some milliseconds."""

LESS_THAN_OCTETS = 48 << 20


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


@pytest.fixture
def crooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    monkeypatch.setattr(care, "BROKE_S", 0.1)
    with Upstream("The crooks") as site:
        yield site


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class Watch:
    """Looks how late the box's own tasks are, while something goes on."""

    def __init__(self) -> None:
        self.latest_s = 0.0

    async def look(self) -> None:
        while True:
            began = time.monotonic()
            await trio.sleep(0.01)
            self.latest_s = max(self.latest_s, time.monotonic() - began - 0.01)


async def passes(home: House, club: Upstream, number: int) -> None:
    """Both ways of another membership work."""
    bob = next(iter(club.accounts.aliases.values()), None) or club.member("Bob at the club")
    phone = await home.device(number, "another")
    ann = club.accounts.members[home.uid(number)]
    item = await phone.post(b"out", bob.uid)
    club.post(bob, [ann], b"in")
    await home.outcome(item)
    frames = await phone.got(1)
    assert [frame.data for frame in frames] == [b"in"]
    await phone.take()


@pytest.mark.parametrize("what", hostile.ONCE)
def test_what_no_proper_site_says_ends_its_own_link_at_most(
    club: Upstream, crooks: Upstream, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
):
    errors: list[Exception] = []

    def judge(error: Exception) -> tuple[care.Why, str]:
        errors.append(error)
        return why_of(error)

    monkeypatch.setattr(membership, "why_of", judge)

    async def body():
        async with house(tmp_path, changes={"stall_s": 0.5}) as home:
            good, bad = await home.membership("club", club), await home.membership("crooks", crooks)
            phone = await home.device(bad)
            await home.online(bad)
            await home.online(good)
            item = await phone.post(b"hello")
            await home.outcome(item)
            crooks.inject(home.uid(bad), hostile.ONCE[what]())
            await passes(home, club, good)
            await until(lambda: home.relay.state(bad)["online"], 20)
            await home.outcome(await phone.post(b"again"), 20)
            assert home.relay.state(good)["online"]
            assert all(isinstance(error, RelayError) for error in errors), errors

    run(body)


@pytest.mark.parametrize("what", hostile.WITHOUT_END)
def test_what_never_ends_takes_neither_the_time_nor_the_memory_of_others(
    club: Upstream, crooks: Upstream, tmp_path: Path, what: str
):
    async def body():
        async with house(tmp_path) as home:
            good, bad = await home.membership("club", club), await home.membership("crooks", crooks)
            await home.device(bad)
            await home.online(good)
            await home.online(bad)
            before = resident()
            ann = crooks.accounts.members[home.uid(bad)]
            crooks.on("message", hostile.WITHOUT_END[what](), times=None)
            crooks.post(crooks.member("Carl the crook"), [ann], b"bait")
            watch = Watch()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.look)
                await trio.sleep(WATCHED_S)
                await passes(home, club, good)
                nursery.cancel_scope.cancel()
            assert watch.latest_s < LATE_S
            assert resident() - before < LESS_THAN_OCTETS

    run(body)


@pytest.mark.parametrize(
    "answer", [{"msgid": "f" * 16, "posted": hostile.POSTED}, {"msgid": "1" * 16, "posted": "tomorrow"}]
)
def test_an_answer_that_cannot_be_is_none(crooks: Upstream, tmp_path: Path, answer: dict[str, str]):
    async def body():
        async with house(tmp_path) as home:
            bad = await home.membership("crooks", crooks)
            phone = await home.device(bad)
            await home.online(bad)
            crooks.stop()
            item = await phone.post(b"hello")
            said = head_of({"id": wire.format_id(item), "op": "ack", **answer})
            rule = crooks.on("taken", Say(said), op="Post")
            crooks.start()
            outcome = await home.outcome(item, 20)
            assert rule.hits == 1 and crooks.asked("Post") == 1, "what came of it is seen"
            assert 0 < outcome.upid < 1 << 62 and outcome.posted_ms

    run(body)


def test_frames_that_bring_nothing_are_read_slowly(
    crooks: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    heard: list[wire.Ohi] = []
    monkeypatch.setattr(Presence, "heard", lambda self, ohi: heard.append(ohi))

    async def body():
        async with house(tmp_path) as home:
            bad = await home.membership("crooks", crooks)
            await home.online(bad)
            crooks.on("message", hostile.WITHOUT_END["presence"](), times=None)
            crooks.post(crooks.member("Carl the crook"), [crooks.accounts.members[home.uid(bad)]], b"bait")
            await until(lambda: heard)
            began = time.monotonic()
            await trio.sleep(WATCHED_S)
            assert len(heard) < 2 * IDLE_EVENTS_PER_S * (time.monotonic() - began)

    run(body)


def test_a_site_that_reads_nothing_is_given_up(club: Upstream, crooks: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path, changes={"stall_s": 0.5}) as home:
            good, bad = await home.membership("club", club), await home.membership("crooks", crooks)
            phone = await home.device(bad)
            await home.online(bad)
            crooks.on("request", Deaf(), op="Post")
            await phone.post(b"hello")
            items = [await phone.post(bytes(4_000_000)) for _ in range(3)]
            await until(lambda: "took nothing" in home.relay.state(bad)["last_error"], 20)
            await passes(home, club, good)
            crooks.cut()  # it still takes us for logged in
            for item in items:
                await home.outcome(item, 30)

    run(body)


def test_a_site_that_stops_in_the_middle_of_a_message_is_given_up(crooks: Upstream, tmp_path: Path):
    async def body():
        async with house(tmp_path, changes={"stall_s": 0.3}) as home:
            bad = await home.membership("crooks", crooks)
            await home.online(bad)
            for start in (b"ff", hostile.message(number=1 << 60, data=b"", datalen=100_000) + b"some"):
                crooks.inject(home.uid(bad), start)
                await until(lambda: "stopped in the middle" in home.relay.state(bad)["last_error"])
                await home.online(bad)
            assert not list((tmp_path / "blobs" / "incoming").iterdir())

    run(body)


def test_a_site_that_says_other_things_at_a_login_is_left_alone(
    club: Upstream, crooks: Upstream, tmp_path: Path
):
    async def body():
        async with house(tmp_path) as home:
            good, bad = await home.membership("club", club), await home.membership("crooks", crooks)
            await home.online(bad)
            for octets in (b"0008{}      ", b"zzzz", hostile.message(number=7), b"ffff" + b"[" * 60000):
                rule = crooks.on("greet", Say(octets, cut=True))
                crooks.cut()
                await until(partial(getattr, rule, "hits"))
            await passes(home, club, good)
            await home.online(bad, 20)

    run(body)


def test_quick_settings_are_in_the_bounds_of_the_real_ones():
    assert QUICK.window_messages == 64 and QUICK.pipeline == 16
