"""OpenID Connect at registration: what clients are told, and who needs a token that holds."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.session.oidc import Subject, Verifier
from tests.session.oidc_kit import refusal, setting, told_only, verifier_of, verify
from tests.session.oidc_provider import LoginProvider, oidc_of


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LoginProvider]:
    with LoginProvider(tmp_path) as running:
        yield running


# What is told to clients.


def test_a_client_is_told_label_login_and_token_and_nothing_else(provider, tmp_path):
    verifier = Verifier([setting(provider), told_only()], tmp_path / "keys.json")
    assert verifier.auth == 1
    assert verifier.authby == [
        {
            "label": "Example",
            "login": ["https://login.example/authorize", {"client_id": "pocket-box"}],
            "token": ["https://login.example/token", {}],
        },
        {
            "label": "Told",
            "login": ["https://told.example/login", {"a": "b"}],
            "token": ["https://told.example/token", {}],
        },
    ]
    assert Verifier([told_only()], tmp_path / "keys.json", login_required=True).auth == 2


def test_without_providers_nothing_is_told_and_everybody_may_register(tmp_path):
    verifier = Verifier([], tmp_path / "keys.json", login_required=True)
    assert verifier.auth is None
    assert verifier.authby is None
    assert verify(verifier, None) is None
    assert verify(verifier, {"id_token": "whatever"}) is None


def test_a_box_without_providers_does_not_load_what_checks_tokens():
    code = (
        "import sys, trio, pathlib\n"
        "from appliance.session.oidc import Verifier\n"
        "trio.run(Verifier([], pathlib.Path('/nowhere/keys')).verify, {'id_token': 'x'})\n"
        "print([name for name in ('jwt', 'http.client', 'email.parser') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Settings that cannot be.


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"issuer": None}, "needs all of issuer, audience and key set URL"),
        ({"audience": "", "optional": True}, "needs all of issuer, audience and key set URL"),
        ({"issuer": None, "audience": None, "key_set_url": None}, "mark it optional"),
        ({"key_set_url": "http://login.example/keys"}, "keys fetched without TLS prove nothing"),
        ({"key_set_url": "http://127.0.0.1.example/keys"}, "keys fetched without TLS prove nothing"),
        ({"key_set_url": "file:///etc/passwd"}, "must be https"),
        ({"key_set_url": "https:///keys"}, "must be https"),
        ({"key_set_url": "https://login.example/a\r\nX: y"}, "characters"),
        ({"key_set_url": "https://me@login.example/keys"}, "without a user"),
        ({"key_set_url": "https://login.example:99999/keys"}, "ort"),
    ],
)
def test_settings_that_cannot_be_are_named(provider, tmp_path, changed, says):
    with pytest.raises(ValueError, match="login provider 'Example'") as caught:
        Verifier([setting(provider, **changed)], tmp_path / "keys.json")
    assert says in str(caught.value)


def test_more_than_26_providers_are_too_many(tmp_path):
    assert len(Verifier([told_only()] * 26, tmp_path / "keys.json").authby or []) == 26
    with pytest.raises(ValueError, match="27 login providers"):
        Verifier([told_only()] * 27, tmp_path / "keys.json")


# Who needs a token.


def test_a_register_without_oidc_is_refused_where_one_provider_is_not_optional(provider, tmp_path):
    verifier = Verifier([told_only(), setting(provider)], tmp_path / "keys.json")
    for nothing in (None, {}, {"id_token": None, "scope": None}):
        assert "log in at Told or Example" in refusal(verifier, nothing)


def test_with_optional_providers_only_a_register_works_without_oidc(provider, tmp_path):
    verifier = Verifier([told_only(), setting(provider, optional=True)], tmp_path / "keys.json")
    assert verify(verifier, None) is None


def test_a_token_for_an_optional_provider_must_hold(provider, tmp_path):
    verifier = Verifier([setting(provider, optional=True)], tmp_path / "keys.json")
    assert verify(verifier, provider.oidc()) == Subject(provider.issuer, "ann", provider.audience)
    assert "expired" in refusal(verifier, provider.oidc(exp=int(time.time()) - 3600))
    assert "issuer" in refusal(verifier, provider.oidc(iss="https://elsewhere.example"))


def test_oidc_is_ignored_where_no_provider_can_be_checked(tmp_path):
    verifier = Verifier([told_only()], tmp_path / "keys.json")
    assert verify(verifier, {"id_token": "junk"}) is None
    assert verify(verifier, oidc_of("junk")) is None


@pytest.mark.parametrize("name", ["token_type", "expires_in", "id_token", "access_token"])
@pytest.mark.parametrize("value", [None, "", True, 1.5, [], {}])
def test_each_required_member_of_oidc_must_have_its_type(provider, tmp_path, name, value):
    text = refusal(verifier_of(provider, tmp_path), provider.oidc() | {name: value})
    assert text.startswith(f"{name} in oidc must be")
    assert provider.fetches == 0


def test_optional_members_of_oidc_may_be_absent_null_or_text(provider, tmp_path):
    verifier = verifier_of(provider, tmp_path)
    assert verify(verifier, provider.oidc() | {"refresh_token": None, "scope": "", "unknown": []})
    for name in ("refresh_token", "scope"):
        assert f"{name} in oidc must be text" in refusal(verifier, provider.oidc() | {name: 7})


def test_keys_of_oidc_are_taken_in_any_case(provider, tmp_path):
    oidc = {name.title(): value for name, value in provider.oidc().items()}
    assert "Id_Token" in oidc
    assert verify(verifier_of(provider, tmp_path), oidc)
