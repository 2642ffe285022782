"""A membership that is halted is an alarm at every box, for as long as it is, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.upstream import Refuse, Upstream
from tests.relay.house import House, house, until
from tests.relay.household import household
from tests.store.kit import run


@pytest.fixture
def club() -> Iterator[Upstream]:
    with Upstream("The club") as site:
        yield site


async def alarm(home: House, number: int, word: str) -> None:
    await until(lambda: home.relay.state(number).get("halted"), 20)
    await until(lambda: word in home.warnings.get(f"membership {number}", ""))


def test_another_certificate_is_told_and_shown_after_a_restart_too(club: Upstream, tmp_path: Path) -> None:
    async def body() -> None:
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            club.renew_certificate()
            club.cut()
            await alarm(home, number, "pocket membership repin")
            await until(lambda: home.store.site.memberships[number].fields.get("halted"))
        new = club.fingerprint.replace(":", "")
        async with house(tmp_path) as home:
            await alarm(home, number, "pocket membership repin")
            assert home.relay.state(number)["offered_pin"] == new
            await home.relay.resume(number, pin=new)
            await home.online(number)
            assert not home.warnings and not home.relay.state(number)["offered_pin"]
            assert not home.store.site.memberships[number].fields["offered"]

    run(body)


def test_a_box_that_did_not_see_it_tells_it_too(club: Upstream, tmp_path: Path) -> None:
    async def body() -> None:
        async with household(tmp_path) as (one, two, _):
            number = await one.membership("club", club)
            await one.online(number)
            await two.online(number, 20)
            club.renew_certificate()
            for side, node in zip((one, two), club.accounts.members[one.uid(number)].nodes, strict=True):
                assert node and side.relay.state(number)["online"]
            club.cut()
            for side in (one, two):
                await alarm(side, number, "pocket membership repin")
                assert side.relay.state(number)["offered_pin"] == club.fingerprint.replace(":", "")

    run(body)


def test_a_login_that_was_refused_is_told_after_a_restart(club: Upstream, tmp_path: Path) -> None:
    async def body() -> None:
        async with house(tmp_path) as home:
            number = await home.membership("club", club)
            await home.online(number)
            club.on("login", Refuse("login failed"), times=3)
            club.cut()
            await alarm(home, number, "pocket membership resume")
            await until(lambda: home.store.site.memberships[number].fields.get("halted"))
        async with house(tmp_path) as home:
            await alarm(home, number, "pocket membership resume")

    run(body)
