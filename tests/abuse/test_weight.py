"""What is heavy weighs on the disk, the line and its sender, not on the box's memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .stage import SLACK_MB, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

KIB = 1 / 1024
"""In MB."""

LINK_KIB = 64
FRAME_KIB = 4 / 1024 + 64 + 64 + 64
"""The most that a link keeps of what it has received: length, header, inline data, and one receive."""

TAKE_KIB = 256
"""What a courier takes at once; joined for the socket it is there twice."""

IN_FLIGHT = 64
"""link.requests_in_flight"""


def test_frames_that_lack_their_last_octet(stage: Callable[..., Stage]) -> None:
    report = stage().attack("endless_headers", links=100)
    assert report.done["held_at_end"] == 100
    # what is gathered grows by an eighth at a time
    assert report.peak_mb < report.before_mb + 100 * (LINK_KIB + FRAME_KIB * 9 / 8) * KIB + SLACK_MB


def test_headers_that_take_long_to_read(stage: Callable[..., Stage]) -> None:
    report = stage().attack("heavy_headers", links=4)
    assert report.done["times"] > 20
    # read, such a header is some ten times as large, one at a time
    assert report.peak_mb < report.before_mb + 4 * FRAME_KIB * KIB + 64 * 10 * KIB + SLACK_MB


def test_ids_that_no_ack_could_carry(stage: Callable[..., Stage]) -> None:
    report = stage().attack("long_ids")
    assert set(report.done["quits"]) == {"invalid header"}
    assert report.peak_mb < report.before_mb + 2 * FRAME_KIB * KIB + SLACK_MB


def test_ten_gigabytes_beyond_the_limit_are_refused_and_read_away(stage: Callable[..., Stage]) -> None:
    stand = stage()
    report = stand.attack("huge_post", octets=150_000_000)
    assert report.done["error"].startswith("limit reached: a message has at most 1073741824 octets")
    assert report.peak_mb < report.before_mb + SLACK_MB
    assert not list((stand.box.data / "blobs").glob("*/*"))


def test_ten_gigabytes_within_the_limit_go_to_the_disk_and_away_when_the_link_breaks(
    stage: Callable[..., Stage],
) -> None:
    stand = stage('[limits]\nmessage_octets = "20 GB"\n[disk]\nreserve_octets = 0\n')
    report = stand.attack("huge_post", octets=150_000_000)
    # a few pieces of 256 KiB are on their way to the file
    assert report.peak_mb < report.before_mb + 4 * TAKE_KIB * KIB + SLACK_MB
    deadline = time.monotonic() + 10
    while files := list((stand.box.data / "blobs").glob("*/*")):
        assert time.monotonic() < deadline, f"left behind: {files}"
        time.sleep(0.05)


def test_members_who_post_and_never_read(stage: Callable[..., Stage]) -> None:
    links = 10
    report = stage().attack("deaf_posters", links=links)
    assert report.done["times"] > 0
    # requests in flight, a header of 1 KiB and data of 1 KiB each, kept with their keys and answers
    assert report.peak_mb < report.before_mb + links * (LINK_KIB + FRAME_KIB + IN_FLIGHT * 4) * KIB + SLACK_MB


def test_nodes_that_do_not_read_their_queues(stage: Callable[..., Stage]) -> None:
    links, messages, octets = 40, 200, 60_000
    cached_mb = messages * octets / 1e6
    report = stage().attack("deaf_readers", links=links, messages=messages, octets=octets)
    assert report.status["queues"]["messages"] >= (links - 1) * messages
    assert report.peak_mb < (
        report.before_mb + links * (LINK_KIB + FRAME_KIB + 2 * TAKE_KIB) * KIB + cached_mb + SLACK_MB
    )
