"""The edges' tasks. Nothing that goes wrong in them reaches the box; it is told as a warning in health."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import trio

from appliance.config import Config
from appliance.control.edges import EdgeWords, Show
from appliance.control.pairing import MINUTES
from appliance.control.words import Words
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

ASK_S = 60.0
BUSY_S = 0.5


async def start_edges(
    nursery: trio.Nursery,
    config: Config,
    health: Health,
    words: Words,
    stop: Stop,
    place: Announced,
    peer_found: FoundPeer | None = None,
) -> SiteName | None:
    """Start what the configuration asks for, and add the words about it. The site's name in the network, None
    if the box is not announced there. ``peer_found``: see ``run_discovery``.
    """
    name = None
    if config.discovery.enabled and not place.only_here:
        from appliance.discovery import SiteName, run_discovery

        name = SiteName()
        await nursery.start(run_discovery, discovery_settings(config, place), health, name, peer_found)
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


class Hand:
    """Whether somebody is at the box: a short press opens pairing, and for as long lets a console set up the
    network.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._until = float("-inf")

    async def pressed_briefly(self) -> None:
        """Raises ``ControlError`` if nobody may register; somebody is there all the same."""
        self._until = time.monotonic() + MINUTES * 60
        await self._words.say("pair.open", minutes=MINUTES)

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
