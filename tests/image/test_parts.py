"""The lock of Python packages, the mirror, the state for U-Boot."""

import importlib.util
import re
import zlib

import pytest

from image import mirror, wheels
from image.board import HERE
from image.errors import ImageError


def entry(name, version, digest, url="https://host/x.whl"):
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": url, "archive_info": {"hashes": {"sha256": digest}}},
    }


def test_a_lock_has_one_version_and_every_architectures_hash():
    reports = {
        "amd64": [entry("Trio", "1", "aa"), entry("c", "2", "bb")],
        "arm64": [entry("trio", "1", "aa"), entry("c", "2", "cc")],
    }
    assert "\n".join(wheels.lock_lines(reports)) == (
        "c==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\ntrio==1 \\\n    --hash=sha256:aa"
    )


def test_architectures_that_differ_and_files_of_this_machine_are_refused():
    with pytest.raises(ImageError, match=r"no one version .* of c"):
        wheels.lock_lines({"amd64": [entry("c", "2", "bb")], "arm64": [entry("c", "3", "cc")]})
    with pytest.raises(ImageError, match="nobody else has"):
        wheels.lock_lines({"amd64": [entry("c", "2", "bb", "file:///opt/c.whl")]})


def test_everything_locked_has_a_hash_and_the_project_is_in_it():
    lines = [line for line in wheels.LOCK.read_text().splitlines() if line and line[0] != "#"]
    names = {line.split("==")[0] for line in lines if line[0] != " "}
    assert {"trio", "msgspec", "cryptography", "zeroconf", "gpiozero"} <= names
    text = wheels.LOCK.read_text() + wheels.SOURCE_LOCK.read_text()
    assert all(
        re.search(rf"^{re.escape(name)}==\S+ \\\n    --hash=sha256:[0-9a-f]{{64}}", text, re.M)
        for name in names
    )
    assert "lgpio==0.2.2.0 " in text


def test_the_mirror_is_the_one_given_or_that_of_apt(monkeypatch):
    monkeypatch.setenv("MIRROR", "http://mirror.example/debian")
    monkeypatch.delenv("SECURITY_MIRROR", raising=False)
    assert mirror.mirrors() == ("http://mirror.example/debian", "")
    monkeypatch.delenv("MIRROR")
    monkeypatch.setattr(mirror, "of_apt", lambda label: f"http://apt.example/{label}")
    assert mirror.mirrors() == ("http://apt.example/Debian", "http://apt.example/Debian-Security")
    monkeypatch.setattr(mirror, "of_apt", lambda label: "")
    with pytest.raises(ImageError, match="make image MIRROR="):
        mirror.mirrors()


def test_the_state_for_u_boot_is_two_blocks_with_their_sums():
    spec = importlib.util.spec_from_file_location("u_boot_state", HERE / "lib/u_boot_state.py")
    assert spec is not None and spec.loader is not None
    state = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(state)
    block = state.block({"pocket_version": "1.2", "pocket_left": "0"})
    assert len(block) == 4096
    assert zlib.crc32(block[4:]) == int.from_bytes(block[:4], "little")
    assert block[4:].rstrip(b"\0") == b"pocket_left=0\0pocket_version=1.2"
