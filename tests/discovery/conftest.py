"""Each test gets a network of its own."""

import os
import shutil

import pytest

pytest.register_assert_rewrite("tests.discovery.lab")

from tests.discovery.lab import Lab  # noqa: E402

NEEDS = {
    "ip": "iproute2",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "avahi-daemon": "avahi-daemon",
    "avahi-browse": "avahi-utils",
    "dbus-daemon": "dbus-daemon",
}


@pytest.fixture
def lab():
    """Machines "a", "b" and "c" of one network, made when asked for."""
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces: run as root")
    missing = {package for command, package in NEEDS.items() if shutil.which(command) is None}
    assert not missing, f"apt-get install {' '.join(sorted(missing))}"
    with Lab() as lab:
        yield lab
