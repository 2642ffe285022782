"""Where the site's other boxes are, told to whoever wants to talk to them."""

import threading
from typing import Any

import pytest
import trio
from zeroconf import ServiceInfo, ServiceStateChange

from appliance.discovery import peers as module
from appliance.discovery.names import SERVICE
from appliance.discovery.peers import AGAIN_S, PEERS_MAX, Peers

ADDED, REMOVED = ServiceStateChange.Added, ServiceStateChange.Removed


class Case:
    """What is announced is in the library's cache."""

    def __init__(self, monkeypatch):
        self.calls: list[tuple[str, list[str], int]] = []
        self.announced: dict[str, ServiceInfo] = {}
        self.peers = Peers("s1tes1te", "aaaaaaaa", self.found)
        monkeypatch.setattr(module, "ServiceInfo", self.info)

    def found(self, box, addresses, port):
        self.calls.append((box, addresses, port))
        raise ZeroDivisionError("whoever is told does no harm")

    def info(self, kind, name):
        info = self.announced[name]
        monkey: Any = info
        return _Cached(monkey)

    def announce(self, box="bbbbbbbb", site="s1tes1te", address="10.0.0.2", port=4433, change=ADDED):
        name = f"{box}.{SERVICE}"
        self.announced[name] = ServiceInfo(
            SERVICE,
            name,
            port=port,
            properties={"id": box, "site": site},
            server="h.local.",
            parsed_addresses=[address] if address else [],
        )
        library: Any = None
        self.peers.changed(library, SERVICE, name, change)
        return self

    def told(self):
        async def main():
            with trio.move_on_after(0.15):
                await self.peers.deliver()

        trio.run(main)
        calls, self.calls = self.calls, []
        return calls


class _Cached:
    def __init__(self, info):
        self._info = info

    def load_from_cache(self, library):
        return True

    def __getattr__(self, name):
        return getattr(self._info, name)


@pytest.fixture
def case(monkeypatch):
    return Case(monkeypatch)


def test_a_peer_is_told_once_and_again_when_its_place_changes(case):
    assert case.announce().announce().told() == [("bbbbbbbb", ["10.0.0.2"], 4433)]
    assert case.announce().told() == []
    case.announce(address="10.0.0.3").announce(address="10.0.0.4", port=1)
    assert case.told() == [("bbbbbbbb", ["10.0.0.4"], 1)]


@pytest.mark.parametrize(
    "other",
    [
        {"box": "aaaaaaaa"},
        {"site": "0thers1t"},
        {"site": ""},
        {"box": "TOOLOUD!"},
        {"address": ""},
        {"port": 0},
        {"change": REMOVED},
    ],
)
def test_who_is_no_peer_is_not_told(case, other):
    assert case.announce(**other).told() == []


def test_a_peer_that_speaks_after_a_silence_is_told_again_and_not_twice_in_a_second(case):
    case.announce()
    case.told()
    case.peers.heard("bbbbbbbb")
    assert case.told() == []
    case.peers._told_at["bbbbbbbb"] -= AGAIN_S
    case.peers.heard("bbbbbbbb")
    case.peers.heard("cccccccc")
    assert case.told() == [("bbbbbbbb", ["10.0.0.2"], 4433)]


def test_who_makes_up_peers_is_bounded_and_the_latest_are_told(case):
    for number in range(PEERS_MAX + 10):
        case.announce(box=f"{number:08}")
        case.peers._names.clear()
    told = case.told()
    assert len(told) == PEERS_MAX
    assert told[-1][0] == f"{PEERS_MAX + 9:08}"
    assert len(case.peers._places) == len(case.peers._told_at) == PEERS_MAX


def test_what_is_announced_while_it_is_told_is_not_lost(case):
    def announce():
        for number in range(500):
            case.announce(port=number + 1)

    thread = threading.Thread(target=announce)
    thread.start()
    told = case.told()
    thread.join()
    told += case.told()
    assert told[-1] == ("bbbbbbbb", ["10.0.0.2"], 500)
