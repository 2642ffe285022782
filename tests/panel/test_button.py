"""The button on a mock pin: from contacts to what the box is asked for, with the lights on the way."""

import threading
import time
from typing import Any

import pytest
import trio

from appliance.panel import Button, Led, PanelSettings
from appliance.panel.button import CONTACTS_MAX, ButtonWatch
from appliance.panel.gestures import Gesture
from appliance.panel.panel import Panel
from appliance.panel.settings import PanelError

from .kit import Asked, Mood, mock_pins, pin, run_jumping

BUTTON, LED = 23, 17


class Bench:
    """A panel with a button (to ground) and an LED, on a clock that jumps."""

    def __init__(self, asked: Asked | None = None, active_low: bool = True) -> None:
        self.health, self.asked, self.pins = Mood(), asked or Asked(), mock_pins()
        self.health.copies = 2
        settings = PanelSettings(
            pins="mock", show="leds", leds=(Led(pin=LED),), button=Button(pin=BUTTON, active_low=active_low)
        )
        self.active_low = active_low
        self.panel = Panel(
            settings, self.health, self.asked.actions, pins=self.pins, clock=lambda: trio.current_time()
        )

    def run(self, person) -> list[str]:
        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.panel.run)
                await trio.sleep(1)
                await person()
                await trio.sleep(0.2)
                nursery.cancel_scope.cancel()

        run_jumping(main)
        return self.asked.names

    def contact(self, closed: bool) -> None:
        ours = pin(self.pins, BUTTON)
        ours.drive_low() if closed == self.active_low else ours.drive_high()

    async def press(self, seconds: float, bounces: int = 0) -> None:
        for closed, wait_s in ((True, seconds), (False, 0.05)):
            for i in range(bounces):
                self.contact(closed == (i % 2 == 0))
                await trio.sleep(0.002)
            self.contact(closed)
            await trio.sleep(wait_s)

    async def flashes_a_second(self) -> int:
        """How often the LED lights up in the coming second."""
        count, was = 0, pin(self.pins, LED).state
        for _ in range(100):
            await trio.sleep(0.01)
            now = pin(self.pins, LED).state
            count, was = count + (now and not was), now
        return count


@pytest.mark.parametrize(
    ("seconds", "asked"),
    [
        (0.01, []),
        (0.2, ["pairing"]),
        (4.99, ["pairing"]),
        (5.0, ["shutdown"]),
        (9.99, ["shutdown"]),
        (10.0, []),
        (40.0, []),
    ],
)
@pytest.mark.parametrize("active_low", [True, False])
def test_a_press_asks_the_box_for_what_it_means(seconds, asked, active_low):
    bench = Bench(active_low=active_low)
    assert bench.run(lambda: bench.press(seconds)) == asked


@pytest.mark.parametrize(("seconds", "asked"), [(0.2, ["pairing"]), (6, ["shutdown"])])
def test_bouncing_contacts_ask_once(seconds, asked):
    bench = Bench()
    assert bench.run(lambda: bench.press(seconds, bounces=9)) == asked


def test_a_factory_reset_is_asked_for_after_it_was_confirmed():
    bench = Bench()

    async def person():
        await bench.press(11)
        assert bench.asked.names == []
        await trio.sleep(5)
        await bench.press(0.3)

    assert bench.run(person) == ["factory reset"]


def test_a_factory_reset_that_nobody_confirms_is_none():
    bench = Bench()

    async def person():
        await bench.press(11)
        await trio.sleep(10.1)
        await bench.press(0.3)

    assert bench.run(person) == ["pairing"]


def test_a_stuck_button_asks_for_nothing_and_warns_until_it_is_free():
    bench = Bench()

    async def person():
        bench.contact(True)
        await trio.sleep(29)
        assert "button" not in bench.health.told
        await trio.sleep(2)
        assert "stuck" in bench.health.told["button"]
        assert await bench.flashes_a_second() == 0
        await trio.sleep(300)
        bench.contact(False)
        await trio.sleep(0.1)
        assert "button" not in bench.health.told
        await bench.press(0.2)

    assert bench.run(person) == ["pairing"]


def test_the_led_counts_how_long_the_button_is_held():
    bench, seen = Bench(), []

    async def person():
        bench.contact(True)
        for wait_s in (1, 4.5, 4.5):
            await trio.sleep(wait_s)
            seen.append(await bench.flashes_a_second())
        bench.contact(False)
        await trio.sleep(0.1)
        seen.append(await bench.flashes_a_second())
        await trio.sleep(10)
        seen.append(await bench.flashes_a_second())

    bench.run(person)
    assert seen == [1, 2, 3, 3, 0]


def test_a_lost_edge_does_not_make_a_press_longer():
    bench = Bench()

    async def person():
        bench.contact(True)
        await trio.sleep(0.5)
        ours = pin(bench.pins, BUTTON)
        ours.when_changed, kept = None, ours.when_changed
        bench.contact(False)
        ours.when_changed = kept
        await trio.sleep(6)
        bench.contact(True)
        await trio.sleep(0.2)
        bench.contact(False)

    assert bench.run(person)[0] == "pairing"
    assert "shutdown" not in bench.asked.names


def test_a_button_held_at_the_start_is_not_a_press():
    bench = Bench()
    pin(bench.pins, BUTTON)

    async def main():
        factory = bench.pins.factory()
        stuck = factory.pin(BUTTON)
        stuck._set_pull = lambda value: None  # held: the pull-up does not lift it
        stuck._change_state(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.panel.run)
            await trio.sleep(6)
            stuck.drive_high()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()

    run_jumping(main)
    assert bench.asked.names == []


def test_a_refusal_is_shown_and_logged_and_the_button_goes_on():
    bench = Bench(Asked(error=RuntimeError("registration is closed")))
    seen = []

    async def person():
        await bench.press(0.2)
        seen.append(await bench.flashes_a_second())
        await trio.sleep(2)
        await bench.press(0.2)

    assert bench.run(person) == ["pairing", "pairing"]
    assert seen == [4]


def test_a_wish_is_not_repeated_while_it_is_granted():
    bench = Bench(Asked(takes_s=5))

    async def person():
        for _ in range(3):
            await bench.press(0.2)
            await trio.sleep(0.5)

    assert bench.run(person) == ["pairing"]


def test_a_question_takes_the_short_press_for_its_answer():
    bench, answers, flashes = Bench(), [], []

    async def person():
        async with trio.open_nursery() as nursery:

            async def ask():
                answers.append(await bench.panel.confirm(30))

            nursery.start_soon(ask)
            await trio.sleep(1)
            flashes.append(await bench.flashes_a_second())
            assert await bench.panel.confirm(30) is False
            await bench.press(0.2)
        answers.append(await bench.panel.confirm(5))
        await bench.press(0.2)

    assert bench.run(person) == ["pairing"]
    assert answers == [True, False]
    assert flashes == [3]


def test_without_a_button_nobody_can_confirm():
    panel = Panel(PanelSettings(show="none"), Mood(), Asked().actions)
    assert trio.run(panel.confirm, 60) is False


def test_a_button_that_cannot_be_opened_is_told_of_and_tried_again():
    bench = Bench()
    taken = bench.pins.device("LED", BUTTON)

    async def person():
        assert "GPIO23" in bench.health.told["button"]
        taken.close()
        await trio.sleep(5)
        assert "button" not in bench.health.told
        await bench.press(0.2)

    assert bench.run(person) == ["pairing"]


# From here on the real clock and gpiozero's way of calling: from another thread.


def watch(pins, person, seconds=2.0):
    """The gestures heard while `person` works the pin in a thread."""
    heard: list[Gesture] = []

    async def main():
        button = ButtonWatch(Button(pin=BUTTON), pins, heard.append)
        ready = trio.Event()
        async with trio.open_nursery() as nursery:

            async def run():
                await button.run(opened=ready.set)

            nursery.start_soon(run)
            await ready.wait()
            await trio.to_thread.run_sync(person, pin(pins, BUTTON))
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return heard


def test_contacts_from_another_thread_are_heard():
    def person(ours):
        ours.drive_low()
        time.sleep(0.1)
        ours.drive_high()

    assert watch(mock_pins(), person) == [Gesture.PAIR]


@pytest.mark.alone
def test_a_flood_of_contacts_takes_bounded_memory_and_is_survived():
    sizes = []

    def person(ours):
        for _ in range(20_000):
            ours.drive_low()
            ours.drive_high()
        time.sleep(0.2)
        ours.drive_low()
        time.sleep(0.1)
        ours.drive_high()

    original = ButtonWatch._tell

    def measured(self, found):
        sizes.append(len(self._contacts))
        original(self, found)

    ButtonWatch._tell = measured  # type: ignore[method-assign]
    try:
        heard = watch(mock_pins(), person)
    finally:
        ButtonWatch._tell = original  # type: ignore[method-assign]
    assert heard[-1] is Gesture.PAIR
    assert len(heard) <= 2
    assert max(sizes) <= CONTACTS_MAX


def test_no_contact_is_heard_after_the_end():
    pins = mock_pins()
    watch(pins, lambda ours: None)
    ours = pin(pins, BUTTON)
    assert ours.when_changed is None
    pins.device("LED", BUTTON).close()
    before = threading.active_count()
    if ours.function == "input":
        ours.drive_low()
        ours.drive_high()
    assert threading.active_count() == before


def test_a_contact_in_the_moment_of_the_end_is_swallowed(monkeypatch):
    """gpiozero's thread may be inside our callback when the run is over."""
    pins, callbacks = mock_pins(), []
    original = pins.device

    def device(*args, **options):
        ours = original(*args, **options)
        devices.append(ours)
        return ours

    devices: list[Any] = []
    monkeypatch.setattr(pins, "device", device)

    async def main():
        button = ButtonWatch(Button(pin=BUTTON), pins, lambda _: None)
        with trio.move_on_after(0.1):
            await button.run(opened=lambda: callbacks.append(devices[0].when_activated))

    trio.run(main)
    callbacks[0]()


def test_a_button_whose_pin_fails_says_which():
    pins = mock_pins()

    async def main():
        button = ButtonWatch(Button(pin=BUTTON), pins, lambda _: None)
        ours = pin(pins, BUTTON)

        def broken():
            raise OSError("I/O error")

        ours.drive_low()
        ours._get_state = broken
        with pytest.raises(PanelError, match="I/O error"):
            await button.run(opened=lambda: None)

    trio.run(main)
