"""Timeouts, after which a link is closed without a word (TMTP revision 1, section 2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.kit import Box, Client, HungUp, Raw, Silence, framed, fresh

IDLE_S = 1.0


@pytest.fixture(scope="module")
def impatient() -> Iterator[Box]:
    """A box that does not wait long for an octet."""
    with Box(config=f"[link]\nidle_timeout_s = {IDLE_S}\n") as box:
        yield box


def test_a_login_has_five_seconds_from_the_connection(box: Box) -> None:
    started = time.monotonic()
    with Raw(box) as silent, Raw(box) as greeted, Raw(box) as dripping, Raw(box, tls=False) as no_tls:
        greeted.greet()
        while time.monotonic() < started + 3.5:
            dripping.send(b"0")
            for line in (silent, greeted, no_tls):
                line.expect_nothing(0.3)
        for line in (silent, greeted, dripping, no_tls):
            try:
                line.expect_closed()
            except AssertionError as error:
                assert line is dripping, error
        took_s = time.monotonic() - started
        assert 4.5 < took_s < 9, took_s


def test_a_link_is_closed_when_no_octet_came_for_so_long(impatient: Box) -> None:
    alice = Client.register(impatient)
    started = time.monotonic()
    alice.expect_closed()
    assert IDLE_S * 0.8 < time.monotonic() - started < IDLE_S + 5


def test_any_octet_keeps_a_link(impatient: Box) -> None:
    alice = Client.register(impatient)
    started = time.monotonic()
    for octet in framed('{"op":11}'):
        alice.line.send(bytes([octet]))
        time.sleep(IDLE_S / 5)
    assert time.monotonic() - started > 2 * IDLE_S
    alice.round_trip()
    alice.close()


def test_what_the_box_sends_does_not_keep_a_link(impatient: Box) -> None:
    alice = Client.register(impatient, alias=fresh("alice"))
    bob = Client.register(impatient)
    bob.auto_ack = False
    started = time.monotonic()
    with pytest.raises(HungUp):
        while time.monotonic() < started + 10 * IDLE_S:
            alice.post(b"are you there?", to=bob)
            try:
                bob.next(IDLE_S / 4)
            except Silence:
                continue
    assert time.monotonic() - started < IDLE_S + 5
    alice.close()
    bob.close()


def test_a_slow_login_within_its_time_gets_in(new_box: Callable[..., Box]) -> None:
    box = new_box(config="[link]\nlogin_timeout_s = 2\n[limits]\nfailed_login_delay_max_s = 1\n")
    with Raw(box) as line:
        line.greet()
        line.expect_nothing(1)
        line.say('{"op":1,"newnode":"slow"}')
        assert line.frame().op == "registered"
        line.expect("info", info="login ok")
        line.expect_nothing(1.5)
