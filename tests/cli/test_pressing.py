"""A press of the button by word, and the number that two boxes show, in words."""

from __future__ import annotations

import json

import pytest

from appliance.control import ControlError
from appliance.health import Comparison

OPENED = {"answered": False, "pairing_open_s": 120.0}
ASKS = Comparison(7013, 0.0).facts
SAID = Comparison(7013, 0.0, yes=True).facts
LISTED = {"box": "3F2A%%%%", "copies": 1, "boxes": [], "why": "there is no other box"}


def test_a_press_opens_pairing(pocket):
    pocket.answers(pair_press=OPENED)
    assert pocket("panel", "press") == "pairing is open for 2 min\n"
    assert pocket.asked == [("pair.press", {"times": 1})]
    assert json.loads(pocket("panel", "press", "--json")) == OPENED


def test_two_presses_say_yes_and_one_says_no(pocket):
    pocket.answers(pair_press={"answered": True})
    assert pocket("panel", "press", "--twice") == "said yes: now the other box\n"
    assert pocket("panel", "press") == "said no: nothing was paired\n"
    assert [args["times"] for _, args in pocket.asked] == [2, 1]


def test_what_the_box_refuses_is_told(pocket):
    pocket.answers(pair_press=ControlError("watch both lights for a whole round first"))
    assert pocket("panel", "press", "--twice", code=1) == ""
    assert "a whole round first" in pocket.stderr


@pytest.mark.parametrize(("words", "word"), [(["status"], "status"), (["peer", "list"], "peer_list")])
def test_the_number_is_shown_with_what_to_do(pocket, words, word):
    turns = iter([ASKS, SAID, None])
    pocket.answers(**{word: lambda args: LISTED | {"comparison": next(turns)}})
    shown = [[line for line in pocket(*words).splitlines() if line.startswith("compare")] for _ in range(3)]
    assert "007 013 - does the other box show the same? Press twice for yes, once for no" in shown[0][0]
    assert "007 013 - yes was said here; now say it on the other box" in shown[1][0]
    assert shown[2] == []
