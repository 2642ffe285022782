"""Lights: the right thing at the right time on each lamp, and no lamp in another's way."""

import sys
import threading
import time
from datetime import time as time_of_day

import pytest
import trio

from appliance.health import Comparison
from appliance.panel import lights as lights_module
from appliance.panel import patterns, signs
from appliance.panel.lamps import Leave
from appliance.panel.lights import Lights
from appliance.panel.settings import Night, PanelError
from appliance.panel.signs import ERROR, IDENTIFY
from appliance.panel.terminal import Terminal

from .kit import Memory, Mood, run_jumping


def lights_of(lamps, health, **more):
    warnings: list[str | None] = []
    return Lights(lamps, health, warnings.append, **more), warnings


def hang(free: threading.Event) -> None:
    free.wait(10)


def test_only_changes_are_written():
    lamp, health = Memory(), Mood()
    health.copies = 2

    async def main():
        lights, _ = lights_of([lamp], health)
        with trio.move_on_after(60):
            await lights.run()
        assert [value for _, value in lamp.puts] == [True]
        health.copies = 1
        with trio.move_on_after(60 - 0.01):
            await lights.run()
        # Twenty double pulses: four edges each, of which the first is no change.
        assert len(lamp.puts) == 1 + 20 * 4 - 1

    run_jumping(main)


def test_a_change_shows_within_a_quarter_of_a_second_of_real_time():
    lamp, health = Memory(quick=False), Mood()
    health.copies = 2
    delays = []

    async def main():
        lights, _ = lights_of([lamp], health)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            for state in ("stopped", "serving") * 5:
                await trio.sleep(0.06)
                changed, puts = time.monotonic(), len(lamp.puts)
                health.state = state
                for _ in range(500):
                    if len(lamp.puts) > puts:
                        break
                    await trio.sleep(0.002)
                delays.append(lamp.puts[-1][0] - changed)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert max(delays) < 0.25


def test_a_number_is_shown_in_step_from_its_beginning_on_whatever_was_shown_meanwhile():
    lamp, health, seen = Memory(), Mood(), []
    held: list[signs.Sign | None] = [None]

    async def main():
        lights, _ = lights_of([lamp], health, held=lambda: held[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            await trio.sleep(0.33)
            health.comparison = Comparison(482913, trio.current_time())
            await trio.sleep(5)
            held[0] = signs.HELD
            await trio.sleep(0.47)
            held[0] = None
            await trio.sleep(0.06)
            began = health.comparison.began
            for _ in range(400):
                await trio.sleep(0.05)
                shown = patterns.beats(482913)
                for early_s in (0.0, -0.051):
                    if shown.at(trio.current_time() + early_s - began)[0] == lamp.puts[-1][1]:
                        break
                else:
                    seen.append(trio.current_time() - began)
            nursery.cancel_scope.cancel()

    run_jumping(main)
    assert not seen and lamp.signs[-3:] == ["compare", "held", "compare"]


def test_a_terminal_shows_the_digits_in_one_line():
    health, said = Mood(), []

    class Line(Memory):
        def value(self, shown):
            said.append(str(Terminal(sys.stderr).value(shown)).partition(": ")[2])

    async def main():
        lights, _ = lights_of([Line()], health)
        for yes in (False, True):
            health.comparison = Comparison(7013, 0.0, yes)
            with trio.move_on_after(0.2):
                await lights.run()

    run_jumping(main)
    assert said[0].endswith("if not once: 007 013") and said[-1].endswith("007 013, yes here")
    assert max(map(len, said)) < 78


def test_each_lamp_shows_its_role_and_all_show_an_override():
    health = Mood()
    health.mail_waiting = 1
    lamps = [Memory("status"), Memory("mail"), Memory("peer"), Memory("alarm")]

    async def main():
        lights, _ = lights_of(lamps, health)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            await trio.sleep(1)
            lights.show(ERROR, 2)
            await trio.sleep(1.9)
            assert [lamp.signs[-1] for lamp in lamps] == ["error"] * 4
            await trio.sleep(0.2)
            nursery.cancel_scope.cancel()

    run_jumping(main)
    assert [lamp.signs for lamp in lamps] == [
        ["one copy", "error", "one copy"],
        ["mail", "error", "mail"],
        ["nothing", "error", "nothing"],
        ["nothing", "error", "nothing"],
    ]


def test_the_night_is_asked_again_and_again():
    lamp, health, clock = Memory(), Mood(), [time_of_day(21, 59)]
    health.copies = 2
    seen = []

    async def main():
        night = Night(start=time_of_day(22), end=time_of_day(7))
        lights, _ = lights_of([lamp], health, night=night, now=lambda: clock[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            for clock[0] in (time_of_day(21, 59), time_of_day(22), time_of_day(7)):
                await trio.sleep(1)
                seen.append(lamp.puts[-1][1])
            nursery.cancel_scope.cancel()

    run_jumping(main)
    assert seen == [True, False, True]


@pytest.mark.parametrize("error", [PanelError("no such pin"), OSError(5, "I/O error"), ZeroDivisionError()])
def test_a_lamp_that_fails_is_told_of_and_tried_again_and_stops_no_other(error):
    broken, sound, health = Memory(name="broken"), Memory(name="sound"), Mood()
    broken.trouble, reason = error, str(error) or "ZeroDivisionError"

    async def main():
        lights, warnings = lights_of([broken, sound], health)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            await trio.sleep(30)
            assert len(sound.puts) == pytest.approx(40, abs=4)
            assert broken.puts == []
            assert broken.opened == pytest.approx(5, abs=1)
            assert [w for w in warnings if w] == [f"the broken does not work: {reason}"]
            broken.trouble = None
            await trio.sleep(35)
            assert len(broken.puts) > 4
            assert warnings[-1] is None
            nursery.cancel_scope.cancel()

    run_jumping(main)


def test_several_broken_lamps_are_one_warning():
    lamps = [Memory(name=name) for name in ("one", "two", "three")]
    for lamp in lamps:
        lamp.trouble = PanelError("no such pin")

    async def main():
        lights, warnings = lights_of(lamps, Mood())
        with trio.move_on_after(0.5):
            await lights.run()
        assert warnings[-1] == "the one does not work: no such pin (and 2 more)"

    run_jumping(main)


def test_a_lamp_that_hangs_is_told_of_and_stops_no_other(monkeypatch):
    monkeypatch.setattr(lights_module, "BLOCKED_S", 0.3)
    free = threading.Event()
    hung, sound, health = Memory(quick=False, name="hung"), Memory(quick=False), Mood()
    hung.trouble = lambda: hang(free)
    health.identifying = True
    others = []

    async def main():
        lights, warnings = lights_of([hung, sound], health)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            await trio.sleep(1.2)
            others.append(len(sound.puts))
            assert len(hung.puts) == 0
            assert "hung does not answer" in warnings[-1]
            free.set()
            await trio.sleep(0.3)
            # What was wanted meanwhile is not made up for: the lane keeps only the latest.
            assert 1 <= len(hung.puts) <= 8
            assert warnings[-1] is None
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert others[0] > 16


def test_a_lamp_that_hangs_delays_the_end_by_less_than_a_second():
    free = threading.Event()
    hung, sound, health = Memory(quick=False), Memory(quick=False), Mood()
    hung.trouble = lambda: hang(free)
    took = []

    async def main():
        lights, _ = lights_of([hung, sound], health)
        with trio.move_on_after(0.2):
            await lights.run()
        began = time.monotonic()
        await lights.leave(Leave.SAFE)
        took.append(time.monotonic() - began)

    trio.run(main)
    free.set()
    assert took[0] < 1
    assert sound.left is Leave.SAFE
    assert hung.left is None


def test_what_was_on_its_way_is_not_written_after_the_lamp_was_left():
    lamp, health = Memory(quick=False), Mood()
    order = []

    def slow():
        time.sleep(0.2)
        order.append("put")

    lamp.trouble = slow
    lamp.leave = lambda how: order.append("left")  # type: ignore[method-assign]
    health.identifying = True

    async def main():
        lights, _ = lights_of([lamp], health)
        with trio.move_on_after(0.3):
            await lights.run()
        await lights.leave(Leave.SAFE)
        await trio.sleep(0.5)

    trio.run(main)
    assert order[-1] == "left"
    assert order.count("left") == 1


def test_a_call_that_comes_too_late_writes_nothing():
    """A thread that was given to a call before the end may begin after it."""
    lamp = Memory()
    lane = lights_module.Lane(lamp)
    trio.run(lane.leave, Leave.SAFE)
    lane._put(True)
    assert (lamp.opened, lamp.puts) == (0, [])


def test_leaving_happens_also_when_cancelled():
    lamp, health = Memory(quick=False), Mood()

    async def main():
        lights, _ = lights_of([lamp], health)
        with trio.CancelScope() as scope:
            scope.cancel()
            await lights.leave(Leave.TROUBLE)

    trio.run(main)
    assert lamp.left is Leave.TROUBLE


def test_a_lamp_that_cannot_be_left_stops_no_other():
    broken, sound = Memory(), Memory()

    def fail(how):
        raise OSError("gone")

    broken.leave = fail  # type: ignore[method-assign]

    async def main():
        lights, _ = lights_of([broken, sound], Mood())
        await lights.leave(Leave.SAFE)

    trio.run(main)
    assert sound.left is Leave.SAFE


def test_identify_flickers_ten_times_a_second():
    lamp, health = Memory(), Mood()
    health.identifying = True

    async def main():
        lights, _ = lights_of([lamp], health)
        with trio.move_on_after(2.99):
            await lights.run()

    run_jumping(main)
    assert len(lamp.puts) == 60
    assert lamp.signs == [IDENTIFY.key]
