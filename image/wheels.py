"""The Python packages of the image: locked by version and SHA-256, fetched for the board's architecture,
never compiled here.

python3 -m image lock        writes wheels.lock anew, with the newest versions that pyproject.toml allows
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from .board import ARCHITECTURES, HERE
from .errors import ImageError

LOCK = HERE / "wheels.lock"
SOURCE_LOCK = HERE / "lgpio.lock"
PYTHON_VERSION = "3.13"
GLIBC_MINOR = 41
"""That of Debian 13: wheels for this version of glibc and older ones run there."""
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
NOT_NEEDED = {"pip", "setuptools"}
"""What packages ask for and the box never uses: sqlite-utils would install plug-ins with the first, and
colorzero was built with the second."""


def platforms(arch: str) -> list[str]:
    """pip's words for what can run on that Debian architecture."""
    names = [f"manylinux_2_{minor}_{MACHINES[arch]}" for minor in range(GLIBC_MINOR, 16, -1)]
    return [word for name in [*names, f"manylinux2014_{MACHINES[arch]}"] for word in ("--platform", name)]


def pip(*words: str) -> None:
    ended = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ImageError(f"pip {' '.join(words[:2])} failed:\n{ended.stderr.strip()}")


def resolved(arch: str, requirements: list[str]) -> list[dict[str, Any]]:
    """What pip would install for that architecture."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        target = ["--target", str(Path(scratch) / "none"), "--python-version", PYTHON_VERSION]
        pip(
            *(
                "install",
                "--dry-run",
                "--quiet",
                "--ignore-installed",
                "--only-binary=:all:",
                "--report",
                str(report),
            ),
            *(*target, "--implementation", "cp", *platforms(arch), *requirements),
        )
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    return [entry for entry in found if entry["metadata"]["name"].lower() not in NOT_NEEDED]


def lock_lines(reports: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The lines of the lock file. ImageError where architectures differ in a version, or a file is one of
    this machine only."""
    versions: dict[str, set[str]] = {}
    hashes: dict[str, set[str]] = {}
    for entries in reports.values():
        for entry in entries:
            name = entry["metadata"]["name"].lower()
            if entry["download_info"]["url"].startswith("file:"):
                raise ImageError(
                    f"{name} would be taken from a folder of this machine, which nobody else has: "
                    "PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= python3 -m image lock"
                )
            versions.setdefault(name, set()).add(entry["metadata"]["version"])
            hashes.setdefault(name, set()).add(entry["download_info"]["archive_info"]["hashes"]["sha256"])
    if differing := [name for name, several in versions.items() if len(several) > 1]:
        raise ImageError(f"there is no one version for all architectures of {', '.join(differing)}")
    lines = []
    for name in sorted(versions):
        lines.append(f"{name}=={versions[name].pop()} \\")
        lines.append(" \\\n".join(f"    --hash=sha256:{digest}" for digest in sorted(hashes[name])))
    return lines


def lock() -> None:
    """Write wheels.lock: what pyproject.toml asks for, and what that needs, for all architectures."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    reports = {arch: resolved(arch, project["dependencies"]) for arch in ARCHITECTURES}
    head = "# Made by python3 -m image lock, for Python 3.13 on Debian 13, amd64 and arm64.\n"
    LOCK.write_text(head + "\n".join(lock_lines(reports)) + "\n")
    print(f"{LOCK}: {len(reports[ARCHITECTURES[0]])} packages")


def fetch(arch: str, place: str) -> None:
    """Download the locked wheels for that architecture into the folder, and the source of what has none."""
    common = ("download", "--quiet", "--no-deps", "--require-hashes", "--dest", place)
    version = ("--python-version", PYTHON_VERSION, "--implementation", "cp")
    pip(*common, "--only-binary=:all:", *version, *platforms(arch), "-r", str(LOCK))
    pip(*common, "--no-binary=:all:", "-r", str(SOURCE_LOCK))
