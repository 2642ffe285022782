"""The unit is clean, hardened, and fits the settings; its user and folders are made as it expects.

systemd's own tools judge. They come with the Debian package systemd; without them these tests fail, not skip.
"""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from appliance.config import Config, load, sample
from appliance.stop import OFF_STATUS

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "pocket.service"
SYSTEM_UNITS = Path("/usr/lib/systemd/system")
EXPOSURE_MAX = 2.0

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files that belong to others: run as root")


def tool(name, *words):
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"{name} is missing: apt-get install systemd")
    return subprocess.run([path, *map(str, words)], capture_output=True, text=True, check=False)


def settings(text):
    """(name, value) of each setting of a unit, in order."""
    return [
        (line.partition("=")[0], line.partition("=")[2])
        for line in text.splitlines()
        if re.match(r"\w+=", line)
    ]


UNIT_SETTINGS = settings(UNIT.read_text())


def values(name):
    return [value for found, value in UNIT_SETTINGS if found == name]


@pytest.fixture
def root(tmp_path):
    """A system with the unit, its snippets and its command in the places where they are installed."""
    places = {
        UNIT: "etc/systemd/system/pocket.service",
        SYSTEMD / "sysusers.d" / "pocket.conf": "usr/lib/sysusers.d/pocket.conf",
        SYSTEMD / "tmpfiles.d" / "pocket.conf": "usr/lib/tmpfiles.d/pocket.conf",
    }
    for source, place in places.items():
        target = tmp_path / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    command = tmp_path / values("ExecStart")[0].split()[0].lstrip("/")
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    shutil.copytree(SYSTEM_UNITS, tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    return tmp_path


def verify(root):
    return tool("systemd-analyze", "verify", "--man=no", f"--root={root}", "pocket.service")


def test_the_unit_is_clean(root):
    checked = verify(root)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("WatchdogSec=60", "WatchdogSecs=60"),
        ("Restart=always", "Restart=allways"),
        ("bin/pocket serve", "bin/x serve"),
    ],
)
def test_a_mistake_in_the_unit_would_be_seen(root, right, wrong):
    unit = root / "etc/systemd/system/pocket.service"
    assert right in unit.read_text()
    unit.write_text(unit.read_text().replace(right, wrong))
    checked = verify(root)
    assert checked.returncode or checked.stderr


def exposure(unit):
    judged = tool("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for pocket.service: ([\d.]+)", judged.stdout)
    assert found is not None, judged.stderr
    return float(found[1])


def test_the_unit_is_hardened():
    assert exposure(UNIT) <= EXPOSURE_MAX


def test_a_softer_unit_would_be_seen(tmp_path):
    soft = tmp_path / "pocket.service"
    soft.write_text(
        re.sub(r"^(SystemCall|Capability|Protect|Private).*$", "", UNIT.read_text(), flags=re.MULTILINE)
    )
    assert exposure(soft) > EXPOSURE_MAX


def test_only_the_data_folder_lights_and_sticks_are_writable():
    assert values("ProtectSystem") == ["strict"]
    assert values("ProtectHome") == ["yes"]
    assert (values("StateDirectory"), values("RuntimeDirectory")) == (["pocket"], ["pocket"])
    sticks = " ".join(f"-{folder}" for folder in Config().backup.search)
    assert values("ReadWritePaths") == ["-/sys/devices/platform", sticks]
    assert values("ConfigurationDirectory") == []
    assert "--data /var/lib/pocket" in values("ExecStart")[0]


def test_the_box_is_told_to_be_watched_and_is_never_given_up():
    assert (values("Type"), values("NotifyAccess")) == (["notify"], ["main"])
    assert (values("Restart"), values("StartLimitIntervalSec")) == (["always"], ["0"])
    assert int(values("WatchdogSec")[0]) > 0
    assert int(values("TimeoutStopSec")[0]) > 5


def test_the_ports_of_the_settings_may_be_bound_and_no_others():
    metrics = re.search(r'"(127\.0\.0\.1:\d+)"', sample())
    assert metrics is not None
    configured = load(None, {"metrics.listen": metrics[1]}).metrics.listen
    assert configured is not None
    assert values("SocketBindDeny") == ["any"]
    mdns = "udp:5353"
    assert values("SocketBindAllow") == [f"tcp:{Config().listen.port}", f"tcp:{configured.port}", mdns]


def test_the_box_may_use_pins_lights_and_serial_ports_and_no_other_device():
    assert values("DevicePolicy") == ["closed"]
    kinds = {value.removeprefix("char-").removesuffix(" rw") for value in values("DeviceAllow")}
    usb, acm = "188", "166"  # of ttyUSB and ttyACM (the kernel's admin-guide/devices.txt): never their names,
    # which the system knows only once such a port was there: one that is plugged in later would be refused
    assert kinds == {"gpiochip", "ttyAMA", "ttyS", usb, acm, "ttyGS"}
    (groups,) = values("SupplementaryGroups")
    made = (SYSTEMD / "sysusers.d" / "pocket.conf").read_text().splitlines()
    assert [f"g {group} -" for group in groups.split()] == [line for line in made if line.startswith("g ")]
    rules = (SYSTEMD / "udev" / "60-pocket.rules").read_text()
    assert set(re.findall(r'GROUP="(\w+)"|chgrp (\w+)', rules)) == {("gpio", ""), ("", "gpio")}


def test_a_box_that_was_switched_off_with_the_button_stays_off():
    assert values("SuccessExitStatus") == values("RestartPreventExitStatus") == [str(OFF_STATUS)]


def test_after_the_end_the_lights_are_told_how_it_was():
    (command,) = values("ExecStopPost")
    program, *arguments = command.removeprefix("-").split()
    assert program == values("ExecStart")[0].split()[0]
    assert arguments[:2] == ["panel", "ended"]
    assert arguments[2:] == values("ExecStart")[0].split()[2:]


@needs_root
def test_the_user_of_the_unit_is_made(root):
    made = tool("systemd-sysusers", f"--root={root}")
    assert made.returncode == 0, made.stderr
    name, _, uid, _, _, home, shell = (root / "etc/passwd").read_text().splitlines()[-1].split(":")
    assert [name] == values("User") == values("Group")
    assert 0 < int(uid) < 1000
    assert (home, shell) == ("/var/lib/pocket", "/usr/sbin/nologin")


@needs_root
def test_the_folders_are_made_for_their_owner_only_and_a_configuration_is_never_overwritten(root):
    config = root / "etc/pocket/pocket.toml"
    assert tool("systemd-sysusers", f"--root={root}").returncode == 0
    made = tool("systemd-tmpfiles", f"--root={root}", "--create", "pocket.conf")
    assert made.returncode == 0, made.stderr
    data = (root / "var/lib/pocket").stat()
    assert stat.S_IMODE(data.st_mode) == 0o700
    assert data.st_uid == int((root / "etc/passwd").read_text().split(":")[2])
    assert load(config) == Config()
    assert config.read_text().endswith("pocket config show\n")
    config.write_text('name = "Home"\n')
    assert tool("systemd-tmpfiles", f"--root={root}", "--create", "pocket.conf").returncode == 0
    assert load(config).name == "Home"
