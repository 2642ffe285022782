"""`pocket membership add` at a site that asks for OpenID Connect, with a provider on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlsplit

import click
import pytest

from appliance.cli.vouching import ANSWER_OCTETS_MAX, Attempt
from tests.cli.test_memberships import CLUB, SEEN

ANSWER = {"token_type": "Bearer", "expires_in": 3600, "id_token": "a.b.c", "access_token": "xyz"}
ADD = ("membership", "add", "Ann Smith", "=club.example:4433")


class Provider(ThreadingHTTPServer):
    """A token URL: remembers what it was asked, and says ``answer``."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Desk)
        self.forms = []
        self.status = 200
        self.answer = json.dumps(ANSWER | {"extra": "not for the site"}).encode()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/token?tenant=1"


class Desk(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self):
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.forms.append((self.path, dict(parse_qsl(octets.decode()))))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, *args):
        """Nothing on the screen."""


@pytest.fixture
def provider():
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def told(provider, login="https://id.example/authorize", **params):
    """An entry of `authby`, as a site tells it."""
    return {
        "label": "Example ID",
        "login": [login, {"client_id": "club", "redirect_uri": "https://club.example/back"} | params],
        "token": [provider.url, {"client_id": "club"}],
    }


@contextmanager
def fails(text):
    with pytest.raises(click.ClickException) as caught:
        yield
    assert text in caught.value.message


def test_the_address_has_all_that_the_provider_needs(provider):
    attempt = Attempt(told(provider, login="https://id.example/authorize?tenant=1"))
    parts = urlsplit(attempt.url)
    query = {key: value for key, (value,) in parse_qs(parts.query).items()}
    assert (parts.netloc, parts.path) == ("id.example", "/authorize")
    assert len(query.pop("state")) >= 16
    assert len(query.pop("code_challenge")) == 43
    assert query == {"tenant": "1", "client_id": "club", "redirect_uri": "https://club.example/back",
                     "response_type": "code", "scope": "openid", "code_challenge_method": "S256"}  # fmt: skip


def test_a_redirect_address_is_exchanged_for_what_the_site_wants(provider):
    attempt = Attempt(told(provider))
    query = dict(parse_qsl(urlsplit(attempt.url).query))
    assert attempt.redeem(f"https://club.example/back?code=c%2F1&state={query['state']}") == ANSWER
    ((path, form),) = provider.forms
    assert path == "/token?tenant=1"
    verifier = form.pop("code_verifier")
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    assert challenge == query["code_challenge"]
    assert form == {"grant_type": "authorization_code", "client_id": "club", "code": "c/1",
                    "redirect_uri": "https://club.example/back"}  # fmt: skip


@pytest.mark.parametrize("brought", ["c1", "code=c1", "https://club.example/back#code=c1"])
def test_a_code_alone_will_do(provider, brought):
    assert Attempt(told(provider)).redeem(brought) == ANSWER
    assert provider.forms[0][1]["code"] == "c1"


def test_params_may_be_a_query_string(provider):
    entry = told(provider)
    entry["login"][1], entry["token"][1] = (
        "client_id=club&scope=openid+email",
        "client_id=club&client_secret=s",
    )
    attempt = Attempt(entry)
    assert "scope=openid+email" in attempt.url
    attempt.redeem("c1")
    assert provider.forms[0][1]["client_secret"] == "s"


def test_a_token_answer_is_passed_on_without_asking_anybody(provider):
    assert Attempt(told(provider)).redeem(json.dumps(ANSWER | {"more": 1})) == ANSWER
    implicit = Attempt(told(provider, response_type="id_token token"))
    back = f"https://club.example/back#id_token=a.b.c&expires_in=3600&state={implicit.url.rpartition('state=')[2]}"
    assert implicit.redeem(back.partition("&scope")[0]) == {"id_token": "a.b.c", "expires_in": 3600}
    assert provider.forms == []


@pytest.mark.parametrize(
    ("brought", "said"),
    [
        (
            "https://club.example/back?error=access_denied&error_description=not+you%07",
            "refused: not you\\u0007",
        ),
        ("https://club.example/back?code=c1&state=other", "that address belongs to another attempt"),
        ("https://club.example/back", "there is no code in that"),
        ("https://club.example/back?x=1", "there is no code in that"),
        ("two words", "there is no code in that"),
        ("{", "what was typed is no token answer"),
        ('{"access_token": "x"}', "what was typed gave no id_token"),
    ],
)
def test_what_cannot_be_used_is_told_and_nobody_is_asked(provider, brought, said):
    with fails(said):
        Attempt(told(provider)).redeem(brought)
    assert provider.forms == []


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (
            400,
            b'{"error": "invalid_grant", "error_description": "too old\\u001b"}',
            "refused the code: too old\\u001b",
        ),
        (200, b'{"error": "invalid_grant", "error_description": "too late"}', "refused the code: too late"),
        (302, b"", "refused the code: HTTP status 302"),
        (200, b"<html>", "is no token answer"),
        (200, b"[1]", "is no token answer"),
        (200, b"x" * (ANSWER_OCTETS_MAX + 1), "answered with more than a token"),
    ],
)
def test_a_token_url_that_does_not_help_is_told(provider, status, answer, said):
    provider.status, provider.answer = status, answer
    with fails(said):
        Attempt(told(provider)).redeem("c1")
    assert len(provider.forms) == 1


def test_a_token_url_that_does_not_answer_is_told():
    entry = {"label": "x", "login": ["https://id.example/", ""], "token": ["http://127.0.0.1:9/", ""]}
    with fails("127.0.0.1 cannot be asked for the token"):
        Attempt(entry).redeem("c1")


@pytest.mark.parametrize(
    "url", ["http://id.example/token", "file:///etc/passwd", "", None, 5, "https://a b/"]
)
@pytest.mark.parametrize("which", ["login", "token"])
def test_a_site_cannot_send_a_person_anywhere(provider, which, url):
    with fails("login provider cannot be used"):
        Attempt(told(provider) | {which: [url, ""]})
    with fails("login provider cannot be used"):
        Attempt(told(provider) | {which: url})


def test_a_person_logs_in_and_the_site_gets_the_token(pocket, provider):
    pocket.answers(membership_look=SEEN | {"auth": 1, "authby": [told(provider)]}, membership_add=CLUB)
    pocket(*ADD, stdin="https://club.example/back?code=c1\n")
    assert pocket.asked[1][1]["oidc"] == ANSWER
    assert "open this in a browser, on any device, and log in at Example ID:" in pocket.stderr
    assert "https://id.example/authorize?client_id=club" in pocket.stderr


def test_a_token_answer_of_several_lines_may_be_pasted(pocket, provider):
    pocket.answers(membership_look=SEEN | {"auth": 2, "authby": [told(provider)]}, membership_add=CLUB)
    pocket(*ADD, stdin=json.dumps(ANSWER, indent=2) + "\n")
    assert pocket.asked[1][1]["oidc"] == ANSWER


def test_of_several_providers_one_is_chosen(pocket, provider):
    second = told(provider, login="https://other.example/") | {"label": "Oth\x1ber"}
    pocket.answers(
        membership_look=SEEN | {"auth": 1, "authby": [told(provider), second]}, membership_add=CLUB
    )
    pocket(*ADD, stdin="2\nc1\n")
    assert "  2  Oth\\u001ber\n" in pocket.stderr
    assert "https://other.example/?" in pocket.stderr
    pocket(*ADD, stdin="3\n", code=1)
    assert "'3' is none of 1 to 2" in pocket.stderr


def test_where_the_site_allows_it_nobody_needs_a_provider(pocket, provider):
    pocket.answers(membership_look=SEEN | {"auth": 1, "authby": [told(provider)]}, membership_add=CLUB)
    pocket(*ADD, "--no-login")
    assert pocket.asked[1][1]["oidc"] == {}
    pocket(*ADD, code=1)
    assert "send it to the standard input" in pocket.stderr
