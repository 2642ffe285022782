"""The data partition that cannot be used: what is wrong is told, and the remedies do what they say. The
partition is a file here; e2fsck and mke2fs are the real ones."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from appliance.rescue import Partition, RescueError

OCTETS = 160 << 20
"""Large enough for a copy of the superblock."""
MEMORY = "tmpfs /data tmpfs rw,nosuid 0 0\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data partition with a box's data."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tree/pocket").mkdir(parents=True)
    (folder / "tree/pocket/pocket.db").write_bytes(b"accounts and messages")
    device = folder / "device"
    with device.open("wb") as file:
        file.truncate(OCTETS)
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-J", "size=4"]
    subprocess.run([*words, "-d", str(folder / "tree"), str(device)], check=True)
    return device


@pytest.fixture
def partition(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Partition:
    monkeypatch.setenv("PATH", f"/usr/sbin:/sbin:{os.environ['PATH']}")
    (tmp_path / "disk/pocket").mkdir(parents=True)
    subprocess.run(["cp", "--sparse=always", str(made), str(tmp_path / "disk/pocket/data")], check=True)
    (tmp_path / "mounts").write_text(MEMORY)
    return Partition(names=tmp_path / "disk", mounts=tmp_path / "mounts")


def damage(partition: Partition, offset: int, octets: bytes) -> None:
    assert partition.device is not None
    with partition.device.open("r+b") as file:
        file.seek(offset)
        file.write(octets)


def content(partition: Partition) -> bytes:
    words = ["debugfs", "-R", "cat /pocket/pocket.db", str(partition.device)]
    return subprocess.run(words, capture_output=True, check=True).stdout


def test_a_lost_superblock_is_told_and_comes_back_from_its_copy(partition: Partition) -> None:
    damage(partition, 0, bytes(4096))
    assert partition.trouble() == "no-file-system"
    said: list[str] = []
    partition.repair(said.append)
    assert "the box's data is there" in said[-1], said
    assert content(partition) == b"accounts and messages"
    assert partition.trouble() == "unmounted"


def test_a_check_that_ends_behind_the_journal_is_followed_by_one_that_does_the_rest(
    partition: Partition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """e2fsck 1.47.2 does so where the superblock was lost and the journal was in use: it exits with 12, also
    with each copy of the superblock that it is told. The real one of this machine may be another."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/e2fsck"
    program.write_text(
        "#!/bin/sh\n"
        f"PATH=/usr/sbin:/sbin:$PATH\ncase $* in *-b*) exit 12 ;; esac\nif [ ! -e {tmp_path}/begun ]; then\n"
        f'touch {tmp_path}/begun; /sbin/e2fsck "$@"; exit 12; fi\nexec /sbin/e2fsck "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    damage(partition, 0, bytes(4096))
    said: list[str] = []
    partition.repair(said.append)
    assert "the box's data is there" in said[-1], said
    assert content(partition) == b"accounts and messages"


def test_damage_that_is_not_mended_without_asking_is_told_and_mended(partition: Partition) -> None:
    found = subprocess.run(
        ["debugfs", "-R", "imap /pocket", str(partition.device)], capture_output=True, text=True, check=True
    ).stdout
    located = re.search(r"located at block (\d+), offset (0x[0-9a-f]+)", found)
    assert located is not None, found
    block, offset = int(located[1]), int(located[2], 16)
    damage(partition, block * 4096 + offset, os.urandom(256))
    subprocess.run(["e2fsck", "-f", "-p", str(partition.device)], capture_output=True, check=False)
    assert partition.trouble() == "damaged"
    said: list[str] = []
    partition.repair(said.append)
    assert partition.trouble() == "unmounted"
    assert "no box's data" in said[-2] and "lost their names" in said[-1], said


def test_what_is_no_file_system_cannot_be_repaired_and_is_made_anew(partition: Partition) -> None:
    assert partition.device is not None
    partition.device.write_bytes(os.urandom(1 << 20))
    os.truncate(partition.device, OCTETS)
    with pytest.raises(RescueError, match="reset"):
        partition.repair(lambda _: None)
    said: list[str] = []
    partition.make_anew(said.append)
    assert "new box" in said[-1]
    assert partition.trouble() == "unmounted" and content(partition) == b""
    told = subprocess.run(
        ["debugfs", "-R", "ls -p /pocket", str(partition.device)], capture_output=True, text=True, check=True
    )
    assert "forget-system" in told.stdout, "Wi-Fi and keys of the boot partition stay"


def test_another_file_system_is_told(partition: Partition) -> None:
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext2", str(partition.device)], check=True)
    assert partition.trouble() == "other-file-system"


def test_a_partition_that_is_gone_is_told_and_is_not_repaired(partition: Partition) -> None:
    (partition.names / "pocket/data").unlink()
    assert partition.trouble() == "missing"
    with pytest.raises(RescueError, match="missing"):
        partition.repair(lambda _: None)


def test_one_that_was_made_since_the_start_is_found_by_its_label(partition: Partition) -> None:
    (partition.names / "by-partlabel").mkdir()
    (partition.names / "pocket/data").rename(partition.names / "by-partlabel/pocket-data")
    assert partition.device is not None and partition.device.name == "pocket-data"


@pytest.mark.parametrize(
    ("options", "trouble"), [
        ("ro,noatime", "read-only"),
        ("rw,emergency_ro,errors=remount-ro", "read-only"),
        ("rw,errors=remount-ro", None),
    ],
)
def test_one_in_use_is_left_alone(partition: Partition, options: str, trouble: str | None) -> None:
    partition.mounts.write_text(f"/dev/vda5 /data ext4 {options} 0 0\n")
    assert partition.trouble() == trouble
    for remedy in (partition.repair, partition.make_anew):
        with pytest.raises(RescueError, match="in use"):
            remedy(lambda _: None)
    assert content(partition) == b"accounts and messages"


def test_a_machine_without_the_firmware_says_so(partition: Partition) -> None:
    partition.mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    with pytest.raises(RescueError, match="firmware"):
        partition.trouble()
