"""A stand-in for the module lgpio: chips without hardware, calls from a thread of its own, and the habits of
the real one (a pipe in the working directory, or where LG_WD says, and then the process moves there)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

BOTH_EDGES, RISING_EDGE, FALLING_EDGE = 3, 1, 2
SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128
OUT, LG_INPUT, LG_OUTPUT = 2, 256, 512

levels: dict[int, int] = {}
modes: dict[int, int] = {}
pwm: dict[int, float] = {}
users: dict[int, str] = {}
callbacks: dict[int, Callable[..., None]] = {}
chips: set[int] = {0}
threads: set[int] = set()


class error(Exception):
    def __str__(self) -> str:
        return repr(self.args[0])


def imported() -> None:
    """What importing does."""
    folder = os.environ.get("LG_WD")
    if folder:
        os.chdir(folder)
    Path(".lgd-nfy0").touch()


def reset() -> None:
    for store in (levels, modes, pwm, users, callbacks, threads):
        store.clear()
    chips.clear()
    chips.add(0)


def gpiochip_open(chip: int) -> int:
    if chip not in chips:
        raise error("can not open gpiochip")
    return 7


def gpiochip_close(handle: int) -> int:
    return 0


def gpio_get_line_info(handle: int, gpio: int) -> list[Any]:
    if gpio > 27:
        raise error("bad GPIO number")
    return [0, gpio, 1 if gpio in users else 0, "", users.get(gpio, "")]


def _claim(gpio: int, mode: int) -> int:
    if users.get(gpio, "lg") != "lg":
        raise error("GPIO busy")
    users[gpio] = "lg"
    modes[gpio] = mode
    return 0


def gpio_claim_input(handle: int, gpio: int, flags: int = 0) -> int:
    pull = flags & (SET_PULL_UP | SET_PULL_DOWN)
    levels[gpio] = 1 if flags & SET_PULL_UP else 0
    return _claim(gpio, LG_INPUT | pull)


def gpio_claim_output(handle: int, gpio: int, level: int = 0, flags: int = 0) -> int:
    levels[gpio] = level
    return _claim(gpio, OUT | LG_OUTPUT)


def gpio_claim_alert(handle: int, gpio: int, edges: int, flags: int = 0) -> int:
    return 0


def gpio_free(handle: int, gpio: int) -> int:
    users.pop(gpio, None)
    return 0


def gpio_get_mode(handle: int, gpio: int) -> int:
    return modes[gpio]


def gpio_read(handle: int, gpio: int) -> int:
    return levels[gpio]


def gpio_write(handle: int, gpio: int, level: int) -> int:
    threads.add(threading.get_ident())
    levels[gpio] = int(level)
    return 0


def tx_pwm(handle: int, gpio: int, frequency: float, duty: float) -> int:
    threads.add(threading.get_ident())
    pwm[gpio] = duty / 100 if frequency else 0.0
    return 0


def gpio_set_debounce_micros(handle: int, gpio: int, micros: int) -> int:
    return 0


class callback:
    def __init__(self, handle: int, gpio: int, edges: int, function: Callable[..., None]) -> None:
        self._gpio = gpio
        callbacks[gpio] = function

    def cancel(self) -> None:
        callbacks.pop(self._gpio, None)


def contact(gpio: int, level: int) -> None:
    """Somebody drives the pin: callbacks come from a thread."""
    levels[gpio] = level
    function = callbacks.get(gpio)
    if function is not None:
        thread = threading.Thread(target=function, args=(0, gpio, level, 0))
        thread.start()
        thread.join()
