"""A box that is joining a site, or is restored from a backup: who runs under whom until the copy is complete.

    main nursery - control socket, edges, watchdog, turning clients away, the copying

It serves nobody. An end keeps what came so far, and the next start goes on with it. When everything is here
the copy is closed and marked, and the box starts anew inside, on what it has become.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from appliance.config import Config
from appliance.configured import box_name
from appliance.control import control_path
from appliance.control.errors import ControlError
from appliance.control.log import recent_log
from appliance.control.server import serve_control
from appliance.edges.settings import Announced
from appliance.edges.start import start_edges
from appliance.health import Health
from appliance.log import get_logger
from appliance.notify import sd_notify, watchdog_interval_s
from appliance.peering import folder as joining
from appliance.session.certificate import fingerprint
from appliance.session.sockets import accept
from appliance.stop import Ended, Stop
from appliance.store import Store
from appliance.store.journal import KEY_NAME, BoxKey
from appliance.version import __version__

if TYPE_CHECKING:
    from appliance.backup.restoring import Restoring
    from appliance.peering.copying import Copying

log = get_logger(__name__)

SHOW_EVERY_S = 0.5

Args = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tools:
    """What `app` does for both trees. ``open_copy``: the store in a folder, as a copy; it blocks."""

    open_copy: Callable[[Path], Store]
    asked_to_end: Callable[[AsyncIterator[int], Stop], Awaitable[None]]


class JoiningWords:
    """What can be said to a box that is joining."""

    def __init__(self, config: Config, facts: joining.Joining, key: BoxKey, health: Health) -> None:
        self.text = "joining: looking for a box of the site"
        self._facts = facts
        self._key = key
        self._health = health
        self._print = fingerprint(config.data / joining.JOINING / joining.CERT)
        self._handlers: dict[str, Callable[[Args], Awaitable[Any]]] = {
            "status": self.status,
            "peer.list": self.peer_list,
            "log": recent_log,
        }

    @property
    def handlers(self) -> Mapping[str, Callable[[Args], Awaitable[Any]]]:
        return self._handlers

    def add(self, handlers: Mapping[str, Callable[[Args], Awaitable[Any]]]) -> None:
        self._handlers.update(handlers)

    async def say(self, word: str, **args: Any) -> Any:
        """Raises ``ControlError``."""
        if word not in self._handlers:
            raise ControlError(f"this box is {self.text}: wait until it serves")
        return await self._handlers[word](args)

    async def status(self, args: Args) -> Any:
        return {
            "site": self._facts.site,
            "version": __version__,
            "box": self._key.box,
            "state": self._health.state,
            "reasons": [self.text, *self._health.reasons],
            "uptime_s": round(self._health.uptime_s, 1),
            "started": round(self._health.started, 3),
            "fingerprint": self._print,
            "safe_to_unplug": False,
            "copies": 0,
        }

    async def peer_list(self, args: Args) -> Any:
        return {
            "site": self._facts.site,
            "box": self._key.box,
            "announced": self._key.short,
            "joining": {"site": self._facts.site, "text": self.text, "again": self._facts.again},
            "gave_up": None,
            "copies": 0,
            "one_copy_acks": 0,
            "safe_to_unplug": False,
            "why": "it has yet to get everything",
            "boxes": [],
        }


async def arrive(
    config: Config,
    sockets: list[socket.socket],
    facts: joining.Joining,
    signals: AsyncIterator[int],
    tools: Tools,
) -> Ended:
    """Run until everything of the site is here, or the box is told to end. Raises ``OSError``,
    ``StoreError``, ``ValueError``.
    """
    health, stop = Health(), Stop(config.data)
    key = await trio.to_thread.run_sync(BoxKey.load, config.data / joining.JOINING / KEY_NAME)
    words = JoiningWords(config, facts, key, health)
    unannounced = replace(config, discovery=replace(config.discovery, enabled=False))
    copying = await _work(config, facts, tools)
    done = False
    log.info("joining", site=facts.site, box=key.box, again=facts.again)
    async with trio.open_nursery() as main:
        await start_edges(main, unannounced, health, words, stop, lambda: Announced("", 0, ()))
        await main.start(partial(serve_control, control_path(config.data), words.handlers))
        main.start_soon(_feed_watchdog)
        for sock in sockets:
            main.start_soon(_turn_away, sock)
        main.start_soon(_show, copying, words, health)
        print(f"site {facts.site}", "joining", sep="\n", flush=True)
        sd_notify(f"READY=1\nSTATUS=joining {facts.site}")
        async with trio.open_nursery() as work:

            async def ended() -> None:
                await tools.asked_to_end(signals, stop)
                work.cancel_scope.cancel()

            work.start_soon(ended)
            done = await copying.run()
            work.cancel_scope.cancel()
        health.stopped()
        main.cancel_scope.cancel()
    if done:
        await trio.to_thread.run_sync(joining.mark, config.data)
        log.info("everything is here", site=facts.site)
        return Ended("restart")
    if copying.gave_up is not None:
        log.error("joining given up", reason=copying.gave_up)
        await trio.to_thread.run_sync(joining.give_up, config.data)
        return Ended("restart", copying.gave_up)
    return Ended(stop.reason)


async def _work(config: Config, facts: joining.Joining, tools: Tools) -> Copying | Restoring:
    """What fills the copy. Raises ``OSError``, ``ValueError``."""
    if (config.data / joining.JOINING / joining.RESTORE).exists():
        from appliance.backup import restoring

        note = await trio.to_thread.run_sync(restoring.find, config.data)
        if note is not None:
            return restoring.Restoring(config.data, note, box_name(config), tools.open_copy)
    from appliance.peering.copying import Copying

    return Copying(config.data, facts, tools.open_copy)


async def _turn_away(listener: socket.socket) -> None:
    """Clients find another box sooner if this one does not let them wait."""
    while True:
        sock, _ = await accept(listener)
        sock.close()


async def _feed_watchdog() -> None:
    """A copy takes what time it takes, and a disk that fails ends it: that the loop turns is enough."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        sd_notify("WATCHDOG=1")
        await trio.sleep(interval_s)


async def _show(copying: Copying | Restoring, words: JoiningWords, health: Health) -> None:
    while True:
        words.text = copying.text
        health.warn("joining", copying.problem)
        await trio.sleep(SHOW_EVERY_S)
