"""Connections that say nothing, little or nonsense cost the box little, and the honest nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .stage import SLACK_MB, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

KIB = 1 / 1024
"""In MB."""

LINK_KIB = 64
"""A link: some 30 KiB when it is idle; its reader's task, its sender's, TLS."""

SOCKET_KIB = 24
"""A connection without TLS: one task and a socket."""

STRANGERS = 512
"""limits.unauthenticated_links: more than these are not kept."""

LINKS = 1000
MEMBERS = 400


def test_a_thousand_connections_without_a_handshake(stage: Callable[..., Stage]) -> None:
    report = stage().attack("silent_tcp", links=LINKS)
    assert report.done["opened"] >= LINKS
    assert report.done["held_at_end"] <= STRANGERS
    # each of the attackers' connections may just have been accepted, while as many are being closed
    assert report.peak_mb < report.before_mb + LINKS * SOCKET_KIB * KIB + SLACK_MB


def test_a_thousand_handshakes_without_a_word(stage: Callable[..., Stage]) -> None:
    report = stage().attack("silent_tls", links=LINKS)
    assert report.done["opened"] >= LINKS
    assert report.done["held_at_end"] <= STRANGERS
    assert report.peak_mb < report.before_mb + STRANGERS * LINK_KIB * KIB + SLACK_MB


def test_members_who_say_nothing_are_kept(stage: Callable[..., Stage]) -> None:
    report = stage().attack("silent_members", links=MEMBERS)
    assert report.done["held_at_end"] == MEMBERS
    assert report.status["links"]["open"] >= MEMBERS
    assert report.peak_mb < report.before_mb + MEMBERS * LINK_KIB * KIB + SLACK_MB


def test_one_octet_a_second_is_a_member_s_right_and_no_stranger_s(stage: Callable[..., Stage]) -> None:
    login_timeout_s = 2
    report = stage(
        f"[link]\nlogin_timeout_s = {login_timeout_s}\n[limits]\nfailed_login_delay_max_s = 1\n"
    ).attack("dribble", seconds=login_timeout_s + 2.5, links=200)
    assert report.done["members_held"] == 100
    assert report.done["replaced"] >= 100, "strangers were not cut off when their time was over"
    assert report.peak_mb < report.before_mb + 200 * LINK_KIB * KIB + SLACK_MB


def test_a_connection_that_is_closed_half_way_is_closed_whole(stage: Callable[..., Stage]) -> None:
    report = stage().attack("half_closed", seconds=1.5, links=150)
    assert report.done["held_at_end"] == 0
    assert report.peak_mb < report.before_mb + 150 * LINK_KIB * KIB + SLACK_MB


def test_what_is_no_tls(stage: Callable[..., Stage]) -> None:
    report = stage().attack("tls_garbage")
    assert report.done["opened"] > 50
    assert report.peak_mb < report.before_mb + SLACK_MB  # one at a time


def test_links_beyond_the_limits_keep_no_newcomer_out(stage: Callable[..., Stage]) -> None:
    limits = "[limits]\nlinks = 100\nlinks_per_address = 20\n"
    report = stage(limits).attack("crowd", addresses=10)
    assert report.done["refused"] > 100
    assert report.status["links"]["refused"] > 0
    assert report.status["links"]["open"] <= 100 + 20  # some are just being closed
    assert report.peak_mb < report.before_mb + (100 + 20) * LINK_KIB * KIB + SLACK_MB
