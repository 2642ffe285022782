"""Whatever the network does to mDNS, and whatever becomes of its library: messages go on."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.discovery.conftest import lab
from tests.discovery.lab import Lab
from tests.harm.home import BentBox, Home

__all__ = ["lab"]

pytestmark = pytest.mark.root

ATTACK_S = 1.0
SITE = "Home"
PACKETS_MIN = 1000

Announced = Callable[..., Home]


@pytest.fixture
def announced(home: Callable[..., Home], lab: Lab) -> Announced:
    """Makes a home on machine a, whose box tells its network about itself; the neighbours use loopback."""

    def make(pulled: str = "", says: str = "announced in the network") -> Home:
        inside = ["ip", "netns", "exec", lab.machine("a").namespace]
        made = home(bent=True, pulled=pulled, inside=inside, name=SITE, listen="0.0.0.0:0")
        made.says(says)
        return made

    return make


def bent(home: Home) -> BentBox:
    assert isinstance(home.box, BentBox)
    return home.box


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("junk", "more mDNS packets than a home has"),
        ("conflicts", "a name of ours is taken"),
        ("queries", "more mDNS packets than a home has"),
    ],
    ids=["junk", "conflicts", "queries"],
)
def test_a_flood_of_packets(announced: Announced, lab: Lab, kind: str, says: str) -> None:
    told = announced()
    a, b = lab.machine("a"), lab.machine("b")
    command = [sys.executable, "-m", "tests.harm.flood", kind, b.address, str(ATTACK_S), SITE, a.address]
    with told.attacked():
        assert b.start(*command).wait("packets")["packets"] > PACKETS_MIN * ATTACK_S
        told.says(says)
    told.is_whole()
    told.has_not_suffered()


def test_no_packet_gets_out(announced: Announced) -> None:
    told = announced("mdns-refused", says="serving")
    with told.attacked():
        told.warns("others cannot find this box", "a firewall may drop UDP port 5353")
    bent(told).release("mdns-refused")
    told.is_whole()
    told.says("announced in the network")
    told.has_not_suffered()


def test_an_interface_that_is_taken_away_and_comes_back(announced: Announced, lab: Lab) -> None:
    told = announced()
    a = lab.machine("a")
    with told.attacked():
        a.ip("link", "del", "eth0")
        told.warns("others cannot find this box", "check the cable or the Wi-Fi")
        lab.plug(a)
        a.address_on()
        told.is_whole()
    words = told.box.words()
    assert words.rindex("announced in the network  name=") > words.rindex("not announced in the network")
    told.has_not_suffered()


def test_a_library_that_hangs(announced: Announced) -> None:
    told = announced()
    with told.attacked():
        bent(told).pull("mdns-hangs")
        told.warns("others cannot find this box", "did not answer in")
    bent(told).release("mdns-hangs")
    told.is_whole()
    bent(told).pull("mdns-hangs")
    told.has_not_suffered()


def test_a_library_whose_thread_dies(announced: Announced) -> None:
    told = announced()
    with told.attacked():
        bent(told).pull("mdns-dies")
        told.warns("others cannot find this box", "does not run")
        told.is_whole()
    told.has_not_suffered()
