"""Getting at GPIO pins: which library, and what to do where there is none.

gpiozero and lgpio are imported when the first pin is wanted: they take 7 MB, and most boxes have no pins.
"""

from __future__ import annotations

import os
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from typing import Any

from appliance.panel.settings import PanelError, PinLibrary

DEVICES = Path("/dev")
OTHER_BOARD = 0xA02082
"""gpiozero asks which Raspberry Pi this is. Elsewhere we say a Pi 3: its header has GPIO0 to GPIO27."""
PI_5 = (0x17, 0x18, 0x19, 0x1A)
"""The model numbers of Raspberry Pi 5, Compute Module 5, 500 and Compute Module 5 Lite."""

NO_GPIO = (
    "this machine has no GPIO pins (/dev/gpiochip*): take the pins out of the configuration, or set"
    ' panel.pins = "mock"'
)
NO_LGPIO = "the library lgpio is missing: install it with `pip install lgpio==0.2.2.0`"
NO_ACCESS = (
    "{chip} may not be opened by this user: install the udev rule that comes with the box, and put the user"
    " into the group gpio (`usermod -aG gpio USER`)"
)


class Pins:
    """One gpiozero factory for all pins of the panel; gpiozero cannot share pins between two. Thread-safe,
    and every method may block.
    """

    def __init__(self, library: PinLibrary = "auto", chip: int | None = None) -> None:
        self.mock = library == "mock"
        self._chip = chip
        self._lock = threading.Lock()
        self._factory: Any = None

    def factory(self) -> Any:
        """The factory, made on first use. Raises ``PanelError`` with what to do."""
        with self._lock:
            if self._factory is None:
                self._factory = _mock_factory() if self.mock else _real_factory(self._chip)
            return self._factory

    def device(self, kind: str, *args: Any, **options: Any) -> Any:
        """A gpiozero device. Raises ``PanelError``."""
        factory = self.factory()
        try:
            return getattr(gpiozero(), kind)(*args, pin_factory=factory, **options)
        except Exception as error:
            raise PanelError(explain(error)) from error

    def close(self) -> None:
        """Give all pins back: they become inputs."""
        with self._lock:
            if self._factory is not None:
                self._factory.close()
                self._factory = None


def gpiozero() -> Any:
    """The library. Raises ``PanelError``."""
    try:
        return import_module("gpiozero")
    except ImportError:
        raise PanelError("the library gpiozero is missing: install it with `pip install gpiozero`") from None


def gpio_chips() -> list[Path]:
    """The devices of all GPIO chips, in order."""
    chips = [path for path in DEVICES.glob("gpiochip*") if path.name[8:].isdigit()]
    return sorted(chips, key=lambda path: int(path.name[8:]))


def board_revision() -> int:
    """What board this is, as Raspberry Pis number theirs; OTHER_BOARD if it is none."""
    try:
        return int(import_module("gpiozero.pins.local").get_pi_revision())
    except (gpiozero().PinUnknownPi, OSError):
        return OTHER_BOARD


def header_chip() -> int:
    """The number of the chip that has the pins of the header. A Raspberry Pi 5 may have it as the fifth."""
    is_pi_5 = (board_revision() & 0xFF0) >> 4 in PI_5
    return 4 if is_pi_5 and (DEVICES / "gpiochip4").exists() else 0


def lgpio() -> Any:
    """The library. Raises ``PanelError``.

    Importing it makes a pipe in the working directory, or where LG_WD says; in the second case it also moves
    the whole process there. The pipe is only needed while it is opened. So LG_WD is named only if there is
    no other way, the process goes back at once, and no litter stays.
    """
    here = os.getcwd()
    asked = os.environ.pop("LG_WD", None)
    if not os.access(here, os.W_OK):
        os.environ["LG_WD"] = asked or tempfile.mkdtemp(prefix="pocket-gpio-")
    try:
        module = import_module("lgpio")
        for pipe in Path.cwd().glob(".lgd-nfy*"):
            pipe.unlink(missing_ok=True)
    except (ImportError, OSError) as error:
        raise PanelError(f"{NO_LGPIO} ({error})") from error
    finally:
        os.chdir(here)
    if not hasattr(module, "gpiochip_open"):
        raise PanelError(f"{NO_LGPIO} (what is installed is an empty placeholder)")
    return module


def explain(error: BaseException) -> str:
    """The text of an error of gpiozero or lgpio, with what to do where that is known."""
    text = str(error).strip("'\"") or type(error).__name__
    if "GPIO busy" in text or type(error).__name__ == "GPIOPinInUse":
        return f"{text}: another program or a kernel overlay uses this pin; `gpioinfo` shows which"
    return text


def _mock_factory() -> Any:
    gpiozero()
    mock = import_module("gpiozero.pins.mock")
    return mock.MockFactory(pin_class=mock.MockPWMPin)


def _real_factory(chip: int | None) -> Any:
    chips = gpio_chips()
    if not chips:
        raise PanelError(NO_GPIO)
    gpiozero()
    library = lgpio()
    base = import_module("gpiozero.pins.lgpio").LGPIOFactory
    try:
        made = type("Factory", (base,), {"_get_revision": lambda _: board_revision()})
        return made(chip=header_chip() if chip is None else chip)
    except library.error as error:
        closed = [path for path in chips if not os.access(path, os.R_OK | os.W_OK)]
        if closed:
            raise PanelError(NO_ACCESS.format(chip=closed[0])) from error
        raise PanelError(f"no GPIO chip could be opened ({explain(error)}): set panel.gpio_chip") from error
