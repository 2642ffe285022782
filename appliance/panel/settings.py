"""What a builder says of the lights and the button: plain values, checked when they are made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Literal, get_args

Role = Literal["status", "mail", "relay", "peer", "alarm"]
Show = Literal["auto", "leds", "terminal", "none"]
PinLibrary = Literal["auto", "lgpio", "mock"]

ROLES: tuple[Role, ...] = get_args(Role)
PIN_MAX = 27
"""GPIO0 to GPIO27 are on the 40-pin header of every Raspberry Pi."""


class PanelError(Exception):
    """A light or the button cannot work; the text says why and what to do."""


class BadPanel(PanelError, ValueError):
    """The panel's settings contradict themselves or the hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Led:
    """One light: on `pin`, or with three colours on `rgb` (red, green, blue), or the kernel's own LED
    `board` (a name in /sys/class/leds). Pins are GPIO numbers, as in "GPIO17".

    Raises ``BadPanel`` unless it is exactly one of the three.
    """

    role: Role = "status"
    pin: int | None = None
    rgb: tuple[int, int, int] | None = None
    board: str | None = None
    pwm: bool = False
    """Whether it can be dimmed: a fade is then a fade, and not a slow blink."""
    active_high: bool = True
    """False: it is wired to 3.3 V and lights when its pin is low."""
    brightness: float = 1.0
    """At most this bright, 0 to 1; only for those that can be dimmed."""

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise BadPanel(f"{self.role!r} is no role of an LED: take one of {', '.join(ROLES)}")
        if sum(place is not None for place in (self.pin, self.rgb, self.board)) != 1:
            raise BadPanel(
                f"the LED for {self.role} needs either a pin, or three pins, or the name of a board LED"
            )
        if not 0 < self.brightness <= 1:
            raise BadPanel(f"the brightness of {self.name} must be above 0 and at most 1")
        if self.board is not None and (not self.board or "/" in self.board or self.board in (".", "..")):
            raise BadPanel(
                f"{self.board!r} is no name of a board LED: take one that `ls /sys/class/leds` shows"
            )
        for pin in self.pins:
            check_pin(pin)

    @property
    def pins(self) -> tuple[int, ...]:
        if self.rgb is not None:
            return self.rgb
        return () if self.pin is None else (self.pin,)

    @property
    def name(self) -> str:
        """How messages call it."""
        if self.board is not None:
            return f"board LED {self.board}"
        return "LED on " + ", ".join(f"GPIO{pin}" for pin in self.pins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """The button. A press lasts from the first contact to the first opening."""

    pin: int
    active_low: bool = True
    """True: wired to ground, and pulled up inside. False: wired to 3.3 V, and pulled down."""
    debounce_s: float = 0.03
    """A contact is believed after it was quiet for so long."""
    shutdown_s: float = 5.0
    reset_s: float = 10.0
    confirm_s: float = 10.0
    """For so long after the 10 s press a short press confirms it."""
    stuck_s: float = 30.0
    """Held for longer than this, a button means nothing."""

    def __post_init__(self) -> None:
        check_pin(self.pin)
        if not 0 <= self.debounce_s <= 0.5:
            raise BadPanel("debounce_s must be 0 to 0.5 s")
        if not self.debounce_s < self.shutdown_s < self.reset_s < self.stuck_s or self.confirm_s <= 0:
            raise BadPanel("the button's times must rise: debounce_s, shutdown_s, reset_s, stuck_s")

    @property
    def name(self) -> str:
        return f"button on GPIO{self.pin}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """From `start` to `end`, local time, over midnight if need be, the lights are dim or dark."""

    start: time
    end: time
    brightness: float = 0.0
    """0: dark. An LED that cannot be dimmed is dark below 0.5."""
    alarms: bool = True
    """Whether warnings and errors show all the same."""

    def __post_init__(self) -> None:
        if self.start == self.end:
            raise BadPanel("the night must not begin when it ends: leave both away to have none")
        if not 0 <= self.brightness <= 1:
            raise BadPanel("the brightness at night must be 0 to 1")

    def covers(self, now: time) -> bool:
        if self.start < self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelSettings:
    """The whole panel. Raises ``BadPanel`` if one pin or board LED is given two things to do."""

    show: Show = "auto"
    """auto: the LEDs, or where none are configured a Raspberry Pi's own green one; and the terminal, if
    standard error is one."""
    pins: PinLibrary = "auto"
    """auto and lgpio: real pins, by lgpio. mock: none, for trying things out."""
    chip: int | None = None
    """Which /dev/gpiochip; None: the one with the 40-pin header."""
    leds: tuple[Led, ...] = ()
    button: Button | None = None
    night: Night | None = None
    leds_folder: Path = field(default=Path("/sys/class/leds"))

    def __post_init__(self) -> None:
        used = [pin for led in self.leds for pin in led.pins]
        if self.button is not None:
            used.append(self.button.pin)
        boards = [led.board for led in self.leds if led.board is not None]
        for pin, times in Counter(used).items():
            if times > 1:
                raise BadPanel(
                    f"GPIO{pin} is named {times} times: every LED and the button need their own pin"
                )
        for board, times in Counter(boards).items():
            if times > 1:
                raise BadPanel(f"the board LED {board} is named {times} times: it can show one role only")

    @property
    def uses_pins(self) -> bool:
        return self.button is not None or (
            self.show in ("auto", "leds") and any(led.pins for led in self.leds)
        )


def check_pin(pin: int) -> None:
    if not 0 <= pin <= PIN_MAX:
        raise BadPanel(f"GPIO{pin} is not on the header: take 0 to {PIN_MAX}")
