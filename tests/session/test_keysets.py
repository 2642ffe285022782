"""Providers' keys: fetched when needed, kept over restarts, spared by floods."""

from __future__ import annotations

import json
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.session.oidc import Verifier
from tests.session import oidc_provider as kit
from tests.session.oidc_kit import (
    DAY_S,
    Clock,
    refusal,
    refused,
    setting,
    verifier_of,
    verify,
)
from tests.session.oidc_provider import LoginProvider, Signer, oidc_of


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[LoginProvider]:
    with LoginProvider(tmp_path) as running:
        yield running


def test_an_unknown_key_id_fetches_the_keys_again(provider, tmp_path):
    async def scenario() -> None:
        verifier = verifier_of(provider, tmp_path)
        old = provider.oidc()
        assert await verifier.verify(old)
        provider.rotate()
        assert await verifier.verify(provider.oidc())
        assert "does not publish" in await refused(verifier, old)

    trio.run(scenario)
    assert provider.fetches == 2


def test_a_new_key_without_id_is_found_by_its_signature(provider, tmp_path):
    provider.signer.kid = None
    provider.published = [provider.signer.jwk()]
    verifier = verifier_of(provider, tmp_path)
    assert verify(verifier, provider.oidc())
    provider.signer = Signer(None)
    provider.published = [provider.signer.jwk()]
    assert verify(verifier, provider.oidc())
    assert provider.fetches == 2


def test_a_flood_of_unknown_key_ids_is_one_fetch_a_minute(provider, tmp_path):
    clock = Clock()

    async def scenario() -> None:
        verifier = verifier_of(provider, tmp_path, monotonic=clock)
        assert await verifier.verify(provider.oidc())
        assert provider.fetches == 1

        async def bogus(number: int) -> None:
            token = provider.signer.sign(provider.claims(), kid=f"bogus-{number}")
            await refused(verifier, oidc_of(token))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(bogus, number)
        for number in range(50):
            await bogus(number)
        assert provider.fetches == 2
        clock.now_s += 59
        await bogus(100)
        assert provider.fetches == 2
        assert await verifier.verify(provider.oidc())
        clock.now_s += 2
        await bogus(101)
        await bogus(102)
        assert provider.fetches == 3

    trio.run(scenario)


def test_a_flood_of_unknown_key_ids_on_a_fresh_box_is_one_fetch_more_than_the_first(provider, tmp_path):
    async def scenario() -> None:
        verifier = verifier_of(provider, tmp_path)
        token = provider.signer.sign(provider.claims(), kid="bogus")
        for _ in range(20):
            await refused(verifier, oidc_of(token))

    trio.run(scenario)
    assert provider.fetches == 2


def test_registrations_at_the_same_time_share_one_fetch(provider, tmp_path):
    provider.answer = kit.late

    async def scenario() -> None:
        verifier = verifier_of(provider, tmp_path)
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(verifier.verify, provider.oidc(sub=f"user-{number}"))

    trio.run(scenario)
    assert provider.fetches == 1


def test_a_client_that_hangs_up_leaves_the_fetch_to_the_others(provider, tmp_path):
    asked, go_on = threading.Event(), threading.Event()

    def slow(its: LoginProvider, handler: Any) -> None:
        asked.set()
        go_on.wait(5)
        kit.serve_keys(its, handler)

    provider.answer = slow

    async def scenario() -> None:
        verifier = verifier_of(provider, tmp_path)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as first:
                nursery.start_soon(cancel_when, asked, first)
                await verifier.verify(provider.oidc())
        assert first.cancelled_caught
        go_on.set()
        assert await verifier.verify(provider.oidc())

    async def cancel_when(event: threading.Event, scope: trio.CancelScope) -> None:
        await trio.to_thread.run_sync(event.wait)
        scope.cancel()

    trio.run(scenario)
    assert provider.fetches == 1


def test_keys_outlive_a_restart_and_an_unreachable_provider(provider, tmp_path):
    oidc = provider.oidc()
    assert verify(verifier_of(provider, tmp_path), oidc)
    provider.stop()
    assert verify(verifier_of(provider, tmp_path), oidc)
    tomorrow = verifier_of(provider, tmp_path, clock=lambda: time.time() + DAY_S + 60)
    assert "expired" in refusal(tomorrow, oidc)
    assert verify(tomorrow, provider.oidc(exp=int(time.time()) + 10 * int(DAY_S)))
    last_year = verifier_of(provider, tmp_path, clock=lambda: time.time() - 10)
    assert verify(last_year, oidc)
    assert provider.fetches == 1


def test_keys_older_than_a_day_are_fetched_again(provider, tmp_path):
    clock = Clock()
    verifier = verifier_of(provider, tmp_path, monotonic=clock)
    old = provider.oidc()
    assert verify(verifier, old)
    clock.now_s += DAY_S - 1
    assert verify(verifier, old)
    assert provider.fetches == 1
    provider.rotate()
    clock.now_s += 1
    assert "does not publish" in refusal(verifier, old)
    assert provider.fetches == 2


def test_keys_from_a_file_older_than_a_day_are_fetched_again_after_a_restart(provider, tmp_path):
    assert verify(verifier_of(provider, tmp_path), provider.oidc())
    later = verifier_of(provider, tmp_path, clock=lambda: time.time() + DAY_S)
    assert verify(later, provider.oidc(exp=int(time.time()) + 3 * int(DAY_S)))
    earlier = verifier_of(provider, tmp_path, clock=lambda: time.time() - 30)
    assert verify(earlier, provider.oidc())
    assert provider.fetches == 3


def test_a_provider_that_gives_no_keys_any_more_does_not_take_away_the_old_ones(provider, tmp_path):
    clock = Clock()
    verifier = verifier_of(provider, tmp_path, monotonic=clock)
    assert verify(verifier, provider.oidc())
    provider.answer = kit.answers(b'{"keys": []}')
    clock.now_s += DAY_S
    assert verify(verifier, provider.oidc())
    assert provider.fetches == 2


def test_an_unreachable_provider_is_tried_once_a_minute(provider, tmp_path):
    clock = Clock()
    verifier = verifier_of(provider, tmp_path, monotonic=clock)
    provider.answer = kit.answers(b"busy", status=503)
    for _ in range(5):
        text = refusal(verifier, provider.oidc())
        assert "it answered with HTTP status 503; try again in a minute" in text
    assert provider.fetches == 1
    provider.answer = kit.serve_keys
    clock.now_s += 61
    assert verify(verifier, provider.oidc())
    provider.stop()
    assert "cannot be reached: Connection refused" in refusal(
        Verifier([setting(provider)], tmp_path / "other.json"), provider.oidc()
    )


def test_the_key_file_is_the_owners_and_holds_public_keys_only(provider, tmp_path):
    provider.published[0] |= {"x5c": ["certificate"], "note": "x" * 1000}
    assert verify(verifier_of(provider, tmp_path), provider.oidc())
    path = tmp_path / "keys.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [stored] = json.loads(path.read_text())["key_sets"]
    assert set(stored["keys"][0]) == {"kty", "kid", "alg", "use", "n", "e"}
    assert not path.with_name("keys.json.new").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\xff",
        b"[]",
        b'{"key_sets": 5}',
        b'{"key_sets": [{"url": ["x"]}]}',
        b"[" * 100_000,
        b'{"key_sets": [{"url": "URL", "fetched_s": "soon", "keys": [{"kty": "RSA"}]}]}',
        b'{"key_sets": [{"url": "URL", "fetched_s": 1e999, "keys": [{"kty": "RSA"}]}]}',
        b'{"key_sets": [{"url": "URL", "fetched_s": 1' + b"0" * 400 + b', "keys": [{"kty": "RSA"}]}]}',
    ],
)
def test_a_damaged_key_file_costs_a_fetch_and_no_more(provider, tmp_path, content):
    (tmp_path / "keys.json").write_bytes(content.replace(b"URL", provider.key_set_url.encode()))
    assert verify(verifier_of(provider, tmp_path), provider.oidc())
    assert provider.fetches == 1
    assert len(json.loads((tmp_path / "keys.json").read_bytes())["key_sets"]) == 1


def test_a_key_file_that_cannot_be_written_does_not_stop_a_registration(provider, tmp_path, caplog):
    verifier = Verifier([setting(provider)], tmp_path / "nowhere" / "keys.json")
    assert verify(verifier, provider.oidc())
    assert "keys cannot be kept" in caplog.text
