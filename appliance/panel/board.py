"""LEDs that the kernel drives, under /sys/class/leds: those on the board, and those that a device tree
overlay made of a pin.

They are the ones that can tell the truth when this process is gone: the kernel can blink them by itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Hashable
from pathlib import Path

from appliance.panel.lamps import Lamp, Leave
from appliance.panel.settings import Led, PanelError, Role
from appliance.panel.signs import ENDED, Shown

OWN = ("ACT", "led0")
"""What Raspberry Pis call the green LED on the board."""

BLINK_MS = round(ENDED.pattern.steps[0].seconds * 1000)
DELAYS_S = 0.3
"""delay_on appears with the trigger, and a udev rule then makes it ours: that takes a moment."""

NO_ACCESS = (
    "{path} cannot be written ({why}): install the udev rule that comes with the box, put the user into the"
    " group gpio, and let the service write there (ReadWritePaths in its unit)"
)


class BoardLamp(Lamp):
    """One of the kernel's LEDs. Its trigger (what the kernel shows with it) is taken off, and put back where
    the panel was only tried out.
    """

    def __init__(
        self, name: str, role: Role, folder: Path, brightness: float = 1.0, dims: bool = False
    ) -> None:
        super().__init__(f"board LED {name}", role)
        self._path = folder / name
        self._brightness = brightness
        self._dims = dims
        self._max = 1
        self._found: tuple[str, str] | None = None
        self._triggers: list[str] = []

    def value(self, shown: Shown) -> Hashable:
        return round(shown.brightness * self._brightness, 2) if self._dims else float(shown.lit)

    def open(self) -> None:
        if not self._path.is_dir():
            have = ", ".join(board_leds(self._path.parent)) or "none"
            raise PanelError(f"there is no {self.name} on this machine; there is: {have}")
        self._triggers = triggers(self._path)
        if self._found is None:
            self._found = (current_trigger(self._path), self._read("brightness"))
        self._max = max(1, int(self._read("max_brightness") or 1))
        self.darken()

    def put(self, value: Hashable) -> None:
        assert isinstance(value, float)
        # On hardware that only knows on and off anything above 0 is on: a dim light must not round to 0.
        self._write("brightness", str(min(self._max, max(round(value * self._max), value > 0))))

    def leave(self, how: Leave) -> None:
        if self._found is None:
            return
        if how is Leave.FOUND:
            trigger, brightness = self._found
            self._write("trigger", trigger)
            if trigger == "none":
                self._write("brightness", brightness)
        elif how is Leave.SAFE:
            self.darken()
        else:
            self.blink()

    def darken(self) -> None:
        """Off, and nothing that the kernel does lights it."""
        self._write("trigger", "none")
        self._write("brightness", "0")

    def blink(self) -> None:
        """Let the kernel show an error by itself; where it cannot, the light is left on."""
        self._max = max(1, int(self._read("max_brightness") or 1))
        able = self._triggers or triggers(self._path)
        self._write("trigger", "none")
        self._write("brightness", str(self._max))
        if "timer" not in able:
            return
        self._write("trigger", "timer")
        # Without these it blinks at 1 Hz: also no lie.
        ends = time.monotonic() + DELAYS_S
        while True:
            try:
                self._write("delay_on", str(BLINK_MS))
                self._write("delay_off", str(BLINK_MS))
                return
            except (PanelError, OSError):
                if time.monotonic() > ends:
                    return
                time.sleep(0.02)

    def _read(self, name: str) -> str:
        try:
            return (self._path / name).read_text("ascii").strip()
        except OSError as error:
            raise PanelError(f"{self._path / name} cannot be read: {error.strerror}") from error

    def _write(self, name: str, text: str) -> None:
        path = self._path / name
        try:
            # No O_CREAT: a file that is not there must stay so.
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_TRUNC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        except PermissionError as error:
            raise PanelError(NO_ACCESS.format(path=path, why=error.strerror)) from error
        except OSError as error:
            raise PanelError(f"{path} cannot be written: {error.strerror}") from error


def board_lamp(led: Led, folder: Path) -> BoardLamp:
    assert led.board is not None
    return BoardLamp(led.board, led.role, folder, led.brightness, led.pwm)


def own_led(folder: Path) -> str | None:
    """The name of the board's own LED, if there is one that we may use."""
    usable = (name for name in OWN if os.access(folder / name / "brightness", os.W_OK))
    return next(usable, None)


def board_leds(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def triggers(path: Path) -> list[str]:
    """What the kernel can show with the LED at `path`."""
    try:
        return (path / "trigger").read_text("ascii").replace("[", "").replace("]", "").split()
    except OSError:
        return []


def current_trigger(path: Path) -> str:
    """What the kernel shows with it now: the one in brackets."""
    try:
        words = (path / "trigger").read_text("ascii").split()
    except OSError:
        return "none"
    return next((word[1:-1] for word in words if word.startswith("[")), "none")
