"""Two boxes show the same number and say yes, or nobody gets anything."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import wire
from appliance.pairing import (
    BadFrame,
    ButtonGuest,
    ButtonHost,
    Introduced,
    PairingError,
    Refused,
    Shared,
    buttons,
    is_by_button,
    is_pairing,
)
from appliance.pairing.frames import encode
from appliance.wire import LocalProtocolError
from tests.pairing.between import head, other_octet, slow
from tests.pairing.buttons import CARD, CERT, GIFT, KEY, PRINT, SLOT, Pair, private


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
