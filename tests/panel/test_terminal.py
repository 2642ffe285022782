"""The panel in a terminal: a pseudo terminal, and a file."""

import io
import os
import pty
import re
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
import trio

from appliance.panel import PanelSettings
from appliance.panel.lamps import Leave
from appliance.panel.panel import Panel, make_lamps
from appliance.panel.settings import PanelError
from appliance.panel.signs import ERROR, ONE_COPY, PAIRING, STARTING, TWO_COPIES, WARNING, Shown
from appliance.panel.terminal import CLEAR, Terminal

from .kit import Asked, Mood, mock_pins


class Screen:
    """The other end of a pseudo terminal."""

    def __init__(self, columns: int = 80, encoding: str = "utf-8") -> None:
        self.end, inner = pty.openpty()
        termios.tcsetwinsize(inner, (24, columns))
        self.stream: TextIO = os.fdopen(inner, "w", encoding=encoding)

    def read(self) -> str:
        """What was written and not read yet."""
        os.set_blocking(self.end, False)
        octets = b""
        try:
            while part := os.read(self.end, 65536):
                octets += part
        except (BlockingIOError, OSError):
            pass
        return octets.decode("utf-8", "replace")

    def close(self) -> None:
        self.stream.close()
        os.close(self.end)


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


def opened(screen: Screen) -> Terminal:
    lamp = Terminal(screen.stream)
    lamp.open()
    return lamp


def lines(text: str) -> list[str]:
    return [part.rstrip("\r\n") for part in text.split(CLEAR) if part.strip()]


def test_one_line_is_drawn_over_and_over(screen):
    lamp = opened(screen)
    for level in (1.0, 0.0):
        lamp.put(lamp.value(Shown(ONE_COPY, level)))
    text = screen.read()
    assert text == f"{CLEAR}● serving, one copy\r{CLEAR}○ serving, one copy\r"
    assert "\n" not in text


def test_the_glyph_follows_a_fade(screen):
    lamp = opened(screen)
    glyphs = [str(lamp.value(Shown(PAIRING, level / 4)))[0] for level in range(5)]
    assert glyphs == list("○◔◑◕●")


def test_a_starting_box_has_the_terminal_for_itself(screen):
    lamp = opened(screen)
    assert lamp.value(Shown(STARTING, 1.0)) == ""


def test_a_warning_says_why_in_one_line_that_fits(screen):
    lamp = opened(screen)
    lamp.put(lamp.value(Shown(WARNING, 1.0, note="the disk\nis \x1b[31mnearly full " + "x" * 200)))
    (line,) = lines(screen.read())
    assert line.startswith("● warning, look at status: the disk?is ?[31mnearly full xxx")
    assert len(line) == 79


def test_the_width_is_asked_each_time(screen):
    lamp = opened(screen)
    termios.tcsetwinsize(screen.stream.fileno(), (24, 12))
    lamp.put(lamp.value(Shown(ONE_COPY, 1.0)))
    assert lines(screen.read()) == ["● serving, "]
    termios.tcsetwinsize(screen.stream.fileno(), (0, 0))
    lamp.put(lamp.value(Shown(ONE_COPY, 1.0)))
    assert lines(screen.read()) == ["● serving, one copy"]


def test_a_terminal_without_unicode_gets_plain_letters():
    screen = Screen(encoding="latin-1")
    lamp = opened(screen)
    lamp.put(lamp.value(Shown(ONE_COPY, 1.0, note="näh →")))
    assert lines(screen.read()) == ["* serving, one copy: n\ufffdh ?"]
    screen.close()


def test_a_file_gets_a_line_at_each_change(tmp_path: Path):
    health, path = Mood(), tmp_path / "panel.txt"

    async def main():
        with path.open("w", encoding="utf-8") as stream:
            panel = Panel(PanelSettings(show="terminal"), health, Asked().actions, stream=stream)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(panel.run)
                for copies in (1, 2):
                    health.copies = copies
                    await trio.sleep(0.4)
                health.warn("disk", "the disk is nearly full")
                health.state = "warning"
                await trio.sleep(0.2)
                health.state = "stopped"
                await trio.sleep(0.2)
                nursery.cancel_scope.cancel()
            await panel.leave()

    trio.run(main)
    assert path.read_text().splitlines() == [
        "panel double pulse every 3 s: serving, one copy",
        "panel solid: serving, everything on two copies",
        "panel 1 Hz: warning, look at status: the disk is nearly full",
        "panel off: stopped: safe to unplug",
    ]


@pytest.mark.parametrize(
    ("how", "end"),
    [
        (Leave.SAFE, f"{CLEAR}○ stopped: safe to unplug\r\n"),
        (Leave.TROUBLE, f"{CLEAR}● the box ended without an orderly stop\r\n"),
        (Leave.FOUND, CLEAR),
    ],
)
def test_the_last_line_tells_how_it_ended(screen, how, end):
    lamp = opened(screen)
    lamp.put(lamp.value(Shown(TWO_COPIES, 1.0)))
    screen.read()
    lamp.leave(how)
    assert screen.read() == end


def test_a_terminal_that_nothing_was_drawn_on_stays_clean(screen):
    opened(screen).leave(Leave.SAFE)
    assert screen.read() == ""


def test_a_stopped_terminal_stops_nothing_else():
    """Ctrl-S: whoever writes waits. The panel goes on, and ends in time."""
    screen = Screen()
    termios.tcflow(screen.stream.fileno(), termios.TCOOFF)
    health, took = Mood(), []
    health.identifying = True

    async def main():
        panel = Panel(PanelSettings(show="terminal"), health, Asked().actions, stream=screen.stream)
        with trio.move_on_after(0.5):
            await panel.run()
        began = time.monotonic()
        await panel.leave()
        took.append(time.monotonic() - began)

    worker = threading.Thread(target=trio.run, args=(main,))
    worker.start()
    worker.join(5)
    assert took
    assert took[0] < 1
    termios.tcflow(screen.stream.fileno(), termios.TCOON)
    time.sleep(0.1)
    screen.close()


def test_the_live_line_blinks_in_real_time(screen):
    health = Mood()
    health.state = "error"

    async def main():
        panel = Panel(PanelSettings(show="auto"), health, Asked().actions, stream=screen.stream)
        with trio.move_on_after(1.05):
            await panel.run()

    trio.run(main)
    drawn = lines(screen.read())
    assert {line[2:] for line in drawn} == {ERROR.words}
    assert re.fullmatch(r"(●○){4}●?○?", "".join(line[0] for line in drawn))


@pytest.mark.parametrize(
    ("show", "terminal"), [("auto", False), ("leds", False), ("none", False), ("terminal", True)]
)
def test_what_is_no_terminal_is_only_used_when_asked_for(show, terminal, tmp_path):
    with (tmp_path / "file").open("w") as stream:
        settings = PanelSettings(show=show, leds_folder=tmp_path)
        lamps = make_lamps(settings, mock_pins(), stream)
    assert [type(lamp) for lamp in lamps] == ([Terminal] if terminal else [])


def test_a_stream_that_is_no_file_is_no_terminal(tmp_path):
    assert make_lamps(PanelSettings(leds_folder=tmp_path), mock_pins(), io.StringIO()) == []
    (lamp,) = make_lamps(PanelSettings(show="terminal", leds_folder=tmp_path), mock_pins(), io.StringIO())
    with pytest.raises(PanelError, match="standard error is not open"):
        lamp.open()
