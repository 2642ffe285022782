"""What was written comes back, and nothing else does: not a part, not a changed or swapped frame."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup import Damaged, WrongKey, format, keys
from appliance.backup.format import Entries, Filled, Opener, Packer, Record, Sealer, Unpacker
from appliance.store import Arrival, Octets

KEY = b"k" * 32
octets = st.binary(max_size=60)
numbers = st.integers(0, (1 << 63) - 1)
messages = st.builds(Octets, numbers, octets, st.none() | octets)
arrivals = st.builds(
    Arrival,
    st.text(max_size=8),
    numbers,
    numbers,
    st.integers(0, 255),
    octets,
    octets,
    octets,
    st.lists(messages, max_size=3).map(tuple),
)
records = st.lists(
    st.builds(Entries, st.lists(arrivals, max_size=4)) | st.builds(Filled, st.lists(messages, max_size=4)),
    max_size=6,
)


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format, "FRAME_OCTETS", 16)


def sealed(pieces: Iterable[bytes], key: bytes = KEY, name: str = "journal-1") -> bytes:
    sealer = Sealer(key, name)
    return sealer.begin() + b"".join(sealer.seal(piece) for piece in pieces) + sealer.finish()


def opened(stream: bytes, cuts: Iterable[int] = (), key: bytes = KEY, name: str = "journal-1") -> bytes:
    opener = Opener(key, name)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    found = b"".join(opener.feed(stream[a:b]) for a, b in pairwise(places))
    opener.finish()
    return found


def frames(stream: bytes) -> list[bytes]:
    at, found = len(format.MAGIC) + keys.SALT_OCTETS, []
    while at < len(stream):
        end = at + 4 + (int.from_bytes(stream[at : at + 4]) & 0x7FFFFFFF)
        found.append(stream[at:end])
        at = end
    return found


@given(st.lists(octets, max_size=5), st.lists(st.integers(0, 1 << 20), max_size=5))
def test_what_was_sealed_is_opened_in_whatever_pieces_it_comes(pieces: list[bytes], cuts: list[int]) -> None:
    stream = sealed(pieces)
    assert opened(stream, cuts) == b"".join(pieces)
    assert len(stream) == format.stream_octets(sum(map(len, pieces)))


@given(octets, st.integers(0, 1 << 20))
def test_a_stream_that_was_cut_off_anywhere_does_not_open(piece: bytes, cut: int) -> None:
    stream = sealed([piece])
    with pytest.raises(Damaged):
        opened(stream[: cut % len(stream)])


@given(octets, st.integers(0, 1 << 20), st.integers(1, 255))
def test_no_octet_of_a_stream_can_be_changed(piece: bytes, at: int, by: int) -> None:
    stream = bytearray(sealed([piece]))
    stream[at % len(stream)] ^= by
    with pytest.raises(Damaged):
        opened(bytes(stream))


@given(st.binary(min_size=33, max_size=80))
def test_frames_cannot_be_swapped_left_out_or_said_again(piece: bytes) -> None:
    stream = sealed([piece])
    head, known = stream[: len(format.MAGIC) + keys.SALT_OCTETS], frames(stream)
    for others in (
        [known[1], known[0], *known[2:]],
        [*known[:-2], known[-1]],
        [known[0], *known],
        [*known, known[-1]],
        known[:-1],
        [*known, b"\0"],
    ):
        with pytest.raises(Damaged):
            opened(head + b"".join(others))


def test_a_file_cannot_stand_in_for_another_one() -> None:
    stream = sealed([b"text"])
    for key, name in ((b"x" * 32, "journal-1"), (KEY, "journal-2")):
        with pytest.raises(Damaged):
            opened(stream, key=key, name=name)


def test_two_streams_of_the_same_name_share_no_key() -> None:
    assert frames(sealed([b"text"])) != frames(sealed([b"text"]))


@given(records, st.lists(st.integers(0, 1 << 20), max_size=5))
def test_records_come_back_in_order(written: list[Record], cuts: list[int]) -> None:
    packer, unpacker = Packer(), Unpacker()
    packed = b"".join(packer.pack(record) for record in written) + packer.finish()
    places = sorted({0, len(packed), *(cut % (len(packed) + 1) for cut in cuts)})
    assert [r for a, b in pairwise(places) for r in unpacker.feed(packed[a:b])] == written
    unpacker.finish()


@given(st.binary(min_size=1, max_size=80))
def test_what_is_no_record_is_damaged(junk: bytes) -> None:
    unpacker = Unpacker()
    with pytest.raises(Damaged):
        list(unpacker.feed(junk))
        unpacker.finish()


def test_the_recovery_key_is_read_as_people_type_it() -> None:
    secret = keys.new_secret()
    text = keys.shown(secret)
    assert len(text.split(" ")) == 9
    assert keys.typed(text) == secret
    assert keys.typed(text.lower().replace(" ", "-") + "\n") == secret
    assert keys.typed(keys.shown(bytes(20)).replace("0", "o")) == bytes(20)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 35), st.integers(1, 31))
def test_a_letter_that_was_mistyped_is_told(secret: bytes, at: int, by: int) -> None:
    letters = list(keys.shown(secret).replace(" ", ""))
    letters[at] = keys.ALPHABET[keys.ALPHABET.index(letters[at]) ^ by]
    try:
        assert keys.typed("".join(letters)) != secret  # one in a million of them fits
    except WrongKey as error:
        assert "mistyped" in str(error)
    with pytest.raises(WrongKey, match="36 letters"):
        keys.typed("".join(letters[:-1]))


def test_only_the_recovery_key_opens_the_key_of_a_backup() -> None:
    secret, other, data_key = keys.new_secret(), keys.new_secret(), os.urandom(32)
    box = keys.seal_key(data_key, secret)
    assert keys.open_key(box, secret) == data_key
    assert keys.key_id(secret) != keys.key_id(other)
    for stream, key in ((box, other), (box[:-1], secret), (b"", secret), (b"\2" + box[1:], secret)):
        with pytest.raises(WrongKey):
            keys.open_key(stream, key)


def test_the_name_of_an_attachment_tells_nothing_without_the_key() -> None:
    sha = os.urandom(32)
    name = format.file_name(KEY, sha)
    assert name == format.file_name(KEY, sha) != format.file_name(b"x" * 32, sha)
    assert sha.hex()[:8] not in name


def test_a_state_of_a_later_version_is_not_read_as_if_it_were_known() -> None:
    state = format.State(
        number=1, made=0.0, site="Home", site_id="", cert="", key="", box="B", box_key=b"", heads={},
        segments=[], first_octets=0, first_made=0.0,
    )  # fmt: skip
    assert format.decode_state(format.encode_state(state)) == state
    later = format.State(**{f: getattr(state, f) for f in state.__struct_fields__} | {"format": 2})
    with pytest.raises(Damaged, match="later version"):
        format.decode_state(format.encode_state(later))
    with pytest.raises(Damaged):
        format.decode_state(b"junk")
