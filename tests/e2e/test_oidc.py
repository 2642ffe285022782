"""OpenID Connect at registration (TMTP revision 1, section 5), against a real provider on loopback."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Box, Raw, framed
from tests.session.oidc_provider import LoginProvider, Signer, hang


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LoginProvider]:
    with LoginProvider(tmp_path) as provider:
        yield provider


def config(provider: LoginProvider) -> str:
    return f"""
[[auth.provider]]
label = "Club"
login = {{ url = "https://login.example/authorize", params = {{ client_id = "box" }} }}
token = {{ url = "https://login.example/token" }}
issuer = "{provider.issuer}"
audience = "{provider.audience}"
key_set_url = "{provider.key_set_url}"
"""


def greet(line: Raw) -> None:
    line.send(framed({"op": 0, "id": "1"}))
    assert [provider["label"] for provider in line.frame()["authby"]] == ["Club"]


def register(box: Box, oidc: dict[str, Any]) -> str:
    """The op of the answer; of a quit, its reason."""
    with Raw(box) as line:
        greet(line)
        line.send(framed({"op": 1, "newnode": "laptop", "oidc": oidc}))
        frame = line.frame()
        return frame.op if frame.op != "quit" else str(frame["error"])


def test_whom_the_provider_vouches_for_gets_in(new_box: Callable[..., Box], provider: LoginProvider) -> None:
    box = new_box(config=config(provider))
    assert register(box, provider.oidc(sub="ann")) == "registered"
    assert provider.fetches == 1
    assert register(box, provider.oidc(sub="bob")) == "registered"
    assert provider.fetches == 1


@pytest.mark.parametrize(
    "claims",
    [{"aud": "another box"}, {"exp": 1}, {"iss": "https://somebody.else.example"}],
    ids=["audience", "expired", "issuer"],
)
def test_a_token_for_somebody_or_something_else_does_not(
    new_box: Callable[..., Box], provider: LoginProvider, claims: dict[str, Any]
) -> None:
    box = new_box(config=config(provider))
    assert register(box, provider.oidc(sub="mallory", **claims)) == "register failure"
    assert box.control("member.list") == []


def test_a_token_that_another_key_signed_does_not(
    new_box: Callable[..., Box], provider: LoginProvider
) -> None:
    box = new_box(config=config(provider))
    genuine = provider.signer
    provider.signer = Signer(genuine.kid)
    forged = provider.oidc(sub="mallory")
    assert register(box, forged) == "register failure"
    provider.signer = genuine
    assert register(box, provider.oidc(sub="ann")) == "registered"


def test_keys_are_fetched_anew_when_the_provider_changes_them(
    new_box: Callable[..., Box], provider: LoginProvider
) -> None:
    box = new_box(config=config(provider))
    assert register(box, provider.oidc(sub="ann")) == "registered"
    provider.rotate()
    assert register(box, provider.oidc(sub="bob")) == "registered"
    assert provider.fetches == 2


def test_keys_outlive_a_restart_without_the_provider(
    new_box: Callable[..., Box], provider: LoginProvider
) -> None:
    box = new_box(config=config(provider))
    assert register(box, provider.oidc(sub="ann")) == "registered"
    token = provider.oidc(sub="bob")
    provider.stop()
    box.restart()
    assert register(box, token) == "registered"


def test_a_provider_that_hangs_holds_up_nobody_else(
    new_box: Callable[..., Box], provider: LoginProvider
) -> None:
    provider.answer = hang
    box = new_box(config=config(provider))
    with Raw(box) as waiting:
        greet(waiting)
        waiting.send(framed({"op": 1, "newnode": "laptop", "oidc": provider.oidc(sub="ann")}))
        started = time.monotonic()
        with Raw(box) as line:
            greet(line)
        assert time.monotonic() - started < 2
        assert waiting.frame()["error"] == "register failure"
