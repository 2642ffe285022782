"""What a person has in front of them when the box cannot serve: the error on the LED, words on the console,
the button.

Words and button start `pocket rescue WORD` as a process of its own: a remedy that hangs or fails takes
neither LED nor console with it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from appliance.console import Actions as ConsoleActions
from appliance.console import ConsoleSettings, run_console
from appliance.health import Health
from appliance.log import get_logger
from appliance.panel import Actions, Panel, PanelSettings, run_panel

log = get_logger(__name__)

WORDS = ("status", "repair", "reset", "restart")
CONFIRM = ("reset",)
COMMAND = (sys.executable, "-m", "appliance.cli", "rescue")
OPTIONS = {"reset": ("--yes",)}
"""Of words that the button says."""

POWER_OFF = ("systemctl", "poweroff")
ASK_S = 60.0
BUSY_S = 0.5


class RemedyFailed(Exception):
    """A word that the button said did not do what it is for."""


async def run_rescue(
    name: str,
    panel: PanelSettings,
    console: ConsoleSettings,
    why: str,
    restart_in_s: float | None = None,
    command: tuple[str, ...] = COMMAND,
) -> None:
    """Say `why` until cancelled; after `restart_in_s`, if that is given, start the machine anew. `name`: the
    site's, as far as the configuration knows it. A short press is `repair`, a factory reset `reset`.
    """
    health = Health()
    health.serving()
    health.fail("data", why)

    async def remedy(word: str) -> None:
        log.warning("remedy", word=word)
        health.fail("data", None)
        health.warn("data", f"{word} is at work")
        try:
            await _run((*command, word, *OPTIONS.get(word, ())))
        finally:
            health.warn("data", None)
            health.fail("data", why)

    async def status(_: dict[str, Any]) -> dict[str, Any]:
        return {"site": name, "state": health.state, "reasons": health.reasons, "members": 1}

    actions = Actions(partial(remedy, "repair"), partial(_run, POWER_OFF), partial(remedy, "reset"))
    words = replace(console, words=WORDS, confirm=CONFIRM, command=command, wifi="off")
    async with trio.open_nursery() as nursery:
        shown = await nursery.start(run_panel, panel, health, actions)
        pressed: Callable[[], Awaitable[None]] | None = None
        if panel.button is not None:
            pressed = partial(_until_pressed, shown)
        nursery.start_soon(run_console, words, {"status": status}, health, ConsoleActions(pressed))
        if restart_in_s is not None:
            await trio.sleep(restart_in_s)
            await remedy("restart")


async def _run(words: tuple[str, ...]) -> None:
    """Raises RemedyFailed. What it says goes to standard error, where the log is."""
    ended = await trio.run_process(words, check=False, stdin=b"", stdout=sys.stderr)
    if ended.returncode:
        raise RemedyFailed(f"{words[-1]}: exit status {ended.returncode}")


async def _until_pressed(panel: Panel) -> None:
    """Return when somebody presses the button briefly; the lights ask for it meanwhile."""
    while True:
        if await panel.confirm(ASK_S):
            return
        await trio.sleep(BUSY_S)
