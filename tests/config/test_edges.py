"""What the configuration says of panel and console reaches them."""

from datetime import time

import pytest

from appliance.config import Config, ConfigError, load
from appliance.console import ConsoleSettings
from appliance.edges.settings import console_settings, objections, panel_settings
from appliance.panel import Button, Led, Night, PanelSettings


def test_the_defaults_are_those_of_the_rooms():
    config = load(None, {"panel.button.pin": 23})
    assert panel_settings(config) == PanelSettings(button=Button(pin=23))
    assert panel_settings(Config()) == PanelSettings()
    assert console_settings(config) == ConsoleSettings(data=config.data)


def test_every_option_reaches_the_panel():
    config = load(
        None,
        {
            "panel.show": "leds",
            "panel.pins": "mock",
            "panel.gpio_chip": 4,
            "panel.night_from": "22:30",
            "panel.night_to": "06:00",
            "panel.night_brightness": 0.25,
            "panel.night_alarms": False,
            "panel.led": [
                {"pin": 4, "pwm": True, "brightness": 0.5, "active_high": False, "role": "mail"},
                {"pin": 5, "green_pin": 6, "blue_pin": 7},
                {"board": "ACT", "role": "alarm"},
            ],
            "panel.button": {
                "pin": 8,
                "active_low": False,
                "debounce_s": 0.1,
                "shutdown_s": 6,
                "reset_s": 12,
                "confirm_s": 7,
                "stuck_s": 40,
            },
        },
        objections=objections,
    )
    assert panel_settings(config) == PanelSettings(
        show="leds",
        pins="mock",
        chip=4,
        leds=(
            Led(pin=4, pwm=True, brightness=0.5, active_high=False, role="mail"),
            Led(rgb=(5, 6, 7)),
            Led(board="ACT", role="alarm"),
        ),
        button=Button(
            pin=8, active_low=False, debounce_s=0.1, shutdown_s=6, reset_s=12, confirm_s=7, stuck_s=40
        ),
        night=Night(start=time(22, 30), end=time(6), brightness=0.25, alarms=False),
    )


def test_every_option_reaches_the_console():
    given = {
        "ports": ["/dev/ttyA", "/dev/ttyB*"],
        "baud": 9600,
        "confirm": ["device drop"],
        "word_limit_s": 5,
        "wifi": "off",
        "wifi_connect_s": 9,
    }
    config = load(None, {"console": given})
    assert console_settings(config) == ConsoleSettings(
        data=config.data,
        ports=("/dev/ttyA", "/dev/ttyB*"),
        baud=9600,
        confirm=("device drop",),
        word_limit_s=5,
        wifi="off",
        wifi_connect_s=9,
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"panel.night_from": "25:00"}, "must be a time of day in quotes, HH:MM"),
        ({"panel.night_from": "7:00"}, "must be a time of day in quotes, HH:MM"),
        ({"panel.night_from": "07:00"}, "night_from and night_to belong together"),
        ({"panel.night_from": "07:00", "panel.night_to": "07:00"}, "must not begin when it ends"),
        ({"panel.led": [{"pin": 4}, {"pin": 4}]}, "GPIO4 is named 2 times"),
        ({"panel.led": [{"pin": 4, "green_pin": 5}]}, "needs pin (red), green_pin and blue_pin"),
        ({"panel.led": [{"pin": 4, "board": "ACT"}]}, "needs either a pin, or three pins, or the name"),
        ({"panel.led": [{}] * 29}, "more than 28 of panel.led"),
        ({"panel.show": "tv"}, "--panel: panel.show = 'tv' must be auto, leds, terminal or none"),
        ({"console.ports": "/dev/ttyA"}, "must be a list of texts"),
        ({"console.ports": [1]}, "must be a list of texts"),
        ({"console.ports": ["/dev/x"] * 9}, "has 9 entries: take at most 8"),
    ],
)
def test_what_cannot_be_is_told(given, said):
    with pytest.raises(ConfigError) as caught:
        load(None, given, objections=objections)
    assert said in str(caught.value)
