"""Telling systemd: the right datagram to the right socket, and nothing that could stop the box."""

import os
import socket
import time

import pytest

from appliance.notify import sd_notify, watchdog_interval_s


@pytest.fixture
def systemd(monkeypatch):
    """A socket like systemd's; NOTIFY_SOCKET is set to it, as a path or as an abstract name."""
    receivers = []

    def listen(address):
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receivers.append(receiver)
        receiver.bind(address.replace("@", "\0", 1))
        receiver.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        return receiver

    yield listen
    for receiver in receivers:
        receiver.close()


def test_state_reaches_a_socket_with_a_path(systemd, tmp_path):
    receiver = systemd(str(tmp_path / "notify"))
    assert sd_notify("READY=1\nSTATUS=serving")
    assert receiver.recv(100) == b"READY=1\nSTATUS=serving"


def test_state_reaches_an_abstract_socket(systemd):
    receiver = systemd(f"@pocket-test-{os.getpid()}")
    assert sd_notify("WATCHDOG=1")
    assert receiver.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_systemd_nothing_happens(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not sd_notify("READY=1")


def test_a_busy_systemd_does_not_hold_the_box_up(systemd, tmp_path):
    systemd(str(tmp_path / "notify"))
    began = time.monotonic()
    sent = [sd_notify("WATCHDOG=1") for _ in range(1000) if time.monotonic() - began < 5]
    assert len(sent) == 1000
    assert not all(sent)


@pytest.mark.parametrize(
    ("limit_us", "pid", "interval_s"),
    [
        ("60000000", "own", 30.0),
        ("60000000", None, 30.0),
        ("60000000", "1", None),
        ("0", "own", None),
        ("soon", "own", None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_fed_twice_per_limit_and_only_by_the_process_it_watches(
    monkeypatch, limit_us, pid, interval_s
):
    for name, value in (
        ("WATCHDOG_USEC", limit_us),
        ("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid),
    ):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert watchdog_interval_s() == interval_s
