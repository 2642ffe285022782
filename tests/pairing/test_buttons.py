"""Two boxes show the same number, or nobody gets anything: also with somebody in between who is no fool."""

from __future__ import annotations

import contextlib
import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import wire
from appliance.pairing import (
    BadFrame,
    BoxCard,
    BoxEntry,
    BoxGift,
    ButtonGuest,
    ButtonHost,
    Committed,
    Compared,
    Confirmed,
    Given,
    Impostor,
    Introduced,
    Opened,
    PairingError,
    Refused,
    Shared,
    Taken,
    buttons,
    is_by_button,
    is_pairing,
)
from appliance.pairing.frames import encode
from appliance.wire import LocalProtocolError
from tests.pairing.between import head, other_octet, slow

CERT = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
PRINT = "SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
OTHER_PRINT = "SHA256:" + "0af7" * 16
KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
CARD = BoxCard(b"\x07" * 32, "kitchen", ["=192.168.1.6:4433"])
BOXES = [BoxEntry("3F2A+%BC", b"\x01" * 32, 0, "living room", ["=192.168.1.5:4433"])]
GIFT = BoxGift("Home & Söhne", PRINT, CERT, KEY, BOXES, "3F2A+%BC")
SLOT = 2


def private(*name) -> X25519PrivateKey:
    """The same one for the same name, so that no test depends on luck."""
    return X25519PrivateKey.from_private_bytes(sha256(repr(name).encode()).digest())


class Pair:
    """Runs both sides, and both people say yes; ``between`` sees each frame with its number and may change
    it.
    """

    def __init__(self, between=lambda number, frame: frame, guest=None, host=None):
        self.guest = guest or ButtonGuest(PRINT, private("guest"))
        self.host = host or ButtonHost(PRINT, private("host"))
        self.between = between
        self.frames = []
        self.numbers = []
        self.card = self.got = self.slot = None

    def run(self):
        to_host = self.guest.begin()
        while to_host:
            self.host.receive_data(self.passed(to_host))
            event = self.host.next_event()
            if event is None:
                break
            self.guest.receive_data(self.passed(self.host_says(event)))
            event = self.guest.next_event()
            to_host = self.guest_says(event) if event is not None else b""
        return self

    def host_says(self, event):
        if isinstance(event, Committed):
            return self.host.answer()
        if isinstance(event, Opened):
            self.numbers.append(event.number)
            return self.host.compare()
        if isinstance(event, Introduced):
            self.card = event.card
            return self.host.give(GIFT)
        assert isinstance(event, Taken), event
        return self.host.confirm(SLOT)

    def guest_says(self, event):
        if isinstance(event, Shared):
            return self.guest.open()
        if isinstance(event, Compared):
            self.numbers.append(event.number)
            return self.guest.agree(CARD)
        if isinstance(event, Given):
            self.got = event.gift
            return self.guest.take()
        assert isinstance(event, Confirmed), event
        self.slot = event.slot
        return b""

    def passed(self, octets):
        passed = b""
        while octets:
            size = 4 + int(octets[:4], 16)
            size += json.loads(octets[4:size]).get("datalen", 0)
            self.frames.append(self.between(len(self.frames) + 1, octets[:size]))
            passed += self.frames[-1]
            octets = octets[size:]
        return passed


def test_both_show_the_same_number_and_the_blank_one_gets_the_site():
    done = Pair().run()
    assert done.numbers[0] == done.numbers[1] < 10**6
    assert (done.card, done.got, done.slot) == (CARD, GIFT, SLOT)
    assert done.guest.over and done.host.over


def test_the_frames_are_as_documented():
    ops = [head(frame)["op"] for frame in Pair().run().frames]
    assert ops == [104, "share", 105, "compare", 106, 103, "gift", 102, "placed"]


def test_nothing_secret_is_sent_as_it_is():
    sent = b"".join(Pair().run().frames)
    for secret in (KEY, CERT, GIFT.site, PRINT, CARD.name, "192.168"):
        assert secret.encode() not in sent


def test_each_pairing_has_another_number():
    fresh = (Pair(guest=ButtonGuest(PRINT), host=ButtonHost(PRINT)).run().numbers[0] for _ in range(40))
    assert len(set(fresh)) > 35


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


def comparing():
    """A guest and a host that show their numbers."""
    exchange = Pair()
    guest, host = exchange.guest, exchange.host
    host.receive_data(guest.begin())
    host.next_event()
    guest.receive_data(host.answer())
    guest.next_event()
    host.receive_data(guest.open())
    host.next_event()
    guest.receive_data(host.compare())
    guest.next_event()
    return guest, host


def test_a_host_gives_nothing_before_somebody_says_yes_at_the_guest():
    _, host = comparing()
    with pytest.raises(LocalProtocolError):
        host.give(GIFT)


def test_a_guest_takes_nothing_before_somebody_says_yes_there():
    guest, _ = comparing()
    guest.receive_data(encode({"datalen": 0, "op": "gift"}))
    with pytest.raises(BadFrame):
        guest.next_event()
    guest, _ = comparing()
    for step in (guest.take, guest.open, guest.begin):
        with pytest.raises(LocalProtocolError):
            step()


def test_a_no_reaches_the_other_side_whenever_it_is_said():
    guest, host = comparing()
    host.receive_data(guest.leave("no \x1b[2J"))
    with pytest.raises(Refused, match=r"^no \?\[2J$"):
        host.next_event()
    assert host.over and host.next_event() is None and guest.leave("again") == b""
    guest, host = comparing()
    guest.receive_data(host.refuse("no"))
    with pytest.raises(Refused, match=r"^no$"):
        guest.next_event()
    guest, host = comparing()
    host.receive_data(guest.agree(CARD))
    assert host.next_event() == Introduced(CARD)
    assert host.next_event() is None
    host.receive_data(guest.leave("no"))
    with pytest.raises(Refused):
        host.next_event()
    with pytest.raises(LocalProtocolError):
        host.give(GIFT)


@pytest.mark.parametrize("share", [bytes(32), b"\x01" + bytes(31), (2**255 - 19).to_bytes(32, "little")])
def test_a_share_that_makes_a_key_of_zeros_is_refused(share):
    said = wire.b32encode(share)
    guest = ButtonGuest(PRINT)
    guest.begin()
    guest.receive_data(encode({"op": "share", "share": said}))
    assert guest.next_event() == Shared()
    with pytest.raises(BadFrame):
        guest.open()
    assert guest.over
    host = ButtonHost(PRINT)
    commit = wire.b32encode(buttons._digest(share))
    host.receive_data(encode({"commit": commit, "op": 104, "version": 1}))
    host.next_event()
    host.answer()
    host.receive_data(encode({"op": 105, "share": said}))
    with pytest.raises(BadFrame):
        host.next_event()


LENGTHS = [len(frame) for frame in Pair().run().frames]


@slow
@given(st.data())
def test_no_octet_can_be_changed_unnoticed(data):
    number = data.draw(st.integers(1, len(LENGTHS)))
    at = data.draw(st.integers(0, LENGTHS[number - 1] - 1))
    exchange = Pair(other_octet(number, at, data.draw(st.integers(1, 255))))
    with contextlib.suppress(PairingError):
        exchange.run()
    assert exchange.slot is None
    assert (exchange.got is not None) is (number > 7)
    shown = {2: (0, 1), 4: (1,)}.get(number, (0,) if number < 4 else (2,))
    assert len(exchange.numbers) in shown, "of a changed share only the host may show a number"


@slow
@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_it_does_not_matter_how_the_octets_are_cut(sizes):
    recorded = Pair().run().frames
    host = ButtonHost(PRINT, private("host"))
    exchange = Pair(host=host)
    octets, turn = b"".join(recorded[n] for n in (0, 2, 4, 5, 7)), 0
    while octets:
        size = sizes[turn % len(sizes)]
        host.receive_data(octets[:size])
        octets, turn = octets[size:], turn + 1
        while (event := host.next_event()) is not None:
            exchange.host_says(event)
    assert host.over and exchange.card == CARD


thirty_two = st.binary(min_size=32, max_size=32).map(wire.b32encode)
hostile = st.lists(
    st.one_of(
        st.binary(max_size=100),
        st.fixed_dictionaries(
            {"op": st.sampled_from([*range(100, 109), "share", "compare", "gift", "placed", "quit", 1])},
            optional={
                key: st.integers() | st.text(max_size=60) | thirty_two
                for key in ("commit", "share", "proof", "version", "datalen", "error", "slot")
            },
        ).map(encode),
    ),
    max_size=4,
)


@given(hostile)
@settings(max_examples=80, deadline=None)
def test_no_octets_harm_a_box_that_compares(octets):
    guest, host = comparing()
    for side in (guest, host):
        try:
            for each in octets:
                side.receive_data(each)
                assert side.next_event() is None
        except PairingError as error:
            assert str(error).isprintable()


def test_steps_out_of_order_are_our_own_mistake():
    host, guest = ButtonHost(PRINT), ButtonGuest(PRINT)
    for step in (
        host.answer,
        host.compare,
        lambda: host.give(GIFT),
        lambda: host.confirm(1),
        guest.open,
        lambda: guest.agree(CARD),
        guest.take,
        guest.next_event,
    ):
        with pytest.raises(LocalProtocolError):
            step()


def test_other_versions_are_told_so():
    host = ButtonHost(PRINT)
    host.receive_data(encode({**head(ButtonGuest(PRINT).begin()), "version": 2}))
    with pytest.raises(BadFrame, match="version 1"):
        host.next_event()


def test_a_pairing_by_button_is_known_by_its_first_frame():
    first = ButtonGuest(PRINT).begin()
    assert [is_pairing(first[:size]) for size in (0, 3, 4, len(first) - 1)] == [None] * 4
    assert is_pairing(first) is True and is_by_button(first)
    assert not is_by_button(b'0013{"id":"1","op":0}  ') and not is_by_button(b"")
