"""The address that fits a QR code: what is built is read back, and nothing else is read."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pairing.uri import SITE_CHARS_MAX, URI_CHARS_MAX, Invitation, build, parse
from appliance.wire import b32encode

UID = b32encode(bytes(range(20)))
PASSWORD = b32encode(bytes(range(100, 125)))
PRINT = "SHA256:" + "0af7" * 16

hosts = st.one_of(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,40}", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
addresses = st.builds("{}:{}".format, hosts, st.integers(1, 65535))
invitations = st.builds(
    Invitation,
    st.lists(addresses, min_size=1, max_size=4).map(tuple),
    st.binary(min_size=20, max_size=20).map(b32encode),
    st.none() | st.binary(min_size=25, max_size=25).map(b32encode),
    st.none() | st.binary(min_size=32, max_size=32).map(lambda octets: f"SHA256:{octets.hex()}"),
    st.none() | st.text(min_size=1, max_size=40).filter(str.isprintable),
)


def test_the_documented_form():
    addresses = "192.168.1.5:4433", "[fd00::1]:4433"
    assert build(Invitation(addresses, "%+" * 16, "+%" * 20, PRINT, "Müller & Söhne")) == (
        f"tmtp://{'%25%2B' * 16}:{'%2B%25' * 20}@192.168.1.5:4433/?also=%5Bfd00::1%5D:4433&fp={PRINT}"
        "&site=M%C3%BCller%20%26%20S%C3%B6hne"
    )


@given(invitations)
def test_what_is_built_is_read_back(invitation):
    uri = build(invitation)
    assert parse(uri) == invitation
    assert uri.isascii() and uri.isprintable() and " " not in uri and "+" not in uri


@given(invitations)
def test_other_readers_of_uris_see_the_same_parts(invitation):
    parts = urlsplit(build(invitation))
    assert (parts.scheme, parts.path, parts.fragment) == ("tmtp", "/", "")
    assert parts.netloc.rpartition("@")[2] == invitation.addresses[0]
    assert parts.port == int(invitation.addresses[0].rpartition(":")[2])


@given(invitations, st.data())
def test_a_damaged_text_is_refused_or_says_something_else(invitation, data):
    uri = build(invitation)
    at = data.draw(st.integers(0, len(uri) - 1))
    char = data.draw(st.characters(codec="utf-8").filter(lambda c: c.lower() != uri[at].lower()))
    damaged = uri[:at] + char + uri[at + 1 :]
    try:
        assert parse(damaged) != invitation
    except ValueError as error:
        assert PASSWORD not in str(error)


@given(st.text() | st.text().map(lambda text: f"tmtp://{text}") | st.text().map(lambda t: f"tmtp://h:1/?{t}"))
def test_any_text_is_read_or_refused(text):
    try:
        again = build(parse(text))
    except ValueError:
        return
    assert parse(again) == parse(text)


def test_more_may_be_encoded_than_has_to_be():
    plain = build(Invitation(("box.local:4433",), UID, PASSWORD, PRINT))
    assert parse(plain.replace("fp=SHA256:", "fp=%53HA256%3a")) == parse(plain)


def test_a_site_to_register_at_needs_no_uid():
    assert parse("tmtp://box.local:4433/") == Invitation(("box.local:4433",))


def test_keys_that_are_not_known_are_ignored():
    assert parse("TMTP://h:1/?new=%F0%9F%8D%B0&site=Home&v=2") == Invitation(("h:1",), site="Home")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://h:1/",
        "tmtp:h:1",
        "tmtp://h:1",
        "tmtp://h/",
        "tmtp://h:0/",
        "tmtp://h:65536/",
        "tmtp://h:01/",
        "tmtp://:4433/",
        "tmtp://fd00::1:4433/",
        "tmtp://[fd00::zz]:4433/",
        "tmtp://[::1::2]:4433/",
        "tmtp://@h:1/",
        f"tmtp://:{PASSWORD}@h:1/",
        "tmtp://short@h:1/",
        f"tmtp://{'A' * 32}@h:1/",
        f"tmtp://{'+' * 32}@h:1/",
        f"tmtp://{'B' * 32}:@h:1/",
        f"tmtp://{'B' * 32}:{'B' * 39}@h:1/",
        f"tmtp://{'B' * 32}:{'B' * 40}:{'B' * 40}@h:1/",
        "tmtp://h:1/path",
        "tmtp://h:1/?#x",
        "tmtp://h:1/?site",
        "tmtp://h:1/?site=",
        "tmtp://h:1/?site=a&site=b",
        "tmtp://h:1/?site=a+b",
        "tmtp://h:1/?site=a b",
        "tmtp://h:1/?site=a%0Ab",
        "tmtp://h:1/?site=%ff",
        "tmtp://h:1/?site=%2",
        "tmtp://h:1/?site=%zz",
        f"tmtp://h:1/?site={'a' * (SITE_CHARS_MAX + 1)}",
        "tmtp://h:1/?fp=SHA256:ab",
        f"tmtp://h:1/?fp=SHA256:{'AB' * 32}",
        f"tmtp://h:1/?fp=md5:{'ab' * 32}",
        "tmtp://h:1/?also=h",
        "tmtp://h:1/?" + "&".join(["also=h:1"] * 16),
        "tmtp://h:1/?x=" + "a" * URI_CHARS_MAX,
    ],
)
def test_what_is_wrong_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_a_password_does_not_end_up_in_a_log_by_accident():
    assert PASSWORD not in repr(Invitation(("h:1",), UID, PASSWORD))
