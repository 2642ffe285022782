"""Back to factory state: all goes but the configuration, whatever happens meanwhile."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance import reset


@pytest.fixture
def folder(tmp_path):
    """A data folder in use."""
    for name in (
        "pocket.db",
        "pocket.db-wal",
        "ballast",
        "oidc-keys.json",
        "pocket.toml",
        "lock",
        "control.sock",
    ):
        (tmp_path / name).write_text(name)
    for name in ("tls", "blobs/ab", "blobs/cd"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("x")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_is_not_marked_is_left_alone(folder):
    before = names(folder)
    assert not reset.finish(folder)
    assert names(folder) == before


def test_all_goes_but_the_configuration(folder):
    reset.mark(folder)
    assert reset.finish(folder)
    assert names(folder) == ["lock", "pocket.toml"]
    assert not reset.finish(folder)


def test_what_a_link_leads_to_stays(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").write_text("x")
    (folder / "link").symlink_to(elsewhere)
    (folder / "tls" / "link").symlink_to(elsewhere / "precious")
    reset.mark(folder)
    reset.finish(folder)
    assert names(folder) == ["lock", "pocket.toml"]
    assert names(elsewhere) == ["precious"]


def test_the_mark_is_there_until_everything_else_has_gone(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(path)

    reset.mark(folder)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(PermissionError):
        reset.finish(folder)
    assert reset.is_marked(folder)
    monkeypatch.undo()
    assert reset.finish(folder)
    assert names(folder) == ["lock", "pocket.toml"]


def test_what_was_deleted_is_on_the_disk_before_the_mark_goes(folder, monkeypatch):
    seen = []
    reset.mark(folder)
    monkeypatch.setattr(reset, "_sync", lambda path: seen.append(names(path)))
    reset.finish(folder)
    assert seen == [["factory-reset", "lock", "pocket.toml"], ["lock", "pocket.toml"]]


@pytest.mark.parametrize("after", range(12))
def test_killed_in_the_middle_the_next_start_goes_on(folder, after):
    """The process dies at its `after`-th step."""
    program = f"""
import os, sys
from pathlib import Path
from appliance import reset
steps = 0
def watch(event, args):
    global steps
    if event in ("os.remove", "os.rmdir") :
        steps += 1
        if steps > {after}:
            os.kill(os.getpid(), 9)
sys.addaudithook(watch)
reset.finish(Path(sys.argv[1]))
"""
    reset.mark(folder)
    sources = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", program, str(folder)], env=sources, check=False)
    assert killed.returncode == -9
    assert reset.is_marked(folder)
    assert reset.finish(folder)
    assert names(folder) == ["lock", "pocket.toml"]


def test_killed_at_any_moment_the_folder_is_whole_or_marked(tmp_path):
    sources = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    program = "import sys; from pathlib import Path; from appliance import reset; f = Path(sys.argv[1])"
    program += "; print(flush=True); reset.mark(f); reset.finish(f)"
    for wait_ms in range(0, 12, 3):
        data = tmp_path / str(wait_ms)
        for number in range(200):
            (data / "blobs" / str(number)).mkdir(parents=True)
        (data / "pocket.db").write_text("x")
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(data)], env=sources, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_ms / 1000)
        process.kill()
        process.communicate()
        left = len(list(data.glob("blobs/*")))
        if left < 200 or not (data / "pocket.db").exists():
            assert reset.is_marked(data) or names(data) == []
        reset.finish(data)


def test_on_the_firmware_the_system_is_asked_to_forget_its_part_too(folder, monkeypatch):
    monkeypatch.setattr(reset, "FIRMWARE", folder / "pocket.db")
    reset.mark(folder)
    assert reset.finish(folder)
    assert names(folder) == sorted(["forget-system", "lock", "pocket.toml"])
