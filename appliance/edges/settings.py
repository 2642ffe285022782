"""From the configuration to the settings of the edges: what a person may touch, see or hear of the box."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.config import Config, Panel
from appliance.config import Led as LedConfig
from appliance.version import __version__

if TYPE_CHECKING:
    from appliance.console import ConsoleSettings
    from appliance.discovery import DiscoverySettings
    from appliance.panel import Button, Led, Night, PanelSettings

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Announced:
    """What the network is told: the box's id, the port, the addresses that it listens on, the site's id
    ("" if it never had a peer) and its name ("": as the configuration says).
    """

    box: str
    port: int
    listen: tuple[str, ...]
    site_id: str = ""
    site: str = ""

    @property
    def only_here(self) -> bool:
        """Nobody else can connect, so nobody has to find it."""
        return all(ip_address(address.partition("%")[0]).is_loopback for address in self.listen)


KERNELS_LEDS = Path("/sys/class/leds")


def has_panel(config: Config) -> bool:
    """Whether there may be anything to show something with, or to press. If not, the panel's code need not be
    in memory.
    """
    panel = config.panel
    if panel.button.pin >= 0 or panel.show == "terminal" or (panel.led and panel.show != "none"):
        return True
    return panel.show == "auto" and (sys.stderr.isatty() or any(KERNELS_LEDS.glob("*")))


def panel_settings(config: Config) -> PanelSettings:
    """Raises ``BadPanel``, a ValueError, if it contradicts itself."""
    from appliance.panel import PanelSettings

    panel = config.panel
    return PanelSettings(
        show=panel.show,
        pins=panel.pins,
        chip=None if panel.gpio_chip < 0 else panel.gpio_chip,
        leds=tuple(map(_led, panel.led)),
        button=_button(config),
        night=_night(config),
    )


def discovery_settings(config: Config, announced: Announced) -> DiscoverySettings:
    from appliance.discovery import DiscoverySettings

    return DiscoverySettings(
        site=announced.site or config.name,
        box_id=announced.box,
        site_id=announced.site_id,
        version=__version__,
        port=announced.port,
        host=config.discovery.host,
        listen=announced.listen,
        interfaces=config.discovery.interfaces,
    )


def console_settings(config: Config) -> ConsoleSettings:
    from appliance.console import ConsoleSettings

    console = config.console
    return ConsoleSettings(
        data=config.data,
        ports=console.ports,
        baud=console.baud,
        confirm=console.confirm,
        word_limit_s=console.word_limit_s,
        wifi=console.wifi,
        wifi_connect_s=console.wifi_connect_s,
    )


def objections(config: Config) -> Iterator[tuple[Place, str]]:
    """What is wrong with a configuration whose values are each right by themselves: where, and the text."""
    if config.panel == Panel(show=config.panel.show):
        return
    from appliance.panel import BadPanel

    made = True
    checks: list[tuple[Place, Callable[[], object]]] = [
        (("panel", "led", number), partial(_led, led)) for number, led in enumerate(config.panel.led)
    ]
    checks += [
        (("panel", "button"), partial(_button, config)),
        (("panel", "night_from"), partial(_night, config)),
    ]
    for place, check in checks:
        try:
            check()
        except BadPanel as error:
            made = False
            yield place, f"{place[0]}.{place[1]}: {error}"
    if made:
        try:
            panel_settings(config)
        except BadPanel as error:
            yield ("panel",), str(error)


def _led(led: LedConfig) -> Led:
    from appliance.panel import BadPanel, Led

    one, two, three = led.pin, led.green_pin, led.blue_pin
    colours = (two >= 0) + (three >= 0)
    if colours == 1 or (colours and one < 0):
        raise BadPanel("an LED of three colours needs pin (red), green_pin and blue_pin")
    return Led(
        role=led.role,
        pin=one if one >= 0 and not colours else None,
        rgb=(one, two, three) if colours else None,
        board=led.board or None,
        pwm=led.pwm,
        active_high=led.active_high,
        brightness=led.brightness,
    )


def _button(config: Config) -> Button | None:
    button = config.panel.button
    if button.pin < 0:
        return None
    from appliance.panel import Button

    return Button(
        pin=button.pin,
        active_low=button.active_low,
        debounce_s=button.debounce_s,
        shutdown_s=button.shutdown_s,
        reset_s=button.reset_s,
        confirm_s=button.confirm_s,
        stuck_s=button.stuck_s,
    )


def _night(config: Config) -> Night | None:
    panel = config.panel
    if panel.night_from is None and panel.night_to is None:
        return None
    from appliance.panel import BadPanel, Night

    if panel.night_from is None or panel.night_to is None:
        raise BadPanel("night_from and night_to belong together: give both or neither")
    return Night(
        start=panel.night_from,
        end=panel.night_to,
        brightness=panel.night_brightness,
        alarms=panel.night_alarms,
    )
