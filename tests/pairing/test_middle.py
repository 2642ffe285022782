"""Somebody, no fool, between two boxes that are paired by their buttons: the numbers differ, or it fails."""

from __future__ import annotations

import pytest

from appliance import wire
from appliance.pairing import (
    BadFrame,
    ButtonGuest,
    ButtonHost,
    Committed,
    Compared,
    Impostor,
    Opened,
    PairingError,
    Shared,
)
from appliance.pairing.frames import encode
from appliance.wire import LocalProtocolError
from tests.pairing.buttons import OTHER_PRINT, PRINT, Pair, private


def test_somebody_in_between_who_only_passes_on_is_noticed_by_his_certificate():
    exchange = Pair(guest=ButtonGuest(OTHER_PRINT, private("guest")))
    with pytest.raises(Impostor):
        exchange.run()
    assert len(exchange.numbers) == 1 and exchange.got is None


class Middle:
    """Somebody in between, with a key of his own on each side, who does what he likes when he likes."""

    def __init__(self, seed):
        self.guest = ButtonGuest(OTHER_PRINT, private("guest", seed))
        self.host = ButtonHost(PRINT, private("host", seed))
        self.to_guest = ButtonHost(OTHER_PRINT, private("plays host", seed))
        self.to_host = ButtonGuest(PRINT, private("plays guest", seed))
        self.shown = {}

    def guest_commits(self):
        self.to_guest.receive_data(self.guest.begin())
        assert self.to_guest.next_event() == Committed()

    def guest_opens(self):
        self.guest.receive_data(self.to_guest.answer())
        assert self.guest.next_event() == Shared()
        self.to_guest.receive_data(self.guest.open())
        assert isinstance(self.to_guest.next_event(), Opened)

    def guest_compares(self):
        self.guest.receive_data(self.to_guest.compare())
        event = self.guest.next_event()
        assert isinstance(event, Compared)
        self.shown["guest"] = event.number

    def host_answers(self):
        self.host.receive_data(self.to_host.begin())
        assert self.host.next_event() == Committed()
        self.to_host.receive_data(self.host.answer())
        assert self.to_host.next_event() == Shared()

    def host_compares(self):
        self.host.receive_data(self.to_host.open())
        event = self.host.next_event()
        assert isinstance(event, Opened)
        self.shown["host"] = event.number
        self.to_host.receive_data(self.host.compare())
        assert isinstance(self.to_host.next_event(), Compared)


ORDERS = [
    [Middle.guest_commits, Middle.guest_opens, Middle.guest_compares],
    [Middle.host_answers, Middle.host_compares],
]


def merged(one, other):
    """Both in their own order, in every way that there is."""
    if not one or not other:
        yield [*one, *other]
        return
    for rest in merged(one[1:], other):
        yield [one[0], *rest]
    for rest in merged(one, other[1:]):
        yield [other[0], *rest]


@pytest.mark.parametrize("order", list(merged(*ORDERS)), ids=lambda o: " ".join(f.__name__ for f in o))
def test_in_whatever_order_he_does_it_the_boxes_show_different_numbers(order):
    for seed in range(20):
        middle = Middle(seed)
        for step in order:
            step(middle)
        assert middle.shown["guest"] != middle.shown["host"]


def test_who_has_finished_with_the_guest_first_cannot_choose_the_hosts_number():
    """He knows the number that he needs, and the host's share: he could find a share of his own that fits,
    but the host takes none but the one that he had chosen before.
    """
    middle = Middle("grinds")
    for step in (Middle.guest_commits, Middle.guest_opens, Middle.guest_compares):
        step(middle)
    needed = middle.shown["guest"] % 8
    found = 0
    for turn in range(200):
        host = ButtonHost(PRINT, private("host", "grinds"))
        commit = ButtonGuest(PRINT, private("plays guest", "grinds")).begin()
        host.receive_data(commit)
        host.next_event()
        share = host.answer()
        tries = ButtonGuest(PRINT, private("tries", turn))
        tries.begin()
        tries.receive_data(share)
        tries.next_event()
        opened = tries.open()
        found += tries._number % 8 == needed
        host.receive_data(opened)
        with pytest.raises(BadFrame, match="had chosen before"):
            host.next_event()
    assert found > 5, "to find one would have been easy"


def test_who_plays_the_guest_gets_a_number_that_the_host_draws():
    numbers = set()
    for turn in range(300):
        host, guest = ButtonHost(PRINT, private(turn)), ButtonGuest(PRINT, private("his"))
        host.receive_data(guest.begin())
        host.next_event()
        guest.receive_data(host.answer())
        guest.next_event()
        host.receive_data(guest.open())
        event = host.next_event()
        assert isinstance(event, Opened)
        numbers.add(event.number)
    assert len(numbers) > 295


def test_who_plays_the_host_gets_a_number_that_the_guest_draws_and_has_to_show_his_share_first():
    numbers = set()
    for turn in range(300):
        host, guest = ButtonHost(PRINT, private("his")), ButtonGuest(PRINT, private(turn))
        commit = guest.begin()
        assert wire.b32encode(guest._share).encode() not in commit
        with pytest.raises(LocalProtocolError):
            guest.open()
        host.receive_data(commit)
        host.next_event()
        guest.receive_data(host.answer())
        guest.next_event()
        host.receive_data(guest.open())
        event = host.next_event()
        assert isinstance(event, Opened)
        numbers.add(event.number)
    assert len(numbers) > 295


def test_a_host_that_shows_two_shares_is_refused():
    guest = ButtonGuest(PRINT)
    guest.begin()
    for name in ("one", "two"):
        share = private(name).public_key().public_bytes_raw()
        guest.receive_data(encode({"op": "share", "share": wire.b32encode(share)}))
    assert guest.next_event() == Shared()
    guest.open()
    with pytest.raises(BadFrame, match="where compare was due"):
        guest.next_event()


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_a_frame_of_another_pairing_does_not_fit(number):
    recorded = Pair(guest=ButtonGuest(PRINT, private("g")), host=ButtonHost(PRINT, private("h"))).run()
    exchange = Pair(lambda n, frame: recorded.frames[n - 1] if n == number else frame)
    with pytest.raises(PairingError):
        exchange.run()
    assert exchange.slot is None


@pytest.mark.parametrize("played", ["guest", "host"])
def test_a_recorded_pairing_is_useless(played):
    recorded = Pair().run().frames
    if played == "guest":
        host = ButtonHost(PRINT)
        host.receive_data(recorded[0])
        assert host.next_event() == Committed()
        host.answer()
        host.receive_data(recorded[2] + recorded[4] + recorded[5])
        assert isinstance(host.next_event(), Opened)
        host.compare()
        with pytest.raises(BadFrame):
            host.next_event()
    else:
        guest = ButtonGuest(PRINT)
        guest.begin()
        guest.receive_data(recorded[1])
        assert guest.next_event() == Shared()
        guest.open()
        guest.receive_data(recorded[3])
        with pytest.raises(Impostor):
            guest.next_event()
