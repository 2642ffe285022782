"""Who is let in as a new box, because its card was put back or copied, and how often."""

from __future__ import annotations

import pytest
import trio

from appliance.health import Health
from appliance.peering import Peering, Settings
from appliance.peering.admitting import PAUSE_S, Admitting
from appliance.replication.errors import Code, Refusal
from appliance.site import revoke_box
from appliance.store.journal import BoxKey
from tests.peering.kit import House, house, new_key


def run(test, folder):
    async def main():
        async with house(folder) as home:
            await test(home, Admitting(home.store, home.standing, lambda: True))

    trio.run(main)


def key(home: House, name: str) -> BoxKey:
    return new_key(home.folder / f"{name}.key")


async def refused(admitting: Admitting, old: str, public: bytes) -> Code:
    with pytest.raises(Refusal) as refusal:
        await admitting.take(old, public)
    return refusal.value.code


def test_a_box_goes_on_as_a_new_one_and_the_old_one_counts_no_more(tmp_path):
    async def test(home, admitting):
        kitchen = await home.other("kitchen")
        home.leaves(kitchen)
        assert home.standing.trouble() is not None
        new = key(home, "new")
        slot = await admitting.take(kitchen, new.public)
        boxes = home.store.site.boxes
        assert boxes[new.box].slot == slot and boxes[new.box].of == kitchen
        assert [box.box for box in home.standing.others] == [new.box]
        home.catches_up(new.box)
        assert home.standing.trouble() is None and home.standing.safe()[0]
        told = home.standing.describe(boxes[kitchen])
        assert (told["state"], told["replaced_by"]) == ("replaced", new.box)
        assert home.standing.describe(boxes[new.box])["was"] == kitchen

    run(test, tmp_path)


def test_a_twin_that_lives_on_under_the_old_id_counts(tmp_path):
    async def test(home, admitting):
        kitchen = await home.other("kitchen")
        new = key(home, "new")
        await admitting.take(kitchen, new.public)
        assert home.standing.state(home.store.site.boxes[kitchen]) == "in sync"
        assert {box.box for box in home.standing.others} == {kitchen, new.box}

    run(test, tmp_path)


def test_asked_again_it_is_the_same_box_and_another_one_has_to_wait(tmp_path):
    async def test(home, admitting):
        kitchen = await home.other("kitchen")
        home.leaves(kitchen)
        first, second = key(home, "first"), key(home, "second")
        slot = await admitting.take(kitchen, first.public)
        assert await admitting.take(kitchen, first.public) == slot
        assert await refused(admitting, kitchen, second.public) is Code.NOT_NOW
        assert second.box not in home.store.site.boxes
        admitting._last -= PAUSE_S
        assert await admitting.take(kitchen, second.public) != slot

    run(test, tmp_path)


def test_nothing_comes_of_a_revoked_box(tmp_path):
    async def test(home, admitting):
        kitchen = await home.other("kitchen")
        await home.store.perform(lambda scene: revoke_box(scene, kitchen, 0))
        new = key(home, "new")
        assert await refused(admitting, kitchen, new.public) is Code.REVOKED
        assert new.box not in home.store.site.boxes

    run(test, tmp_path)


def test_a_box_that_was_put_out_again_is_told_so(tmp_path):
    async def test(home, admitting):
        kitchen = await home.other("kitchen")
        home.leaves(kitchen)
        new = key(home, "new")
        await admitting.take(kitchen, new.public)
        await home.store.perform(lambda scene: revoke_box(scene, new.box, 0))
        assert await refused(admitting, kitchen, new.public) is Code.REVOKED

    run(test, tmp_path)


def test_a_box_that_is_out_of_service_lets_nobody_in(tmp_path):
    async def test(home, _):
        kitchen = await home.other("kitchen")
        admitting = Admitting(home.store, home.standing, lambda: False)
        assert await refused(admitting, kitchen, key(home, "new").public) is Code.NOT_NOW

    run(test, tmp_path)


def test_people_are_told_and_revoking_the_old_box_names_the_new_one(tmp_path):
    async def test(home, admitting):
        kitchen = await home.other("kitchen")
        home.leaves(kitchen)
        new = key(home, "new")
        await admitting.take(kitchen, new.public)
        health = Health()
        health.serving()
        settings = Settings(home.folder / "data", "own", lambda: [], theirs=True)
        peering = Peering(home.service, home.links, health, settings, lambda: None, lambda: 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peering.watch)
            await trio.sleep(0.6)
            assert any(new.box in reason and kitchen in reason for reason in health.reasons)
            told = await peering.revoke(home.store.site.boxes[kitchen])
            assert any(f"pocket peer revoke {new.box}" in hint for hint in told["to_do"])
            nursery.cancel_scope.cancel()

    run(test, tmp_path)
