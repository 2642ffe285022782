"""What only the first start needs: ``python -m appliance.first FOLDER NAME`` makes tables and certificate.

A process of its own, because the libraries for it would stay in the box's memory for good: 8 MB of 45.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from appliance.session.certificate import ensure_certificate
from appliance.store import StoreError, create


class NotPrepared(Exception):
    """The data folder could not be set up; the text says why."""


def prepare(folder: Path, name: str) -> None:
    """Set up a new data folder, if it is new. Blocks for about a second. Raises ``NotPrepared``."""
    if (folder / "pocket.db").exists() and (folder / "tls" / "cert.pem").exists():
        return
    command = [sys.executable, "-m", __name__, str(folder), name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotPrepared(done.stderr.strip() or f"the first start ended with {done.returncode}")


def main(folder: str, name: str) -> None:
    try:
        create(Path(folder))
        ensure_certificate(Path(folder) / "tls", name)
    except (StoreError, OSError, ValueError) as error:
        sys.exit(f"the data folder {folder} cannot be set up: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
