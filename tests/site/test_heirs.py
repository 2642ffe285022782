"""A box that becomes another one: who lets it in, and what is said again in its name."""

from __future__ import annotations

from typing import get_args

import pytest

from appliance.site import Limits, Mint, Renumbering, Scene, Site, add_box, heirs, replace_box, revoke_box
from appliance.site import facts as f
from appliance.site.boxes import BOXES_MAX, HEIRS_MAX
from appliance.site.renumbering import FIELDS
from tests.site.house import Load


def scene(slot: int = 0) -> Scene:
    made = Scene(Site(), Mint(0, box=slot), Limits(), Load())
    made.at(10**18)
    return made


def tell(made: Scene, decision: object) -> None:
    assert getattr(decision, "error", None) is None, decision
    for fact in getattr(decision, "lasting", ()):
        made.site.apply(fact)


def key(number: int) -> bytes:
    return bytes([number]) * 32


@pytest.fixture
def home() -> Scene:
    made = scene()
    tell(made, add_box(made, "AAAAAAAA", key(1), "attic", 0))
    tell(made, add_box(made, "BBBBBBBB", key(2), "kitchen"))
    return made


def test_the_new_box_has_the_old_ones_name_a_slot_of_its_own_and_says_what_it_was(home: Scene) -> None:
    tell(home, replace_box(home, "BBBBBBBB", "CCCCCCCC", key(3)))
    new = home.site.boxes["CCCCCCCC"]
    assert (new.name, new.of) == ("kitchen", "BBBBBBBB") and new.slot not in (0, 1)
    assert {old: box.box for old, box in heirs(home.site.boxes).items()} == {"BBBBBBBB": "CCCCCCCC"}
    assert replace_box(home, "BBBBBBBB", "CCCCCCCC", key(3)).lasting == [], "asked again it is the same one"


def test_nothing_comes_of_a_revoked_box_or_an_unknown_one(home: Scene) -> None:
    tell(home, revoke_box(home, "BBBBBBBB", 0))
    for old in ("BBBBBBBB", "DDDDDDDD"):
        assert "put out" in (replace_box(home, old, "CCCCCCCC", key(3)).error or "")
    assert "CCCCCCCC" not in home.site.boxes


def test_nobody_becomes_a_box_that_is_another_one(home: Scene) -> None:
    tell(home, add_box(home, "CCCCCCCC", key(3), "hall"))
    assert "another one" in (replace_box(home, "BBBBBBBB", "CCCCCCCC", key(3)).error or "")


def test_one_box_becomes_a_few_others_and_no_more(home: Scene) -> None:
    for number in range(HEIRS_MAX):
        tell(home, replace_box(home, "BBBBBBBB", f"CCCCCCC{number}", key(10 + number)))
    assert "pocket peer revoke" in (replace_box(home, "BBBBBBBB", "DDDDDDDD", key(20)).error or "")


def test_a_full_site_still_takes_a_box_that_becomes_another_one(home: Scene) -> None:
    for number in range(BOXES_MAX - 2):
        tell(home, add_box(home, f"DDDDDDD{number}", key(30 + number), "more"))
    tell(home, replace_box(home, "BBBBBBBB", "CCCCCCCC", key(3)))
    assert "the most it can have" in (add_box(home, "EEEEEEEE", key(50), "too many").error or "")


def test_two_boxes_that_cannot_hear_each_other_choose_different_slots() -> None:
    chosen = []
    for slot in (0, 1, 2):
        made = scene(slot)
        for number in range(4):
            tell(made, add_box(made, f"AAAAAAA{number}", key(number), "box", number))
        tell(made, replace_box(made, "AAAAAAA3", f"BBBBBBB{slot}", key(60 + slot)))
        chosen.append(made.site.boxes[f"BBBBBBB{slot}"].slot)
    assert len(set(chosen)) == 3


def test_every_kind_of_fact_has_its_numbers_listed() -> None:
    assert set(FIELDS) == {*get_args(f.LastingFact), *get_args(f.TrafficFact)}


def test_numbers_given_before_get_the_new_slot_and_others_stay() -> None:
    again = Renumbering(1, 5)
    assert again.again([f.Sent(7, 1, 33, b"", 0, (49, 32))]) is None, "33 and 49 are from before they parted"
    told = again.again(
        [
            f.MemberAdded(65, "uid", 0),
            f.NodeAdded(81, 65, "laptop", b"", 0),
            f.NodeAdded(97, 33, "phone", b"", 0),
            f.AliasAdded("eve", 65, 9),
        ]
    )
    assert told == [
        f.MemberAdded(69, "uid", 0),
        f.NodeAdded(85, 69, "laptop", b"", 0),
        f.NodeAdded(101, 33, "phone", b"", 0),
        f.AliasAdded("eve", 69, 9),
    ]
    assert again.again([f.Sent(8, 1, 65, b"", 0, (49, 81, 97)), f.Acked(81, (8,))]) == [
        f.Sent(8, 1, 69, b"", 0, (49, 85, 101)),
        f.Acked(85, (8,)),
    ]
    assert again.again([f.Requested(97, b"key", 8, 0), f.NodeDropped(81)]) == [
        f.Requested(101, b"key", 8, 0),
        f.NodeDropped(85),
    ]
