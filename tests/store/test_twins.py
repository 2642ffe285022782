"""A message of another site that two boxes stored each: who has the one has both, and nobody gets both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.site import EMPTY, add_relay_device, relay_in
from appliance.store import Store, verify
from tests.store import kit
from tests.store.test_relay import come, head, perform, two_boxes
from tests.store.test_versions import ship


async def acknowledge(store: Store, device: int, msgids: Sequence[int]) -> None:
    for msgid in msgids:
        store.ack(device, msgid)
    await kit.flush(store)


async def settle(a: Store, b: Store) -> None:
    """They tell each other everything."""
    for _ in range(2):
        await ship(a, b)
        await ship(b, a)
    assert await a.replica.state_digest() == await b.replica.state_digest()


async def only(a: Store, b: Store, device: int, msgids: Sequence[int]) -> None:
    """That is all that the device has yet to get, at either box."""
    for store in (a, b):
        assert await kit.pending_ids(store, device) == list(msgids)


@pytest.mark.parametrize("spilled", [False, True], ids=["recent", "in the tables"])
@pytest.mark.parametrize("first_to_hear", ["a", "b"])
def test_who_acknowledged_the_one_that_does_not_count_gets_the_other_no_more(
    tmp_path: Path, spilled: bool, first_to_hear: str
) -> None:
    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, (phone, laptop)):
            counts = [(await come(a, number, upid)).msgid for upid in (5, 6)]
            void = [(await come(b, number, upid)).msgid for upid in (5, 6)]
            assert max(counts) < min(void)
            await acknowledge(b, phone, void[:1])
            if spilled:
                await kit.spill(a)
                await kit.spill(b)
            if first_to_hear == "a":
                await ship(b, a)
            else:
                await ship(a, b)
                await only(b, b, phone, counts[1:])
            await settle(a, b)
            await only(a, b, phone, counts[1:])
            await only(a, b, laptop, counts)
        for name in ("a", "b"):
            assert verify(tmp_path / name)["ok"], verify(tmp_path / name)

    kit.run(main)


def test_also_if_it_acknowledges_after_the_boxes_have_seen_that_there_are_two(tmp_path: Path) -> None:
    """The message was on its way to the device; its box hears of the acknowledgement, or another one does
    after a restart."""

    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, (phone, laptop)):
            counts = (await come(a, number, 5)).msgid
            void = (await come(b, number, 5)).msgid
            await ship(b, a)
            await acknowledge(b, laptop, [void])  # it has not heard of the other one
            await ship(a, b)
            await acknowledge(b, phone, [void])
            await only(b, b, phone, [])
            await settle(a, b)
            for device in (phone, laptop):
                await only(a, b, device, [])
            assert counts != void

    kit.run(main)


def test_what_is_only_said_in_the_name_of_a_device_is_not_counted(tmp_path: Path) -> None:
    """The one that does not count is taken from all who wait for it: they still get the other."""

    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, devices):
            counts = (await come(a, number, 5)).msgid
            await come(b, number, 5)
            await settle(a, b)
            await kit.spill(b)
            await settle(a, b)
            for device in devices:
                await only(a, b, device, [counts])

    kit.run(main)


def test_a_device_that_was_to_get_only_the_one_that_does_not_count_gets_that(tmp_path: Path) -> None:
    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, (phone, _)):
            tablet = await perform(b, add_relay_device, number, "tablet", kit.Credentials.make())
            counts = (await come(a, number, 5)).msgid
            void = (await come(b, number, 5)).msgid
            await settle(a, b)
            await only(a, b, phone, [counts])
            await only(a, b, tablet.node, [void])
            await acknowledge(a, tablet.node, [void])
            await settle(a, b)
            await only(a, b, tablet.node, [])
            await only(a, b, phone, [counts])

    kit.run(main)


@pytest.mark.parametrize("told_first", ["the box that logged in", "the other one"])
def test_the_login_of_a_box_goes_to_nobody_any_more_when_that_box_says_so(
    tmp_path: Path, told_first: str
) -> None:
    """Boxes that did not see each other: for the one it was somebody's login."""

    async def main() -> None:
        async with two_boxes(tmp_path) as (a, b, number, devices):
            message = number, 5, "login", head(5, "login", 0), EMPTY
            for store in (a, b) if told_first == "the other one" else (b, a):
                await perform(store, relay_in, *message, *([()] if store is b else []))
            somebodys = (await perform(a, relay_in, number, 6, "login", head(6, "login", 0), EMPTY)).msgid
            await settle(a, b)
            for device in devices:
                await only(a, b, device, [somebodys])
            assert set(await a.relay.known(number, [5, 6])) == {5, 6}
        for name in ("a", "b"):
            assert verify(tmp_path / name)["ok"], verify(tmp_path / name)

    kit.run(main)
