"""ROOT DATA: does what is staged in DATA as the system's side would, on slots that are only a status file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEP_S = float(os.environ.get("FAKE_SLOTS_STEP_S", "0.05"))


def read(root: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((root / "run/pocket-slots/status.json").read_text())
    return status


def write(root: Path, status: dict[str, Any]) -> None:
    path = root / "run/pocket-slots/status.json"
    new = path.with_name(f"status.json.{os.getpid()}")
    new.write_text(json.dumps(status))
    new.replace(path)


class Refused(Exception):
    pass


def rank(version: str) -> list[int]:
    return [*map(int, version.split(".")), 0, 0, 0][:4]


def install(root: Path, staged: Path, request: dict[str, Any], status: dict[str, Any]) -> None:
    version, running = request["version"], status["running"]
    if rank(version) == rank(running):
        raise Refused("that version runs already")
    if rank(version) < rank(running) and not request["downgrade"]:
        raise Refused("that version is older")
    if version in status["given_up"] and not request["again"]:
        raise Refused("that version was given up")
    sums = (staged / "SHA256SUMS").read_bytes()
    key = root / "usr/lib/systemd/import-pubring.gpg"
    command = ["gpgv", "--homedir", str(root), "--keyring", str(key), str(staged / "SHA256SUMS.gpg")]
    if subprocess.run([*command, str(staged / "SHA256SUMS")], capture_output=True, check=False).returncode:
        raise Refused("bad signature")
    named = {line.split()[1]: line.split()[0] for line in sums.decode().splitlines()}
    for part in ("root", "efi"):
        name = f"pocket-{status['board']}-{version}.{part}.zst"
        if hashlib.sha256((staged / name).read_bytes()).hexdigest() != named.get(name):
            raise Refused(f"{name} is not what was signed")
    for percent in (25, 50, 75):
        status["work"]["percent"] = percent
        write(root, status)
        time.sleep(STEP_S)
    status["other"] = {"version": version, "state": "trying"}
    status["given_up"] = [other for other in status["given_up"] if other != version]


def main(root: Path, data: Path) -> None:
    status, staged = read(root), data / "update" / "staged"
    request = json.loads((staged / "request.json").read_text())
    work = {"id": request["id"], "state": "installing", "version": request["version"], "percent": 0}
    status["work"] = {**work, "error": None}
    write(root, status)
    try:
        if request["want"] == "install":
            install(root, staged, request, status)
        elif status["other"] == {"version": request["version"], "state": "good"}:
            status["other"]["state"] = "trying"
        else:
            raise Refused("there is no such version")
    except (Refused, OSError) as error:
        status["work"] |= {"state": "failed", "error": str(error)}
    else:
        status["work"] |= {"state": "installed", "percent": 100}
    write(root, status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
