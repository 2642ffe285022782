"""ID tokens: which signatures and claims are believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.session import idtoken, oidc
from appliance.session.oidc import AuthError, Subject, Verifier
from tests.session.oidc_kit import checked_text, raw_token, refusal, resigned, setting, verifier_of, verify
from tests.session.oidc_provider import LoginProvider, Signer, oidc_of


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LoginProvider]:
    with LoginProvider(tmp_path) as running:
        yield running


# Signatures.


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_good_token_tells_who_registers(tmp_path, algorithm):
    with LoginProvider(tmp_path, algorithm=algorithm) as provider:
        who = verify(verifier_of(provider, tmp_path), provider.oidc(sub="ann@example"))
        assert who == Subject(provider.issuer, "ann@example", provider.audience)


def test_a_signature_by_another_key_is_refused(provider, tmp_path):
    forged = Signer(provider.signer.kid).sign(provider.claims())
    text = refusal(verifier_of(provider, tmp_path), oidc_of(forged))
    assert "signature of the ID token is not Example's" in text
    assert provider.fetches == 1


def test_a_changed_claim_breaks_the_signature(provider, tmp_path):
    head, _, signature = provider.token().split(".")
    claims = raw_token({}, provider.claims(sub="root")).split(".")[1]
    assert "signature" in refusal(verifier_of(provider, tmp_path), oidc_of(f"{head}.{claims}.{signature}"))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 0])
def test_an_unsigned_token_is_refused(provider, tmp_path, algorithm):
    token = raw_token({"alg": algorithm, "kid": "key-1", "typ": "JWT"}, provider.claims())
    assert "not signed in a way that proves" in refusal(verifier_of(provider, tmp_path), oidc_of(token))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_does_not_serve_as_the_secret_of_an_hmac(provider, tmp_path, algorithm):
    verifier = verifier_of(provider, tmp_path)
    assert verify(verifier, provider.oidc())
    jwk = provider.signer.jwk()
    for secret in (provider.signer.pem(), json.dumps(jwk).encode(), jwk["n"].encode(), b""):
        unsigned = raw_token({"alg": algorithm, "kid": "key-1"}, provider.claims())[:-1]
        digest = hmac.new(secret, unsigned.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        text = refusal(verifier, oidc_of(f"{unsigned}.{signature}"))
        assert "not signed in a way that proves" in text


def test_a_secret_in_a_key_set_is_no_key(provider, tmp_path):
    secret = b"published by mistake, 32 octets.."
    provider.published = [{"kty": "oct", "kid": "key-1"}]
    assert "no key that can sign" in refusal(verifier_of(provider, tmp_path), provider.oidc())
    provider.published = [{"kty": "oct", "kid": "key-1", "k": base64.urlsafe_b64encode(secret).decode()}]
    unsigned = raw_token({"alg": "HS256", "kid": "key-1"}, provider.claims())[:-1]
    digest = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    token = f"{unsigned}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    refusal(verifier_of(provider, tmp_path), oidc_of(token))
    assert "no key that can sign" in refusal(verifier_of(provider, tmp_path), provider.oidc())


def test_the_algorithm_must_fit_the_key(provider, tmp_path):
    """The key says RS256; a PS256 signature by the same key, though right, is not what the provider makes."""
    verifier = verifier_of(provider, tmp_path)
    other = Signer("key-1", "PS256")
    other.key = provider.signer.key
    assert "PS256, which does not fit" in refusal(verifier, oidc_of(other.sign(provider.claims())))
    elliptic = Signer("key-1", "ES256")
    assert "ES256, which does not fit" in refusal(verifier, oidc_of(elliptic.sign(provider.claims())))
    assert provider.fetches == 1


def test_a_key_that_does_not_say_its_algorithm_fits_all_of_its_type(provider, tmp_path):
    del provider.published[0]["alg"]
    other = Signer("key-1", "PS256")
    other.key = provider.signer.key
    verifier = verifier_of(provider, tmp_path)
    assert verify(verifier, oidc_of(other.sign(provider.claims())))
    assert verify(verifier, provider.oidc())
    elliptic = Signer("key-1", "ES256")
    assert "ES256, which does not fit" in refusal(verifier, oidc_of(elliptic.sign(provider.claims())))
    provider.published = [elliptic.jwk()]
    del provider.published[0]["alg"]
    verifier = Verifier([setting(provider)], tmp_path / "other.json")
    assert "RS256, which does not fit" in refusal(verifier, provider.oidc())


@pytest.mark.parametrize("bits", [1024, 8200])
def test_a_key_too_small_or_too_large_is_not_used(provider, tmp_path, bits, monkeypatch):
    provider.signer = Signer("key-1", bits=bits) if bits < 2048 else provider.signer
    provider.published = [provider.signer.jwk()]
    if bits > 8192:
        huge = base64.urlsafe_b64encode(b"\xff" * (bits // 8)).rstrip(b"=").decode()
        provider.published[0]["n"] = huge
    with pytest.warns(match="below") if bits < 2048 else pytest.MonkeyPatch.context():
        oidc = provider.oidc()
    assert "signature of the ID token" in refusal(verifier_of(provider, tmp_path), oidc)


@pytest.mark.parametrize(
    "also", [{"d": "AQAB"}, {"k": "AQAB"}, {"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}]
)
def test_a_key_that_gives_itself_away_or_is_not_for_signing_is_not_used(provider, tmp_path, also):
    provider.published[0] |= also
    assert "no key that can sign" in refusal(verifier_of(provider, tmp_path), provider.oidc())


def test_unusable_keys_beside_a_good_one_are_passed_over(provider, tmp_path):
    rubbish: list[Any] = [
        17,
        None,
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "kid": "key-1", "n": "!", "e": 3},
        {"kty": "RSA", "kid": "key-1", "n": "", "e": ""},
        {"kty": "AKP", "kid": "key-1", "alg": "ML-DSA-44", "pub": "x"},
        {"kty": ["RSA"], "kid": "key-1"},
        provider.signer.jwk() | {"use": "enc"},
        provider.signer.jwk() | {"key_ops": ["encrypt"]},
    ]
    provider.published = rubbish + provider.published
    assert verify(verifier_of(provider, tmp_path), provider.oidc())


def test_a_token_without_key_id_is_tried_with_each_fitting_key(provider, tmp_path):
    provider.rotate(keep=True)
    verifier = verifier_of(provider, tmp_path)
    assert verify(verifier, oidc_of(provider.signer.sign(provider.claims(), kid=None)))


def test_an_access_token_is_no_id_token(provider, tmp_path):
    token = provider.signer.sign(provider.claims(), typ="at+jwt")
    assert "another kind of token" in refusal(verifier_of(provider, tmp_path), oidc_of(token))


@pytest.mark.parametrize(
    "token",
    [
        "junk",
        "a.b",
        "a.b.c.d",
        "....",
        "\ud800.x.y",
        "e30.e30.",
        raw_token({"alg": "RS256", "kid": 7}, {}),
        raw_token({"alg": "RS256", "crit": ["exp"]}, {}),
        raw_token({"alg": "RS256", "b64": False, "crit": ["b64"]}, {}),
        base64.urlsafe_b64encode(b"[" * 30_000).decode() + ".e30.x",
        "eyJhbGciOiJSUzI1NiJ9." + base64.urlsafe_b64encode(b'{"a":' * 9_000).decode() + ".x",
    ],
)
def test_what_is_no_token_is_refused_without_asking_the_provider(provider, tmp_path, token):
    refusal(verifier_of(provider, tmp_path), oidc_of(token))
    assert provider.fetches == 0


def test_anything_at_all_as_a_token_is_refused_or_holds(provider, tmp_path):
    verifier = verifier_of(provider, tmp_path)
    good = provider.token()

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )
    # What a refusal says by itself it may say, whatever a token calls itself.
    own = " ".join(Path(module.__file__ or "").read_text() for module in (idtoken, oidc))
    texts = st.text(min_size=1).filter(
        lambda text: not any(len(part) >= 8 and part in own for part in text.split("."))
    )
    names = st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "azp"])
    heads = st.sampled_from(["alg", "kid", "typ", "crit", "b64"])

    @settings(max_examples=150, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(["text", "claims", "head", "cut"]))
        if kind == "text":
            token = data.draw(texts)
        elif kind == "claims":
            claims = provider.claims() | data.draw(st.dictionaries(names, json_values, max_size=2))
            token = resigned(provider.signer, {}, claims)
        elif kind == "head":
            header = data.draw(st.dictionaries(heads, json_values, max_size=2))
            token = resigned(provider.signer, header, provider.claims())
        else:
            token = good[: data.draw(st.integers(1, len(good) - 1))]
        try:
            who = verify(verifier, oidc_of(token))
        except AuthError as error:
            checked_text(error, oidc_of(token))
        else:
            assert who is not None
            assert who.issuer == provider.issuer

    holds()


# Claims.


def test_a_token_from_an_unknown_issuer_is_refused_without_asking_anybody(provider, tmp_path):
    verifier = verifier_of(provider, tmp_path)
    for issuer in ("https://elsewhere.example", provider.issuer + "/", "", 5, ["x"], None):
        token = resigned(provider.signer, {}, provider.claims() | {"iss": issuer})
        text = refusal(verifier, oidc_of(token))
        assert "issuer that this site does not know: log in at Example" in text
        assert provider.issuer not in text
    assert provider.fetches == 0


@pytest.mark.parametrize("audience", ["another-box", ["another-box"], [], "", None, 5, ["pocket-box", 5], {}])
def test_a_token_for_another_audience_is_refused(provider, tmp_path, audience):
    token = resigned(provider.signer, {}, provider.claims() | {"aud": audience})
    text = refusal(verifier_of(provider, tmp_path), oidc_of(token))
    assert "was not made for this site" in text
    assert provider.audience not in text


def test_a_token_for_several_audiences_must_have_been_given_to_this_one(provider, tmp_path):
    verifier = verifier_of(provider, tmp_path)
    both = ["another-box", provider.audience]
    assert verify(verifier, provider.oidc(aud=[provider.audience]))
    assert verify(verifier, provider.oidc(aud=both, azp=provider.audience))
    for party in (None, "another-box", both):
        assert "for several sites" in refusal(verifier, provider.oidc(aud=both, azp=party))


@pytest.mark.parametrize("subject", [None, "", "x" * 256, 5, ["ann"]])
def test_a_token_must_say_who_it_is_for(provider, tmp_path, subject):
    token = resigned(provider.signer, {}, provider.claims() | {"sub": subject})
    assert refusal(verifier_of(provider, tmp_path), oidc_of(token))


def test_two_providers_of_one_issuer_are_told_apart_by_audience(provider, tmp_path):
    verifier = Verifier(
        [setting(provider), setting(provider, label="Phone", audience="phone")], tmp_path / "keys.json"
    )
    assert verify(verifier, provider.oidc()) == Subject(provider.issuer, "ann", "pocket-box")
    assert verify(verifier, provider.oidc(aud="phone")) == Subject(provider.issuer, "ann", "phone")
    assert provider.fetches == 1


def test_times_hold_with_a_leeway_of_a_minute(provider, tmp_path):
    now = int(time.time())
    verifier = verifier_of(provider, tmp_path, clock=lambda: now + 0.5)
    assert verify(verifier, provider.oidc(exp=now - 58))
    assert "expired 62 s ago" in refusal(verifier, provider.oidc(exp=now - 62))
    for name in ("nbf", "iat"):
        assert verify(verifier, provider.oidc(**{name: now + 59}))
        assert f"({name})" in refusal(verifier, provider.oidc(**{name: now + 62}))


@pytest.mark.parametrize("value", ["2000000000", True, -1, 10**400, float("inf"), float("nan"), [], {}])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_a_time_must_be_a_sensible_number(provider, tmp_path, name, value):
    token = resigned(provider.signer, {}, provider.claims() | {name: value})
    assert refusal(verifier_of(provider, tmp_path), oidc_of(token))


def test_a_token_must_expire(provider, tmp_path):
    assert "has no exp" in refusal(verifier_of(provider, tmp_path), provider.oidc(exp=None))


def test_a_box_that_does_not_know_the_time_says_so_instead_of_judging(provider, tmp_path):
    verifier = verifier_of(provider, tmp_path, clock=lambda: 86_400.0)
    text = refusal(verifier, provider.oidc())
    assert "this box's clock is wrong (it says 1970-01-02 00:00 UTC)" in text
    assert provider.fetches == 0
