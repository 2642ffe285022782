"""The box: who runs under whom. This module alone knows everybody.

    main nursery ---- store owner, control socket, watchdog, rates     (live until the store is closed)
      links nursery - accept tasks, one task a link, other sites       (end first, at a stop)

A box that is joining a site runs `arriving` in place of this tree; what it runs on changes with an end and a
start inside the process, which keeps the listening sockets.

A stop goes through the same tree from the leaves: no new links, links say their last acks, the store
commits what it has, brings its queues to the tables and closes. A store that breaks ends everything at
once; the next start recovers from what is on the disk.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from appliance import log as logs
from appliance import reset
from appliance.boxes import open_front, peer_found, site_id, start_peering
from appliance.config import Config
from appliance.configured import link_settings, open_store, verifier
from appliance.control import ControlError, control_path
from appliance.control.server import serve_control
from appliance.control.words import Words
from appliance.delivery import Exchange
from appliance.edges.settings import Announced
from appliance.edges.start import start_edges
from appliance.elsewhere import Elsewhere
from appliance.first import NotPrepared, prepare
from appliance.health import Health
from appliance.holding import only_one
from appliance.notify import sd_notify, watchdog_interval_s
from appliance.peering import folder as joining
from appliance.safekeeping import make_keeper
from appliance.session import (
    Buttons,
    Listener,
    Pairing,
    Service,
    listen,
)
from appliance.site import find_owner
from appliance.stop import OFF_STATUS, Ended, Reason, Stop
from appliance.store import DiskFull, SchemaError, Scrubber, Store, StoreBroken, StoreError, snapshot
from appliance.updates import make_updater

if TYPE_CHECKING:
    from appliance.updating.updater import Updater

log = logs.get_logger(__name__)

HEAR_OTHERS_S = 3.0
"""Before a box serves it hears what the others did meanwhile, if they are there: a request that was asked of
it and then, because it went away, of them, must not go out twice.
"""

LINKS_END_S = 2.5
"""Of the 5 s that a stop may take, what links get for their last acks."""

DISK_LOOK_S = 2.0
MAIL_LOOK_S = 0.1
"""A light takes 0.05 s and its way more: what happens shows within 0.25 s."""
SWITCH_OFF_S = 30.0
OPEN_FILES = 65536
GC_THRESHOLD = 50_000


def run(config: Config) -> int:
    """Run the box until SIGTERM, SIGINT, or a wish to end it; its exit status. Raises ``ControlError`` with
    what to do if it cannot start or go on.
    """
    config = replace(config, data=config.data.absolute())
    reason: Reason = "signal"
    logs.setup(config.log.level, config.log.format)
    _raise_limits()
    try:
        with only_one(config.data):
            sockets: list[socket.socket] = []
            ended = Ended("restart")
            while ended.reason == "restart":
                _finish_reset(config.data)
                _finish_joining(config.data)
                _go_back(config)
                prepare(config.data, config.name)
                sockets = sockets or _listen(config)
                ended = trio.run(_main, config, sockets, ended.gave_up)
            reason = ended.reason
            _finish_reset(config.data)
    except* (NotPrepared, StoreError, SchemaError, ValueError) as group:
        error = _first(group)
        log.error("the box stops", error=str(error))
        raise ControlError(str(error)) from None
    except* OSError as group:
        error = _first(group)
        log.error("the box stops", error=str(error))
        raise ControlError(f"the box cannot run: {error}") from None
    return _switch_off(config.panel.shutdown_command) if reason == "shutdown" else 0


async def _main(config: Config, sockets: list[socket.socket], gave_up: str | None) -> Ended:
    health = Health()
    stop = Stop(config.data)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        facts = await trio.to_thread.run_sync(joining.find, config.data)
        if facts is not None:
            from appliance.arriving import Tools, arrive  # of use once in a box's life

            tools = Tools(partial(open_store, config, gaps=True), _asked_to_end)
            return await arrive(config, sockets, facts, signals, tools)
        store = await trio.to_thread.run_sync(open_store, config, config.data)
        async with trio.open_nursery() as main:
            owner_done = trio.Event()
            main.start_soon(_own, store, owner_done)
            await store.perform(find_owner)
            front = await open_front(config, store, sockets)
            pairing = Pairing(config.registration, health.pair_for)
            service = Service(
                front.identity.name,
                store,
                Exchange(),
                link_settings(config),
                pairing,
                verifier(config),
                front.place,
                Buttons(health),
            )
            listener = Listener(service, front.context)
            words = Words(service, health, config.data)
            _tidy_memory()
            words.scrubber = _scrubber(config, store, health)
            main.start_soon(words.scrubber.run)
            peering, others = await start_peering(
                main, config, health, words, service, listener, front, stop.restart
            )
            peering.gave_up = gave_up
            elsewhere = Elsewhere(config, service, health, peering, others)
            elsewhere.add_words(words)
            keeper = make_keeper(config, store, health, peering, words, stop.restart)
            updater = make_updater(config, service, health, peering, others, words, sockets)
            place = partial(_announced, service, sockets)
            found = partial(peer_found, others, store)
            peering.local_name = await start_edges(main, config, health, words, stop, place, found)
            await main.start(partial(serve_control, control_path(config.data), words.handlers))
            main.start_soon(words.sample)
            main.start_soon(listener.tick)
            main.start_soon(_watch_disk, store, health)
            if any(led.role == "mail" for led in config.panel.led):
                main.start_soon(_watch_mail, store, health)
            main.start_soon(_feed_watchdog, store)
            if config.metrics.listen is not None:
                from appliance.metrics import serve_metrics

                await main.start(partial(serve_metrics, config.metrics.listen, partial(words.status, {})))
            await others.settle(HEAR_OTHERS_S)
            async with trio.open_nursery() as links:
                accepting = trio.CancelScope()
                links.start_soon(_accept, listener, sockets, links, accepting, stop)
                links.start_soon(_when_proven, updater, elsewhere.run)
                links.start_soon(keeper.run)
                links.start_soon(updater.run)
                health.serving()
                _announce(service)
                await _asked_to_end(signals, stop)
                log.info("stopping")
                health.stopping()
                if stop.reason != "restart":  # systemd kills who says that and goes on
                    sd_notify("STOPPING=1")
                accepting.cancel()
                elsewhere.end()
                keeper.end()
                updater.end()
                listener.retire()
                links.cancel_scope.deadline = trio.current_time() + LINKS_END_S
            store.close()
            await owner_done.wait()
            health.stopped()
            main.cancel_scope.cancel()
    log.info("stopped")
    return Ended(stop.reason)


async def _when_proven(updater: Updater, run: Callable[[], Awaitable[None]]) -> None:
    """What comes from other sites is work as well: see ``Trial.held``."""
    if updater.trial.held is not None:
        await updater.trial.passed.wait()
    await run()


def _tidy_memory() -> None:
    """What starting has left behind goes back to the system; what is here now stays, and is not looked
    through again and again.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # a C library that has no such thing
        ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 100)


def _announced(service: Service, sockets: list[socket.socket]) -> Announced:
    names = [sock.getsockname() for sock in sockets]
    store = service.store
    return Announced(
        store.key.short,
        names[0][1],
        tuple(name[0] for name in names),
        site_id(store.site),
        service.name,
    )


def _scrubber(config: Config, store: Store, health: Health) -> Scrubber:
    settings = config.store
    warn = partial(health.warn, "scrub")
    return Scrubber(config.data, store, settings.scrub_percent, settings.scrub_octets_per_minute, warn)


async def _own(store: Store, done: trio.Event) -> None:
    await store.run()
    done.set()


async def _accept(
    listener: Listener,
    sockets: list[socket.socket],
    links: trio.Nursery,
    scope: trio.CancelScope,
    stop: Stop,
) -> None:
    with scope:
        try:
            async with trio.open_nursery() as nursery:
                for sock in sockets:
                    nursery.start_soon(listener.serve, sock, links)
        finally:
            if stop.reason != "restart":
                for sock in sockets:
                    sock.close()


async def _asked_to_end(signals: AsyncIterator[int], stop: Stop) -> None:
    async with trio.open_nursery() as nursery:

        async def signalled() -> None:
            async for _ in signals:
                nursery.cancel_scope.cancel()

        nursery.start_soon(signalled)
        await stop.wait()
        nursery.cancel_scope.cancel()


def _finish_reset(folder: Path) -> None:
    if reset.finish(folder):
        log.warning("back to factory state: all data is gone", folder=str(folder))


def _finish_joining(folder: Path) -> None:
    if joining.finish(folder):
        snapshot.forget(folder)  # of another box
        log.info("joined: the copy has taken its place", folder=str(folder))


def _go_back(config: Config) -> None:
    """To the tables that this version knows, if those of a newer one are there."""
    if snapshot.about(config.data) is None:
        return
    from appliance.store.going_back import go_back  # of use once in a box's life

    trio.run(go_back, config.data, partial(open_store, config, gaps=True))


def _switch_off(command: str) -> int:
    """What comes after an orderly end that the button asked for; the exit status."""
    if command:
        try:
            subprocess.run(shlex.split(command), stdin=subprocess.DEVNULL, check=True, timeout=SWITCH_OFF_S)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            log.error("panel.shutdown_command failed", command=command, error=str(error))
    return OFF_STATUS if "NOTIFY_SOCKET" in os.environ else 0


async def _watch_disk(store: Store, health: Health) -> None:
    """Keep what status says of the disk and the store true."""
    was_low = False
    while True:
        room = store.disk.room()
        problem = None
        if room.low:
            problem = (
                f"the disk is nearly full: {room.free >> 20} MiB free, reserve {room.reserve >> 20} MiB;"
                " new messages are refused until there is room"
            )
        if room.low != was_low:
            was_low = room.low
            (log.error if was_low else log.info)("disk", free=room.free, reserve=room.reserve, low=was_low)
        health.warn("disk", problem)
        health.fail("store", store.trouble)
        await trio.sleep(DISK_LOOK_S)


async def _watch_mail(store: Store, health: Health) -> None:
    while True:
        health.mail_waiting = mail_waiting(store)
        await trio.sleep(MAIL_LOOK_S)


def mail_waiting(store: Store) -> int:
    """Messages that devices have yet to fetch. Often called: queues with nothing in them cost least."""
    nodes = store.site.nodes
    return sum(
        pending.count
        for number, pending in store.queues.nodes.items()
        if pending.count and number in nodes and nodes[number].role == "device"
    )


async def _feed_watchdog(store: Store) -> None:
    """Tell systemd that the box works, each time that the store has proven it by writing, syncing and
    reading.
    """
    interval_s = watchdog_interval_s()
    if interval_s is None:
        return
    while True:
        try:
            await store.probe()
            sd_notify("WATCHDOG=1")
        except StoreBroken:
            raise
        except DiskFull:
            sd_notify("WATCHDOG=1")  # status says so; starting anew would make no room and cut everybody off
        except StoreError as error:
            log.warning("watchdog not fed", error=str(error))
        await trio.sleep(interval_s)


def command() -> str:
    """How this program can be called again from here: by its name, if the shell would find it so."""
    called = Path(sys.argv[0])
    found = shutil.which("pocket")
    return "pocket" if called.name != "pocket" or (found and Path(found).samefile(called)) else str(called)


def _announce(service: Service) -> None:
    """Tell whoever started the box, and systemd, that it serves."""
    address, print_of_cert = service.place.addresses()[0], service.place.fingerprint
    hint = {
        "open": "anybody who reaches this address may register",
        "pairing": f"to let a new member register, run: {command()} pair open",
        "closed": "registration is closed by the configuration",
    }[service.pairing.mode]
    print(f"site {service.name}", f"address {address}", f"fingerprint {print_of_cert}", sep="\n")
    print(
        f"next: type the address into a TMTP client and compare the fingerprint; {hint}",
        "ready",
        sep="\n",
        flush=True,
    )
    log.info("serving", site=service.name, address=address, box=service.store.key.box)
    sd_notify(f"READY=1\nSTATUS=serving {service.name} at {address}")


def _listen(config: Config) -> list[socket.socket]:
    try:
        return listen(config.listen.host, config.listen.port)
    except OSError as error:
        hint = "is another box running there?" if error.errno == errno.EADDRINUSE else "see the option listen"
        raise ControlError(f"cannot listen on {config.listen}: {error.strerror or error}; {hint}") from None


def _raise_limits() -> None:
    """Each link is an open file, and shells allow 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    sys.setswitchinterval(0.001)


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
