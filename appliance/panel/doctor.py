"""Looks at the hardware that the panel's settings name, and says what is wrong and what to do. It changes
nothing, so it may be asked while the box runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.panel.board import OWN, board_leds, triggers
from appliance.panel.pins import NO_ACCESS, NO_GPIO, gpio_chips, gpiozero, header_chip, lgpio
from appliance.panel.settings import PanelError, PanelSettings

UART_PINS = (14, 15)
PULLED_UP_PINS = (2, 3)
BUSY = 1
"""lgpio's flag of a line that somebody has taken."""

LED_RULE = "install the udev rule that comes with the box, and put its user into the group gpio"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `do` is empty if it is `ok`."""

    ok: bool
    what: str
    do: str = ""


def check_panel(settings: PanelSettings) -> list[Finding]:
    """What is right and wrong with the panel's hardware. Blocks for some milliseconds; raises nothing."""
    found: list[Finding] = []
    if settings.uses_pins:
        found += _pins(settings)
    found += _boards(settings)
    if not found:
        found.append(Finding(True, "the panel has no LEDs or button to look at"))
    return found


def _pins(settings: PanelSettings) -> Iterator[Finding]:
    used = [(led.name, pin) for led in settings.leds for pin in led.pins]
    button = settings.button
    if button is not None:
        used.append((button.name, button.pin))
    for name, pin in used:
        if pin in UART_PINS:
            yield Finding(
                False,
                f"{name}: GPIO{pin} is a wire of the serial console",
                "take another pin, or leave the serial port away",
            )
    if button is not None and button.pin in PULLED_UP_PINS and not button.active_low:
        yield Finding(
            False,
            f"{button.name}: this pin has a fixed resistor to 3.3 V",
            "wire the button to ground and set active_low = true, or take another pin",
        )
    try:
        gpiozero()
        if settings.pins == "mock":
            yield Finding(True, "the pins are mock pins: nothing is driven")
            return
        chips = gpio_chips()
        if not chips:
            raise PanelError(NO_GPIO)
        closed = [chip for chip in chips if not os.access(chip, os.R_OK | os.W_OK)]
        if closed:
            raise PanelError(NO_ACCESS.format(chip=closed[0]))
        library = lgpio()
    except PanelError as error:
        what, colon, do = str(error).partition(": ")
        yield Finding(False, what, do if colon else "")
        return
    yield Finding(True, "GPIO: " + ", ".join(str(chip) for chip in chips))
    yield from _lines(library, header_chip() if settings.chip is None else settings.chip, used)


def _lines(library: Any, chip: int, used: list[tuple[str, int]]) -> Iterator[Finding]:
    try:
        handle = library.gpiochip_open(chip)
    except Exception as error:
        yield Finding(False, f"/dev/gpiochip{chip} cannot be opened ({error})", "set panel.gpio_chip")
        return
    try:
        for name, pin in used:
            try:
                _status, _line, flags, _label, user = library.gpio_get_line_info(handle, pin)
            except Exception as error:
                yield Finding(
                    False, f"{name}: GPIO{pin} is not on /dev/gpiochip{chip} ({error})", "name another pin"
                )
                continue
            if flags & BUSY and user != "lg":
                yield Finding(
                    False,
                    f"{name}: GPIO{pin} is used by {user or 'the kernel'}",
                    "take another pin, or end what uses it (dtoverlay lines in config.txt do so, too)",
                )
            else:
                yield Finding(True, f"{name}: {'in use by the box' if flags & BUSY else 'free'}")
    finally:
        library.gpiochip_close(handle)


def _boards(settings: PanelSettings) -> Iterator[Finding]:
    folder = settings.leds_folder
    names = [led.board for led in settings.leds if led.board is not None]
    if settings.show not in ("auto", "leds"):
        return
    if not settings.leds:
        names = [name for name in OWN if (folder / name).is_dir()][:1]
    for name in names:
        yield _board(folder, name)


def _board(folder: Path, name: str) -> Finding:
    path = folder / name
    if not path.is_dir():
        have = ", ".join(board_leds(folder))
        return Finding(
            False,
            f"there is no board LED {name} in {folder}",
            f"take one of: {have}" if have else "this machine has none: leave it away",
        )
    for file in ("brightness", "trigger"):
        if not os.access(path / file, os.W_OK):
            return Finding(False, f"board LED {name}: {path / file} cannot be written", LED_RULE)
    if "timer" not in triggers(path):
        return Finding(
            False,
            f"board LED {name} works, but cannot blink when the box has crashed",
            "load the kernel module ledtrig-timer (`modprobe ledtrig-timer`)",
        )
    return Finding(True, f"board LED {name}: works")
