"""An ID token: what it must hold to be believed (TMTP revision 1, section 5). No I/O; PyJWT does the crypto.

`peek` reads a token of which nothing is verified, only so that its provider can be looked up. `verified`
then checks, against that provider's keys:

- The signature. The token names an algorithm and a key. The algorithm must be one of `FITS`, which has
  neither `none` nor any with a shared secret, and must fit the type, the curve and the declared algorithm
  of the key: so a public key never serves as the secret of an HMAC.
- Audience, authorized party, subject, and times, with `LEEWAY_S` for clocks that differ.

PyJWT is imported on first use: a box without OpenID Connect does without it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.session.keysets import Key

if TYPE_CHECKING:
    import jwt

LEEWAY_S = 60.0
LATEST_TIME_S = 253_402_300_799.0
"""The end of the year 9999: no time in a token is later."""
SUBJECT_CHARACTERS_MAX = 255
KEYS_TRIED_MAX = 8
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192

FITS = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Signature algorithms that are accepted, each with the key type and curve it needs."""


class AuthError(Exception):
    """A Register is refused. The text says what is wrong and what the person can do; it never holds a token,
    nor the issuers and audiences that this site expects."""


class NoKey(AuthError):
    """None of the keys at hand made the signature, but a newer one of the provider's may have."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A provider whose tokens can be checked. `label` is what people know it by."""

    label: str
    issuer: str
    audience: str
    key_set_url: str


@dataclass(frozen=True, slots=True)
class Peeked:
    """A token that is readable, and what it claims before anything is verified."""

    token: str
    algorithm: str
    kid: str | None
    claims: Mapping[str, Any]


def peek(token: str) -> Peeked:
    """Read a token without verifying anything. Raises `AuthError` if no key could make it good."""
    import jwt

    try:
        whole = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise AuthError("id_token is no readable JSON Web Token: log in at the provider again") from None
    header = whole["header"]
    # Access and logout tokens are signed with the same keys, and say by their type what they are.
    if str(header.get("typ", "")).lower().endswith("+jwt"):
        raise AuthError("id_token is another kind of token: send the ID token, as the token URL answered it")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in FITS:
        raise AuthError(
            "the ID token is not signed in a way that proves who made it: its provider must use RS256"
        )
    return Peeked(token, algorithm, header.get("kid"), whole["payload"])


def verified(peeked: Peeked, issuer: Issuer, keys: Sequence[Key], now_s: float) -> str:
    """The subject that the token of `issuer` stands for. `now_s` is in seconds since the epoch.

    Raises `NoKey` if newer keys might do, any other `AuthError` if nothing will.
    """
    claims = _signed_claims(peeked, issuer, keys)
    _check_times(claims, now_s, issuer)
    subject, audiences = claims.get("sub"), claims["aud"]
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARACTERS_MAX:
        raise AuthError(
            f"the ID token of {issuer.label} does not say who you are: it needs a sub of 1 to "
            f"{SUBJECT_CHARACTERS_MAX} characters"
        )
    if isinstance(audiences, list) and len(audiences) > 1 and claims.get("azp") != issuer.audience:
        raise AuthError(
            f"the ID token of {issuer.label} is for several sites, and not given to this one: log in "
            "through this site's login URL"
        )
    return subject


def _signed_claims(peeked: Peeked, issuer: Issuer, keys: Sequence[Key]) -> dict[str, Any]:
    """The claims, once a key has proved to be the signer's and the token to be for us.

    A key without an id may have signed any token, and a token without a key id may be any key's: then a wrong
    signature can also mean that the provider has a new key.
    """
    import jwt

    kid, algorithm = peeked.kid, peeked.algorithm
    named = [key for key in keys if kid is None or key.get("kid", kid) == kid]
    if not named:
        raise NoKey(
            f"the ID token is signed with a key that {issuer.label} does not publish: log in there again, or "
            "try again in a minute if it has just changed its keys"
        )
    fitting = [key for key in named if _fits(key, algorithm)]
    if not fitting:
        raise AuthError(
            f"the ID token says {algorithm}, which does not fit the key of {issuer.label} it names"
        )
    for key in fitting[:KEYS_TRIED_MAX]:
        public = _public_key(key, algorithm)
        if public is None:
            continue
        try:
            whole = jwt.decode_complete(
                peeked.token,
                public,
                algorithms=[algorithm],
                audience=issuer.audience,
                issuer=issuer.issuer,
                options={
                    "require": ["iss", "aud"],
                    # PyJWT would ask the system's clock: `_check_times` judges by the caller's.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
            raise AuthError(
                f"the ID token of {issuer.label} was not made for this site: log in through its login URL"
            ) from None
        except (jwt.PyJWTError, ValueError, TypeError):
            raise AuthError(f"the ID token of {issuer.label} does not hold: log in there again") from None
        claims: dict[str, Any] = whole["payload"]
        return claims
    guessed = kid is None or any("kid" not in key for key in fitting)
    kind = NoKey if guessed else AuthError
    raise kind(f"the signature of the ID token is not {issuer.label}'s: log in there again")


def _fits(key: Key, algorithm: str) -> bool:
    kty, curve = FITS[algorithm]
    return (
        key["kty"] == kty
        and (curve is None or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
    )


def _public_key(key: Key, algorithm: str) -> jwt.PyJWK | None:
    """The key, bound to the algorithm; None if unusable, as a modulus so large that it costs time."""
    import jwt

    try:
        public = jwt.PyJWK(key, algorithm)
        usable = key["kty"] != "RSA" or RSA_BITS_MIN <= public.key.key_size <= RSA_BITS_MAX
    except Exception:
        # A provider may publish anything, and it is all the same in what way the library cannot read it.
        return None
    return public if usable else None


def _check_times(claims: Mapping[str, Any], now_s: float, issuer: Issuer) -> None:
    advice = f"this box's clock says {utc(now_s)}; if that is right, log in at {issuer.label} again"
    expires_s = _time_s(claims, "exp", issuer)
    if expires_s is None:
        raise AuthError(f"the ID token of {issuer.label} has no exp, the time until which it holds")
    if expires_s <= now_s - LEEWAY_S:
        raise AuthError(f"the ID token expired {now_s - expires_s:.0f} s ago; {advice}")
    for name in ("nbf", "iat"):
        from_s = _time_s(claims, name, issuer)
        if from_s is not None and from_s > now_s + LEEWAY_S:
            raise AuthError(f"the ID token holds only in {from_s - now_s:.0f} s ({name}); {advice}")


def _time_s(claims: Mapping[str, Any], name: str, issuer: Issuer) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_TIME_S:
        raise AuthError(f"the ID token of {issuer.label} has no sensible time as {name}: log in there again")
    return float(value)


def utc(seconds: float) -> str:
    """A time, in seconds since the epoch, for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(max(0.0, min(seconds, LATEST_TIME_S))))
