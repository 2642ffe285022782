"""What the tests of OpenID Connect at registration share."""

from __future__ import annotations

import base64
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.session.oidc import AuthError, Provider, Subject, Verifier
from tests.session.oidc_provider import LoginProvider, Signer

DAY_S = 86_400.0


class Clock:
    """A monotonic clock that moves when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def setting(provider: LoginProvider, **changed: Any) -> Provider:
    settings: dict[str, Any] = {
        "label": "Example",
        "login": ("https://login.example/authorize", {"client_id": "pocket-box"}),
        "token": ("https://login.example/token", {}),
        "issuer": provider.issuer,
        "audience": provider.audience,
        "key_set_url": provider.key_set_url,
        "optional": False,
    }
    return Provider(**(settings | changed))


def verifier_of(provider: LoginProvider, tmp_path: Path, **settings: Any) -> Verifier:
    return Verifier([setting(provider)], tmp_path / "keys.json", **settings)


def told_only(**changed: Any) -> Provider:
    settings: dict[str, Any] = {
        "label": "Told",
        "login": ("https://told.example/login", {"a": "b"}),
        "token": ("https://told.example/token", {}),
        "issuer": None,
        "audience": None,
        "key_set_url": None,
        "optional": True,
    }
    return Provider(**(settings | changed))


def verify(verifier: Verifier, oidc: dict[str, Any] | None) -> Subject | None:
    return trio.run(verifier.verify, oidc)


def refusal(verifier: Verifier, oidc: dict[str, Any] | None) -> str:
    with pytest.raises(AuthError) as caught:
        verify(verifier, oidc)
    return checked_text(caught.value, oidc)


async def refused(verifier: Verifier, oidc: dict[str, Any] | None) -> str:
    with pytest.raises(AuthError) as caught:
        await verifier.verify(oidc)
    return checked_text(caught.value, oidc)


def checked_text(error: AuthError, oidc: dict[str, Any] | None) -> str:
    """The text of a refusal, which must not hold any part of the token."""
    token = (oidc or {}).get("id_token")
    for part in token.split(".") if isinstance(token, str) else ():
        assert len(part) < 8 or part not in str(error)
    return str(error)


def raw_token(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    def encoded(octets: bytes) -> str:
        return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

    return ".".join(
        [encoded(json.dumps(header).encode()), encoded(json.dumps(claims).encode()), encoded(signature)]
    )


def assert_no_thread_left(name: str) -> None:
    """No worker thread is still in the function `name`; a thread that is just ending gets a second."""
    until = time.monotonic() + 1
    while True:
        frames = [frame for frame in sys._current_frames().values() if in_function(frame, name)]
        if not frames:
            return
        assert time.monotonic() < until, f"a thread is still in {name}"
        time.sleep(0.02)


def in_function(frame: Any, name: str) -> bool:
    while frame is not None:
        if frame.f_code.co_name == name:
            return True
        frame = frame.f_back
    return False


def resigned(signer: Signer, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token whose signature is right whatever stands in it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    unsigned = raw_token({"alg": "RS256", "kid": signer.kid} | header, claims)[:-1]
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    signature = signer.key.sign(unsigned.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
