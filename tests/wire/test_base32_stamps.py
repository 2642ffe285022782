"""Passwords, uids, ids and times as text: TMTP revision 1, section 1."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import wire

ALPHABET = "%+123456789BCDFGHJKLMNPQRSTVWXYZ"


def test_base32_has_an_alphabet_of_32_without_vowels() -> None:
    five_bits = "".join(wire.b32encode(bytes([n << 3]))[0] for n in range(32))
    assert five_bits == ALPHABET
    assert not set(ALPHABET) & set("AEIOU0")


@given(st.binary(max_size=60))
def test_base32_comes_back_with_and_without_padding(octets: bytes) -> None:
    text = wire.b32encode(octets)
    assert set(text) <= set(ALPHABET)
    assert wire.b32decode(text) == octets
    assert wire.b32decode(text + "=" * (-len(text) % 8)) == octets


@given(st.binary(max_size=60))
def test_base32_is_the_standard_s_with_other_letters(octets: bytes) -> None:
    standard = base64.b32encode(octets).decode().rstrip("=")
    renamed = standard.translate(str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ALPHABET))
    assert wire.b32encode(octets) == renamed


def test_a_uid_has_32_characters_and_a_password_40() -> None:
    assert len(wire.b32encode(bytes(20))) == 32
    assert len(wire.b32encode(bytes(25))) == 40


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "111",
        "111111",
        "11=",
        "11=====",
        "=",
        "========",
        "11======1",
        "a1",
        "A1",
        "01",
        "1 1 ",
        "é1",
        "1\n",
        "\uff111",
    ],
)
def test_what_is_no_base32_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="base32"):
        wire.b32decode(text)


@given(st.text())
def test_base32_of_any_text_is_octets_or_a_value_error(text: str) -> None:
    try:
        octets = wire.b32decode(text)
    except ValueError:
        return
    assert len(octets) == len(text.rstrip("=")) * 5 // 8


@given(st.integers(0, (1 << 64) - 1))
def test_an_id_is_16_lower_case_hex_digits(number: int) -> None:
    text = wire.format_id(number)
    assert len(text) == 16 and text == text.lower() and int(text, 16) == number
    assert wire.parse_id(text) == number


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_an_id_has_64_bits(number: int) -> None:
    with pytest.raises(ValueError, match="64-bit"):
        wire.format_id(number)


@pytest.mark.parametrize(
    "text", ["", "0", "0" * 15, "0" * 17, "0" * 15 + "A", "0" * 15 + "g", "+" + "0" * 15, "\u0660" * 16]
)
def test_other_text_is_no_id(text: str) -> None:
    assert wire.parse_id(text) is None


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1136214245000, "2006-01-02T15:04:05.000Z"),
        (1709251199999, "2024-02-29T23:59:59.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (253402300799999, "9999-12-31T23:59:59.999Z"),
        (-62135596800000, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_posted_is_utc_in_milliseconds(ms: int, text: str) -> None:
    assert wire.format_posted(ms) == text
    assert wire.parse_posted(text) == ms


@given(st.integers(-62135596800000, 253402300799999))
def test_posted_is_the_same_time_as_datetime_has(ms: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    text = wire.format_posted(ms)
    assert datetime.fromisoformat(text) == moment
    assert wire.parse_posted(text) == ms


@pytest.mark.parametrize("ms", [253402300800000, -62135596800001, 1 << 70])
def test_there_are_no_times_outside_of_the_years_1_to_9999(ms: int) -> None:
    with pytest.raises(ValueError, match="years"):
        wire.format_posted(ms)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2006-01-02T15:04:05Z",
        "2006-01-02T15:04:05.000",
        "2006-01-02T15:04:05.000+00:00",
        "2006-01-02 15:04:05.000Z",
        "2006-13-02T15:04:05.000Z",
        "2006-02-29T15:04:05.000Z",
        "2006-01-02T15:04:05.000Z\n",
        "\u0662\u0660\u0660\u0666-01-02T15:04:05.000Z",
    ],
)
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        wire.parse_posted(text)
