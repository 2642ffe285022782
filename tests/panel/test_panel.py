"""The panel as a whole: an edge that cannot harm the box, and that leaves the truth behind."""

import time
from datetime import time as time_of_day
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from appliance.health import Health
from appliance.panel import WALK, Button, Led, PanelSettings, panel_test, run_panel
from appliance.panel import panel as panel_module
from appliance.panel.lights import Lights
from appliance.panel.panel import Panel
from appliance.panel.pins import Pins

from .kit import Asked, Mood, mock_pins, pin, run_jumping
from .test_board import content, make

LEDS = PanelSettings(pins="mock", show="leds", leds=(Led(pin=17),), button=Button(pin=23))


@pytest.fixture
def pins(monkeypatch) -> Pins:
    """The pins of the next panel that is made."""
    ours = mock_pins()
    monkeypatch.setattr(panel_module, "Pins", lambda *_: ours)
    return ours


def test_a_panel_starts_before_its_hardware_is_touched():
    async def main():
        async with trio.open_nursery() as nursery:
            settings = PanelSettings(leds=(Led(pin=17),), show="leds")
            panel = await nursery.start(run_panel, settings, Health(), Asked().actions)
            assert isinstance(panel, Panel)
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("state", ["starting", "serving", "warning", "error", "stopping", "stopped"])
def test_the_leds_are_left_dark_only_if_the_box_may_be_unplugged(state, pins):
    health = Mood()
    health.state = state

    async def main():
        with trio.move_on_after(1):
            await run_panel(LEDS, health, Asked().actions)

    run_jumping(main)
    led = pin(pins, 17)
    dark = led.function == "input" or not led.state
    assert dark == (state == "stopped")
    assert pin(pins, 23).when_changed is None


def test_a_box_that_dies_of_an_error_is_not_left_dark(pins, tmp_path):
    make(tmp_path, "ACT", "none [mmc0] timer", "1")
    settings = PanelSettings(
        pins="mock", show="leds", leds=(Led(pin=17), Led(board="ACT", role="alarm")), leds_folder=tmp_path
    )

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(run_panel, settings, Health(), Asked().actions)
            await trio.sleep(0.3)
            raise ZeroDivisionError("the box")

    with pytest.raises(ExceptionGroup):
        trio.run(main)
    assert pin(pins, 17).state
    assert content(tmp_path / "ACT")["trigger"] == "timer"
    assert content(tmp_path / "ACT")["delay_on"] == "125"


def test_a_stop_ends_within_a_second_and_dark(pins):
    health, took = Health(), []

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(run_panel, LEDS, health, Asked().actions)
            health.serving()
            await trio.sleep(0.2)
            assert pin(pins, 17).function == "output"
            health.stopping()
            await trio.sleep(0.1)
            health.stopped()
            began = time.monotonic()
            nursery.cancel_scope.cancel()
        took.append(time.monotonic() - began)

    trio.run(main)
    assert took[0] < 1
    assert pin(pins, 17).function == "input"


def test_a_defect_in_the_panel_is_a_warning_and_another_try(monkeypatch, pins):
    health, runs = Mood(), []
    original = Lights.run

    async def broken(self):
        runs.append(trio.current_time())
        if len(runs) < 4:
            raise ZeroDivisionError("defect")
        await original(self)

    monkeypatch.setattr(Lights, "run", broken)

    async def main():
        with trio.move_on_after(6.5):
            await run_panel(LEDS, health, Asked().actions)
        assert "the panel failed" in health.told["panel"]
        with trio.move_on_after(60):
            await run_panel(LEDS, health, Asked().actions)
        assert health.told == {}

    run_jumping(main)
    assert [round(b - a) for a, b in pairwise(runs[:4])] == [1, 2, 4]


def test_hardware_that_is_missing_is_a_warning_and_the_box_goes_on(tmp_path):
    health = Health()
    health.serving()
    settings = PanelSettings(
        pins="auto",
        show="leds",
        leds=(Led(pin=17), Led(board="gone")),
        button=Button(pin=23),
        leds_folder=tmp_path,
    )
    from appliance.panel import pins as pins_module

    if pins_module.gpio_chips():
        pytest.skip("this machine has GPIO pins")

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(run_panel, settings, health, Asked().actions)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert health.state == "warning"
    text = " ".join(health.reasons)
    assert "the LED on GPIO17 does not work: this machine has no GPIO pins" in text
    assert "(and 1 more)" in text
    assert "the button does not work" in text


def test_a_panel_with_nothing_on_it_runs():
    async def main():
        with trio.move_on_after(5):
            await run_panel(PanelSettings(show="none"), Mood(), Asked().actions)

    run_jumping(main)


def test_identify_shows_for_as_long_as_it_is_asked_for(pins):
    health = Health()
    health.serving()

    async def main():
        async with trio.open_nursery() as nursery:
            await nursery.start(run_panel, LEDS, health, Asked().actions)
            await trio.sleep(0.2)
            health.identify(0.5)
            edges, was, ends = 0, pin(pins, 17).state, trio.current_time() + 0.45
            while trio.current_time() < ends:
                await trio.sleep(0.002)
                now = pin(pins, 17).state
                edges, was = edges + (now != was), now
            assert edges >= 7
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_running_panel_shows_what_a_test_asks_for(pins):
    health = Mood()
    health.copies = 2

    async def main():
        async with trio.open_nursery() as nursery:
            panel = await nursery.start(run_panel, LEDS, health, Asked().actions)
            await trio.sleep(1)
            for sign in WALK:
                told = panel.show(sign.key, 2)
                assert told == {"key": sign.key, "pattern": sign.pattern.name, "words": sign.words}
                await trio.sleep(0.06)
                states = []
                for _ in range(100):
                    await trio.sleep(0.01)
                    states.append(bool(pin(pins, 17).state))
                assert (len(set(states)) == 1) == (sign.pattern.name in ("solid", "off"))
            await trio.sleep(2)
            assert pin(pins, 17).state
            with pytest.raises(ValueError, match="there is no 'disco' to show: take one of two copies, "):
                panel.show("disco")
            nursery.cancel_scope.cancel()

    run_jumping(main)


def test_the_walk_names_every_pattern_as_it_shows_it(tmp_path):
    pins, said = mock_pins(), []
    make(tmp_path, "PWR", "none [default-on]", "1")

    def say(sign):
        said.append((round(trio.current_time() - began[0], 3), sign.key))

    began = []

    async def main():
        began.append(trio.current_time())
        settings = PanelSettings(show="leds", leds=(Led(pin=17),), leds_folder=tmp_path)
        return await panel_test(settings, say, 2.0, pins=pins)

    assert run_jumping(main) is None
    assert said == [(2.0 * i, sign.key) for i, sign in enumerate(WALK)]
    assert pin(pins, 17).function == "input"


def test_the_walk_tells_of_a_light_that_does_not_work_and_puts_the_others_back(tmp_path):
    make(tmp_path, "ACT", "none [mmc0] timer", "1")
    settings = PanelSettings(
        show="leds", leds=(Led(board="ACT"), Led(board="gone", role="mail")), leds_folder=tmp_path
    )

    async def main():
        with trio.move_on_after(0.5):
            await panel_test(settings, lambda _: None, 10)

    trio.run(main)
    assert content(tmp_path / "ACT")["trigger"] == "mmc0"
    (tmp_path / "ACT" / "trigger").write_text("none [mmc0] timer")

    async def whole():
        return await panel_test(settings, lambda _: None, 0.1)

    trouble = trio.run(whole)
    assert "there is no board LED gone on this machine; there is: ACT" in trouble
    assert content(tmp_path / "ACT")["trigger"] == "mmc0"


@pytest.mark.alone
def test_a_tick_costs_next_to_nothing(pins):
    """20 ticks a second must be nothing to a small machine: one takes 0.1 ms at most here."""
    leds = (Led(pin=17), Led(pin=27, role="mail"), Led(pin=22, role="relay"))
    settings = PanelSettings(pins="mock", show="leds", leds=leds)
    lights = Panel(settings, Health(), Asked().actions)._lights

    async def main():
        began = time.perf_counter()
        for i in range(2000):
            lights._draw(i * 0.05)
        return (time.perf_counter() - began) / 2000

    assert trio.run(main) < 1e-4


def test_settings_are_checked_when_they_are_made():
    from appliance.panel import BadPanel, Night

    wrong: list[Any] = [
        lambda: Led(),
        lambda: Led(pin=17, board="ACT"),
        lambda: Led(pin=28),
        lambda: Led(pin=-1),
        lambda: Led(rgb=(1, 2, 99)),
        lambda: Led(board="../x"),
        lambda: Led(board=""),
        lambda: Led(pin=17, brightness=0),
        lambda: Led(pin=17, role=cast(Any, "disco")),
        lambda: Button(pin=40),
        lambda: Button(pin=3, debounce_s=1),
        lambda: Button(pin=3, shutdown_s=11),
        lambda: Night(start=time_of_day(7), end=time_of_day(7)),
        lambda: Night(start=time_of_day(7), end=time_of_day(8), brightness=2),
        lambda: PanelSettings(leds=(Led(pin=17), Led(pin=17, role="mail"))),
        lambda: PanelSettings(leds=(Led(pin=17),), button=Button(pin=17)),
        lambda: PanelSettings(leds=(Led(board="ACT"), Led(board="ACT", role="mail"))),
    ]
    for make_it in wrong:
        with pytest.raises(BadPanel):
            make_it()
    assert Led(rgb=(1, 2, 3)).name == "LED on GPIO1, GPIO2, GPIO3"
    assert Path(PanelSettings().leds_folder) == Path("/sys/class/leds")
