"""What is taken, and when it is looked for."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import pytest

from appliance.updating.errors import UpdateError
from appliance.updating.plan import RETRY_S, Offer, Wish, choose, due
from appliance.updating.sums import most, payloads
from appliance.updating.versions import is_newer, is_version, order

SHA = "ab" * 32


def line(version: str, part: str, board: str = "rpi", sha: str = SHA) -> str:
    return f"{sha}  pocket-{board}-{version}.{part}.zst\n"


def sums(*versions: str) -> bytes:
    return "".join(line(version, part) for version in versions for part in ("root", "efi")).encode()


def offer(version: str, rank: int = 2, where: str = "web") -> Offer:
    (payload,) = payloads(sums(version), "rpi")
    return Offer(payload, b"", b"", where, rank)


def test_versions_are_compared_by_numbers_and_not_as_text() -> None:
    assert is_newer("1.10", "1.9") and is_newer("1.0.1", "1") and is_newer("0.0.0.1", "0")
    assert not is_newer("1.2.0", "1.2") and order("1.2.0.0") == order("1.2")
    for text in ("", "1.", ".1", "1.2.3.4.5", "v1", "1.2-rc1", "1.2\n", "1234567", "1. 2", "٣"):
        assert not is_version(text), text
        assert not is_newer(text, "0.0.1")


def test_only_whole_payloads_for_the_board_are_seen_the_newest_first() -> None:
    text = (
        sums("1.2", "1.10", "1.9").decode()
        + line("2.0", "root")
        + line("3.0", "root", "virt-amd64")
        + line("3.0", "efi", "virt-amd64")
        + f"{SHA}  pocket-rpi-4.0.img.zst\n"
        + "../../etc/passwd\n"
        + f"{SHA}  ../pocket-rpi-5.0.root.zst\n"
    )
    assert [found.version for found in payloads(text.encode(), "rpi")] == ["1.10", "1.9", "1.2"]
    assert [found.version for found in payloads(text.encode(), "virt-amd64")] == ["3.0"]
    assert payloads(bytes(range(256)) * 100, "rpi") == []


def test_a_file_that_is_listed_in_two_ways_spoils_its_version() -> None:
    text = sums("1.2").decode() + line("1.2", "root", sha="cd" * 32) + sums("1.1").decode()
    assert [found.version for found in payloads(text.encode(), "rpi")] == ["1.1"]


def test_a_file_may_not_be_larger_than_what_it_is_for() -> None:
    assert most("pocket-rpi-1.2.root.zst") == 512 << 20
    assert most("pocket-virt-amd64-1.2.3.efi.zst") == 96 << 20


def test_the_newest_is_taken_from_who_is_nearest() -> None:
    offers = [offer("1.1", 0, "box"), offer("1.2", 2, "web"), offer("1.2", 1, "stick")]
    chosen = choose(offers, Wish(), "1.0", [])
    assert chosen is not None and (chosen.version, chosen.where) == ("1.2", "stick")
    assert choose(offers, Wish(), "1.2", []) is None
    assert choose([], Wish(), "1.0", []) is None


def test_an_older_version_is_taken_only_when_somebody_says_so() -> None:
    offers = [offer("1.1"), offer("1.2")]
    assert choose(offers, Wish(), "1.3", []) is None
    with pytest.raises(UpdateError, match="--downgrade"):
        choose(offers, Wish("1.1"), "1.3", [])
    chosen = choose(offers, Wish("1.1", downgrade=True), "1.3", [])
    assert chosen is not None and chosen.version == "1.1"
    with pytest.raises(UpdateError, match="nobody has version 9"):
        choose(offers, Wish("9"), "1.3", [])
    assert choose(offers, Wish("1.2.0"), "1.2", []) is None


def test_what_was_left_is_not_taken_by_itself_and_by_hand_only_when_somebody_insists() -> None:
    offers = [offer("1.1"), offer("1.2")]
    chosen = choose(offers, Wish(by_hand=False), "1.0", ["1.2.0"])
    assert chosen is not None and chosen.version == "1.1"
    assert choose(offers, Wish(by_hand=False), "1.0", ["1.2", "1.1"]) is None
    with pytest.raises(UpdateError, match="--again"):
        choose(offers, Wish(), "1.0", ["1.2"])
    chosen = choose(offers, Wish(again=True), "1.0", ["1.2"])
    assert chosen is not None and chosen.version == "1.2"


def test_it_is_due_once_a_night() -> None:
    at, night = time(3, 30), datetime(2026, 5, 4, 3, 30)
    before = (night - timedelta(days=1)).timestamp()

    def now(minutes: float, tried: float = before, jitter_s: float = 0, failed: bool = False) -> bool:
        return due(night + timedelta(minutes=minutes), at, jitter_s, tried, failed)

    assert not now(-1) and now(1)
    assert not now(59, jitter_s=3600) and now(61, jitter_s=3600)
    assert not now(90, tried=night.timestamp() + 60)
    assert now(90, tried=night.timestamp() + 60, failed=True)
    soon = night.timestamp() + 90 * 60 - RETRY_S / 2
    assert not now(90, tried=soon, failed=True)
    assert not now(60 * 5), "a box that was off at night does not begin at breakfast"
    assert now(5, tried=night.timestamp() + 86400 * 365), "its clock was wrong"
