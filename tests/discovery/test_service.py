"""Whatever the library does, discovery ends when it is told to and harms nobody."""

import threading
import time
from ipaddress import ip_address
from typing import Any

import pytest
import trio

from appliance.discovery import DiscoverySettings, SiteName, run_discovery, service
from appliance.discovery.ear import Verdict
from appliance.discovery.netlink import MULTICAST, RUNNING, UP, Address, Link, Network
from appliance.discovery.responder import NoMulticast
from appliance.health import Health

ETH0 = Network(
    (Link(2, "eth0", UP | RUNNING | MULTICAST),),
    (Address(2, ip_address("192.0.2.7"), 0),),
)
STOP_S = 0.5


class Library:
    """A responder for whom nobody else is there. `failing` maps a word to what it does instead."""

    failing: dict[str, object]
    calls: list[str]
    latest: "Library"
    echo_heard: bool

    def __init__(self, sockets, wake, desk=None):
        self.ear = self
        self.echo = self.alarm = False
        type(self).latest = self
        self._do("open")

    def __getattr__(self, word):
        return lambda *args, **named: self._do(word)

    def publish(self, card, pairing):
        self._do("publish")
        self.echo = "mute" not in self.failing
        type(self).echo_heard |= self.echo

    def verdict(self):
        self._do("verdict")
        return Verdict()

    def _do(self, word):
        self.calls.append(word)
        failing = self.failing.get(word)
        if isinstance(failing, threading.Event):
            failing.wait(30)
        elif isinstance(failing, Exception):
            raise failing


@pytest.fixture
def library(monkeypatch):
    """What the library does, and what was asked of it."""

    class Fresh(Library):
        """Its own, since a thread of the test before may still be about."""

        failing, calls, echo_heard = {}, [], False

    monkeypatch.setattr(service, "Responder", Fresh)
    monkeypatch.setattr(service, "read_network", lambda: ETH0)
    monkeypatch.setattr(service, "ASK_GAP_S", 0.02)
    monkeypatch.setattr(service, "DISPUTE_S", 0.2)
    monkeypatch.setattr(service, "RETRY_S", 0.1)
    monkeypatch.setattr(service, "RETRY_MAX_S", 0.2)
    monkeypatch.setattr(service, "OPEN_S", 0.3)
    monkeypatch.setattr(service, "ECHO_S", 0.1)
    yield Fresh
    for failing in Fresh.failing.values():
        if isinstance(failing, threading.Event):
            failing.set()


class Told(Health):
    """Health that remembers."""

    def __init__(self):
        super().__init__()
        self.told: list[str] = []

    def warn(self, topic, reason):
        super().warn(topic, reason)
        if reason:
            self.told.append(reason)


def run(story, name=None, **settings):
    """Run discovery beside a story; how long the stop took, in seconds."""
    given: dict[str, Any] = {
        "site": "Home",
        "box_id": "k7d2m9qa",
        "version": "1",
        "port": 1,
        "warn_after_s": 0.0,
    } | settings
    health = Told()
    health.serving()

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(run_discovery, DiscoverySettings(**given), health, name)
            with trio.fail_after(10):
                await story(health)
            nursery.cancel_scope.cancel()
            began = time.monotonic()
        return time.monotonic() - began

    return trio.run(main)


async def until(condition):
    while not condition():  # noqa: ASYNC110 - what is waited for is somebody else's
        await trio.sleep(0.01)


@pytest.mark.parametrize("word", ["open", "watch", "ask", "verdict", "publish"])
def test_a_library_that_fails_is_a_warning_and_is_tried_again(library, word):
    async def story(health):
        library.failing[word] = ZeroDivisionError("odd")
        await until(lambda: health.state == "warning")
        assert "tried again" in health.reasons[0]
        library.failing.clear()
        await until(lambda: health.state == "serving")

    assert run(story) < STOP_S


def test_a_library_that_fails_at_the_end_is_no_error(library):
    async def story(health):
        await until(lambda: "publish" in library.calls)
        library.failing["close"] = ZeroDivisionError("odd")

    assert run(story) < STOP_S
    assert library.calls[-1] == "close"


@pytest.mark.parametrize("word", ["open", "ask", "publish", "pairing", "close"])
def test_a_library_that_hangs_does_not_hold_up_a_stop(library, word):
    async def story(health):
        library.failing[word] = threading.Event()
        if word in ("pairing", "close"):
            await until(lambda: library.echo_heard)
            health.pair_for(60)
        if word != "close":
            await until(lambda: word in library.calls)

    assert run(story) < STOP_S


def test_a_library_that_hangs_when_it_starts_takes_no_more_than_our_threads(library):
    library.failing["open"] = threading.Event()

    async def story(health):
        await until(lambda: health.state == "warning")
        await until(lambda: len(library.calls) == service.THREADS)
        await trio.sleep(1)
        assert library.calls == ["open"] * service.THREADS
        assert len(health.told) == 1

    assert run(story) < STOP_S


def test_what_is_not_heard_back_is_a_warning(library):
    async def story(health):
        library.failing["mute"] = None
        await until(lambda: health.state == "warning")
        assert "firewall" in health.reasons[0]
        library.failing.clear()
        await until(lambda: health.state == "serving")

    run(story)


def test_a_kernel_that_does_not_answer_is_a_warning(library, monkeypatch):
    def refused():
        raise PermissionError("not allowed")

    monkeypatch.setattr(service, "read_network", refused)

    async def story(health):
        await until(lambda: health.state == "warning")
        assert "AF_NETLINK" in health.reasons[0]
        monkeypatch.setattr(service, "read_network", lambda: ETH0)
        await until(lambda: health.state == "serving")

    run(story)


def test_a_network_that_comes_late_is_no_warning(library):
    library.failing["open"] = NoMulticast("none")

    async def story(health):
        await until(lambda: library.calls.count("open") == 3)
        library.failing.clear()
        await until(lambda: library.echo_heard)
        assert health.told == []

    run(story, warn_after_s=60)


def test_names_that_are_ours_are_announced_again_and_not_more_often_than_it_takes(library):
    async def story(health):
        await until(lambda: library.echo_heard)
        began = time.monotonic()
        for count in (1, 2, 3):
            library.latest.alarm = True
            await until(lambda count=count: library.calls.count("announce") == count)
            assert time.monotonic() - began > service.DISPUTE_S * (2 ** (count - 1) - 1)

    run(story)


@pytest.mark.parametrize("settings", [{"enabled": False}, {"listen": ("127.0.0.1", "::1")}])
def test_who_is_not_to_be_found_is_not_announced(library, settings):
    async def story(health):
        await trio.sleep(0.2)
        assert library.calls == []
        assert health.reasons == []

    run(story, **settings)


def test_a_box_that_never_had_a_peer_holds_the_name_as_its_own_until_it_stops(library):
    name = SiteName()

    async def story(health):
        await until(lambda: name.held)
        assert (name.name, name.holder) == ("home.local", "k7d2m9qa")

    run(story, name)
    assert (name.held, name.holder) == (False, None)
