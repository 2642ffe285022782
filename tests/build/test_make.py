"""make says what there is and what is missing; the command it builds is what the package says."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from appliance.cli import main
from appliance.version import __version__

HERE = Path(__file__).parents[2]
MAKEFILE = (HERE / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE)


def make(*words, folder=HERE):
    return subprocess.run(["make", *words], cwd=folder, capture_output=True, text=True, check=False)


def test_make_alone_tells_every_target():
    told = make()
    assert told.returncode == 0
    assert re.findall(r"^make ([a-z]+) ", told.stdout, re.MULTILINE) == [
        name for name in TARGETS if name != "help"
    ]


def test_without_a_fitting_python_make_says_which_packages_to_install(tmp_path):
    shutil.copy(HERE / "Makefile", tmp_path)
    shutil.copy(HERE / "pyproject.toml", tmp_path)
    told = make("venv", "FIND_PYTHON=true", folder=tmp_path)
    assert told.returncode != 0
    assert "sudo apt-get install python3 python3-venv" in told.stderr
    assert "make venv PYTHON=/path/to/python3.12" in told.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_environment_is_made_anew_only_when_pyproject_changed(tmp_path):
    shutil.copy(HERE / "Makefile", tmp_path)
    project = tmp_path / "pyproject.toml"
    shutil.copy(HERE / "pyproject.toml", project)
    stamp = re.search(r"touch (\S+)", make("-n", "venv", folder=tmp_path).stdout)
    assert stamp is not None
    (tmp_path / ".venv").mkdir()
    (tmp_path / stamp[1]).touch()
    project.touch()
    assert make("venv", "FIND_PYTHON=true", folder=tmp_path).returncode == 0
    project.write_text(project.read_text() + "\n")
    assert make("venv", "FIND_PYTHON=true", folder=tmp_path).returncode != 0


def test_run_serves_the_data_folder_with_what_was_given():
    planned = make("-n", "run", "DATA=/srv/x", "ARGS=--name Home").stdout
    assert '.venv/bin/pocket serve --data "/srv/x" --name Home' in planned


@pytest.mark.parametrize("script", [".ci/run"])
def test_scripts_are_right_for_bash(script):
    assert subprocess.run(["bash", "-n", str(HERE / script)], check=False).returncode == 0
    assert (HERE / script).stat().st_mode & 0o111


def test_the_changes_tell_this_version():
    assert f"({__version__})" in (HERE / "CHANGELOG.md").read_text()


def test_everything_that_is_imported_is_asked_for():
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[<>=~]", name)[0].lower().replace("-", "_") for name in project["dependencies"]}
    asked = {{"pyjwt": "jwt", "pyserial": "serial"}.get(name, name) for name in asked}
    used = set()
    for file in (HERE / "appliance").rglob("*.py"):
        used |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
        used |= set(re.findall(r"import_module\(\"(\w+)", file.read_text()))
    assert asked <= used, f"asked for and not imported: {asked - used}"


def test_the_readme_shows_the_commands_that_exist():
    page = (HERE / "README.md").read_text()
    shown = re.findall(r"(?<![\w/])pocket (?!pocket)([a-z-]+)(?: ([a-z-]+))?", page)
    assert len(shown) > 15
    for word, inner in shown:
        command = main.commands.get(word)
        assert command is not None, f"README.md speaks of   pocket {word}"
        if isinstance(command, click.Group):
            assert inner in command.commands, f"README.md speaks of   pocket {word} {inner}"
