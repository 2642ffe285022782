"""Boards, partition tables, lists and overlays are what the steps expect of them."""

import re
import tomllib
from pathlib import Path

import pytest

from image import board as boards
from image.board import BOARDS, HERE, Partition, board, layout
from image.errors import ImageError
from image.steps import STEPS

SYSTEMD = HERE.parent / "systemd"
COMMON = HERE / "overlay" / "common"


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_can_be_built(name):
    found = board(name)
    contents = [part.content for part in layout(found.layout)]
    assert {"boot", "root", "data"} <= set(contents)
    assert (HERE / "boot" / f"{found.loader}.sh").exists()
    assert tomllib.loads((HERE / "overlay" / name / "usr/share/pocket/board.toml").read_text())


@pytest.mark.parametrize("name", BOARDS)
def test_the_data_partition_is_the_last_one_and_a_second_system_has_room(name):
    parts = layout(board(name).layout)
    assert parts[-1].content == "data"
    systems = [part for part in parts if part.type == "root"]
    assert [part.name for part in systems] == ["pocket_@v", "_empty"]
    assert len({part.size_mib for part in systems}) == 1
    assert len({part.uuid for part in parts}) == len(parts)


def test_a_board_that_does_not_exist_is_told_with_those_that_do():
    with pytest.raises(ImageError, match="virt-amd64"):
        board("toaster")


def test_a_mistake_in_a_definition_is_told_by_name():
    with pytest.raises(ImageError, match="unknown sise_mib"):
        boards.made(Partition, {"name": "x", "type": "esp", "uuid": "", "size_mib": 1, "sise_mib": 2}, "efi")
    with pytest.raises(ImageError, match="size_mib"):
        boards.made(Partition, {"name": "x", "type": "esp", "uuid": ""}, "efi")


def test_every_step_has_a_script_and_comes_after_those_that_it_needs():
    done: set[str] = set()
    for step in STEPS:
        script = HERE / "steps" / f"{step.name}.sh"
        assert script.stat().st_mode & 0o111, f"{script.name} cannot be run"
        assert set(step.after) <= done
        done.add(step.name)
    assert {path.stem for path in (HERE / "steps").glob("*.sh")} == done


def test_a_step_says_all_settings_and_results_that_its_script_reads():
    settings = {name for step in STEPS for name in step.settings} - {"KEY", "HOST_ARCH", "LAYOUT"}
    for step in STEPS:
        text = (HERE / "steps" / f"{step.name}.sh").read_text()
        read = set(re.findall(r"\$\{?([A-Z_]+)", text))
        assert read & settings <= {*step.settings, "BOARD"} | {name.upper() for name in step.after}, step.name
        results = {other.name.upper() for other in STEPS}
        assert read & results <= {name.upper() for name in step.after} | set(step.settings), step.name


@pytest.mark.parametrize("kind", ["sysusers.d", "tmpfiles.d"])
def test_what_the_image_lays_over_the_services_files_names_the_same_users_and_folders(kind):
    """The overlay's file hides that of systemd/: only numbers and the configuration file may differ."""

    def told(path: Path) -> set[tuple[str, str]]:
        lines = [line.split() for line in path.read_text().splitlines() if line and line[0] != "#"]
        return {(words[0], words[1]) for words in lines}

    ours, theirs = told(COMMON / "etc" / kind / "pocket.conf"), told(SYSTEMD / kind / "pocket.conf")
    made_otherwise = {("d", "/etc/pocket"), ("f", "/etc/pocket/pocket.toml")}
    assert theirs - ours <= made_otherwise
    assert ours - theirs <= {("g", "pocket")}


def test_every_folder_of_the_data_partition_that_is_mounted_is_made():
    mounted = re.findall(r"^(/data/\w+)\s", (COMMON / "etc/fstab").read_text(), re.MULTILINE)
    made = re.findall(r"^d (\S+)", (COMMON / "usr/lib/pocket-image/folders.conf").read_text(), re.MULTILINE)
    assert mounted and set(mounted) <= set(made)


def test_the_image_names_no_host():
    """Where packages come from is the builder's business."""
    for path in HERE.rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".lock"):
            assert not re.search(r"https?://(?!HOST)[\w.-]+\.(org|net|com|io)", path.read_text()), path
