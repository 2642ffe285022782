"""Who may register, and third-party authentication (TMTP revision 1, sections 2 and 4)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.kit import SITE, Box, Client, Raw, Refused, fresh

PROVIDER = """
[[auth.provider]]
label = "Example <ID>"
login = { url = "https://id.example.org/authorize", params = "client_id=pocket&scope=openid" }
token = { url = "https://id.example.org/token", params = "client_id=pocket" }
"""
CHECKED = (
    PROVIDER
    + """
issuer = "https://id.example.org"
audience = "pocket"
key_set_url = "https://id.example.org/keys"
"""
)
AUTHBY = [
    {
        "label": "Example <ID>",
        "login": ["https://id.example.org/authorize", "client_id=pocket&scope=openid"],
        "token": ["https://id.example.org/token", "client_id=pocket"],
    }
]


def refused(box: Box, **fields: object) -> str:
    """The reason why Register is refused."""
    with Raw(box) as raw:
        raw.say('{"op":0,"id":"1"}')
        assert raw.frame().op == "tmtprev"
        raw.say({"op": 1, "newnode": "laptop", "newalias": fresh("somebody"), **fields})
        frame = raw.frame()
        assert frame.op == "quit", frame
        raw.expect_closed()
        return str(frame["error"])


def test_closed_means_nobody(new_box: Callable[..., Box]) -> None:
    box = new_box(registration="closed")
    assert refused(box) == "register failure"
    with pytest.raises(Refused):
        box.control("pair.open", minutes=1)
    assert refused(box)
    assert box.control("status")["registration"] == "closed"
    assert box.control("member.list") == []


def test_pairing_means_while_the_window_is_open(new_box: Callable[..., Box]) -> None:
    box = new_box(registration="pairing")
    assert refused(box) == "register failure"
    box.control("pair.open", minutes=2)
    assert 0 < box.control("status")["pairing_open_s"] <= 120
    alice = Client.register(box, alias=fresh("alice"))
    box.control("pair.close")
    assert refused(box)
    alice.round_trip()
    alice.hang_up()
    alice.come_back()
    alice.edit_user(newnode="a device of a member needs no window")
    alice.close()
    assert len(box.control("member.list")) == 1


def test_an_account_that_cannot_be_made_is_refused_in_the_words_of_the_protocol_and_the_log_says_why(
    new_box: Callable[..., Box],
) -> None:
    box = new_box(config="[limits]\nmembers = 1\n")
    assert refused(box, newnode="x" * 1025) == "register failure"
    Client.register(box, alias=fresh("alice")).close()
    assert refused(box) == "register failure"
    log = box.words()
    assert "newnode must be at most 1024 octets" in log and "the site has its 1 members" in log


def test_the_window_closes_by_itself(new_box: Callable[..., Box]) -> None:
    box = new_box(registration="pairing")
    box.control("pair.open", minutes=1 / 60)
    Client.register(box, alias=fresh("alice")).close()
    for _ in range(200):
        if not box.control("status")["pairing_open_s"]:
            break
        time.sleep(0.05)
    time.sleep(0.1)
    assert refused(box)


def test_a_restart_closes_the_window(new_box: Callable[..., Box]) -> None:
    box = new_box(registration="pairing")
    box.control("pair.open", minutes=2)
    box.restart()
    assert refused(box)


@pytest.mark.parametrize("minutes", [0, -1, "two", None, 10**9])
def test_a_window_of_no_time_is_refused(box: Box, minutes: object) -> None:
    with pytest.raises(Refused):
        box.control("pair.open", minutes=minutes)


def test_authentication_is_told_and_asked_for(new_box: Callable[..., Box]) -> None:
    box = new_box(config=CHECKED)
    with Raw(box) as raw:
        raw.say('{"op":0,"id":"1"}')
        raw.expect("tmtprev", id="1", name=SITE, auth=1, authby=AUTHBY)
    assert refused(box) == "authentication required"
    assert refused(box, oidc=None) == "authentication required"
    token = {"token_type": "Bearer", "expires_in": 3600, "id_token": "no.jwt.atall", "access_token": "x"}
    assert refused(box, oidc=token) in ("register failure", "authentication required")
    assert box.control("member.list") == []


def test_optional_authentication_is_told_and_not_asked_for(new_box: Callable[..., Box]) -> None:
    box = new_box(config=PROVIDER + "optional = true\n")
    with Raw(box) as raw:
        raw.say('{"op":0,"id":"1"}')
        raw.expect("tmtprev", id="1", name=SITE, auth=1, authby=AUTHBY)
    alice = Client.register(box, alias=fresh("alice"))
    alice.hang_up()
    alice.come_back().close()
