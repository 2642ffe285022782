"""A box that becomes a peer says who it is, gets the site, and is told its slot; nothing can be changed."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pairing import (
    BadFrame,
    BoxCard,
    BoxEntry,
    BoxGift,
    Guest,
    Host,
    Impostor,
    NodeGift,
    PairingError,
    Proved,
    Refused,
)
from appliance.pairing.frames import BOX_GIFT_OCTETS_MAX, CARD_OCTETS_MAX, encode
from appliance.pairing.gifts import decode_card, decode_gift, encode_card, encode_gift
from appliance.wire import LocalProtocolError
from tests.pairing.between import CODE, WRONG, Exchange, head, other_octet, slow

CERT = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
PRINT = "SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
KEY = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
CARD = BoxCard(b"\x07" * 32, "kitchen", ["=192.168.1.6:4433", "=[fd00::6]:4433"])
BOXES = [
    BoxEntry("3F2A+%BC", b"\x01" * 32, 0, "living room", ["=192.168.1.5:4433"]),
    BoxEntry("GONE%%%%", b"\x02" * 32, 1, "stolen", [], 17),
]
GIFT = BoxGift("Home & Söhne", PRINT, CERT, KEY, BOXES, "3F2A+%BC")
SLOT = 2
FRAMES = 8


def guest(code=CODE, fingerprint=PRINT):
    return Guest(code, fingerprint, card=CARD)


def exchange(guest, host, gift=GIFT, **arguments):
    return Exchange(guest, host, gift, SLOT, **arguments)


def proved():
    """A host that has seen the proof and not yet the card, and the frame with the card."""
    guest_, host = guest(), Host(PRINT)
    host.receive_data(guest_.begin())
    host.next_event()
    guest_.receive_data(host.answer(CODE))
    guest_.next_event()
    octets = guest_.prove()
    size = 4 + int(octets[:4], 16)
    host.receive_data(octets[:size])
    assert host.next_event() == Proved(True)
    return host, octets[size:]


def test_a_box_with_the_code_gets_the_site_and_its_slot():
    done = exchange(guest(), Host(PRINT)).run()
    assert (done.card, done.got, done.slot) == (CARD, GIFT, SLOT)
    assert done.taken and done.host.over
    assert len(done.frames) == FRAMES


def test_nothing_is_sent_as_it_is():
    sent = b"".join(exchange(guest(), Host(PRINT)).run().frames)
    for secret in (CODE.digits, KEY, CERT, GIFT.site, PRINT, CARD.name, "192.168"):
        assert secret.encode() not in sent
    assert "secret" not in repr(GIFT)


def test_the_frames_are_as_documented():
    frames = exchange(guest(), Host(PRINT)).run().frames
    heads = [head(frame) for frame in frames]
    assert [head["op"] for head in heads] == [100, "pair", 101, 103, "proof", "gift", 102, "placed"]
    assert heads[0]["kind"] == "box" and heads[0]["version"] == 1
    assert set(heads[3]) == {"datalen", "op"} and heads[-1]["slot"] == SLOT


def test_a_box_with_another_code_learns_nothing_and_is_not_listened_to():
    done = exchange(guest(WRONG), Host(PRINT))
    with pytest.raises(Refused, match="wrong code"):
        done.run()
    assert done.right is False and done.card is None and done.got is None


def test_nothing_is_given_to_a_box_that_has_not_said_who_it_is():
    host, _ = proved()
    assert host.next_event() is None
    with pytest.raises(LocalProtocolError):
        host.give(GIFT)


def test_a_device_is_given_no_site_and_a_box_no_login():
    node = NodeGift("uid", "password", ["=box.local:4433"], PRINT, "Home")
    with pytest.raises(BadFrame, match="something else"):
        exchange(guest(), Host(PRINT), gift=node).run()
    with pytest.raises(BadFrame, match="something else"):
        decode_gift(encode_gift(GIFT), "node")


def test_a_host_that_says_paired_where_a_slot_is_due_is_refused():
    done = exchange(guest(), Host(PRINT))
    confirm = done.host.confirm
    done.host.confirm = lambda slot: confirm()
    with pytest.raises(BadFrame, match="placed was due"):
        done.run()


def test_another_certificate_than_the_links_is_refused():
    other = msgspec.structs.replace(GIFT, fingerprint="SHA256:" + "beef" * 16)
    with pytest.raises(BadFrame, match="not the one that it uses"):
        exchange(guest(), Host(PRINT), gift=other).run()
    cert = CERT.replace("aGVsbG8=", "aGVsbG9v")
    with pytest.raises((BadFrame, Impostor)):
        exchange(guest(), Host(PRINT), gift=msgspec.structs.replace(GIFT, cert=cert)).run()


@pytest.mark.parametrize("slot", [0, 1, 3, 15, -2])
def test_the_slot_cannot_be_changed(slot):
    def between(n, frame):
        return encode({**json.loads(frame[4:]), "slot": slot}) if n == FRAMES else frame

    done = exchange(guest(), Host(PRINT), between=between)
    with pytest.raises(Impostor):
        done.run()
    assert done.slot is None


LENGTHS = [len(frame) for frame in exchange(guest(), Host(PRINT)).run().frames]


@slow
@given(st.integers(1, FRAMES), st.data())
def test_no_octet_can_be_changed_unnoticed(number, data):
    at = data.draw(st.integers(0, LENGTHS[number - 1] - 1))
    change = data.draw(st.integers(1, 255))

    done = exchange(guest(), Host(PRINT), between=other_octet(number, at, change))
    with contextlib.suppress(PairingError, ValueError):  # a changed length cuts the frames of this test anew
        done.run()
    assert done.slot is None
    assert (done.card is not None) is (number > 4)
    assert (done.got is not None) is (number > 6)
    assert done.taken is (number > 7)


def changed(**fields):
    return msgspec.structs.replace(GIFT, **fields)


def with_box(**fields):
    return changed(boxes=[BOXES[0], msgspec.structs.replace(BOXES[1], **fields)])


@pytest.mark.parametrize(
    "gift",
    [
        changed(site=""),
        changed(site="a\nb"),
        changed(site="x" * 2000),
        changed(cert=CERT + "x" * 20000),
        changed(key="x" * 20000),
        changed(cert="no certificate"),
        changed(host="another"),
        changed(host=BOXES[1].box),
        changed(boxes=[]),
        changed(boxes=BOXES * 9),
        with_box(slot=16),
        with_box(slot=-1),
        with_box(public=b"short"),
        with_box(name=""),
        with_box(name="x" * 65),
        with_box(name="\x1b[2J"),
        with_box(box=""),
        with_box(addresses=["=host:1"] * 9),
        with_box(addresses=["=host"]),
        with_box(addresses=["=host:99999"]),
    ],
)
def test_what_a_box_cannot_be_given_is_refused(gift):
    with pytest.raises(BadFrame):
        decode_gift(encode_gift(gift), "box")


@given(st.binary(max_size=300))
def test_any_octets_are_a_card_or_refused(octets):
    with contextlib.suppress(BadFrame):
        assert isinstance(decode_card(octets), BoxCard)


@given(st.binary(min_size=32, max_size=32), st.text(max_size=70), st.lists(st.text(max_size=30), max_size=9))
def test_any_card_is_read_as_it_was_written_or_refused(public, name, addresses):
    with contextlib.suppress(BadFrame):
        card = BoxCard(public, name, addresses)
        assert decode_card(encode_card(card)) == card
        assert 0 < len(name) <= 64 and len(addresses) <= 8


def test_the_largest_site_fits_a_gift():
    addresses = [f"=[{'fd00:' * 7}{n:04x}]:65535" for n in range(8)]
    boxes = [BoxEntry(f"BOX{n:05d}", bytes(32), n, "ä" * 64, addresses, 1 << 60) for n in range(15)]
    gift = changed(boxes=[*BOXES[:1], *boxes], site="ä" * 100, key="x" * 16384)
    assert len(encode_gift(gift)) + 16 < BOX_GIFT_OCTETS_MAX
    assert len(encode_card(BoxCard(bytes(32), "ä" * 64, addresses))) + 16 < CARD_OCTETS_MAX


def test_a_card_that_does_not_fit_is_refused_before_it_is_there():
    host, _ = proved()
    host.receive_data(encode({"datalen": CARD_OCTETS_MAX + 1, "op": 103}))
    with pytest.raises(BadFrame, match="too much"):
        host.next_event()


def test_a_recorded_card_is_useless():
    recorded = exchange(guest(), Host(PRINT)).run().frames
    host, card = proved()
    assert len(card) == len(recorded[3])
    host.receive_data(recorded[3])
    with pytest.raises(BadFrame):
        host.next_event()
