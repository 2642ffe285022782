"""The panel as a whole: lights from the box's health, and what the button asks of the box.

An edge: nothing that goes wrong here reaches the box. It is logged, told as a warning in the health, and
tried again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from datetime import time as time_of_day
from typing import TextIO

import trio

from appliance import log as logs
from appliance.health import Health
from appliance.panel.board import BoardLamp, board_lamp, board_leds, own_led
from appliance.panel.button import ButtonWatch
from appliance.panel.gestures import Gesture, Stage
from appliance.panel.gpio import GpioLamp
from appliance.panel.lamps import Lamp, Leave
from appliance.panel.lights import Lights
from appliance.panel.pins import Pins
from appliance.panel.settings import PanelError, PanelSettings
from appliance.panel.signs import (
    CONFIRM,
    HELD,
    HELD_5,
    HELD_10,
    REFUSED,
    WALK,
    Sign,
)
from appliance.panel.terminal import Terminal, is_terminal
from appliance.panel.worker import Backoff

log = logs.get_logger(__name__)

REFUSED_S = 2.0
SHOW_S_MAX = 60.0
TEST_EACH_S = 3.0

STAGES: dict[Stage, Sign] = {
    Stage.HELD: HELD,
    Stage.HELD_LONG: HELD_5,
    Stage.HELD_LONGEST: HELD_10,
    Stage.CONFIRM: CONFIRM,
}

STUCK = (
    "the button has been held for {seconds:.0f} s: if nobody holds it, it is stuck or its wires touch; it is"
    " ignored until it is released"
)


@dataclass(frozen=True, slots=True)
class Actions:
    """What the button asks of the box. Each may take its time and may raise; it is not called again while it
    runs, and is cancelled with the panel.
    """

    pairing: Callable[[], Awaitable[object]]
    shutdown: Callable[[], Awaitable[object]]
    factory_reset: Callable[[], Awaitable[object]]


class Panel:
    """What others may ask of the running panel. Its lights are of no use before `run`."""

    def __init__(
        self,
        settings: PanelSettings,
        health: Health,
        actions: Actions,
        *,
        pins: Pins | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], time_of_day] = lambda: datetime.now().time(),
    ) -> None:
        """`clock` times the button; `now` is the local time of day, for the night."""
        self._health = health
        self._actions = {
            Gesture.PAIR: actions.pairing,
            Gesture.SHUTDOWN: actions.shutdown,
            Gesture.RESET: actions.factory_reset,
        }
        self._pins = pins or Pins(settings.pins, settings.chip)
        self._button: ButtonWatch | None = None
        if settings.button is not None:
            self._button = ButtonWatch(settings.button, self._pins, self._heard, clock)
            self._stuck = STUCK.format(seconds=settings.button.stuck_s)
        self._lights = Lights(
            make_lamps(settings, self._pins, stream or sys.stderr),
            health,
            lambda complaint: health.warn("panel", complaint),
            settings.night,
            now,
            self._held,
        )
        self._nursery: trio.Nursery | None = None
        self._busy: set[Gesture] = set()
        self._asking: trio.Event | None = None

    def show(self, key: str, seconds: float = TEST_EACH_S) -> dict[str, str]:
        """Show one of WALK by its key on all lights, for a test; returns its key, pattern and words.

        Raises ``ValueError`` with what there is. `seconds` is cut to SHOW_S_MAX.
        """
        sign = next((sign for sign in WALK if sign.key == key), None)
        if sign is None:
            raise ValueError(f"there is no {key!r} to show: take one of {', '.join(s.key for s in WALK)}")
        self._lights.show(sign, min(max(seconds, 0.0), SHOW_S_MAX))
        return {"key": sign.key, "pattern": sign.pattern.name, "words": sign.words}

    async def confirm(self, timeout_s: float) -> bool:
        """Whether somebody presses the button briefly within `timeout_s`; lights ask for it meanwhile. The
        press does nothing else. False at once if there is no button, or somebody else is asking.
        """
        if self._button is None or self._asking is not None:
            return False
        self._asking = answer = trio.Event()
        try:
            with trio.move_on_after(timeout_s):
                await answer.wait()
            return answer.is_set()
        finally:
            self._asking = None

    async def run(self) -> None:
        """Show and listen until cancelled. Raises only what cancels it, or what a defect here raises."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._lights.run)
            if self._button is not None:
                nursery.start_soon(self._listen, self._button)

    async def leave(self) -> None:
        """Leave the lights so that they tell the truth without us: dark only if the box may be unplugged. At
        most 1 s, whatever the hardware does.
        """
        safe = self._health.state == "stopped"
        await self._lights.leave(Leave.SAFE if safe else Leave.TROUBLE)

    async def _listen(self, button: ButtonWatch) -> None:
        backoff = Backoff()
        while True:
            try:
                await button.run(opened=lambda: self._health.warn("button", None))
            except PanelError as error:
                log.warning("button does not work", error=str(error))
                self._health.warn("button", f"the button does not work: {error}")
            await backoff.sleep()

    def _held(self) -> Sign | None:
        sign = None if self._button is None else STAGES.get(self._button.stage)
        return CONFIRM if self._asking is not None and sign in (None, HELD) else sign

    def _heard(self, gesture: Gesture) -> None:
        log.info("button", gesture=gesture.value)
        if gesture is Gesture.STUCK:
            self._health.warn("button", self._stuck)
        elif gesture is Gesture.FREED:
            self._health.warn("button", None)
        elif gesture is Gesture.PAIR and self._asking is not None:
            self._asking.set()
        elif self._nursery is not None and gesture in self._actions and gesture not in self._busy:
            self._busy.add(gesture)
            self._nursery.start_soon(self._act, gesture, self._actions[gesture])

    async def _act(self, gesture: Gesture, action: Callable[[], Awaitable[object]]) -> None:
        try:
            await action()
        except Exception as error:
            log.warning("button refused", gesture=gesture.value, error=str(error))
            self._lights.show(REFUSED, REFUSED_S)
        finally:
            self._busy.discard(gesture)


async def run_panel(
    settings: PanelSettings,
    health: Health,
    actions: Actions,
    *,
    task_status: trio.TaskStatus[Panel] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run the panel until cancelled; started at once with the ``Panel``, before any hardware is touched.

    Raises nothing else. Cancelled, it leaves the lights in a truthful state within 1 s: dark only if `health`
    says "stopped". So say that before you cancel it.
    """
    panel = Panel(settings, health, actions)
    task_status.started(panel)
    backoff = Backoff()
    try:
        while True:
            try:
                await panel.run()
            except* Exception:
                log.exception("panel failed")
                health.warn("panel", "the panel failed and is tried again; pocket log says why")
            await backoff.sleep()
    finally:
        await panel.leave()


async def panel_test(
    settings: PanelSettings,
    say: Callable[[Sign], None],
    seconds_each: float = TEST_EACH_S,
    *,
    pins: Pins | None = None,
    stream: TextIO | None = None,
) -> str | None:
    """Walk through all patterns on the lights, telling `say` each one as it begins. For when no box runs:
    it takes the pins itself. Returns what is wrong with a light, or None.

    However it ends, the lights are left as they were found.
    """
    pins = pins or Pins(settings.pins, settings.chip)
    trouble: list[str] = []
    lamps = make_lamps(settings, pins, stream or sys.stderr)
    lights = Lights(lamps, Health(), lambda text: trouble.append(text) if text else None)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lights.run)
            for sign in WALK:
                lights.show(sign, seconds_each + 1)
                say(sign)
                await trio.sleep(seconds_each)
            nursery.cancel_scope.cancel()
    finally:
        await lights.leave(Leave.FOUND)
    return trouble[-1] if trouble else None


def mark_end(settings: PanelSettings, clean: bool) -> None:
    """After the box's process has ended: let board LEDs show how. For a crash, where nobody in the box was
    left to do it. Pins are the kernel's then, and stay as they are. Blocks; raises nothing.
    """
    names = {led.board for led in settings.leds if led.board is not None}
    own = own_led(settings.leds_folder)
    if settings.show == "auto" and not settings.leds and own is not None:
        names.add(own)
    for name in names & set(board_leds(settings.leds_folder)):
        lamp = BoardLamp(name, "status", settings.leds_folder)
        try:
            lamp.darken() if clean else lamp.blink()
        except PanelError as error:
            log.warning("light could not be left", light=lamp.name, error=str(error))


def make_lamps(settings: PanelSettings, pins: Pins, stream: TextIO) -> list[Lamp]:
    """The lights that `settings` mean on this machine. Touches none of them."""
    lamps: list[Lamp] = []
    if settings.show in ("auto", "leds"):
        for led in settings.leds:
            lamps.append(board_lamp(led, settings.leds_folder) if led.board else GpioLamp(led, pins))
        own = own_led(settings.leds_folder)
        if not settings.leds and own is not None:
            lamps.append(BoardLamp(own, "status", settings.leds_folder))
    if settings.show == "terminal" or (settings.show == "auto" and is_terminal(stream)):
        lamps.append(Terminal(stream))
    return lamps
