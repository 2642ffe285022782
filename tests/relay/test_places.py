"""Addresses as they are typed, and certificates that have to stay the same."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.relay import CertificateChanged
from appliance.relay.places import SiteAddress, check_pin

GOOD = {
    "=club.example:4433": SiteAddress("club.example", 4433, False),
    "+club.example:4433": SiteAddress("club.example", 4433, True),
    "+club.example": SiteAddress("club.example", 443, True),
    "=192.168.1.5:1": SiteAddress("192.168.1.5", 1, False),
    "=[fe80::1]:4433": SiteAddress("fe80::1", 4433, False),
    "=fe80::1": SiteAddress("fe80::1", 443, False),
}
BAD = [
    "",
    "=",
    "club.example:4433",
    "=:4433",
    "=club:0",
    "=club:65536",
    "=club:x",
    "=a b:1",
    "=u@club:1",
    "=[::1:1",
    "=club:\u0661",
    "=" + "a" * 300,
    "=club:" + "9" * 5000,
]


@pytest.mark.parametrize("text", GOOD)
def test_an_address_is_read(text: str):
    assert SiteAddress.parse(text) == GOOD[text]
    assert SiteAddress.parse(str(GOOD[text])) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_address_says_what_one_looks_like(text: str):
    with pytest.raises(ValueError, match="is no address of a site"):
        SiteAddress.parse(text)


@given(st.text(max_size=60))
def test_no_text_makes_another_error(text: str):
    for sign in ("", "=", "+"):
        try:
            SiteAddress.parse(sign + text)
        except ValueError as error:
            assert "is no address of a site" in str(error)


def test_the_first_certificate_is_trusted_and_then_only_that():
    place = SiteAddress("club", 1, False)
    pin = check_pin(place, b"first", "")
    assert pin == hashlib.sha256(b"first").hexdigest()
    assert check_pin(place, b"first", pin.upper()) == pin
    with pytest.raises(CertificateChanged) as caught:
        check_pin(place, b"second", pin)
    assert caught.value.offered == hashlib.sha256(b"second").hexdigest()


def test_a_certificate_that_an_authority_vouches_for_is_not_pinned():
    place = SiteAddress("club", 1, True)
    assert check_pin(place, b"first", "") == check_pin(place, b"second", "") == ""
