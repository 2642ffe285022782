"""LEDs of the kernel, in a folder that looks like /sys/class/leds."""

import os
import threading
import time
from pathlib import Path

import pytest
import trio

from appliance.panel import Led, PanelSettings, mark_end
from appliance.panel import lights as lights_module
from appliance.panel.board import BoardLamp, board_leds, current_trigger, own_led, triggers
from appliance.panel.lamps import Leave
from appliance.panel.panel import Panel
from appliance.panel.settings import PanelError
from appliance.panel.signs import TWO_COPIES, Shown

from .kit import Asked, Mood


@pytest.fixture
def leds(tmp_path: Path) -> Path:
    make(tmp_path, "ACT", "none [mmc0] timer heartbeat default-on", "255")
    make(tmp_path, "PWR", "none [default-on]", "1")
    return tmp_path


def make(folder: Path, name: str, trigger: str, most: str, delays: bool = True) -> Path:
    path = folder / name
    path.mkdir()
    for file, text in {"brightness": "0", "max_brightness": most, "trigger": trigger}.items():
        (path / file).write_text(text + "\n")
    if delays:
        for file in ("delay_on", "delay_off"):
            (path / file).write_text("500\n")
    return path


def content(path: Path) -> dict[str, str]:
    return {file.name: file.read_text().strip() for file in path.iterdir()}


def test_a_led_is_switched_as_far_as_its_hardware_goes(leds):
    for name, most in (("ACT", "255"), ("PWR", "1")):
        lamp = BoardLamp(name, "status", leds)
        lamp.open()
        assert content(leds / name)["trigger"] == "none"
        lamp.put(lamp.value(Shown(TWO_COPIES, 1.0)))
        assert content(leds / name)["brightness"] == most
        lamp.put(lamp.value(Shown(TWO_COPIES, 0.4)))
        assert content(leds / name)["brightness"] == "0"


def test_a_led_that_can_be_dimmed_is(leds):
    lamp = BoardLamp("ACT", "status", leds, brightness=0.5, dims=True)
    lamp.open()
    for shown, brightness in ((1.0, "128"), (0.5, "64"), (0.01, "3"), (0.0, "0")):
        lamp.put(lamp.value(Shown(TWO_COPIES, shown)))
        assert content(leds / "ACT")["brightness"] == brightness


def test_a_dim_light_does_not_round_to_dark(leds):
    lamp = BoardLamp("PWR", "status", leds, dims=True)
    lamp.open()
    lamp.put(lamp.value(Shown(TWO_COPIES, 0.2)))
    assert content(leds / "PWR")["brightness"] == "1"


def test_a_led_that_was_tried_out_is_as_it_was(leds):
    (leds / "PWR" / "trigger").write_text("[none] timer\n")
    (leds / "PWR" / "brightness").write_text("1\n")
    for name in ("ACT", "PWR"):
        lamp = BoardLamp(name, "status", leds)
        lamp.open()
        lamp.put(1.0)
        lamp.open()
        lamp.put(0.0)
        lamp.leave(Leave.FOUND)
    assert content(leds / "ACT")["trigger"] == "mmc0"
    assert (content(leds / "PWR")["trigger"], content(leds / "PWR")["brightness"]) == ("none", "1")


def test_safe_to_unplug_is_dark_and_stays_dark(leds):
    lamp = BoardLamp("ACT", "status", leds)
    lamp.open()
    lamp.put(1.0)
    lamp.leave(Leave.SAFE)
    assert (content(leds / "ACT")["trigger"], content(leds / "ACT")["brightness"]) == ("none", "0")


def test_after_another_end_the_kernel_blinks_an_error(leds):
    lamp = BoardLamp("ACT", "status", leds)
    lamp.open()
    lamp.leave(Leave.TROUBLE)
    assert content(leds / "ACT") == {
        "trigger": "timer",
        "delay_on": "125",
        "delay_off": "125",
        "brightness": "255",
        "max_brightness": "255",
    }


def test_where_the_kernel_cannot_blink_the_led_is_left_on(leds):
    lamp = BoardLamp("PWR", "status", leds)
    lamp.open()
    lamp.leave(Leave.TROUBLE)
    assert (content(leds / "PWR")["trigger"], content(leds / "PWR")["brightness"]) == ("none", "1")


def test_the_blinking_waits_for_its_files_to_appear(tmp_path):
    path = make(tmp_path, "ACT", "[none] timer", "1", delays=False)
    lamp = BoardLamp("ACT", "status", tmp_path)
    lamp.open()

    def appear():
        time.sleep(0.1)
        (path / "delay_off").write_text("500")
        (path / "delay_on").write_text("500")

    kernel = threading.Thread(target=appear)
    kernel.start()
    lamp.leave(Leave.TROUBLE)
    kernel.join()
    assert content(path)["delay_on"] == content(path)["delay_off"] == "125"


def test_blinking_at_the_kernels_own_pace_must_do_where_the_files_never_come(tmp_path):
    path = make(tmp_path, "ACT", "[none] timer", "1", delays=False)
    lamp = BoardLamp("ACT", "status", tmp_path)
    lamp.open()
    began = time.monotonic()
    lamp.leave(Leave.TROUBLE)
    assert time.monotonic() - began < 0.6
    assert content(path)["trigger"] == "timer"
    assert not (path / "delay_on").exists()


def test_a_led_that_is_not_there_is_told_with_what_is(leds, tmp_path):
    with pytest.raises(PanelError, match=r"no board LED led9 on this machine; there is: ACT, PWR"):
        BoardLamp("led9", "status", leds).open()
    BoardLamp("led9", "status", leds).leave(Leave.SAFE)


def test_a_led_that_goes_away_and_comes_back_works_again(leds):
    lamp = BoardLamp("ACT", "status", leds)
    lamp.open()
    (leds / "ACT").rename(leds / "gone")
    with pytest.raises(PanelError, match="cannot be written"):
        lamp.put(1.0)
    assert not (leds / "ACT").exists()
    with pytest.raises(PanelError, match="no board LED"):
        lamp.open()
    (leds / "gone").rename(leds / "ACT")
    lamp.open()
    lamp.put(1.0)
    assert content(leds / "ACT")["brightness"] == "255"


def test_the_trigger_in_brackets_is_the_one_in_use(leds):
    assert current_trigger(leds / "ACT") == "mmc0"
    assert triggers(leds / "ACT") == ["none", "mmc0", "timer", "heartbeat", "default-on"]
    assert current_trigger(leds / "nowhere") == "none"
    assert triggers(leds / "nowhere") == []
    assert board_leds(leds) == ["ACT", "PWR"]
    assert board_leds(leds / "nowhere") == []


def test_only_the_boards_own_led_is_taken_without_being_asked(leds):
    assert own_led(leds) == "ACT"
    (leds / "ACT").rename(leds / "input3::capslock")
    assert own_led(leds) is None
    (leds / "PWR").rename(leds / "led0")
    assert own_led(leds) == "led0"


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("named", [True, False])
def test_the_end_of_the_process_is_marked_from_outside(leds, clean, named):
    chosen = (Led(board="PWR"), Led(board="gone", role="mail")) if named else ()
    mark_end(PanelSettings(leds=chosen, leds_folder=leds), clean)
    ours = content(leds / ("PWR" if named else "ACT"))
    other = content(leds / ("ACT" if named else "PWR"))
    assert other["trigger"] in ("none [mmc0] timer heartbeat default-on", "none [default-on]")
    if clean:
        assert (ours["trigger"], ours["brightness"]) == ("none", "0")
    else:
        assert ours["trigger"] == ("none" if named else "timer")
        assert ours["brightness"] != "0"


def test_the_bare_board_needs_no_settings(leds):
    """What a Raspberry Pi without any wiring shows, in real time and through real files."""
    health = Mood()
    seen: list[object] = []
    health.copies = 2

    async def main():
        panel = Panel(PanelSettings(leds_folder=leds), health, Asked().actions)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(panel.run)
            await trio.sleep(0.3)
            seen.append(content(leds / "ACT")["brightness"])
            health.identifying = True
            flicker = []
            for _ in range(60):
                await trio.sleep(0.01)
                flicker.append(content(leds / "ACT")["brightness"])
            seen.append(len({*flicker} - {""}))
            health.state = "stopped"
            nursery.cancel_scope.cancel()
        await panel.leave()

    trio.run(main)
    assert seen == ["255", 2]
    assert content(leds / "ACT")["brightness"] == "0"


def test_a_driver_that_hangs_harms_neither_the_other_leds_nor_the_end(leds, monkeypatch):
    """Opening a pipe that nobody reads takes for ever, like a write to a driver that hangs."""
    monkeypatch.setattr(lights_module, "BLOCKED_S", 0.2)
    stuck = leds / "PWR" / "brightness"
    stuck.unlink()
    os.mkfifo(stuck)
    monkeypatch.setattr(BoardLamp, "_read", lambda self, name: "1")
    settings = PanelSettings(leds=(Led(board="PWR"), Led(board="ACT", role="mail")), leds_folder=leds)
    health = Mood()
    seen: list[str] = []
    took: list[float] = []

    async def main():
        panel = Panel(settings, health, Asked().actions)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(panel.run)
            for health.mail_waiting in (1, 0, 1):
                await trio.sleep(0.2)
                seen.append(content_of_brightness(leds / "ACT"))
            assert "board LED PWR does not answer" in health.told["panel"]
            health.state = "stopped"
            nursery.cancel_scope.cancel()
        began = time.monotonic()
        await panel.leave()
        took.append(time.monotonic() - began)

    trio.run(main)
    assert seen == ["1", "0", "1"]
    assert content_of_brightness(leds / "ACT") == "0"
    assert took[0] < 1
    os.close(os.open(stuck, os.O_RDONLY | os.O_NONBLOCK))


def content_of_brightness(path: Path) -> str:
    return (path / "brightness").read_text().strip()
