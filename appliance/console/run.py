"""The console's task: ports come and go, each has its session, and nothing of it can harm the node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from appliance.console.port import BAUD, Attendant, Port
from appliance.console.provisioning import Provisioner
from appliance.console.session import Actions, Session
from appliance.console.shell import COMMAND, CONFIRM, LIMIT_S, WORDS, Shell
from appliance.console.wifi import CONNECT_S, find_wifi
from appliance.health import Health
from appliance.log import get_logger

log = get_logger(__name__)

AGAIN_S = 10.0
STATUS_S = 5.0

Words = Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """`data` is the box's data folder. `ports` are paths, `*` and `?` stand for any characters; none: no
    console. `words` may be run, those in `confirm` only after a question; `word_limit_s` ends them.
    `wifi` is "auto" or "off".
    """

    data: Path
    ports: tuple[str, ...] = ()
    baud: int = BAUD
    words: tuple[str, ...] = WORDS
    confirm: tuple[str, ...] = CONFIRM
    word_limit_s: float = LIMIT_S
    wifi: str = "auto"
    wifi_connect_s: float = CONNECT_S
    command: tuple[str, ...] = COMMAND


async def run_console(
    settings: ConsoleSettings,
    words: Words,
    health: Health,
    actions: Actions,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the console on every port there is, until cancelled; returns at once without ports. Raises
    nothing else: what goes wrong is logged, told as a warning, and tried again. Cancelled, it ends the
    words that run and closes the ports, within a second.
    """
    task_status.started()
    while settings.ports:
        try:
            await _serve(settings, words, health, actions)
        except Exception:
            log.exception("the console failed")
            health.warn(
                "console", f"the serial console failed, and starts again in {AGAIN_S:.0f} s: see the log"
            )
        await trio.sleep(AGAIN_S)
        health.warn("console", None)


async def _serve(settings: ConsoleSettings, words: Words, health: Health, actions: Actions) -> None:
    shell = Shell(settings.data, settings.words, settings.confirm, settings.command, settings.word_limit_s)

    async def status() -> Any:
        with trio.fail_after(STATUS_S):
            return await words["status"]({})

    async def site() -> tuple[str, bool]:
        told = await status()
        return str(told["site"]), int(told["members"]) > 0

    async with trio.open_nursery() as nursery:
        wifi = find_wifi(settings.wifi, settings.wifi_connect_s)
        provisioner = Provisioner(wifi, site, actions.unlocked, nursery)

        async def talk(path: str, port: Port) -> None:
            await Session(path, shell, provisioner, status, actions).run(port)

        await Attendant(settings.ports, talk, health, settings.baud).run()
