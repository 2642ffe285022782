"""Getting at pins: the right library, and what to do where there is none."""

import importlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import pytest
import trio

from appliance.panel import Button, Led, PanelSettings, check_panel
from appliance.panel import pins as pins_module
from appliance.panel.panel import Panel
from appliance.panel.pins import OTHER_BOARD, Pins, header_chip
from appliance.panel.settings import PanelError

from . import fake_lgpio
from .kit import Asked, Mood


@pytest.fixture
def devices(tmp_path: Path, monkeypatch) -> Path:
    """A /dev with one chip."""
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "gpiochip0").touch()
    monkeypatch.setattr(pins_module, "DEVICES", folder)
    return folder


@pytest.fixture
def lgpio(monkeypatch, tmp_path, devices):
    """The stand-in, imported as lgpio; the process in a folder of its own."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    fake_lgpio.reset()
    monkeypatch.delitem(sys.modules, "lgpio", raising=False)
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name, path=None, target=None):
            return importlib.machinery.ModuleSpec(name, self) if name == "lgpio" else None

        def create_module(self, spec):
            return fake_lgpio

        def exec_module(self, module):
            fake_lgpio.imported()

    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    yield fake_lgpio
    sys.modules.pop("gpiozero.pins.lgpio", None)
    sys.modules.pop("lgpio", None)


def watch_import(monkeypatch) -> list[str]:
    """Where the process was each time that lgpio had been imported."""
    visited: list[str] = []
    original = fake_lgpio.imported

    def visit() -> None:
        original()
        visited.append(os.getcwd())

    monkeypatch.setattr(fake_lgpio, "imported", visit)
    return visited


def without(monkeypatch, *names: str) -> None:
    """No module of these names can be imported."""
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("library", ["auto", "lgpio"])
def test_a_machine_without_gpio_says_so(library, tmp_path, monkeypatch):
    monkeypatch.setattr(pins_module, "DEVICES", tmp_path)
    with pytest.raises(PanelError, match=r"no GPIO pins .*: take the pins out of the configuration"):
        Pins(library).factory()


def test_a_missing_library_is_named_with_how_to_get_it(devices, monkeypatch):
    without(monkeypatch, "lgpio")
    with pytest.raises(
        PanelError, match=r"lgpio is missing: install it with `pip install lgpio==0\.2\.2\.0`"
    ):
        Pins().factory()
    without(monkeypatch, "gpiozero")
    with pytest.raises(PanelError, match="gpiozero is missing"):
        Pins().factory()
    with pytest.raises(PanelError, match="gpiozero is missing"):
        Pins("mock").factory()


def test_the_empty_placeholder_of_lgpio_is_recognised(devices, monkeypatch):
    monkeypatch.setitem(sys.modules, "lgpio", types.ModuleType("lgpio"))
    with pytest.raises(PanelError, match="an empty placeholder"):
        Pins().factory()


def test_off_a_raspberry_pi_the_header_of_one_is_assumed(lgpio):
    factory = Pins().factory()
    assert factory._get_revision() == OTHER_BOARD
    assert factory.board_info.model == "3B"


@pytest.mark.parametrize(
    ("revision", "fifth", "chip"),
    [(0xD04170, True, 4), (0xD04170, False, 0), (0xA03111, True, 0), (OTHER_BOARD, True, 0)],
)
def test_the_chip_with_the_header_is_found(revision, fifth, chip, devices, monkeypatch):
    if fifth:
        (devices / "gpiochip4").touch()
    monkeypatch.setattr(importlib.import_module("gpiozero.pins.local"), "get_pi_revision", lambda: revision)
    assert header_chip() == chip


@pytest.mark.parametrize("asked", [None, "elsewhere"])
def test_importing_lgpio_moves_nobody_and_leaves_no_litter(asked, lgpio, tmp_path, monkeypatch):
    monkeypatch.delenv("LG_WD", raising=False)
    if asked:
        (tmp_path / asked).mkdir()
        monkeypatch.setenv("LG_WD", str(tmp_path / asked))
    here = os.getcwd()
    visited = watch_import(monkeypatch)
    pins_module.lgpio()
    assert [os.getcwd(), *visited] == [here, here]
    assert [*tmp_path.rglob(".lgd-nfy*")] == []


@pytest.mark.parametrize("asked", [None, "elsewhere"])
def test_in_a_folder_that_cannot_be_written_lgpio_is_sent_to_another(asked, lgpio, tmp_path, monkeypatch):
    monkeypatch.delenv("LG_WD", raising=False)
    if asked:
        (tmp_path / asked).mkdir()
        monkeypatch.setenv("LG_WD", str(tmp_path / asked))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / "here")
    visited = watch_import(monkeypatch)
    here = os.getcwd()
    pins_module.lgpio()
    assert visited[0] != here
    assert os.getcwd() == here
    assert [*tmp_path.rglob(".lgd-nfy*")] == []


def test_a_chip_that_may_not_be_opened_says_how_to_get_at_it(lgpio, devices, monkeypatch):
    lgpio.chips.clear()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "gpiochip0")
    with pytest.raises(PanelError, match=r"gpiochip0 may not be opened by this user: .*group gpio"):
        Pins().factory()


def test_a_chip_that_is_none_says_which_setting(lgpio):
    lgpio.chips.clear()
    with pytest.raises(PanelError, match=r"no GPIO chip could be opened \(can not open gpiochip\): set"):
        Pins(chip=9).factory()


def test_a_pin_that_the_kernel_uses_says_so(lgpio):
    lgpio.users[17] = "onewire@0"
    with pytest.raises(PanelError, match="GPIO busy: another program or a kernel overlay uses this pin"):
        Pins().device("LED", 17)


def test_pins_can_be_had_again_after_they_were_given_back(lgpio):
    pins = Pins()
    first = pins.device("LED", 17)
    first.on()
    pins.close()
    pins.close()
    assert lgpio.modes[17] & lgpio.LG_INPUT
    first.close()
    second = pins.device("LED", 17)
    second.on()
    assert lgpio.levels[17] == 1
    pins.close()


def test_on_real_pins_nothing_is_done_in_the_boxs_own_thread(lgpio):
    """LED, dimmed LED and button through lgpio's interface, in real time."""
    health, asked = Mood(), Asked()
    health.copies = 2
    settings = PanelSettings(
        show="leds",
        leds=(Led(pin=17), Led(pin=18, role="mail", pwm=True, brightness=0.5)),
        button=Button(pin=23),
    )
    health.mail_waiting = 1

    def person():
        lgpio.contact(23, 0)
        time.sleep(0.1)
        lgpio.contact(23, 1)

    async def main():
        panel = Panel(settings, health, asked.actions)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(panel.run)
            await trio.sleep(0.5)
            assert (lgpio.levels[17], lgpio.pwm[18]) == (1, 0.5)
            await trio.to_thread.run_sync(person)
            await trio.sleep(0.2)
            health.state = "stopped"
            nursery.cancel_scope.cancel()
        await panel.leave()

    trio.run(main)
    assert asked.names == ["pairing"]
    assert (lgpio.levels[17], lgpio.pwm[18]) == (0, 0.0)
    assert lgpio.threads
    assert threading.get_ident() not in lgpio.threads
    assert lgpio.callbacks == {}
    Pins().factory().close()


# What `pocket doctor` says of the same.

ONE_LED = PanelSettings(leds=(Led(pin=17),), button=Button(pin=3))


def told(settings) -> list[tuple[bool, str, str]]:
    return [(finding.ok, finding.what, finding.do) for finding in check_panel(settings)]


def test_the_doctor_finds_nothing_to_look_at(tmp_path):
    assert told(PanelSettings(leds_folder=tmp_path)) == [
        (True, "the panel has no LEDs or button to look at", "")
    ]


def test_the_doctor_finds_no_gpio(tmp_path, monkeypatch):
    monkeypatch.setattr(pins_module, "DEVICES", tmp_path)
    ((ok, what, do),) = told(ONE_LED)
    assert not ok
    assert what == "this machine has no GPIO pins (/dev/gpiochip*)"
    assert "mock" in do


def test_the_doctor_takes_mock_pins_as_they_are():
    settings = PanelSettings(pins="mock", leds=(Led(pin=17),))
    assert told(settings) == [(True, "the pins are mock pins: nothing is driven", "")]


def test_the_doctor_finds_who_uses_a_pin(lgpio):
    assert [ok for ok, _, _ in told(ONE_LED)] == [True, True, True]
    lgpio.users |= {17: "onewire@0", 3: "lg"}
    findings = told(ONE_LED)
    assert (False, "LED on GPIO17: GPIO17 is used by onewire@0") in [f[:2] for f in findings]
    assert (True, "button on GPIO3: in use by the box", "") in findings
    assert lgpio.modes == {}


def test_the_doctor_finds_a_chip_it_may_not_open(lgpio, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "gpiochip0")
    ((ok, what, do),) = told(ONE_LED)
    assert not ok
    assert "may not be opened by this user" in what
    assert "group gpio" in do
    monkeypatch.undo()


def test_the_doctor_finds_a_chip_that_does_not_open(lgpio):
    lgpio.chips.clear()
    assert told(ONE_LED)[-1][0] is False


@pytest.mark.parametrize("library", ["gpiozero", "lgpio"])
def test_the_doctor_finds_a_missing_library(library, devices, monkeypatch):
    without(monkeypatch, library)
    assert [(ok, what) for ok, what, _ in told(ONE_LED)] == [(False, f"the library {library} is missing")]


def test_the_doctor_finds_pins_that_have_another_use():
    settings = PanelSettings(pins="mock", leds=(Led(pin=14),), button=Button(pin=2, active_low=False))
    wrong = [what for ok, what, _ in told(settings) if not ok]
    assert wrong == [
        "LED on GPIO14: GPIO14 is a wire of the serial console",
        "button on GPIO2: this pin has a fixed resistor to 3.3 V",
    ]


def make_led(folder: Path, name: str, trigger: str) -> Path:
    path = folder / name
    path.mkdir()
    for file, text in {"brightness": "0", "max_brightness": "1", "trigger": trigger}.items():
        (path / file).write_text(text)
    return path


def test_the_doctor_looks_at_board_leds(tmp_path, monkeypatch):
    make_led(tmp_path, "ACT", "none [mmc0] timer")
    make_led(tmp_path, "PWR", "none [default-on]")
    named = PanelSettings(
        leds_folder=tmp_path,
        leds=(Led(board="ACT"), Led(board="PWR", role="alarm"), Led(board="led7", role="mail")),
    )
    assert [ok for ok, _, _ in told(named)] == [True, False, False]
    texts = [what + do for _, what, do in told(named)]
    assert "cannot blink when the box has crashed" in texts[1]
    assert "take one of: ACT, PWR" in texts[2]
    assert told(PanelSettings(leds_folder=tmp_path)) == [(True, "board LED ACT: works", "")]
    assert (tmp_path / "ACT" / "trigger").read_text() == "none [mmc0] timer"
    original = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "trigger" not in str(path) and original(path, mode))
    ((ok, what, do),) = told(PanelSettings(leds_folder=tmp_path))
    assert not ok
    assert what.endswith("trigger cannot be written")
    assert "udev rule" in do


def test_importing_the_room_imports_no_gpio_library():
    """They take 7 MB of a small machine, and most boxes have no pins."""
    code = (
        "import sys, appliance.panel; print([m for m in sys.modules if m.startswith(('gpiozero', 'lgpio'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""
