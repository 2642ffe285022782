"""What became of an update is told from what the system says, whatever happened in between."""

from __future__ import annotations

import pytest

from appliance.updating.notes import Notes
from appliance.updating.settling import STARTS_MAX, settle
from appliance.updating.system import Other, Slots, Work

OURS = "ab" * 8


def notes(**changes: object) -> Notes:
    return Notes(**{"request": OURS, "want": "install", "version": "1.2", "before": "1.1", **changes})  # type: ignore[arg-type]


def slots(running: str = "1.1", other: Other | None = None, **changes: object) -> Slots:
    return Slots("rpi", running, other=other or Other("1.0", "good"), **changes)  # type: ignore[arg-type]


TRYING, LOST = Other("1.2", "trying"), Other("1.2", "given-up")
FAILED = Work("failed", "1.2", 0, "bad signature", OURS)


@pytest.mark.parametrize(
    ("note", "now", "asked", "verdict"),
    [
        (notes(), slots(), True, "start"),
        (notes(starts=STARTS_MAX), slots(), True, "failed"),
        (notes(), slots(), False, "failed"),
        (notes(), slots(work=Work("installing", "1.2", 7, None, OURS)), True, "wait"),
        (notes(), slots(work=Work("installed", "1.2", 100, None, OURS)), True, "wait"),
        (notes(), slots(work=FAILED), True, "failed"),
        (notes(), slots(work=Work("failed", "1.2", 0, "an earlier one", "cd" * 8)), True, "start"),
        (notes(armed=True), slots(other=TRYING), True, "wait"),
        (notes(armed=True), slots("1.2", trial=True), True, "trial"),
        (notes(armed=True), slots("1.2"), True, "installed"),
        (notes(armed=True), slots(other=LOST), True, "given up"),
        (notes(armed=True), slots(other=LOST), False, "given up"),
        (notes(armed=True), slots(given_up=["1.2"]), True, "given up"),
        (notes(), slots(other=LOST), True, "given up"),
        (notes(again=True), slots(other=LOST, given_up=["1.2"]), True, "start"),
        (notes(again=True, armed=True), slots(other=LOST, given_up=["1.2"]), True, "given up"),
        (notes(want="rollback", version="1.0"), slots("1.0", trial=True), True, "trial"),
        (notes(want="rollback", version="1.0"), slots("1.0"), True, "went back"),
        (notes(want="rollback", version="1.0"), slots(work=FAILED), True, "failed"),
    ],
)
def test_each_state_has_its_verdict(note: Notes, now: Slots, asked: bool, verdict: str) -> None:
    assert settle(note, now, asked)[0] == verdict


def test_what_the_system_says_of_a_failure_is_told() -> None:
    assert settle(notes(), slots(work=FAILED), True)[1] == "bad signature"
