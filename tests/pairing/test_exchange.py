"""The two sides against each other, and against somebody in between."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance import wire
from appliance.pairing import (
    Asked,
    BadFrame,
    Confirmed,
    Given,
    Guest,
    Host,
    Impostor,
    NodeGift,
    PairingError,
    Proved,
    Refused,
    Shared,
    Taken,
    is_pairing,
)
from appliance.pairing.frames import GIFT_OCTETS_MAX, HEADER_MAX, encode
from appliance.pairing.keys import Keys, Transcript
from appliance.wire import LocalProtocolError
from tests.pairing.between import CODE, WRONG, Exchange, head, other_octet, slow

PRINT = "SHA256:" + "0af7" * 16
OTHER_PRINT = "SHA256:" + "beef" * 16
GIFT = NodeGift("a uid", "the password", ["=box.local:4433"], PRINT, "Home & Söhne")


def exchange(guest, host, gift=GIFT, **arguments):
    return Exchange(guest, host, gift, **arguments)


def test_who_has_the_code_gets_the_gift():
    done = exchange(Guest(CODE, PRINT), Host(PRINT)).run()
    assert done.got == GIFT
    assert done.taken and done.confirmed and done.host.over
    assert len(done.frames) == 7


def test_nothing_secret_is_sent_as_it_is():
    sent = b"".join(exchange(Guest(CODE, PRINT), Host(PRINT)).run().frames)
    for secret in (CODE.digits, CODE.digits[1:7], GIFT.uid, GIFT.node, GIFT.site, PRINT):
        assert secret.encode() not in sent


def test_the_frames_are_as_documented():
    frames = exchange(Guest(CODE, PRINT), Host(PRINT)).run().frames
    heads = [head(frame) for frame in frames]
    assert [head["op"] for head in heads] == [100, "pair", 101, "proof", "gift", 102, "paired"]
    assert {**heads[0], "share": ""} == {"code": 2, "kind": "node", "op": 100, "share": "", "version": 1}


def test_who_has_another_code_gets_nothing_and_is_noticed():
    done = exchange(Guest(WRONG, PRINT), Host(PRINT))
    with pytest.raises(Refused, match="wrong code"):
        done.run()
    assert done.right is False and not done.given
    with pytest.raises(LocalProtocolError):
        done.host.give(GIFT)


@pytest.mark.parametrize("guest_sees", [OTHER_PRINT, PRINT.upper(), ""])
def test_another_certificate_fails(guest_sees):
    done = exchange(Guest(CODE, guest_sees), Host(PRINT))
    with pytest.raises(Refused):
        done.run()
    assert done.right is False and not done.given


def test_a_host_without_the_code_is_found_out_before_it_learns_more_than_one_guess():
    guest = Guest(CODE, PRINT)
    host = Host(PRINT)
    host.receive_data(guest.begin())
    assert host.next_event() == Asked("node", 2)
    guest.receive_data(host.answer(WRONG))
    assert guest.next_event() == Shared()
    host.receive_data(guest.prove())
    assert host.next_event() == Proved(False)
    guest.receive_data(encode({"op": "proof", "proof": wire.b32encode(bytes(32))}))
    with pytest.raises(Impostor):
        guest.next_event()


def test_a_gift_with_another_fingerprint_than_the_links_is_refused():
    gift = NodeGift(GIFT.uid, GIFT.node, GIFT.addresses, OTHER_PRINT, GIFT.site)
    with pytest.raises(Impostor):
        exchange(Guest(CODE, PRINT), Host(PRINT), gift=gift).run()


def test_a_gift_of_another_kind_than_asked_for_is_refused():
    with pytest.raises(BadFrame, match="something else"):
        exchange(Guest(CODE, PRINT, kind="peer"), Host(PRINT)).run()


@pytest.mark.parametrize("replayed", ["guest", "host"])
def test_a_recorded_exchange_is_useless(replayed):
    recorded = exchange(Guest(CODE, PRINT), Host(PRINT)).run().frames
    if replayed == "guest":
        host = Host(PRINT)
        host.receive_data(recorded[0])
        host.next_event()
        host.answer(CODE)
        host.receive_data(recorded[2])
        assert host.next_event() == Proved(False)
    else:
        guest = Guest(CODE, PRINT)
        guest.begin()
        guest.receive_data(recorded[1])
        assert guest.next_event() == Shared()
        guest.prove()
        guest.receive_data(recorded[3] + recorded[4])
        with pytest.raises(Impostor):
            guest.next_event()


def test_a_guest_that_gets_its_own_frames_back_is_not_taken_in():
    guest = Guest(CODE, PRINT)
    share = json.loads(guest.begin()[4:])["share"]
    guest.receive_data(encode({"op": "pair", "share": share}))
    assert guest.next_event() == Shared()
    with pytest.raises(BadFrame):
        guest.prove()


def other_text(frame):
    """The same header, written in another way, and the same data."""
    size = 4 + int(frame[:4], 16)
    header = json.dumps(json.loads(frame[4:size])).encode()
    return b"%04x" % len(header) + header + frame[size:]


def upper_case(frame):
    """The same frame with its length in upper case."""
    assert frame[:4].upper() != frame[:4]
    return frame[:4].upper() + frame[4:]


def padded_base32(frame):
    """The same share or proof with base32's padding, which ends in `=`."""
    size = 4 + int(frame[:4], 16)
    fields = json.loads(frame[4:size])
    for key in ("share", "proof"):
        if key in fields:
            fields[key] += "=" * (-len(fields[key]) % 8)
    return encode(fields, frame[size:])


def spare_bits(frame):
    """The same share or proof with other bits in its last letter, where some stand for nothing."""
    size = 4 + int(frame[:4], 16)
    fields = json.loads(frame[4:size])
    for key in ("share", "proof"):
        if key in fields:
            letters = [fields[key][:-1] + letter for letter in "%+123456789BCDFGHJKLMNPQRSTVWXYZ"]
            octets = wire.b32decode(fields[key])
            fields[key] = next(t for t in letters if t != fields[key] and wire.b32decode(t) == octets)
    return encode(fields, frame[size:])


@pytest.mark.parametrize(
    ("change", "number"),
    [
        *((other_text, number) for number in range(1, 8)),
        (upper_case, 2),
        *((change, number) for change in (padded_base32, spare_bits) for number in (1, 2, 3, 4, 6, 7)),
    ],
)
def test_a_frame_has_one_form(change, number):
    done = exchange(
        Guest(CODE, PRINT),
        Host(PRINT),
        between=lambda n, frame: change(frame) if n == number else frame,
    )
    with pytest.raises((BadFrame, Refused), match=r"no frame of a pairing|in base32"):
        done.run()
    assert not done.confirmed


@pytest.mark.parametrize(("key", "value"), [("code", 1), ("kind", "peer")])
def test_what_was_asked_for_cannot_be_changed(key, value):
    def between(n, frame):
        return encode({**json.loads(frame[4:]), key: value}) if n == 1 else frame

    done = exchange(Guest(CODE, PRINT), Host(PRINT), between=between)
    with pytest.raises(Refused, match="wrong code"):
        done.run()


def test_each_proof_has_a_key_of_its_own():
    keys = Keys(bytes(32), Transcript())
    proofs = {keys.proof(purpose) for purpose in ("guest 101", "host proof", "guest 102", "host paired")}
    assert len(proofs) == 4
    assert keys.seal(b"") not in proofs


LENGTHS = [len(frame) for frame in exchange(Guest(CODE, PRINT), Host(PRINT)).run().frames]


@slow
@given(st.integers(1, 7), st.data())
def test_no_octet_can_be_changed_unnoticed(number, data):
    at = data.draw(st.integers(0, LENGTHS[number - 1] - 1))
    change = data.draw(st.integers(1, 255))

    done = exchange(Guest(CODE, PRINT), Host(PRINT), between=other_octet(number, at, change))
    with contextlib.suppress(PairingError):
        done.run()
    assert not done.confirmed
    assert done.given is (number > 3)
    assert (done.got is not None) is (number > 5)
    assert done.taken is (number > 6)


@slow
@example([1])
@given(st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_it_does_not_matter_how_the_octets_are_cut(sizes):
    guest, host = Guest(CODE, PRINT), Host(PRINT)
    pieces = itertools.cycle(sizes)

    def events(side, octets):
        while octets:
            size = next(pieces)
            side.receive_data(octets[:size])
            octets = octets[size:]
            event = side.next_event()
            if event is not None:
                assert not octets
                return event
        raise AssertionError("no event")

    assert events(host, guest.begin()) == Asked("node", 2)
    assert events(guest, host.answer(CODE)) == Shared()
    assert events(host, guest.prove()) == Proved(True)
    assert events(guest, host.give(GIFT)) == Given(GIFT)
    assert events(host, guest.take()) == Taken()
    assert events(guest, host.confirm()) == Confirmed()


frames = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    )
    .map(json.dumps)
    .map(lambda text: b"%04x" % len(text) + text.encode()),
    st.fixed_dictionaries(
        {"op": st.sampled_from([100, 101, 102, "pair", "proof", "gift", "paired", "quit", 1, True])},
        optional={
            key: st.integers() | st.text(max_size=80) | st.binary(max_size=40).map(wire.b32encode)
            for key in ("share", "proof", "code", "kind", "version", "datalen", "error")
        },
    ).map(encode),
)


@pytest.mark.parametrize("step", ["begin", "prove", "take"])
@given(st.lists(frames, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_octets_harm_a_host(step, hostile):
    host, guest = Host(PRINT), Guest(CODE, PRINT)
    if step != "begin":
        host.receive_data(guest.begin())
        host.next_event()
        guest.receive_data(host.answer(CODE))
        guest.next_event()
    if step == "take":
        host.receive_data(guest.prove())
        host.next_event()
        host.give(GIFT)
    for octets in hostile:
        host.receive_data(octets)
        try:
            event = host.next_event()
            if isinstance(event, Asked):
                host.answer(CODE)
        except BadFrame as error:
            assert host.refuse(str(error))
            return
        assert not isinstance(event, Taken)
        if isinstance(event, Proved):
            assert event.right is False
            return


@pytest.mark.parametrize("step", ["begin", "prove", "take"])
@given(st.lists(frames, max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_octets_harm_a_guest(step, hostile):
    host, guest = Host(PRINT), Guest(CODE, PRINT)
    host.receive_data(guest.begin())
    if step != "begin":
        host.next_event()
        guest.receive_data(host.answer(CODE))
        guest.next_event()
        host.receive_data(guest.prove())
    if step == "take":
        host.next_event()
        guest.receive_data(host.give(GIFT))
        guest.next_event()
        guest.take()
    for octets in hostile:
        guest.receive_data(octets)
        try:
            event = guest.next_event()
            if isinstance(event, Shared):
                guest.prove()
        except PairingError as error:
            assert str(error).isprintable()
            return
        assert event is None or isinstance(event, Shared)


def test_what_does_not_fit_is_refused_before_it_is_there():
    host = Host(PRINT)
    host.receive_data(b"%04x" % (HEADER_MAX + 1))
    with pytest.raises(BadFrame):
        host.next_event()
    guest = Guest(CODE, PRINT)
    guest.begin()
    guest.receive_data(encode({"datalen": GIFT_OCTETS_MAX + 1, "op": "gift"}))
    with pytest.raises(BadFrame):
        guest.next_event()


def test_a_host_takes_no_data_from_a_guest():
    host = Host(PRINT)
    host.receive_data(encode({"datalen": 1, "op": "gift"}))
    with pytest.raises(BadFrame):
        host.next_event()


def test_other_versions_are_told_so():
    host = Host(PRINT)
    fields = json.loads(Guest(CODE, PRINT).begin()[4:])
    host.receive_data(encode({**fields, "version": 2}))
    with pytest.raises(BadFrame, match="version 1"):
        host.next_event()


@pytest.mark.parametrize(
    "share",
    [
        b"B" + bytes(32),
        b"A" + bytes(32),
        b"A" + (1).to_bytes(32, "little"),
        b"A" + (2**255 - 20).to_bytes(32, "little"),
        b"A" + b"\xff" * 32,
        b"S" + b"\x05" * 32,
    ],
)
def test_a_share_that_is_no_point_of_the_group_is_refused(share):
    host = Host(PRINT)
    fields = {"code": 2, "kind": "node", "op": 100, "share": wire.b32encode(share), "version": 1}
    host.receive_data(encode(fields))
    host.next_event()
    with pytest.raises(BadFrame):
        host.answer(CODE)


def test_reasons_of_any_length_and_letters_reach_the_guest():
    guest = Guest(CODE, PRINT)
    host = Host(PRINT)
    guest.begin()
    guest.receive_data(host.refuse("\x1b" * 400))
    with pytest.raises(Refused, match=r"^\?{300}$"):
        guest.next_event()
    assert host.over and host.refuse("again") == b"" and guest.next_event() is None


def test_steps_out_of_order_are_our_own_mistake():
    host, guest = Host(PRINT), Guest(CODE, PRINT)
    for step in (
        lambda: host.answer(CODE),
        lambda: host.give(GIFT),
        host.confirm,
        guest.prove,
        guest.take,
        guest.next_event,
    ):
        with pytest.raises(LocalProtocolError):
            step()


HELLO = b'0013{"id":"1","op":0}  '


@example(HELLO)
@given(st.binary(max_size=100))
def test_what_is_no_pairing_is_left_to_tmtp(octets):
    assert is_pairing(octets) in (False, None)
    if is_pairing(octets) is None:
        assert len(octets) < 4 + HEADER_MAX


def test_a_pairing_is_known_by_its_first_frame():
    first = Guest(CODE, PRINT).begin()
    assert [is_pairing(first[:size]) for size in (0, 3, 4, len(first) - 1)] == [None] * 4
    assert is_pairing(first) is True
    assert is_pairing(bytearray(first + b"more")) is True
    assert is_pairing(HELLO) is False
    assert is_pairing(b"%04x" % (HEADER_MAX + 1)) is False
    assert is_pairing(b"0000") is False
    assert is_pairing("\uff10\uff11\uff10\uff10".encode()) is False


def test_gifts_and_codes_do_not_end_up_in_logs_by_accident():
    assert GIFT.node not in repr(GIFT) and GIFT.node not in repr(Given(GIFT))
