"""What a bad provider, or a stranger in its place, can do to the box: nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.session import keysets
from appliance.session.oidc import Verifier
from tests.session import oidc_provider as kit
from tests.session.oidc_kit import (
    Clock,
    assert_no_thread_left,
    refusal,
    refused,
    setting,
    verifier_of,
    verify,
)
from tests.session.oidc_provider import LoginProvider


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LoginProvider]:
    with LoginProvider(tmp_path) as running:
        yield running


@pytest.mark.parametrize("answer", [kit.hang, kit.drip_body, kit.drip_head])
def test_a_provider_that_hangs_costs_a_registration_its_timeout_and_nobody_else_anything(
    provider, tmp_path, answer
):
    provider.answer = answer
    gaps: list[float] = []

    async def heartbeat(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while True:
            before = trio.current_time()
            await trio.sleep(0.01)
            gaps.append(trio.current_time() - before)

    async def scenario(other: LoginProvider) -> None:
        verifier = Verifier(
            [setting(provider), setting(other, label="Other")], tmp_path / "keys.json", fetch_timeout_s=0.8
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(heartbeat)
            async with trio.open_nursery() as registrations:
                for _ in range(10):
                    registrations.start_soon(expect_timeout, verifier)
                started = trio.current_time()
                assert await verifier.verify(other.oidc())
                assert trio.current_time() - started < 0.6
            started = trio.current_time()
            await refused(verifier, provider.oidc())
            assert trio.current_time() - started < 0.6
            nursery.cancel_scope.cancel()

    async def expect_timeout(verifier: Verifier) -> None:
        started = trio.current_time()
        assert "did not answer within 0.8 s" in await refused(verifier, provider.oidc())
        assert 0.7 < trio.current_time() - started < 3

    with LoginProvider(tmp_path) as other:
        trio.run(scenario, other)
    assert provider.fetches == 1
    assert max(gaps) < 0.6
    assert_no_thread_left("_fetch_in_thread")


@pytest.mark.parametrize("answer", [kit.endless_body, kit.endless_head])
def test_of_an_endless_answer_only_the_first_octets_are_taken(provider, tmp_path, answer):
    provider.answer = answer
    started = time.monotonic()
    text = refusal(verifier_of(provider, tmp_path, fetch_timeout_s=20), provider.oidc())
    assert "larger than" in text
    assert time.monotonic() - started < 10


def test_a_key_set_may_be_256_kib_and_not_more(provider, tmp_path):
    whole = json.dumps({"keys": provider.published}).encode()
    provider.answer = kit.answers(whole.ljust(256 * 1024))
    assert verify(verifier_of(provider, tmp_path), provider.oidc())
    provider.answer = kit.answers(whole.ljust(256 * 1024 + 1))
    verifier = Verifier([setting(provider)], tmp_path / "other.json")
    assert "larger than 262144 octets" in refusal(verifier, provider.oidc())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is no JSON;"),
        (b"\xff\xfe\0", "is no JSON;"),
        (b"<html>log in</html>", "is no JSON;"),
        (b'{"keys": [', "is no JSON;"),
        (b"[" * 200_000, "is no JSON;"),
        (b'{"keys": ' * 20_000, "is no JSON;"),
        (b"9" * 200_000, "is no JSON;"),
        (b"[]", "no JSON Web Key set"),
        (b"7", "no JSON Web Key set"),
        (b'{"keys": {}}', "no JSON Web Key set"),
        (b'{"keys": [1, null, "x"]}', "no key that can sign"),
    ],
)
def test_garbage_for_keys_is_told_and_nothing_breaks(provider, tmp_path, body, says):
    provider.answer = kit.answers(body)
    text = refusal(verifier_of(provider, tmp_path), provider.oidc())
    assert text.startswith("cannot get the keys of Example")
    assert says in text


@pytest.mark.parametrize(
    ("octets", "says"),
    [
        (b"", "is no HTTP"),
        (b"\0" * 100, "is no HTTP"),
        (b"SSH-2.0-x\r\n", "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{", "is no JSON"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "HTTP status 302"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", "cannot be used"),
        (b"HTTP/1.1 302 Found\r\nLocation: //localhost:" + b"x" * 9000 + b"/\r\n\r\n", "cannot be used"),
    ],
)
def test_garbage_for_http_is_told_in_short_and_nothing_breaks(provider, tmp_path, octets, says):
    provider.answer = lambda its, handler: handler.wfile.write(octets)
    text = refusal(verifier_of(provider, tmp_path), provider.oidc())
    assert text.startswith("cannot get the keys of Example")
    assert says in text
    assert len(text) < 300


def test_of_several_addresses_the_first_that_answers_is_taken(provider, tmp_path, monkeypatch):
    real = socket.getaddrinfo
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()

    def two(*args: Any, **kwargs: Any) -> Any:
        [first, *others] = real(*args, **kwargs)
        return [(*first[:4], nobody), first, *others]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    assert verify(verifier_of(provider, tmp_path), provider.oidc())


def test_redirects_are_followed_within_the_scheme_and_a_few_times(provider, tmp_path):
    provider.answer = kit.redirects(lambda its, path: "/new/keys" if path == "/keys" else None)
    assert verify(verifier_of(provider, tmp_path), provider.oidc())
    assert provider.fetches == 2
    provider.answer = kit.redirects(lambda its, path: path + "x")
    verifier = Verifier([setting(provider)], tmp_path / "other.json")
    assert "redirects more than 3 times" in refusal(verifier, provider.oidc())
    assert provider.fetches == 6


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("file:///etc/passwd", "must be https"),
        ("ftp://localhost/keys", "must be https"),
        ("http://192.0.2.1/keys", "without TLS"),
        ("https://localhost/keys", "redirects from http to https"),
    ],
)
def test_a_redirect_to_another_scheme_or_out_of_loopback_is_refused(provider, tmp_path, target, says):
    provider.answer = kit.redirects(lambda its, path: target)
    assert says in refusal(verifier_of(provider, tmp_path), provider.oidc())
    assert provider.fetches == 1


def test_a_resolver_that_hangs_is_given_up_and_holds_one_thread_at_most(provider, tmp_path, monkeypatch):
    clock, release, calls = Clock(), threading.Event(), []

    def stuck(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        release.wait()
        raise socket.gaierror("gone")

    async def scenario() -> None:
        verifier = verifier_of(provider, tmp_path, monotonic=clock, fetch_timeout_s=0.2)
        for _ in range(5):
            assert "did not answer within 0.2 s" in await refused(verifier, provider.oidc())
            clock.now_s += 61
        assert len(calls) == 1
        monkeypatch.undo()
        release.set()
        await trio.to_thread.run_sync(assert_no_thread_left, "_fetch_in_thread")
        assert await verifier.verify(provider.oidc())

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    trio.run(scenario)


def test_a_fault_of_ours_while_fetching_is_told_and_does_not_end_the_run(provider, tmp_path, monkeypatch):
    def broken(document: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(keysets, "clean_keys", broken)
    text = refusal(verifier_of(provider, tmp_path), provider.oidc())
    assert "could not be read (ZeroDivisionError)" in text


# TLS.


def test_keys_come_over_tls_from_a_host_that_proves_its_name(tmp_path, monkeypatch):
    with LoginProvider(tmp_path, algorithm="ES256", tls=True) as provider:
        verifier = verifier_of(provider, tmp_path)
        text = refusal(verifier, provider.oidc())
        assert "its TLS certificate is not trusted: self-signed certificate" in text
        assert provider.fetches == 0
        monkeypatch.setenv("SSL_CERT_FILE", os.fspath(provider.ca_path))
        assert verify(verifier_of(provider, tmp_path), provider.oidc())
        named_wrongly = setting(provider, key_set_url=provider.key_set_url.replace("localhost", "127.0.0.2"))
        text = refusal(Verifier([named_wrongly], tmp_path / "other.json"), provider.oidc())
        assert "cannot get the keys of Example" in text
        assert provider.fetches == 1


def test_a_redirect_from_https_to_http_is_refused(tmp_path, monkeypatch):
    with LoginProvider(tmp_path, algorithm="ES256", tls=True) as provider:
        monkeypatch.setenv("SSL_CERT_FILE", os.fspath(provider.ca_path))
        provider.answer = kit.redirects(lambda its, path: "http://localhost:1/keys")
        assert "redirects from https to http" in refusal(verifier_of(provider, tmp_path), provider.oidc())


def test_a_host_that_hangs_in_the_tls_handshake_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent, LoginProvider(tmp_path) as provider:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/keys"
        verifier = Verifier([setting(provider, key_set_url=url)], tmp_path / "keys.json", fetch_timeout_s=0.3)
        started = time.monotonic()
        assert "did not answer within 0.3 s" in refusal(verifier, provider.oidc())
        assert time.monotonic() - started < 2
        assert_no_thread_left("_fetch_in_thread")
