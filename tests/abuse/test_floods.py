"""Much of what is allowed, or nearly: others get their turn, and what is limited stays within its limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .stage import SLACK_MB, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

KIB = 1 / 1024
"""In MB."""

LINK_KIB = 64
FRAME_KIB = 4 / 1024 + 64 + 64 + 64
RECORD_KIB = 2
"""A member, node, alias or place in a group, in memory and in the database's cache."""

MESSAGE_KIB = 1.5
"""A small message: in the cache, in the queues, its request's key."""

PINGS_A_DAY = 200


def test_a_storm_of_wrong_passwords_is_slowed_down(stage: Callable[..., Stage]) -> None:
    report = stage().attack("login_storm", links=8)
    assert set(report.done["quits"]) == {"login failed"}
    # five are free, then each of eight waits longer than the one before
    assert report.done["quits"]["login failed"] <= 5 + 8 * 8
    assert report.peak_mb < report.before_mb + 8 * LINK_KIB * KIB + SLACK_MB


def test_acks_of_what_was_never_sent(stage: Callable[..., Stage]) -> None:
    report = stage().attack("ack_flood", links=4)
    assert report.done["frames"] > 10_000
    assert report.peak_mb < report.before_mb + 4 * (LINK_KIB + FRAME_KIB) * KIB + SLACK_MB


def test_pulses_without_end(stage: Callable[..., Stage]) -> None:
    report = stage().attack("pulse_flood", links=4)
    assert report.done["frames"] > 10_000
    assert report.peak_mb < report.before_mb + 4 * (LINK_KIB + FRAME_KIB) * KIB + SLACK_MB


def test_pings_beyond_a_day_s_share(stage: Callable[..., Stage]) -> None:
    links = 5
    report = stage(f"[limits]\npings_per_member_per_day = {PINGS_A_DAY}\n").attack("ping_flood", links=links)
    answers = report.done["answers"]
    assert answers["done"] == links * PINGS_A_DAY
    assert set(answers) == {"done", "limit reached"} and answers["limit reached"] > PINGS_A_DAY
    assert report.peak_mb < (
        report.before_mb + (links * LINK_KIB + links * PINGS_A_DAY * MESSAGE_KIB) * KIB + SLACK_MB
    )


def test_members_who_come_and_go_without_end(stage: Callable[..., Stage]) -> None:
    links = 20
    report = stage().attack("notice_flood", links=links)
    assert report.done["lost"] == 0
    messages = report.done["answers"]["done"]
    assert report.done["notices"] <= messages * links
    # half of the requests tell the member's own node; the newest messages are cached, 16 MiB of them
    assert report.peak_mb < (
        report.before_mb + links * LINK_KIB * KIB + min(16, messages * MESSAGE_KIB * KIB) + SLACK_MB
    )


def test_names_and_nodes_without_end(stage: Callable[..., Stage]) -> None:
    links, each = 10, 100
    names = ("aliases_per_member", "nodes_per_member", "pings_per_member_per_day")
    limits = "\n".join(f"{name} = {each}" for name in names)
    report = stage(f"[limits]\n{limits}\n").attack("name_flood", links=links, seconds=4)
    done = report.done["answers"]["done"]
    assert done <= 3 * links * each
    assert report.done["answers"]["limit reached"] > 0
    # every name is told to each of a member's nodes, of which there are ever more
    told = done * each / 2
    assert report.peak_mb < (
        report.before_mb + links * LINK_KIB * KIB + done * RECORD_KIB * KIB + told * 0.3 * KIB + 16 + SLACK_MB
    )


def test_requests_that_are_refused_without_end(stage: Callable[..., Stage]) -> None:
    report = stage().attack("request_flood", links=10)
    assert set(report.done["answers"]) == {"unknown uid"}
    assert report.peak_mb < report.before_mb + 10 * (LINK_KIB + FRAME_KIB) * KIB + SLACK_MB
