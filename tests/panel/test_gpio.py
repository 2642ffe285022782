"""Lights on pins, with gpiozero's mock pins: what the pins do over time."""

import subprocess
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.panel import Led
from appliance.panel.gpio import GpioLamp
from appliance.panel.lamps import Leave
from appliance.panel.lights import Lights
from appliance.panel.settings import PanelError
from appliance.panel.signs import ERROR, PAIRING, RULES, TWO_COPIES, WALK, WARNING, Shown

from .kit import Mood, mock_pins, pin

STEP_S, OFFSET_S = 0.01, 0.003


def record(led: Led, sign, seconds: float, numbers: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """The states of pins `numbers` every 10 ms while `led` shows `sign`."""
    pins, states = mock_pins(), []

    async def main():
        lights = Lights([GpioLamp(led, pins)], Mood(), lambda _: None)
        async with trio.open_nursery() as nursery:
            lights.show(sign, seconds + 1)
            nursery.start_soon(lights.run)
            await trio.sleep(OFFSET_S)
            for _ in range(round(seconds / STEP_S)):
                states.append(tuple(pin(pins, number).state for number in numbers))
                await trio.sleep(STEP_S)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return states


def expected(sign, seconds: float) -> list[float]:
    return [sign.pattern.at(i * STEP_S + OFFSET_S)[0] for i in range(round(seconds / STEP_S))]


@pytest.mark.parametrize("sign", WALK, ids=lambda sign: sign.pattern.name)
@pytest.mark.parametrize("active_high", [True, False])
def test_a_plain_led_follows_every_pattern(sign, active_high):
    states = record(Led(pin=17, active_high=active_high), sign, 6.0, (17,))
    wanted = [(level >= 0.5) == active_high for level in expected(sign, 6.0)]
    assert sum(bool(s[0]) != w for s, w in zip(states, wanted, strict=True)) <= (7 if sign is PAIRING else 0)


@pytest.mark.parametrize("sign", WALK, ids=lambda sign: sign.pattern.name)
@pytest.mark.parametrize("active_high", [True, False])
def test_a_dimmable_led_follows_every_pattern(sign, active_high):
    states = record(Led(pin=17, pwm=True, active_high=active_high, brightness=0.5), sign, 6.0, (17,))
    for (state,), level in zip(states, expected(sign, 6.0), strict=True):
        seen = state if active_high else 1 - state
        assert seen == pytest.approx(level / 2, abs=0.04)


@pytest.mark.parametrize(
    ("sign", "pwm", "colour"),
    [
        (TWO_COPIES, False, (0, 1, 0)),
        (ERROR, False, (1, 0, 0)),
        (WARNING, False, (1, 1, 0)),
        (PAIRING, False, (0, 0, 1)),
        (TWO_COPIES, True, (0, 1, 0)),
        (WARNING, True, (1, 0.4, 0)),
    ],
)
def test_a_led_of_three_colours_adds_its_colour_to_the_pattern(sign, pwm, colour):
    states = record(Led(rgb=(17, 27, 22), pwm=pwm), sign, 2.5, (17, 27, 22))
    brightest = max(states)
    assert brightest == pytest.approx(colour, abs=0.03)
    if not pwm:
        wanted = [level >= 0.5 for level in expected(sign, 2.5)]
        late = sum(any(s) != w for s, w in zip(states, wanted, strict=True))
        assert late <= (7 if sign is PAIRING else 0)


@pytest.mark.parametrize("sign", [rules[-1][1] for rules in RULES.values()], ids=lambda s: s.key)
def test_a_lamp_that_shows_the_same_is_not_written(sign):
    lamp = GpioLamp(Led(pin=17), mock_pins())
    assert lamp.value(Shown(sign, 1.0)) == lamp.value(Shown(sign, 0.9))


@pytest.mark.parametrize(
    "led",
    [Led(pin=17), Led(pin=17, active_high=False), Led(pin=17, pwm=True), Led(rgb=(17, 27, 22))],
    ids=["plain", "active low", "pwm", "rgb"],
)
@pytest.mark.parametrize("how", list(Leave))
def test_a_led_is_left_dark_only_if_that_is_true(led, how):
    pins = mock_pins()
    lamp = GpioLamp(led, pins)
    lamp.open()
    lamp.put(True if led.rgb is None else (True, True, True))
    lamp.leave(how)
    ours = pin(pins, 17)
    if how is Leave.TROUBLE:
        del lamp
        assert ours.function == "output"
        assert bool(ours.state) == led.active_high
    else:
        assert ours.function == "input"


@pytest.mark.parametrize("place", ["pin=17", "pin=17, pwm=True", "rgb=(17, 27, 22)"])
def test_a_lit_led_stays_lit_to_the_very_end_of_the_process(place):
    """gpiozero switches off what is collected, also when Python ends."""
    code = f"""
import os
from appliance.panel import Led
from appliance.panel.gpio import GpioLamp
from appliance.panel.lamps import Leave
from appliance.panel.pins import Pins
from gpiozero.pins.mock import MockPWMPin
MockPWMPin.close = lambda self, write=os.write: write(1, b"closed")
lamp = GpioLamp(Led({place}), Pins("mock"))
lamp.open()
lamp.leave(Leave.TROUBLE)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_lamp_that_was_never_opened_can_be_left():
    for how in Leave:
        GpioLamp(Led(pin=17), mock_pins()).leave(how)


def test_a_pin_in_use_is_told_with_what_to_do():
    pins = mock_pins()
    first, second = GpioLamp(Led(pin=17), pins), GpioLamp(Led(pin=17), pins)
    first.open()
    with pytest.raises(PanelError, match="another program or a kernel overlay uses this pin"):
        second.open()
    first.leave(Leave.FOUND)
    second.open()
    second.open()
    second.put(True)
    assert pin(pins, 17).state


@pytest.mark.parametrize(
    ("level", "dim", "lit"), [(1, 1, True), (1, 0.4, False), (1, 0.5, True), (0.4, 1, False)]
)
def test_a_plain_led_is_dark_where_it_would_have_to_be_dim(level, dim, lit):
    assert GpioLamp(Led(pin=17), mock_pins()).value(Shown(TWO_COPIES, level, dim)) is lit
