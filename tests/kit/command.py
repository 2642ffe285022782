"""The command, as a process of its own."""

import os
import subprocess

from .box import COMMAND, Box

DONE_S = 90.0


def pocket(box: Box, *words: str, code: int = 0) -> str:
    """What `pocket` says to these words about this box: on stdout, or on stderr if it is to fail."""
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "POCKET_DATA": str(box.data)},
        check=False,
        timeout=DONE_S,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr
