"""The typed code: slips of the finger are found before they cost a guess."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pairing import CODES, BadCode, Code

codes = st.builds(
    lambda number, secret: Code.make(number, lambda below: secret),
    st.integers(1, CODES),
    st.integers(0, 10**6 - 1),
)


@given(codes)
def test_a_code_is_read_as_it_is_shown(code):
    assert Code.parse(code.text) == code
    assert Code.parse(f"  {code.digits[:2]} {code.digits[2:]}\t") == code
    assert code.text == f"{code.digits[:4]}-{code.digits[4:]}"


@given(codes)
def test_every_wrong_digit_and_every_swap_is_found(code):
    digits = code.digits
    for at, digit in itertools.product(range(8), "0123456789"):
        if digit != digits[at]:
            with pytest.raises(BadCode):
                Code.parse(digits[:at] + digit + digits[at + 1 :])
    for at in range(7):
        if digits[at] != digits[at + 1]:
            with pytest.raises(BadCode):
                Code.parse(digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :])


@given(st.text(max_size=100))
def test_any_text_is_a_code_or_refused(text):
    with contextlib.suppress(BadCode):
        assert Code.parse(text).digits


@pytest.mark.parametrize("text", ["", "1", "123456789", "1482139", "١٤٨٢١٣٩٥", "1" * 100_000, " " * 100_000])
def test_what_has_not_eight_digits_is_no_code(text):
    with pytest.raises(BadCode):
        Code.parse(text)


@pytest.mark.parametrize("number", [0, 4, 10, -1])
def test_there_are_three_numbers(number):
    with pytest.raises(ValueError, match="1 to 3"):
        Code.make(number)


def test_codes_are_random():
    made = {Code.make(1).digits for _ in range(200)}
    assert len(made) > 190
    assert {len({digits[at] for digits in made}) for at in range(1, 7)} == {10}


def test_neither_str_nor_repr_shows_a_code():
    code = Code.make(2)
    assert code.digits[1:] not in f"{code} {code!r} {[code]}"
    assert code.text not in f"{code} {code!r}"
