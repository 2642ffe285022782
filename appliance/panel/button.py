"""The button on its pin: from gpiozero's thread to gestures in the panel's task.

gpiozero calls from a thread of its own, so all that is done there is to note the contact and wake the task.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import trio

from appliance.panel.gestures import Gesture, Gestures, Stage
from appliance.panel.pins import Pins, explain
from appliance.panel.settings import Button, PanelError
from appliance.panel.worker import Worker

CONTACTS_MAX = 256
"""Contacts noted and not yet read: a press with bounces is some 20. Of more, the oldest are forgotten."""

POLL_S = 0.1
"""While it is held the pin is also read, so that a lost edge cannot make a press longer."""

CLOSE_S = 0.2


class ButtonWatch:
    """Tells `heard` each gesture, in the task that runs `run`; `heard` must not raise."""

    def __init__(
        self,
        button: Button,
        pins: Pins,
        heard: Callable[[Gesture], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._button = button
        self._pins = pins
        self._heard = heard
        self._clock = clock
        self._worker = Worker(quick=pins.mock)
        self._contacts: deque[tuple[float, bool]] = deque(maxlen=CONTACTS_MAX)
        self._wake = trio.Event()
        self._gestures: Gestures | None = None

    @property
    def stage(self) -> Stage:
        return Stage.IDLE if self._gestures is None else self._gestures.stage(self._clock())

    async def run(self, *, opened: Callable[[], None]) -> None:
        """Watch the button until cancelled; `opened` is called when its pin works.

        Raises ``PanelError`` with what to do. However it ends, no callback comes after it, and the pin is
        given back (if the hardware lets us within CLOSE_S).
        """
        device = await self._worker.call(self._open)
        try:
            self._contacts.clear()
            self._attach(device)
            self._gestures = Gestures(
                self._button, await self._worker.call(self._read, device), self._clock()
            )
            opened()
            while True:
                await self._step(device, self._gestures)
        finally:
            self._gestures = None
            with trio.move_on_after(CLOSE_S) as scope:
                scope.shield = True
                await self._worker.call(_close, device)

    async def _step(self, device: Any, gestures: Gestures) -> None:
        self._wake = trio.Event()
        while self._contacts:
            self._tell(gestures.feed(*self._contacts.popleft()))
        now = self._clock()
        self._tell(gestures.tick(now))
        wait_s = max(0.0, gestures.next_look() - now)
        if gestures.pressed:
            wait_s = min(wait_s, POLL_S)
        with trio.move_on_after(wait_s):
            await self._wake.wait()
            return
        if gestures.pressed:
            now = self._clock()
            closed = await self._worker.call(self._read, device)
            if not self._contacts:
                self._tell(gestures.feed(now, closed))

    def _tell(self, found: list[Gesture]) -> None:
        for gesture in found:
            self._heard(gesture)

    def _open(self) -> Any:
        button = self._button
        return self._pins.device(
            "DigitalInputDevice",
            button.pin,
            pull_up=button.active_low,
            # A flood of edges is thinned out below us; what remains is debounced in Gestures.
            bounce_time=button.debounce_s / 10 or None,
        )

    def _attach(self, device: Any) -> None:
        token = trio.lowlevel.current_trio_token()

        def note(closed: bool) -> None:
            self._contacts.append((self._clock(), closed))
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(self._woken, idempotent=True)

        device.when_activated = lambda: note(True)
        device.when_deactivated = lambda: note(False)

    def _woken(self) -> None:
        self._wake.set()

    def _read(self, device: Any) -> bool:
        try:
            return bool(device.is_active)
        except Exception as error:
            raise PanelError(f"{self._button.name} cannot be read: {explain(error)}") from error


def _close(device: Any) -> None:
    # gpiozero's close leaves the callback of a real pin where it is.
    device.pin.when_changed = None
    device.when_activated = device.when_deactivated = None
    device.close()
