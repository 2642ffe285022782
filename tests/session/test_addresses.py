"""Where the site can be reached, as people type it: in networks of this test's own."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from appliance.session import addresses_of

SHOWN = """
import socket
from appliance.session.addresses import addresses_of
family = {family}
with socket.socket(family) as sock:
    print(*addresses_of("", [sock])())
"""
CABLE = "ip link set lo up && ip link add eth0 type veth peer name far && ip link set far up && "
UP = "ip link set eth0 up"
IPV4 = "ip address add 192.168.7.5/24 dev eth0"
LOCAL = "ip address add 169.254.7.5/16 dev eth0"
LOCAL6 = "ip address add fe80::5/64 dev eth0 nodad"
IPV6 = "ip address add fd00:7::5/64 dev eth0 nodad"
ROUTER = "ip route add default via 192.168.7.1"
BRIDGE = "ip link add br0 type bridge && ip address add 192.168.7.6/24 dev br0 && ip link set br0 up"

needs_networks = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="makes a network: run as root"
)


def shown(family: str, *setup: str) -> str:
    """What is told in a network that was set up so."""
    code = SHOWN.format(family=family)
    command = CABLE + " && ".join(setup) + ' && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", command, sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_networks
@pytest.mark.parametrize(
    ("setup", "address"),
    [
        ([IPV4, UP, ROUTER], "=192.168.7.5:0"),
        ([IPV4, UP], "=192.168.7.5:0"),
        ([LOCAL, UP], "=169.254.7.5:0"),
        ([LOCAL, UP, BRIDGE], "=192.168.7.6:0"),
        ([UP], f"={socket.gethostname()}:0"),
    ],
    ids=["a router", "no router", "a cable alone", "a better one", "none"],
)
def test_an_address_is_told_that_others_in_the_network_can_use(setup, address):
    assert shown("socket.AF_INET", *setup) == address


@needs_networks
def test_of_ipv6_none_is_told_that_needs_an_interface():
    assert shown("socket.AF_INET6", UP, LOCAL6) == f"={socket.gethostname()}:0"
    assert shown("socket.AF_INET6", UP, LOCAL6, IPV6) == "=[fd00:7::5]:0"


def test_an_address_that_was_configured_is_told_as_it_is():
    with socket.socket() as sock:
        assert addresses_of("box.example", [sock])() == ["=box.example:0"]
        assert addresses_of("fd00::1", [sock])() == ["=[fd00::1]:0"]
