"""Each thing that can be wrong with a box is found, and told with what to do."""

import datetime
import json
import os
import socket
import subprocess
from datetime import UTC
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.cli import main
from appliance.config import load
from appliance.doctor import Finding, clock, data, examine, reach
from appliance.doctor.memberships import check_memberships
from appliance.session.certificate import ensure_certificate
from tests.kit import Box
from tests.kit.box import COMMAND

NOW = datetime.datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    """The data folder of a box that was started once."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    ensure_certificate(path / "tls", "Home")
    (path / "box.key").write_bytes(bytes(32))
    (path / "box.key").chmod(0o600)
    return path


def of(folder, **more):
    return load(None, {"data": folder, "listen": "127.0.0.1:0", **more})


def told(findings):
    """What is wrong, with what to do; every problem has something to do, and nothing else has."""
    found = list(findings)
    assert found
    assert all(bool(finding.do) != finding.ok for finding in found)
    return [f"{finding.topic}: {finding.what} -> {finding.do}" for finding in found if not finding.ok]


def test_a_sound_folder_is_found_sound_and_left_as_it_was(folder):
    before = sorted(folder.rglob("*"))
    assert told(data.check_folder(of(folder))) == []
    assert told(data.check_room(of(folder, **{"disk.reserve_octets": 0}))) == []
    assert told(reach.check_certificate(of(folder), NOW)) == []
    assert told(reach.check_port(of(folder), None)) == []
    assert sorted(folder.rglob("*")) == before


def test_a_folder_that_the_first_start_makes_is_no_problem(tmp_path):
    assert told(data.check_folder(of(tmp_path / "new"))) == []
    assert told(data.check_room(of(tmp_path / "a" / "b", **{"disk.reserve_octets": 0}))) == []
    assert told(reach.check_certificate(of(tmp_path / "new"), NOW)) == []
    assert list(tmp_path.iterdir()) == []


def test_permissions_that_let_others_read(folder):
    folder.chmod(0o755)
    (folder / "box.key").chmod(0o644)
    problems = told(data.check_folder(of(folder)))
    assert problems == [
        f"permissions: {folder} is open to others -> chmod 700 {folder}",
        f"permissions: {folder}/box.key is open to others -> chmod 600 {folder}/box.key",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files that belong to others: run as root")
def test_files_of_another_user(folder):
    os.chown(folder / "box.key", 1, 1)
    (problem,) = told(data.check_folder(of(folder)))
    assert f"chown -R root {folder}" in problem


def test_a_folder_that_is_none(tmp_path):
    (tmp_path / "file").touch()
    assert told(data.check_folder(of(tmp_path / "file")))[0].startswith(f"data: {tmp_path}/file is no folder")


def test_a_disk_on_which_nothing_can_be_written(folder, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (problem,) = told(data.check_folder(of(folder)))
    assert f"nothing can be written to {folder}: No space left on device" in problem
    assert not (folder / data.TRIAL).exists()


def test_a_slow_card(folder, monkeypatch):
    monkeypatch.setattr(data, "SYNC_SLOW_S", 0.0)
    (problem,) = told(data.check_folder(of(folder)))
    assert "until a small file was safe" in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts: run as root")
def test_a_read_only_disk(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", tmp_path], check=True)
    try:
        (problem,) = told(data.check_folder(of(tmp_path)))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert f"the disk of {tmp_path} is read-only" in problem


def test_a_reset_that_was_begun(folder):
    (folder / "factory-reset").touch()
    assert "a reset to factory state was begun -> start the box" in told(data.check_folder(of(folder)))[0]


def test_a_disk_below_the_reserve(folder, monkeypatch):
    real = os.statvfs(folder)

    class Full:
        f_bavail, f_blocks, f_frsize, f_files, f_favail = 10, real.f_blocks, real.f_frsize, 100_000, 50_000

    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    assert "new messages are refused -> make room" in told(data.check_room(of(folder)))[0]
    Full.f_bavail, Full.f_favail = real.f_blocks, 3
    assert "only 3 more files can be made" in told(data.check_room(of(folder)))[0]


def test_an_old_sqlite(monkeypatch):
    assert told(data.check_versions()) == []
    monkeypatch.setattr(data, "SQLITE_MIN", (99, 0, 0))
    assert "install SQLite 99.0.0 or newer" in told(data.check_versions())[0]


def test_a_certificate_without_its_key_or_with_another(folder):
    (folder / "tls" / "key.pem").unlink()
    assert "cannot be used" in told(reach.check_certificate(of(folder), NOW))[0]
    other, _ = ensure_certificate(folder / "other", "Home")
    (folder / "tls" / "key.pem").write_bytes((other.parent / "key.pem").read_bytes())
    assert "cannot be used" in told(reach.check_certificate(of(folder), NOW))[0]
    (folder / "tls" / "cert.pem").write_text("nonsense")
    assert told(reach.check_certificate(of(folder), NOW))


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [
        (-60, -1, "has been out of date since 2026-06-30"),
        (-60, 20, "ends on 2026-07-21 -> renew it"),
        (1, 90, "is in force from 2026-07-02 on -> see whether the clock is right"),
        (-60, 90, None),
    ],
)
def test_the_days_of_a_certificate(tmp_path, folder, begins, ends, said):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW + datetime.timedelta(begins))
    cert = builder.not_valid_after(NOW + datetime.timedelta(ends)).sign(key, hashes.SHA256())
    (tmp_path / "c.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "k.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    config = of(folder, **{"tls.cert": str(tmp_path / "c.pem"), "tls.key": str(tmp_path / "k.pem")})
    problems = told(reach.check_certificate(config, NOW))
    assert (said is None) == (problems == [])
    assert said is None or said in problems[0]


def test_a_port_that_another_program_has(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (problem,) = told(reach.check_port(of(folder, listen=f"127.0.0.1:{port}"), None))
    assert "is used by another program -> ss -ltnp" in problem
    assert "no address of this machine" in told(reach.check_port(of(folder, listen="192.0.2.1:0"), None))[0]


def test_a_box_that_does_not_answer(folder):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        status = {"address": f"=127.0.0.1:{port}", "fingerprint": "SHA256:00"}
        assert "does not answer" in told(reach.check_port(of(folder), status))[0]


ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
DEFAULT = "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
LOCAL = "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        (DEFAULT + LOCAL, None),
        (LOCAL, "no default route"),
        ("", "this machine is in no network"),
    ],
)
def test_networks(tmp_path, folder, monkeypatch, routes, said):
    (tmp_path / "route").write_text(ROUTES + routes)
    monkeypatch.setattr(reach, "ROUTES", tmp_path)
    problems = told(reach.check_network(of(folder, listen="0.0.0.0:0")))
    assert problems == [] if said is None else said in problems[0]
    assert told(reach.check_network(of(folder))) == []


def test_clocks(monkeypatch):
    def says(words):
        monkeypatch.setattr(clock, "answer", lambda program, *_: words.get(program, ""))

    says({})
    assert "which cannot be" in told(clock.check_clock(datetime.datetime(1970, 1, 1, tzinfo=UTC)))[0]
    assert told(clock.check_clock(NOW)) == []
    says({"timedatectl": "no\n"})
    assert "timedatectl set-ntp true" in told(clock.check_clock(NOW))[0]
    says({"timedatectl": "no\n", "chronyc": "Stratum : 3\nLeap status     : Normal\n"})
    assert told(clock.check_clock(NOW)) == []
    says({"chronyc": "Leap status     : Not synchronised\n"})
    assert "not synchronised" in told(clock.check_clock(NOW))[0]
    says({"timedatectl": "yes\n"})
    assert told(clock.check_clock(NOW)) == []


def test_a_look_that_fails_is_a_finding_and_the_others_go_on(folder, monkeypatch):
    def break_down():
        raise RuntimeError("a defect")

    monkeypatch.setattr("appliance.doctor.everything.check_clock", break_down)
    found = list(examine(of(folder)))
    assert any("a defect" in finding.what for finding in found)
    assert [finding.topic for finding in found].index("clock") < [f.topic for f in found].index("panel")


def doctor(*words):
    return subprocess.run([*COMMAND, "doctor", *words], capture_output=True, text=True, check=False)


@pytest.mark.e2e
def test_the_doctor_of_a_running_box_and_of_a_stopped_one():
    with Box(name="Home") as box:
        where = ("--data", str(box.data), "--listen", "127.0.0.1:0", "--set", "disk.reserve_octets=0")
        found = json.loads(doctor(*where, "--json").stdout)
        assert {"topic": "box", "ok": True, "what": "Home is serving", "do": ""} in found
        host, port = box.address
        assert f"the box answers at ={host}:{port}" in [finding["what"] for finding in found]
        # Whether the machine that runs the tests knows the time is its own affair.
        assert [finding for finding in found if not finding["ok"] and finding["topic"] != "clock"] == []
        box.terminate()
        assert f"none is running on {box.data}" in doctor(*where).stdout
        Path(box.data).chmod(0o755)
        told = doctor(*where)
        assert told.returncode == 1
        assert f"PROBLEM  permissions  {box.data} is open to others" in told.stdout
        assert f"-> chmod 700 {box.data}" in told.stdout


def test_the_exit_code_says_whether_anything_is_wrong(monkeypatch):
    found = [Finding("clock", True, "right")]
    monkeypatch.setattr("appliance.doctor.examine", lambda config: iter(found))
    assert CliRunner().invoke(main, ["doctor"]).output.endswith("nothing is wrong\n")
    found.append(Finding("disk", False, "full", "make room"))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert result.output.endswith("-> make room\n1 of 2 need a hand\n")


MEMBERSHIP = {"membership": 12, "name": "Club", "member": "UID1", "member_alias": "Ann Smith",
              "address": "=club.example:4433", "state": "online", "since_s": 9000.0, "halted": None,
              "offered": None, "trouble": None, "metered_s": None, "outbox": 0,
              "outbox_oldest_s": 0}  # fmt: skip
OFFLINE = {"state": "offline", "trouble": "nobody answers"}


@pytest.mark.parametrize(
    ("changes", "what", "do"),
    [
        ({}, None, None),
        (OFFLINE | {"since_s": 599.0}, None, None),
        ({"state": "resting", "metered_s": 86400, "outbox": 2, "outbox_oldest_s": 80_000}, None, None),
        (
            OFFLINE | {"since_s": 172_800.0},
            "offline for 2 days: nobody answers",
            "see whether the Internet and =club.example:4433 are there; the box tries by itself",
        ),
        ({"state": "halted", "halted": "login failed"}, "login failed", "then: pocket membership resume 12"),
        (
            {"state": "halted", "halted": "changed", "offered": "SHA256:cd"},
            "another certificate than it had, SHA256:cd",
            "ask that site's people whether it is theirs, then: pocket membership repin 12",
        ),
        (
            {"outbox": 2, "outbox_oldest_s": 7300},
            "2 requests wait to be sent, for 2 hours",
            "pocket membership resume 12; pocket log --level warning may say why",
        ),
    ],
)
def test_memberships_that_need_a_person(changes, what, do):
    wrong = [f"membership: Ann Smith/Club: {what} -> {do}"] if what else []
    assert told(check_memberships([MEMBERSHIP | changes])) == wrong
