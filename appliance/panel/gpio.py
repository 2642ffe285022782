"""Lights on GPIO pins, with gpiozero: plain, dimmed, and of three colours."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from appliance.panel.lamps import Lamp, Leave
from appliance.panel.pins import Pins, explain
from appliance.panel.settings import Led, PanelError
from appliance.panel.signs import Shown

LEVELS = 50
"""Steps of brightness; more cannot be seen."""

PART = 0.4
"""From this on a colour is lit where none can be dimmed: so amber is yellow, and not red like an error."""

_left: list[Any] = []
"""Devices that stay as they are: gpiozero switches off what is collected."""


class GpioLamp(Lamp):
    """An LED on a pin, or three.

    After the process is gone the pin is the kernel's: a Raspberry Pi keeps its level by default, other
    boards may let it go dark. ``Leave.TROUBLE`` therefore leaves it lit, which is all it can do.
    """

    def __init__(self, led: Led, pins: Pins) -> None:
        super().__init__(led.name, led.role)
        self.quick = pins.mock
        self._led = led
        self._pins = pins
        self._device: Any = None

    def value(self, shown: Shown) -> Hashable:
        led = self._led
        if not led.pwm:
            return tuple(part >= PART for part in shown.sign.colour) if led.rgb and shown.lit else shown.lit
        level = shown.brightness * led.brightness
        if led.rgb is None:
            return round(level * LEVELS) / LEVELS
        return tuple(round(part * level * LEVELS) / LEVELS for part in shown.sign.colour)

    def open(self) -> None:
        self._close()
        led = self._led
        if led.rgb is not None:
            self._device = self._pins.device("RGBLED", *led.rgb, active_high=led.active_high, pwm=led.pwm)
        else:
            kind = "PWMLED" if led.pwm else "LED"
            self._device = self._pins.device(kind, led.pin, active_high=led.active_high)

    def put(self, value: Hashable) -> None:
        if self._led.rgb is not None and not isinstance(value, tuple):
            value = (value,) * 3
        try:
            self._device.value = value
        except Exception as error:
            raise PanelError(explain(error)) from error

    def leave(self, how: Leave) -> None:
        if self._device is None:
            return
        if how is not Leave.TROUBLE:
            self.put(False)
            self._close()
            return
        self.put(True)
        for device in (self._device, *getattr(self._device, "_leds", ())):
            device.close = _stay
            _left.append(device)

    def _close(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            try:
                device.close()
            except Exception as error:
                raise PanelError(explain(error)) from error


def _stay() -> None:
    """In the place of a device's `close`."""
