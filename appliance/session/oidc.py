"""Who may register because an OpenID Connect provider vouches for them (TMTP revision 1, section 5).

A client learns the providers from the `tmtprev` answer, logs in at one of them, and sends what it got there
as `oidc` in its Register. `Verifier` decides whether that holds: types first, then the box's own clock,
without which no time can be judged; then the provider, chosen by the issuer that the token names; then the
provider's keys, which `keysets` gets without harm to the box; then the token against them, in `idtoken`.

What is asked of a client depends on the providers' settings. One with issuer, audience and key set URL can
be checked. One with none of the three can only be told to clients, and must be `optional`. As soon as one
provider is not optional, a Register needs an `oidc` that holds. Where it needs none, one that is there must
hold all the same, unless no provider can be checked: then it is ignored.
"""

from __future__ import annotations

import calendar
import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from appliance.session.errors import Unavailable
from appliance.session.idtoken import AuthError, Issuer, NoKey, Peeked, peek, utc, verified
from appliance.session.keysets import FETCH_TIMEOUT_S, KeySets

__all__ = ["AuthError", "Provider", "Subject", "Verifier"]

Params = str | Mapping[str, str]
"""As a query string, or by name: told to clients as it was configured."""

PROVIDERS_MAX = 26
BUILD_YEAR = 2026
"""A box whose clock shows an earlier year has not learned the time."""

_REQUIRED = {"token_type": str, "expires_in": int, "id_token": str, "access_token": str}
_OPTIONAL = {"refresh_token": str, "scope": str}


@dataclass(frozen=True)
class Provider:
    """One `[[auth.provider]]`. `login` and `token`, URL and parameters, are told to clients as they are."""

    label: str
    login: tuple[str, Params]
    token: tuple[str, Params]
    issuer: str | None
    audience: str | None
    key_set_url: str | None
    optional: bool


@dataclass(frozen=True)
class Subject:
    """Whom a provider vouches for: stored with the account. `subject` is unique within `issuer`."""

    issuer: str
    subject: str
    audience: str


class Verifier:
    """Checks the `oidc` of a Register against the configured providers.

    `cache_path` is a file for the providers' keys, in a folder that exists. `login_required` is only told
    to clients. `clock` is in seconds since the epoch, `monotonic` in seconds since whenever. Raises
    ValueError, naming the provider, when its settings cannot be.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        cache_path: Path,
        *,
        login_required: bool = False,
        fetch_timeout_s: float = FETCH_TIMEOUT_S,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(providers) > PROVIDERS_MAX:
            raise ValueError(f"{len(providers)} login providers are more than the {PROVIDERS_MAX} allowed")
        self._providers = tuple(providers)
        self._issuers = tuple(issuer for provider in providers if (issuer := _issuer(provider)))
        self._required = any(not provider.optional for provider in providers)
        self._login_required = login_required
        self._clock = clock
        self._key_sets = KeySets(
            {issuer.key_set_url for issuer in self._issuers},
            cache_path,
            fetch_timeout_s=fetch_timeout_s,
            clock=clock,
            monotonic=monotonic,
        )

    @property
    def auth(self) -> int | None:
        """`auth` of the `tmtprev` answer: 1 registration, 2 also login, None without providers."""
        if not self._providers:
            return None
        return 2 if self._login_required else 1

    @property
    def authby(self) -> list[dict[str, Any]] | None:
        """`authby` of the `tmtprev` answer, None without providers. Never has issuer, audience or keys."""
        if not self._providers:
            return None
        return [
            {
                "label": provider.label,
                "login": list(provider.login),
                "token": list(provider.token),
            }
            for provider in self._providers
        ]

    async def verify(self, oidc: dict[str, Any] | None) -> Subject | None:
        """Whom the `oidc` of a Register stands for; None if it may register without anybody vouching.

        Its keys are taken in any case; without any it counts as absent. Waits at most `fetch_timeout_s` for
        the provider. Raises `AuthError`. A cancelled call leaves nothing but maybe a fetch that goes on.
        """
        given = {name.lower(): value for name, value in (oidc or {}).items() if value is not None}
        if not given:
            if self._required:
                labels = " or ".join(provider.label for provider in self._providers)
                raise AuthError(
                    "this site registers only people for whom a login provider vouches: log in at "
                    f"{labels} first, then register again"
                )
            return None
        if not self._issuers:
            return None
        token = _id_token(given)
        now_s = self._now_s()
        if "jwt" not in sys.modules:
            # Loading it takes a small box so long that other links would feel it.
            await trio.to_thread.run_sync(importlib.import_module, "jwt")
        peeked = peek(token)
        if self._may_be_ignored(peeked.claims):
            return None
        issuer = self._issuer_of(peeked.claims)
        return Subject(issuer.issuer, await self._subject(peeked, issuer, now_s), issuer.audience)

    async def _subject(self, peeked: Peeked, issuer: Issuer, now_s: float) -> str:
        try:
            keys, fresh = await self._key_sets.keys(issuer.key_set_url)
        except Unavailable as error:
            raise AuthError(
                f"cannot get the keys of {issuer.label} to check the ID token: {error}; try again in a minute"
            ) from None
        try:
            return verified(peeked, issuer, keys, now_s)
        except NoKey:
            if fresh:
                raise
        return verified(peeked, issuer, await self._key_sets.newer(issuer.key_set_url), now_s)

    def _may_be_ignored(self, claims: Mapping[str, Any]) -> bool:
        """It is of a provider that cannot be checked, and nobody has to vouch for whom registers."""
        unchecked = len(self._issuers) < len(self._providers)
        return not self._required and unchecked and claims.get("iss") not in {i.issuer for i in self._issuers}

    def _now_s(self) -> float:
        now_s = self._clock()
        if now_s < calendar.timegm((BUILD_YEAR, 1, 1, 0, 0, 0)):
            raise AuthError(
                f"this box's clock is wrong (it says {utc(now_s)}), so no ID token can be checked: connect "
                "the box to the Internet so that it learns the time, then register again"
            )
        return now_s

    def _issuer_of(self, claims: Mapping[str, Any]) -> Issuer:
        found = [issuer for issuer in self._issuers if issuer.issuer == claims.get("iss")]
        if not found:
            labels = " or ".join(issuer.label for issuer in self._issuers)
            raise AuthError(
                f"the ID token is from an issuer that this site does not know: log in at {labels}"
            )
        audiences = claims.get("aud")
        if isinstance(audiences, str):
            audiences = [audiences]
        if isinstance(audiences, list):
            found = [issuer for issuer in found if issuer.audience in audiences] or found
        return found[0]


def _issuer(provider: Provider) -> Issuer | None:
    """The provider as one that can be checked, or None. Raises ValueError if it would have to be."""
    name = f"login provider {provider.label!r}"
    if provider.issuer and provider.audience and provider.key_set_url:
        from appliance.session.fetch import check_url

        try:
            check_url(provider.key_set_url)
        except ValueError as error:
            raise ValueError(f"the key set URL of {name} cannot be used: {error}") from None
        return Issuer(provider.label, provider.issuer, provider.audience, provider.key_set_url)
    if provider.issuer or provider.audience or provider.key_set_url:
        raise ValueError(f"{name} needs all of issuer, audience and key set URL, or none of them")
    if not provider.optional:
        raise ValueError(
            f"{name} has no issuer, audience and key set URL, so nothing can be checked: add them, or mark "
            "it optional"
        )
    return None


def _id_token(given: Mapping[str, Any]) -> str:
    for name, kind in (_REQUIRED | _OPTIONAL).items():
        value = given.get(name)
        if value is None and name in _OPTIONAL:
            continue
        if not isinstance(value, kind) or isinstance(value, bool) or (value == "" and name in _REQUIRED):
            wanted = "text" if kind is str else "an integer"
            raise AuthError(f"{name} in oidc must be {wanted}: send what the provider's token URL answered")
    token: str = given["id_token"]
    return token
