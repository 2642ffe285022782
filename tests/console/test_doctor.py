"""What the console says is wrong with ports and Wi-Fi."""

import os
import stat
from pathlib import Path

import pytest
import trio

from appliance.console import ConsoleSettings, check_console, doctor


@pytest.fixture
def port(tmp_path, monkeypatch):
    """A pty, by a name of its own; no kernel's console and no login on it."""
    master, slave = os.openpty()
    path = tmp_path / "ttyAMA0"
    path.symlink_to(os.ttyname(slave))
    (tmp_path / "proc").mkdir()
    (tmp_path / "active").write_text("tty0 ttyS7\n")
    monkeypatch.setattr(doctor, "PROCESSES", tmp_path / "proc")
    monkeypatch.setattr(doctor, "KERNELS_CONSOLES", tmp_path / "active")
    yield path
    os.close(slave)
    os.close(master)


def findings(*ports, wifi="off"):
    settings = ConsoleSettings(data=Path(), ports=tuple(map(str, ports)), wifi=wifi)
    return [(f.ok, f.what, f.do) for f in trio.run(check_console, settings)]


def test_all_is_well(port, nmcli):
    assert findings(port, wifi="auto") == [
        (True, f"serial port {port}", ""),
        (True, "Wi-Fi can be set up over a serial port", ""),
    ]


def test_no_port_is_no_console():
    assert findings() == [(True, "the serial console is off: console.ports names no port", "")]


def test_what_is_not_there_may_come(tmp_path):
    ((ok, what, _),) = findings(tmp_path / "ttyUSB*")
    assert ok and "nothing is connected there now" in what


def test_a_file_is_no_port(tmp_path):
    (tmp_path / "ttyUSB0").write_text("")
    assert findings(tmp_path / "ttyUSB*")[0][0] is False


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_port_that_may_not_be_opened(port):
    real = os.path.realpath(port)
    mode = os.stat(real).st_mode
    os.chmod(real, 0)
    try:
        ((ok, _, do),) = findings(port)
    finally:
        os.chmod(real, stat.S_IMODE(mode))
    assert not ok and "dialout" in do


def test_the_kernels_own_console(port, tmp_path):
    name = os.path.basename(os.path.realpath(port))
    (tmp_path / "active").write_text(f"tty0 {name}\n")
    ((ok, _, do),) = findings(port)
    assert not ok and f"console={name}" in do


def test_the_systems_own_login(port, tmp_path):
    name = os.path.basename(os.path.realpath(port))
    (tmp_path / "proc" / "77").mkdir()
    (tmp_path / "proc" / "77" / "cmdline").write_bytes(f"/sbin/agetty\x00-L\x00{name}\x00vt220\x00".encode())
    ((ok, _, do),) = findings(port)
    assert not ok and do == f"systemctl disable --now serial-getty@{name}"


def test_no_wifi_is_told_with_what_to_do(port, nmcli):
    nmcli.set(running=False)
    assert findings(port, wifi="auto")[1] == (
        False,
        "no Wi-Fi to set up over a serial port: NetworkManager is not running",
        "start it with   systemctl start NetworkManager",
    )
