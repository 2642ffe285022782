"""Ids rise, whatever the clock says, and no two boxes make the same one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.site.mint import BOXES, Mint

NOW = 1_800_000_000_000_000_000
clocks = st.integers(0, 1 << 62)


@given(floor=st.integers(0, 1 << 61), box=st.integers(0, BOXES - 1), ticks=st.lists(clocks, max_size=30))
def test_ids_rise_above_the_floor_whatever_the_clock_says(floor: int, box: int, ticks: list[int]) -> None:
    mint = Mint(floor, box)
    last = floor
    for now in ticks:
        mint.tick(now)
        for _ in range(3):
            msgid = mint.id()
            assert msgid > last
            assert msgid >= now, "an id tells the time as long as the clock is right"
            assert msgid - max(last, now) <= 2 * BOXES, "and runs no further ahead than it must"
            last = msgid


@given(
    ticks=st.lists(clocks, max_size=20),
    boxes=st.lists(st.integers(0, BOXES - 1), min_size=2, max_size=2, unique=True),
)
def test_two_boxes_never_make_the_same_id(ticks: list[int], boxes: list[int]) -> None:
    mints = [Mint(0, box) for box in boxes]
    ids: list[int] = []
    for now in [0, *ticks]:
        for mint in mints:
            mint.tick(now)
            ids += [mint.id(), mint.id()]
    assert len(set(ids)) == len(ids)
    assert {msgid % BOXES for msgid in ids} == set(boxes)


def test_an_id_is_the_time_if_the_clock_is_right() -> None:
    mint = Mint(0, 5)
    mint.tick(NOW)
    assert mint.id() == NOW // BOXES * BOXES + 5
    mint.tick(NOW + 1_000_000)
    assert mint.id() == (NOW + 1_000_000) // BOXES * BOXES + 5


def test_an_id_that_was_seen_is_not_made_again() -> None:
    mint = Mint(0, 3)
    mint.tick(NOW)
    mint.saw(NOW + 1000)
    assert mint.id() > NOW + 1000
    mint.saw(1)
    assert mint.id() > NOW + 1000


@pytest.mark.parametrize("box", [-1, BOXES])
def test_a_box_number_is_one_of_sixteen(box: int) -> None:
    with pytest.raises(ValueError, match="0 to 15"):
        Mint(0, box)


def test_ids_end_where_a_signed_number_of_64_bits_does() -> None:
    mint = Mint((1 << 63) - 3 * BOXES, 0)
    ids = [mint.id(), mint.id()]
    assert ids == [(1 << 63) - 2 * BOXES, (1 << 63) - BOXES]
    with pytest.raises(OverflowError, match="clock"):
        mint.id()
    assert mint.last == ids[-1]


@given(taken=st.integers(0, 1 << 40), box=st.integers(0, BOXES - 1))
def test_numbers_of_members_and_nodes_are_new_and_of_the_box(taken: int, box: int) -> None:
    number = Mint(0, box).number(taken)
    assert taken < number <= taken + 2 * BOXES
    assert number % BOXES == box
    assert number > 0
