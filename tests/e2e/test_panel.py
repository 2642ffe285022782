"""The panel of a real box: what its lights say, as lines of a terminal; its words; mock pins."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit import Box, Client, Refused, before_curtain, fresh
from tests.kit.box import COMMAND

SOON_S = 20.0
RESIDENT_KIB_MAX = 48 << 10
"""The libraries for pins would add 8 MiB. How much of other libraries' files is resident differs by 0.3 MiB
from start to start.
"""
NO_LIGHTS = '[panel]\nshow = "none"\n'
ON_PAPER = '[panel]\nshow = "terminal"\n'
MOCK = """
[panel]
pins = "mock"
show = "leds"
[[panel.led]]
role = "mail"
pin = 17
[[panel.led]]
pin = 27
green_pin = 5
blue_pin = 22
[panel.button]
pin = 23
"""


def pocket(*words: str, data: Path | None = None, code: int = 0) -> str:
    where = {"POCKET_DATA": str(data)} if data else {}
    said = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | where,
        timeout=SOON_S,
        stdin=subprocess.DEVNULL,
    )
    assert said.returncode == code, said.stdout + said.stderr
    return said.stdout if code == 0 else said.stderr


class Screen:
    """What came to a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.text = ""

    def sees(self, pattern: str, within_s: float = SOON_S) -> str:
        """Wait for `pattern` in what comes from now on; what came up to its end."""
        deadline = time.monotonic() + within_s
        start = len(self.text)
        while not (found := re.compile(pattern).search(self.text, start)):
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{pattern!r} did not show: {self.text[start:]!r}"
            if select.select([self._fd], [], [], left_s)[0]:
                try:
                    self.text += os.read(self._fd, 4096).decode()
                except OSError:
                    assert found, f"it ended: {self.text[start:]!r}"
        return self.text[start : found.end()]


@contextmanager
def box_in_a_terminal(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Screen]]:
    ours, theirs = pty.openpty()
    arguments = ["--data", str(folder), "--listen", "127.0.0.1:0", "--registration", "pairing"]
    process = subprocess.Popen(
        [*COMMAND, "serve", *arguments, "--panel", "terminal"],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "TERM": "xterm"},
    )
    os.close(theirs)
    try:
        yield process, Screen(ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_line_in_the_terminal_shows_pairing_open_and_close_and_says_when_to_unplug(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with box_in_a_terminal(data) as (process, screen):
        screen.sees("serving, one copy")
        pocket("pair", "open", data=data)
        screen.sees("pairing is open", 1.0)
        pocket("pair", "close", data=data)
        screen.sees("serving, one copy", 1.0)
        pocket("identify", data=data)
        screen.sees("here I am", 1.0)
        screen.sees("serving, one copy", 5.0)
        process.send_signal(signal.SIGTERM)
        screen.sees("stopped: safe to unplug\r\n")
        assert process.wait(SOON_S) == 0


def test_an_end_without_order_is_no_safe_one(tmp_path: Path) -> None:
    with Box(config=ON_PAPER) as box:
        box.control("identify")
        said(box, "panel 10 Hz: here I am")
        box.kill9()
        assert "safe to unplug" not in box.words()


def said(box: Box, text: str, within_s: float = 1.0) -> None:
    deadline = time.monotonic() + within_s
    while text not in box.words():
        assert time.monotonic() < deadline, box.words()
        time.sleep(0.02)


def test_a_running_box_shows_the_panel_test_and_the_command_tells_it() -> None:
    with Box(config=ON_PAPER) as box:
        told = pocket("panel", "test", "--seconds", "0.3", data=box.data).splitlines()
        assert told[0] == "solid: serving, everything on two copies"
        assert told[-1] == "off: stopped: safe to unplug"
        for line in told:
            said(box, f"panel {line}\n")


def test_without_a_box_the_panel_test_shows_it_itself(tmp_path: Path) -> None:
    arguments = ["--panel", "terminal", "--seconds", "0.2", "--data", str(tmp_path / "none")]
    shown = json.loads(pocket("panel", "test", *arguments, "--json"))
    assert len(shown) > 5
    assert not (tmp_path / "none").exists()


def test_a_box_without_lights_says_so() -> None:
    with Box(config=NO_LIGHTS) as box:
        with pytest.raises(Refused, match=r"this box has no lights: see \[\[panel.led"):
            box.control("panel.show", pattern="error")
        assert "no lights" in pocket("panel", "test", data=box.data, code=1)
        pocket("identify", data=box.data)


def test_a_pattern_that_does_not_exist_is_refused_with_what_there_is() -> None:
    with Box(config=ON_PAPER) as box:
        with pytest.raises(Refused, match="take one of two copies, one copy"):
            box.control("panel.show", pattern="rainbow")
        with pytest.raises(Refused, match="seconds must be"):
            box.control("panel.show", pattern="error", seconds=-1)


def test_mock_pins_are_chosen_by_configuration() -> None:
    with Box(config=MOCK) as box:
        assert box.control("panel.show", pattern="error", seconds=0)["pattern"] == "4 Hz"
        status = box.control("status")
        assert status["reasons"] == []
        assert box.terminate() == 0


def test_the_mail_light_is_on_while_a_message_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pins = tmp_path / "pins"
    monkeypatch.setattr("tests.kit.box.COMMAND", [sys.executable, "-m", "tests.e2e.watched", str(pins)])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    def wait_for(state: str) -> None:
        deadline = time.monotonic() + SOON_S
        while not (told := [line for line in pins.read_text().splitlines() if line.startswith("17 ")]) or (
            told[-1] != f"17 {state}"
        ):
            assert time.monotonic() < deadline, told
            time.sleep(0.01)

    with Box(config=MOCK) as box:
        ann = Client.register(box, alias=fresh("ann smith"))
        login = box.control("device.add", member=ann.alias, label="phone")
        ann.post(b"for my phone")
        wait_for("1")
        phone = ann.other_node(login["node"])
        phone.login()
        before_curtain(ann, phone)
        wait_for("0")
        ann.close()
        phone.close()


def test_a_box_without_pins_does_not_pay_for_them() -> None:
    program = "import sys, appliance.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "appliance.edges" in loaded.stdout.split()
    assert {"gpiozero", "lgpio", "appliance.panel"}.isdisjoint(loaded.stdout.split())
    with Box() as box:
        box.restart()
        resident = re.search(r"VmRSS:\s*(\d+) kB", Path(f"/proc/{box.pid}/status").read_text())
        assert resident is not None
        assert int(resident[1]) < RESIDENT_KIB_MAX


def test_pins_that_are_not_there_are_a_warning_and_messages_go_on() -> None:
    if list(Path("/dev").glob("gpiochip*")):
        pytest.skip("this machine has GPIO pins")
    with Box(config=MOCK.replace('pins = "mock"', 'pins = "lgpio"')) as box:
        deadline = time.monotonic() + SOON_S
        while not box.control("status")["reasons"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        status = box.control("status")
        assert status["state"] == "warning"
        assert "GPIO" in status["reasons"][0]
        assert box.prompter().alive


def test_a_reset_forgets_everything_and_the_next_start_is_a_new_box() -> None:
    with Box(registration="open") as box:
        box.prompter()
        (box.data / "pocket.toml").write_text("# mine\n")
        before = box.control("status")
        pocket("factory-reset", "--yes", data=box.data)
        deadline = time.monotonic() + SOON_S
        while box.running:
            assert time.monotonic() < deadline, box.words()
            time.sleep(0.02)
        assert sorted(path.name for path in box.data.iterdir()) == ["lock", "pocket.toml"]
        box.start()
        after = box.control("status")
        assert (before["members"], after["members"]) == (1, 0)
        assert before["fingerprint"] != after["fingerprint"]
        assert before["box"] != after["box"]


def test_a_reset_has_to_be_typed() -> None:
    with Box() as box:
        refused = subprocess.run(
            [*COMMAND, "factory-reset", "--data", str(box.data)],
            input="yes\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert (refused.returncode, "nothing was changed" in refused.stderr) == (1, True)
        assert box.running


def test_a_reset_that_was_interrupted_is_finished_at_the_next_start() -> None:
    with Box() as box:
        before = box.fingerprint
        box.kill9()
        (box.data / "factory-reset").touch()
        (box.data / "pocket.db").unlink()
        box.start()
        assert box.fingerprint != before
        assert not (box.data / "factory-reset").exists()


def test_without_a_box_a_reset_wipes_the_folder_but_no_other(tmp_path: Path) -> None:
    with Box() as box:
        box.terminate()
        pocket("factory-reset", "--yes", data=box.data)
        assert [path.name for path in box.data.iterdir()] == ["lock"]
    (tmp_path / "letters").touch()
    assert "no box's data" in pocket("factory-reset", "--yes", data=tmp_path, code=1)
    assert (tmp_path / "letters").exists()


def test_a_configuration_that_cannot_be_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "pocket.toml"
    file.write_text(
        "[panel]\n[[panel.led]]\npin = 4\n[[panel.led]]\nrole = 'mail'\n"
        "[panel.button]\npin = 4\nreset_s = 2\n"
    )
    found = subprocess.run(
        [*COMMAND, "config", "check", str(file)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert found.stdout.splitlines() == [
        f"{file}:4: panel.led: the LED for mail needs either a pin, or three pins, or the name of a board"
        " LED",
        f"{file}:6: panel.button: the button's times must rise: debounce_s, shutdown_s, reset_s, stuck_s",
    ]
    file.write_text("[panel]\nnight_from = '22:00'\n[[panel.led]]\npin = 4\n[panel.button]\npin = 4\n")
    found = subprocess.run(
        [*COMMAND, "config", "check", str(file)], capture_output=True, text=True, check=False
    )
    assert "night_from and night_to belong together" in found.stdout


def test_the_end_is_marked_by_the_word_that_systemd_says(tmp_path: Path) -> None:
    assert json.loads(pocket("panel", "ended", "--json", "--data", str(tmp_path))) == {"clean": True}
