"""Whatever lights, pins and button do: messages go on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harm.home import BentBox, Home

ATTACK_S = 1.0
BOARD = '[panel]\nshow = "leds"\n[[panel.led]]\nboard = "ACT"\n'
TERMINAL = 'log.level = "debug"\n[panel]\nshow = "terminal"\n'
PINS = """
[panel]
pins = "lgpio"
show = "leds"
[[panel.led]]
pin = 17
[[panel.led]]
role = "mail"
pin = 27
[panel.button]
pin = 23
shutdown_s = 0.5
reset_s = 1
stuck_s = 2
"""


def bent(home: Home) -> BentBox:
    assert isinstance(home.box, BentBox)
    return home.box


class Brightness:
    """The file of a board LED, which may be something else for a while."""

    def __init__(self, folder: Path) -> None:
        (folder / "ACT").mkdir(parents=True)
        (folder / "ACT" / "max_brightness").write_text("255\n")
        (folder / "ACT" / "trigger").write_text("[none] timer mmc0\n")
        self.path = folder / "ACT" / "brightness"
        self.path.write_text("0\n")

    def becomes(self, kind: str) -> None:
        fresh = self.path.with_name("fresh")
        if kind == "blocks":
            os.mkfifo(fresh)
        elif kind == "fails":
            fresh.symlink_to("/dev/full")
        else:
            fresh.write_text("0\n")
        fresh.rename(self.path)


@pytest.fixture
def brightness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Brightness:
    monkeypatch.setenv("HARM_LEDS", str(tmp_path))
    return Brightness(tmp_path)


def test_an_led_that_blocks(home: Callable[..., Home], brightness: Brightness) -> None:
    shown = home(BOARD, bent=True)
    shown.is_whole()
    with shown.attacked():
        brightness.becomes("blocks")
        shown.box.control("identify")
        shown.warns("board LED ACT does not answer", "look at its wiring or driver")
    shown.has_not_suffered()


def test_an_led_that_fails(home: Callable[..., Home], brightness: Brightness) -> None:
    shown = home(BOARD, bent=True)
    shown.is_whole()
    with shown.attacked(ATTACK_S):
        brightness.becomes("fails")
        shown.warns("board LED ACT does not work", "No space left on device")
    brightness.becomes("whole")
    shown.is_whole()
    shown.has_not_suffered()


@pytest.mark.parametrize("lever", ["pins-fail", "pins-hang"])
def test_pins_that_do_not_work(home: Callable[..., Home], lever: str) -> None:
    shown = home(PINS, bent=True, pulled=lever)
    box = bent(shown)
    with shown.attacked(ATTACK_S):
        box.control("identify")
    if lever == "pins-fail":
        shown.warns("no GPIO pins", "take the pins out of the configuration")
    else:
        shown.warns("GPIO17 does not answer", "look at its wiring or driver")
    box.release(lever)
    shown.is_whole()
    shown.has_not_suffered()


def test_a_button_that_bounces_without_end_and_then_is_stuck(home: Callable[..., Home]) -> None:
    shown = home(PINS, bent=True)
    box = bent(shown)
    with shown.attacked(ATTACK_S):
        box.pull("button-bounces")
        time.sleep(ATTACK_S)
        box.pull("button-held")
        box.release("button-bounces")
        shown.warns("the button has been held for 2 s", "stuck or its wires touch")
    assert shown.status()["pairing_open_s"] == 0
    box.release("button-held")
    shown.is_whole()
    assert int((box.levers / "bounces").read_text()) > 2000 * ATTACK_S
    shown.has_not_suffered()


def test_a_terminal_that_was_stopped_with_ctrl_s(
    home: Callable[..., Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, end = os.openpty()
    try:
        monkeypatch.setenv("HARM_STDERR", os.ttyname(end))
        shown = home(TERMINAL, bent=True)
        with shown.attacked():
            os.write(keys, b"\x13")
            shown.box.control("identify")
            shown.box.control("pair.open", minutes=1)
            shown.box.control("pair.close")
            shown.warns("terminal does not answer")
        shown.has_not_suffered()
    finally:
        os.close(keys)
        os.close(end)


@contextlib.contextmanager
def drained(reader: int) -> Iterator[None]:
    """Somebody reads all that comes: there is more than the pipe takes at once."""
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            if select.select([reader], [], [], 0.05)[0]:
                os.read(reader, 65536)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_pipe_that_nobody_reads(
    home: Callable[..., Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with open(os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK), "rb+", buffering=0) as pipe:
        pipe.write(b"x" * fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096))
        monkeypatch.setenv("HARM_STDERR", str(tmp_path / "pipe"))
        shown = home(TERMINAL, bent=True)
        with shown.attacked(ATTACK_S):
            for _ in range(100):
                shown.box.control("identify")
                shown.box.control("pair.open", minutes=1)
                shown.box.control("pair.close")
        shown.warns("terminal does not answer", "look at its wiring or driver")
        with drained(pipe.fileno()):
            shown.is_whole()
            shown.has_not_suffered()
