"""A `pocket` whose hardware and libraries break and heal on command: `python -m tests.harm.bent ARGUMENTS`.

The command is a file in the folder that HARM_LEVERS names; while it is there, this is so:

    pins-fail       there is no GPIO chip
    pins-hang       whoever wants a pin waits for ever
    button-held     the button is held
    button-bounces  its contact opens and closes thousands of times a second
    mdns-hangs      the mDNS library's threads do nothing
    mdns-refused    the firewall lets no mDNS packet out
    port-hangs      whoever opens a serial port waits for ever

`mdns-dies` ends the threads that the mDNS library has when it appears. How often the contact changed is
told in the file `bounces`. HARM_LEDS names a folder that is taken for the kernel's board LEDs, HARM_STDERR a
file that standard error goes to.

What is told or tried again after a long time comes soon here: see `hurry`.
"""

from __future__ import annotations

import asyncio.selector_events
import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import serial
import zeroconf
from gpiozero.pins.mock import MockFactory, MockPWMPin  # type: ignore[import-untyped]

from appliance.cli import main
from appliance.console import port
from appliance.discovery import responder, service
from appliance.edges import settings, start
from appliance.panel import lights, pins, worker
from appliance.panel.settings import PanelError

LEVERS = Path(os.environ["HARM_LEVERS"])
BUTTON = 23
LOOK_S = 0.01
BOUNCES, BOUNCE_S = 100, 0.0002


def pulled(lever: str) -> bool:
    return (LEVERS / lever).exists()


def wait_while(lever: str) -> None:
    while pulled(lever):
        time.sleep(LOOK_S)


def watch(action: Callable[[], None]) -> None:
    threading.Thread(target=action, daemon=True).start()


class Factory(MockFactory):  # type: ignore[misc]
    """Pins that answer when they want to. Not what the panel knows as mock pins, which never block."""

    def __init__(self, chip: int | None) -> None:
        super().__init__(pin_class=MockPWMPin)
        watch(self._hand)

    def pin(self, name: Any) -> Any:
        wait_while("pins-hang")
        if pulled("pins-fail"):
            raise OSError(errno.ENODEV, "no such GPIO chip")
        return super().pin(name)

    def _hand(self) -> None:
        button = super().pin(BUTTON)
        while True:
            bounces = 0
            while bounces % BOUNCES or pulled("button-bounces"):
                button.drive_low() if bounces % 2 else button.drive_high()
                bounces += 1
                time.sleep(BOUNCE_S)
            if bounces:
                (LEVERS / "bounces").write_text(str(bounces))
            button.drive_low() if pulled("button-held") else button.drive_high()
            time.sleep(LOOK_S)


def make_factory(chip: int | None) -> Any:
    if pulled("pins-fail"):
        raise PanelError(pins.NO_GPIO)
    return Factory(chip)


class Zeroconf(zeroconf.Zeroconf):
    """Its thread may hang or die."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.loop is not None:
            watch(partial(self._fate, self.loop))

    @staticmethod
    def _fate(loop: asyncio.AbstractEventLoop) -> None:
        dying = pulled("mdns-dies")
        while loop.is_running():
            if pulled("mdns-hangs"):
                loop.call_soon_threadsafe(wait_while, "mdns-hangs")
                wait_while("mdns-hangs")
            if dying != pulled("mdns-dies"):
                loop.call_soon_threadsafe(loop.stop)
                return
            time.sleep(LOOK_S)


class Transport(asyncio.selector_events._SelectorDatagramTransport):  # type: ignore[name-defined,misc]
    """What the kernel does with a packet that its filter drops on the way out."""

    def sendto(self, data: Any, addr: Any = None) -> None:
        if pulled("mdns-refused"):
            self._protocol.error_received(PermissionError(errno.EPERM, os.strerror(errno.EPERM)))
        else:
            super().sendto(data, addr)


class Serial(serial.Serial):
    def open(self) -> None:
        wait_while("port-hangs")
        super().open()


def hurry() -> None:
    """What is told, or tried again, after long comes soon."""
    for place, name in (service, "CHECK_S"), (service, "ECHO_S"), (service, "RETRY_S"), (responder, "CALL_S"):
        bend(place, name, 0.5)
    told_late = settings.discovery_settings
    bend(start, "discovery_settings", lambda *args: replace(told_late(*args), warn_after_s=0.2))
    bend(lights, "BLOCKED_S", 1.0)
    bend(worker.Backoff, "RETRY_S", (0.5, worker.Backoff.RETRY_S[1]))
    bend(port, "OPEN_SLOW_S", 1.0)


def bend(place: Any, name: str, bent: Any) -> None:
    assert hasattr(place, name)
    setattr(place, name, bent)


def break_all() -> None:
    bend(pins, "_real_factory", make_factory)
    bend(responder, "Zeroconf", Zeroconf)
    bend(asyncio.selector_events, "_SelectorDatagramTransport", Transport)
    bend(serial, "Serial", Serial)
    leds, plain = Path(os.environ.get("HARM_LEDS", LEVERS)), settings.panel_settings
    bend(start, "panel_settings", lambda config: replace(plain(config), leds_folder=leds))


if __name__ == "__main__":
    if "HARM_STDERR" in os.environ:
        os.dup2(os.open(os.environ["HARM_STDERR"], os.O_WRONLY | os.O_NOCTTY), 2)
    hurry()
    break_all()
    main(sys.argv[1:], prog_name="pocket")
