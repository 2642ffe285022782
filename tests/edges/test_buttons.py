"""From a contact on a mock pin to what it means for two boxes that are paired, on a clock that jumps."""

from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.control import ControlError
from appliance.control.pairing import PairingWords
from appliance.edges.start import Hand
from appliance.health import ROUND_S, Health
from appliance.pairing import BoxCard
from appliance.panel import Actions, Button, Led, Panel, PanelSettings
from appliance.session import Buttons, Pairing
from tests.panel.kit import mock_pins, pin

BUTTON, LED = 23, 17
CARD = BoxCard(b"\x07" * 32, "kitchen", [])


class Bench:
    """A box, as far as its button goes."""

    def __init__(self, mode: Any = "pairing") -> None:
        self.health, self.pins = Health(), mock_pins()
        self.health.serving()
        self.buttons = Buttons(self.health)
        self.pairing = Pairing(mode, self.health.pair_for, trio.current_time)
        place = SimpleNamespace(addresses=lambda: ["=192.168.1.5:4433"], fingerprint="SHA256:AB")
        service: Any = SimpleNamespace(pairing=self.pairing, buttons=self.buttons, place=place, store=None)
        self.handlers = PairingWords(service).handlers
        words: Any = self
        actions = Actions(Hand(words).pressed_briefly, self.nothing, self.nothing)
        settings = PanelSettings(pins="mock", show="leds", leds=(Led(pin=LED),), button=Button(pin=BUTTON))
        self.panel = Panel(settings, self.health, actions, pins=self.pins, clock=trio.current_time)

    async def say(self, word: str, **args: Any) -> Any:
        return await self.handlers[word](args)

    async def nothing(self) -> None:
        raise AssertionError("nobody held it for so long")

    async def press(self) -> None:
        ours = pin(self.pins, BUTTON)
        ours.drive_low()
        await trio.sleep(0.2)
        ours.drive_high()
        await trio.sleep(0.4)

    async def edges(self, seconds: float) -> int:
        """How often the LED changes in this time."""
        count, was = 0, pin(self.pins, LED).state
        for _ in range(round(seconds / 0.02)):
            await trio.sleep(0.02)
            now = pin(self.pins, LED).state
            count, was = count + (now != was), now
        return count


def run(test, **how):
    async def main():
        bench = Bench(**how)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.panel.run)
            await trio.sleep(1)
            await test(bench)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_press_opens_pairing_for_devices_and_for_a_box():
    async def test(bench):
        await bench.press()
        assert bench.pairing.open_s > 119 and bench.buttons.open_s > 119

    run(test)


def test_two_presses_say_yes_when_the_light_has_shown_the_number():
    async def test(bench):
        await bench.press()
        with bench.buttons.host() as one:
            one.compare(482913)
            assert await bench.edges(ROUND_S) == 40
            await bench.press()
            await bench.press()
            one.sent(CARD)
            await one.said(here=True, there=True)
            assert one.reason is None and one.comparing

    run(test)


def test_a_yes_too_early_flickers_and_the_number_is_shown_again():
    async def test(bench):
        await bench.press()
        with bench.buttons.host() as one:
            one.compare(482913)
            await bench.press()
            await bench.press()
            assert await bench.edges(1) >= 7, "4 Hz: refused"
            await trio.sleep(ROUND_S)
            assert one.comparing and await bench.edges(ROUND_S) == 40

    run(test)


def test_one_press_says_no_and_devices_may_still_come_in():
    async def test(bench):
        await bench.press()
        with bench.buttons.host() as one:
            one.compare(482913)
            await bench.press()
            await one.said(here=True, there=True)
            assert "says no" in (one.reason or "")
        assert bench.pairing.open_s > 100 and not bench.buttons.open_s

    run(test)


def test_where_registration_is_closed_no_box_comes_in_by_a_press():
    async def test(bench):
        with pytest.raises(ControlError, match="closed by the configuration"):
            await bench.say("pair.press")
        assert not bench.buttons.open_s

    run(test, mode="closed")


def test_closing_pairing_closes_it_for_boxes_and_opening_it_by_word_opens_it_for_none():
    async def test(bench):
        await bench.say("pair.press")
        assert bench.buttons.open_s
        await bench.say("pair.close")
        assert not bench.buttons.open_s
        await bench.say("pair.open", minutes=2)
        assert bench.pairing.open_s and not bench.buttons.open_s

    run(test)


@pytest.mark.parametrize("times", [0, 3, True, "1", None])
def test_a_press_is_one_or_two(times):
    async def test(bench):
        with pytest.raises(ControlError, match="1 or 2"):
            await bench.say("pair.press", times=times)

    run(test)
