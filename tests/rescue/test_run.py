"""The rescue that runs in the place of a box: what a person sees on the console, and does with the button."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.console import ConsoleSettings
from appliance.panel import Button, Led, PanelSettings
from appliance.panel import pins as panel_pins
from appliance.rescue import run_rescue
from tests.console.cable import Cable, Person

WHY = "the data partition is damaged: say   repair"
WORD = """
import sys, time
open(sys.argv[1], "a").write(" ".join(sys.argv[2:]) + "\\n")
print("said", sys.argv[2:], flush=True)
if sys.argv[2] == "repair" and open(sys.argv[1]).read().count("repair") == 1:
    sys.exit("it failed")
"""
BUTTON = 23


class Scene:
    """Who is at the box, and what was said to the system."""

    def __init__(self, folder: Path, person: Person) -> None:
        self.said = folder / "said"
        self.person = person
        self.factory: Any = None

    def press(self, seconds: float) -> None:
        self.factory.pin(BUTTON).drive_low()
        threading.Event().wait(seconds)
        self.factory.pin(BUTTON).drive_high()

    def words(self) -> list[str]:
        return self.said.read_text().splitlines() if self.said.exists() else []

    def wait_for(self, holds: Callable[[], bool]) -> None:
        for _ in range(400):
            if holds():
                return
            threading.Event().wait(0.025)
        raise AssertionError(self.words())


@contextmanager
def scene(
    folder: Path, monkeypatch: pytest.MonkeyPatch, restart_in_s: float | None = None
) -> Iterator[Scene]:
    (folder / "word.py").write_text(WORD)
    cable = Cable(folder)
    person = Person(cable.person)
    found = Scene(folder, person)
    make = panel_pins._mock_factory

    def made() -> Any:
        found.factory = make()
        return found.factory

    monkeypatch.setattr(panel_pins, "_mock_factory", made)
    button = Button(pin=BUTTON, active_low=True, debounce_s=0.01, shutdown_s=0.3, reset_s=0.6, confirm_s=3)
    panel = PanelSettings(show="leds", pins="mock", leds=(Led(role="status", pin=17),), button=button)
    console = ConsoleSettings(data=folder, ports=(str(cable.box),))
    command = (sys.executable, str(folder / "word.py"), str(found.said))
    ready = threading.Event()
    told: list[Any] = []

    async def main() -> None:
        told.append(trio.lowlevel.current_trio_token())
        with trio.CancelScope() as scope:
            told.append(scope)
            ready.set()
            await run_rescue("Home", panel, console, WHY, restart_in_s, command)

    cable.plug()
    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    ready.wait()
    try:
        cable.wait_until_open()
        yield found
    finally:
        with suppress(trio.RunFinishedError):
            told[0].run_sync_soon(told[1].cancel)
        thread.join()
        person.close()
        cable.close()


def test_the_console_says_what_is_wrong_and_takes_the_words_that_mend_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch) as there:
        person = there.person
        person.types("\r")
        seen = person.sees("^pocket> ")
        assert "Home: error" in seen and "! the data partition is damaged" in seen
        assert "address" not in seen
        person.types("member list\r")
        person.sees("there is no word 'member' here")
        person.types("reset\r")
        person.sees("type the site's name, Home, or press the button")
        person.types("no\r")
        person.sees("it was not done")
        person.types("reset\r")
        person.sees("site's name> ")
        person.types("Home\r")
        person.sees(r"said \['reset'\]")
        assert there.words() == ["reset"]


def test_the_button_repairs_and_resets_and_the_light_says_error_until_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch) as there:
        there.wait_for(lambda: there.factory is not None)
        changes = there.factory.pin(17).states
        there.wait_for(lambda: len(changes) > 12)
        since_the_one_before = [change.timestamp for change in changes[4:]]
        assert 0.8 < sum(since_the_one_before[:8]) < 1.4, "four times a second"
        there.press(0.1)
        there.wait_for(lambda: there.words() == ["repair"])
        threading.Event().wait(0.5)
        there.person.types("\r")
        assert "Home: error" in there.person.sees("^pocket> ")
        there.press(0.1)
        there.wait_for(lambda: there.words() == ["repair", "repair"])
        there.press(0.8)
        threading.Event().wait(0.2)
        there.press(0.1)
        there.wait_for(lambda: there.words() == ["repair", "repair", "reset --yes"])


def test_it_starts_the_machine_anew_when_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scene(tmp_path, monkeypatch, restart_in_s=0.2) as there:
        there.wait_for(lambda: there.words() == ["restart"])
