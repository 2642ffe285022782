"""Who is let in, with which slot, and what a box is told that is not."""

from __future__ import annotations

import pytest
import trio

from appliance.pairing import BoxCard
from appliance.peering.household import Household
from appliance.session import NotNow
from appliance.site import add_box, revoke_box
from tests.peering.kit import house, new_key

HERE = "=192.168.1.5:4433"


def card(folder, name="kitchen"):
    return BoxCard(new_key(folder / f"{name}.key").public, name, ["=192.168.1.6:4433"])


def run(test, folder):
    async def main():
        async with house(folder) as home:
            await test(home, Household(home.service, home.standing, lambda: [HERE]))

    trio.run(main)


def test_the_first_other_box_gets_slot_1(tmp_path):
    async def test(home, household):
        gift = household.gift(card(tmp_path))
        assert (gift.site, gift.host) == ("Home", home.standing.own)
        assert [(entry.name, entry.addresses) for entry in gift.boxes] == [("own", [HERE])]
        assert await household.admit(card(tmp_path)) == 1
        (box,) = home.standing.others
        assert (box.slot, box.name, box.addresses) == (1, "kitchen", ()), "it places itself when it serves"

    run(test, tmp_path)


def test_the_key_is_in_the_gift_and_fits_the_certificate(tmp_path):
    async def test(home, household):
        gift = household.gift(card(tmp_path))
        assert "PRIVATE KEY" in gift.key and "BEGIN CERTIFICATE" in gift.cert

    run(test, tmp_path)


def test_a_slot_is_never_given_twice_also_not_a_revoked_boxs(tmp_path):
    async def test(home, household):
        box = await home.other("stolen")
        await home.store.perform(lambda scene: revoke_box(scene, box, 0))
        assert await household.admit(card(tmp_path)) == 2

    run(test, tmp_path)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("away", "box old has yet to finish joining"),
        ("catching up", "box old is still fetching"),
        ("refused", "box old is away: bring it back, or if it is gone for good:   pocket peer revoke"),
    ],
)
def test_nobody_is_let_in_while_another_box_is_not_in_sync(tmp_path, state, said):
    async def test(home, household):
        box = await home.other("old")
        home.links.says(box, state=state)
        for ask in (lambda: household.gift(card(tmp_path)), None):
            with pytest.raises(NotNow, match=said):
                ask() if ask else await household.admit(card(tmp_path))
        assert len(home.store.site.boxes) == 2

    run(test, tmp_path)


def test_eight_boxes_are_the_most(tmp_path):
    async def test(home, household):
        for number in range(7):
            await home.other(f"box {number}")
        with pytest.raises(NotNow, match="8 boxes"):
            await household.admit(card(tmp_path))

    run(test, tmp_path)


def test_a_box_that_was_interrupted_gets_the_same_slot_again(tmp_path):
    async def test(home, household):
        assert await household.admit(card(tmp_path)) == 1
        assert household.gift(card(tmp_path)).host == home.standing.own
        assert await household.admit(card(tmp_path)) == 1
        assert len(home.store.site.boxes) == 2

    run(test, tmp_path)


def test_a_revoked_box_does_not_come_back(tmp_path):
    async def test(home, household):
        box = await home.other("kitchen")
        await home.store.perform(lambda scene: revoke_box(scene, box, 0))
        with pytest.raises(NotNow, match="factory reset"):
            await household.admit(card(tmp_path))

    run(test, tmp_path)


def test_the_slot_is_told_when_the_others_have_it_on_stable_storage(tmp_path, monkeypatch):
    async def test(home, household):
        box = await home.other("old")
        home.store.copies.boxes[box].seq = 0
        got = []

        async def admit():
            got.append(await household.admit(card(tmp_path, "new")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(admit)
            await trio.sleep(0.3)
            assert got == []
            home.links.says(box, lacking=1)
            home.store.copies.confirmed(box, 1 << 40)
            await trio.sleep(0.3)
            assert got == [], "what the other has said meanwhile is not here yet"
            home.links.says(box, lacking=0)
        assert got == [2]

    run_written(test, tmp_path, monkeypatch)


def run_written(test, folder, monkeypatch):
    """Like `run`, for boxes that count as having written before."""
    monkeypatch.setattr(
        Household, "_has_written", lambda self, box: self._store.site.boxes[box].name == "old"
    )
    run(test, folder)


def test_of_two_boxes_with_one_slot_the_later_one_is_put_out_again(tmp_path, monkeypatch):
    async def test(home, household):
        async def rival_first(box, card):
            rival = new_key(tmp_path / "rival.key")
            await home.store.perform(lambda scene: add_box(scene, rival.box, rival.public, "rival", 1))
            await home.store.perform(lambda scene: add_box(scene, box, card.public, card.name, 1))

        monkeypatch.setattr(household, "_add", rival_first)
        with pytest.raises(NotNow, match="invite this one again"):
            await household.admit(card(tmp_path))
        boxes = {box.name: box.cut for box in home.store.site.boxes.values()}
        assert boxes == {"own": None, "rival": None, "kitchen": 0}

    run(test, tmp_path)


def test_of_two_boxes_with_one_slot_the_earlier_one_stays(tmp_path, monkeypatch):
    async def test(home, household):
        async def rival_second(box, card):
            rival = new_key(tmp_path / "rival.key")
            await home.store.perform(lambda scene: add_box(scene, box, card.public, card.name, 1))
            await home.store.perform(lambda scene: add_box(scene, rival.box, rival.public, "rival", 1))

        monkeypatch.setattr(household, "_add", rival_second)
        assert await household.admit(card(tmp_path)) == 1

    run(test, tmp_path)


def test_a_box_that_the_others_do_not_confirm_is_put_out_again(tmp_path, monkeypatch):
    async def test(home, household):
        box = await home.other("old")
        home.store.copies.boxes[box].seq = 0
        with pytest.raises(NotNow, match="did not confirm it in time"):
            await household.admit(card(tmp_path, "new"))
        assert [b.cut for b in home.store.site.boxes.values() if b.name == "new"] == [0]

    monkeypatch.setattr("appliance.peering.household.SETTLE_S", 0.2)
    run_written(test, tmp_path, monkeypatch)
