"""A hand on the button of a real box: mock pins are driven in its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from appliance.stop import OFF_STATUS

TOO_LONG_S = 30.0
CONFIG = """
listen = "127.0.0.1:0"
[panel]
pins = "mock"
shutdown_command = "{command}"
[panel.button]
pin = 23
shutdown_s = 0.8
reset_s = 1.6
"""


def hold(folder: Path, presses: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a box whose button is held for these seconds; what it said until it ended by itself."""
    file = folder / "config.toml"
    file.write_text(CONFIG.format(command=f"touch {folder / 'powered-off'}"))
    return subprocess.run(
        [sys.executable, "-m", "tests.e2e.pressed", presses, "serve", "--config", str(file)],
        env=os.environ | {"POCKET_DATA": str(folder / "data")} | environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=TOO_LONG_S,
        check=False,
    )


def test_a_short_press_opens_pairing_and_a_long_one_switches_off(tmp_path: Path) -> None:
    ended = hold(tmp_path, "0.2,1.2")
    assert "pairing opened" in ended.stderr
    assert ended.stderr.index("pairing opened") < ended.stderr.index("stopping")
    assert ended.returncode == 0
    assert (tmp_path / "powered-off").exists()
    assert (tmp_path / "data" / "pocket.db").exists()


def test_under_systemd_a_box_that_was_switched_off_says_so_by_its_status(tmp_path: Path) -> None:
    assert hold(tmp_path, "1.2", NOTIFY_SOCKET="/nowhere").returncode == OFF_STATUS


def test_a_reset_needs_a_second_short_press(tmp_path: Path) -> None:
    ended = hold(tmp_path, "2.0,1.2,1.2")
    assert ended.returncode == 0
    assert (tmp_path / "data" / "pocket.db").exists()
    ended = hold(tmp_path, "2.0,0.2")
    assert ended.returncode == 0
    assert "back to factory state" in ended.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lock"]


def test_a_command_that_fails_is_told_and_the_box_has_ended_well(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "powered-off").mkdir(mode=0o555)
    ended = hold(tmp_path, "1.2", PATH="/nowhere")
    assert ended.returncode == 0
    assert "panel.shutdown_command failed" in ended.stderr
