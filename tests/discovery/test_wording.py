"""Packets about the site's name, there and back, and whatever else may come."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.discovery.dns import AAAA, ANY, NSEC, TXT, A, DNSIncoming
from appliance.discovery.keeper import Keeper, Willing
from appliance.discovery.wording import ADDRESSES_MAX, TTL_S, Plate

V4, V6 = bytes([10, 0, 0, 1]), bytes([0xFD, *bytes(14), 1])
BOTH = frozenset([V4, V6])
OURS, PEER = Plate("home", "s1tes1te", "aaaaaaaa"), Plate("home", "s1tes1te", "bbbbbbbb")
OTHERS = Plate("home", "0thers1t", "bbbbbbbb")


def octets(out):
    [packet] = out.packets()
    return packet


def heard(out):
    note = OURS.read(octets(out))
    assert note is not None
    return note


def question(kind, name=b"\4home\5local\0", flags=1, known=b"", count=0):
    return struct.pack(">HHHHHH", 7, 0, 1, count, 0, 0) + name + struct.pack(">HH", kind, flags) + known


@pytest.mark.parametrize("says", ["looks", "asks", "wants", "holds"])
@pytest.mark.parametrize("unicast", [False, True])
def test_a_question_says_who_asks(says, unicast):
    note = heard(PEER.question(says, BOTH, unicast=unicast))
    assert (note.question, note.unicast, note.probe, note.asked) == (True, unicast, True, {ANY})
    assert (note.box, note.says, note.gone, note.addresses) == ("bbbbbbbb", says, False, BOTH)


def test_a_claim_replaces_what_was_and_takes_back_what_is_gone():
    out = PEER.claim([V4], [V6])
    note = heard(out)
    assert (note.question, note.box, note.says, note.gone) == (False, "bbbbbbbb", "holds", False)
    assert note.addresses == {V4}
    records = {(each.type, each.ttl): each.unique for each in DNSIncoming(octets(out)).answers()}
    assert records == {(A, TTL_S): True, (AAAA, 0): False, (TXT, TTL_S): True, (NSEC, TTL_S): True}


def test_a_goodbye_takes_back_only_what_was_ours():
    out = PEER.goodbye(BOTH)
    note = heard(out)
    assert (note.box, note.gone, note.addresses) == ("bbbbbbbb", True, frozenset())
    assert [each.ttl or each.unique for each in DNSIncoming(octets(out)).answers()] == [False] * 3


def test_a_box_of_another_site_and_any_other_device_is_a_stranger():
    note = heard(OTHERS.claim([V4], []))
    assert (note.box, note.says, note.addresses) == ("", "", {V4})


@pytest.mark.parametrize(
    ("kind", "addresses", "answers"),
    [
        (A, BOTH, {A}),
        (AAAA, BOTH, {AAAA}),
        (ANY, BOTH, {A, AAAA, TXT}),
        (TXT, BOTH, {TXT}),
        (AAAA, [V4], {NSEC}),
        (33, BOTH, {NSEC}),
    ],
)
def test_what_is_asked_for_is_answered_and_the_rest_goes_along(kind, addresses, answers):
    note = OURS.read(question(kind))
    assert note is not None
    out = OURS.answer(note, addresses, plain=False)
    assert out is not None
    message = DNSIncoming(octets(out))
    records = message.answers()
    assert {each.type for each in records[: message.num_answers]} == answers
    assert {each.type for each in records} >= {TXT, A}
    assert {each.ttl for each in records} == {TTL_S}


def test_a_plain_resolver_gets_its_question_and_number_back():
    note = OURS.read(question(A, name=b"\4HOME\5Local\0"))
    assert note is not None
    out = OURS.answer(note, BOTH, plain=True)
    assert out is not None
    message = DNSIncoming(octets(out))
    assert (message.id, message.num_questions) == (7, 1)
    assert not any(each.unique for each in message.answers())


@pytest.mark.parametrize(("ttl", "answered"), [(TTL_S, False), (TTL_S // 2, False), (TTL_S // 2 - 1, True)])
def test_who_knows_the_answer_gets_none(ttl, answered):
    known = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, ttl, 4) + V4
    note = OURS.read(question(A, known=known, count=1))
    assert note is not None
    assert (OURS.answer(note, [V4], plain=False) is not None) == answered


@pytest.mark.parametrize(
    "data",
    [b"", b"\4home", question(A, b"\x0dhome-aaaaaaaa\5local\0"), question(A, b"\4home\3lan\0")],
)
def test_what_is_about_something_else_is_no_note(data):
    assert OURS.read(data) is None


def test_more_addresses_than_a_box_has_are_not_kept():
    many = [bytes([10, 0, 1, number]) for number in range(2 * ADDRESSES_MAX)]
    assert len(heard(PEER.claim(many, [])).addresses) == ADDRESSES_MAX


@given(st.binary(max_size=60), st.integers(0, 200), st.binary(max_size=8), st.booleans())
@example(b"", 12, b"", True)
def test_damaged_packets_do_no_harm(tail, at, patch, claim):
    whole = octets(PEER.claim(BOTH, []) if claim else PEER.question("wants", BOTH, unicast=True))
    data = whole[:at] + patch + whole[at + len(patch) :] + tail
    note = OURS.read(data)
    if note is not None:
        keeper = Keeper("aaaaaaaa")
        keeper.here(BOTH, BOTH, 0.0)
        keeper.hear(note, (), 1.0)
        acts, due_s = keeper.step(Willing.YES, 1.0)
        assert len(acts) <= 3
        assert due_s >= 0
        OURS.answer(note, BOTH, plain=True)
