"""The edges' tasks. Nothing that goes wrong in them reaches the box; it is told as a warning in health."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import trio

from appliance.config import Config
from appliance.control.edges import EdgeWords, Show
from appliance.control.pairing import MINUTES
from appliance.edges.settings import (
    Announced,
    console_settings,
    discovery_settings,
    has_panel,
    panel_settings,
)
from appliance.health import Health
from appliance.stop import Stop

if TYPE_CHECKING:
    from appliance.discovery import FoundPeer, SiteName
    from appliance.panel import Panel

Handlers = Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]]


class Words(Protocol):
    """The words that the box answers."""

    @property
    def handlers(self) -> Handlers: ...

    def add(self, handlers: Handlers) -> None:
        """More of them."""

    async def say(self, word: str, **args: Any) -> Any:
        """The result of a word. Raises ``ControlError``."""


ASK_S = 60.0
LOOK_S = 1.0
BUSY_S = 0.5


async def start_edges(
    nursery: trio.Nursery,
    config: Config,
    health: Health,
    words: Words,
    stop: Stop,
    place: Callable[[], Announced],
    peer_found: FoundPeer | None = None,
) -> SiteName | None:
    """Start what the configuration asks for, and add the words about it. The site's name in the network, None
    if the box is not announced there. ``place``: what is told there; it may change. ``peer_found``: see
    ``run_discovery``.
    """
    name = None
    if config.discovery.enabled and not place().only_here:
        from appliance.discovery import SiteName

        name = SiteName()
        await nursery.start(_announce, config, health, place, name, peer_found)
    hand = Hand(words)
    panel: Panel | None = None
    show: Show = _nothing_to_show_with
    if has_panel(config):
        from appliance.panel import Actions, run_panel

        actions = Actions(hand.pressed_briefly, stop.shutdown, stop.reset)
        panel = await nursery.start(run_panel, panel_settings(config), health, actions)
        show = panel.show
    words.add(EdgeWords(health, show, stop.reset).handlers)
    if config.console.ports:
        from appliance.console import Actions as ConsoleActions
        from appliance.console import run_console

        pressed = None
        if panel is not None and config.panel.button.pin >= 0:
            pressed = partial(_until_pressed, panel)
        console = ConsoleActions(pressed, hand.is_near)
        await nursery.start(run_console, console_settings(config), words.handlers, health, console)
    return name


async def _announce(
    config: Config,
    health: Health,
    place: Callable[[], Announced],
    name: SiteName,
    peer_found: FoundPeer | None,
    task_status: trio.TaskStatus[None],
) -> None:
    """Announce the box; anew when there is something else to say, as after another box was paired."""
    from appliance.discovery import run_discovery

    while True:
        now = place()
        async with trio.open_nursery() as nursery:
            await nursery.start(run_discovery, discovery_settings(config, now), health, name, peer_found)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            while True:
                await trio.sleep(LOOK_S)
                if place() != now:
                    break
            nursery.cancel_scope.cancel()


class Hand:
    """Whether somebody is at the box: a short press opens pairing, or answers what the lights ask; for two
    minutes it lets a console set up the network.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._until = float("-inf")

    async def pressed_briefly(self) -> None:
        """Raises ``ControlError`` if nobody may register, or a yes comes too early; somebody is there all the
        same.
        """
        self._until = time.monotonic() + MINUTES * 60
        await self._words.say("pair.press")

    def is_near(self) -> bool:
        return time.monotonic() < self._until


async def _until_pressed(panel: Panel) -> None:
    """Return when somebody presses the button briefly; it is asked for with the lights meanwhile."""
    while True:
        if await panel.confirm(ASK_S):
            return
        await trio.sleep(BUSY_S)


def _nothing_to_show_with(key: str, seconds: float) -> object:
    raise ValueError(
        "this box has no lights: see [[panel.led]] in the configuration file, or --panel terminal"
    )
