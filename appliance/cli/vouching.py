"""OpenID Connect where another site asks for it at registration (TMTP revision 1, section 5): the person logs
in with a browser, anywhere, and brings back what the provider gives.

    the site's tmtprev answer -> the provider's page -> redirect address or code -> token URL -> token answer

What is brought back may be the token answer itself, too. The token URL comes from the site: it is asked for
nothing but the code, over TLS, follows no redirects, and what it answers is passed on to that site alone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import click

from appliance.cli.prompts import pasted
from appliance.cli.tables import dig, printable

ANSWER_OCTETS_MAX = 24 << 10
"""What a Register has room for: its header is at most 65,535 octets."""

TOKEN_S = 15.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
KEYS = ("token_type", "expires_in", "id_token", "access_token", "refresh_token", "scope")
"""What `oidc` of a Register may have."""


class Attempt:
    """One login at a provider, `login` and `token` being [url, params] as the site told them."""

    def __init__(self, provider: Any) -> None:
        self.label = str(dig(provider, "label") or "the provider")
        self._token = _place(dig(provider, "token"))
        url, params = _place(dig(provider, "login"))
        self._state = params.setdefault("state", secrets.token_urlsafe(16))
        self._redirect = params.get("redirect_uri")
        self._verifier = ""
        if params.setdefault("response_type", "code") == "code" and "code_challenge" not in params:
            self._verifier = secrets.token_urlsafe(48)
            digest = hashlib.sha256(self._verifier.encode()).digest()
            params["code_challenge"] = urlsafe_b64encode(digest).decode().rstrip("=")
            params["code_challenge_method"] = "S256"
        params.setdefault("scope", "openid")
        parts = urlsplit(url)
        query = "&".join(filter(None, (parts.query, urlencode(params))))
        self.url = urlunsplit(parts._replace(query=query))

    def redeem(self, brought: str) -> dict[str, Any]:
        """The token answer for what the person has brought. Ends the command if there is none."""
        if brought.startswith("{"):
            return _answer(brought, "what was typed")
        code = brought
        if "://" in brought or "code=" in brought or "id_token=" in brought:
            found = self._read(brought)
            if "id_token" in found:
                return _told(found)
            code = found.get("code", "")
        if not code or not code.isprintable() or " " in code:
            raise click.ClickException(
                "there is no code in that: paste the whole address that the browser was sent to after the"
                " login, the code in it, or the token answer as JSON"
            )
        return self._exchange(code)

    def _read(self, address: str) -> dict[str, str]:
        """What a redirect address says, in its query or its fragment."""
        parts = urlsplit(address)
        said = dict(parse_qsl(parts.query) + parse_qsl(parts.fragment))
        if not said:
            said = dict(parse_qsl(address))
        if "error" in said:
            reason = said.get("error_description") or said["error"]
            raise click.ClickException(f"{printable(self.label)} refused: {printable(reason)}")
        if said.get("state", self._state) != self._state:
            raise click.ClickException(
                "that address belongs to another attempt: open the address that was shown last, and paste"
                " where it leads to"
            )
        return said

    def _exchange(self, code: str) -> dict[str, Any]:
        url, params = self._token
        form = {"grant_type": "authorization_code", **params, "code": code}
        if self._redirect is not None:
            form.setdefault("redirect_uri", self._redirect)
        if self._verifier:
            form.setdefault("code_verifier", self._verifier)
        return _answer(post_form(url, form), printable(urlsplit(url).netloc))


def vouch(authby: Any) -> dict[str, Any]:
    """Let the person log in with one of the providers: the `oidc` of a Register."""
    providers = [provider for provider in authby or [] if isinstance(provider, dict)]
    click.echo("this site wants to know from somebody else who you are:", err=True)
    for number, provider in enumerate(providers, 1):
        click.echo(f"  {number}  {printable(str(dig(provider, 'label')))}", err=True)
    attempt = Attempt(_chosen(providers))
    click.echo(f"open this in a browser, on any device, and log in at {printable(attempt.label)}:", err=True)
    click.echo(f"  {printable(attempt.url)}", err=True)
    return attempt.redeem(
        pasted("the address that the browser was sent to then, the code in it, or the token answer")
    )


def _chosen(providers: list[dict[str, Any]]) -> Any:
    if not providers:
        raise click.ClickException("this site wants to know who you are and does not say from whom")
    if len(providers) == 1:
        return providers[0]
    answer = pasted(f"which one, 1 to {len(providers)}")
    if not answer.isdecimal() or not 0 < int(answer) <= len(providers):
        raise click.ClickException(f"{answer[:20]!r} is none of 1 to {len(providers)}")
    return providers[int(answer) - 1]


def _place(told: Any) -> tuple[str, dict[str, str]]:
    """[url, params] with the params as a table. Ends the command if that is no place to go to."""
    try:
        url, params = told
        parts = urlsplit(url)
        fine = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        fine = fine and bool(parts.hostname) and url.isascii() and url.isprintable() and " " not in url
        fine = fine and "@" not in parts.netloc and parts.port != 0
    except (TypeError, ValueError, AttributeError):
        fine = False
    if not fine:
        raise click.ClickException(
            f"this site's login provider cannot be used, {printable(str(told)[:200])}: it must be"
            " https://HOST/...; tell the people of that site"
        )
    if isinstance(params, Mapping):
        return url, {str(key): str(value) for key, value in params.items()}
    return url, dict(parse_qsl(str(params or "").lstrip("?&")))


def _answer(text: str, source: str) -> dict[str, Any]:
    """A token answer: what a Register may carry of it."""
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise click.ClickException(f"{source} is no token answer: that is JSON with an id_token") from None
    if "error" in found:
        reason = printable(str(found.get("error_description") or found["error"]))
        raise click.ClickException(f"{source} refused the code: {reason}")
    if not isinstance(found.get("id_token"), str):
        raise click.ClickException(f"{source} gave no id_token: was `openid` in the scope?")
    return _told(found)


def _told(found: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: found[key] for key in KEYS if found.get(key) is not None}
    if str(told.get("expires_in", "")).isdecimal():
        told["expires_in"] = int(told["expires_in"])
    return told


def post_form(url: str, form: Mapping[str, str]) -> str:
    """What a token URL answers to a form. Ends the command if it cannot be asked."""
    import http.client
    import ssl

    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=TOKEN_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=TOKEN_S)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "pocket",
        }
        connection.request("POST", path, urlencode(form), headers)
        with connection.getresponse() as response:
            body = response.read(ANSWER_OCTETS_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or repr(error)
        raise click.ClickException(f"{host} cannot be asked for the token: {reason}") from None
    finally:
        connection.close()
    if len(body) > ANSWER_OCTETS_MAX:
        raise click.ClickException(f"{host} answered with more than a token: {ANSWER_OCTETS_MAX} octets")
    text = body.decode("utf-8", "replace")
    if response.status != http.client.OK and not text.lstrip().startswith("{"):
        raise click.ClickException(f"{host} refused the code: HTTP status {response.status}")
    return text
