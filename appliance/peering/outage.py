"""Playing dead for a moment, to see what the others do. Nothing of it is on the disk: a box that is killed
meanwhile is simply back when it starts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from appliance import wire
from appliance.log import get_logger
from appliance.peering.calling import call
from appliance.peering.errors import PeeringError
from appliance.peering.standing import Standing
from appliance.session import LinkLost
from appliance.site import Box

log = get_logger(__name__)

PROBE_EVERY_S = 0.25
PROBE_S = 2.0
CATCH_UP_S = 30.0
LOOK_EVERY_S = 0.05

Task = Callable[[], Awaitable[None]]


class LocalName(Protocol):
    """The .local name that the boxes share."""

    name: str
    holder: str | None
    """The id of the box that holds it; None while that is none of the site's."""
    held: bool

    def pause(self, seconds: float) -> None:
        """Leave it to the others for so long."""


class Outage:
    """Who is to be still while it lasts asks here."""

    def __init__(self) -> None:
        self._on = False
        self._over = trio.Event()
        self._over.set()
        self._scopes: set[trio.CancelScope] = set()

    @property
    def on(self) -> bool:
        """The box is out of service."""
        return self._on

    def begin(self) -> None:
        self._on = True
        self._over = trio.Event()
        for scope in self._scopes:
            scope.cancel()

    def end(self) -> None:
        self._on = False
        self._over.set()

    async def unless(self, task: Task) -> None:
        """Run a task, which is cancelled for each outage and started anew after it. Returns when it does."""
        while True:
            while self._on:
                await self._over.wait()
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                try:
                    await task()
                    return
                finally:
                    self._scopes.discard(scope)


@dataclass(slots=True)
class Seen:
    """What was seen of another box during an outage."""

    box: Box
    entries: int
    served: bool = False
    answered_ms: int | None = None
    why: str = "it has told no address"
    caught_up_s: float | None = None


async def play_dead(
    standing: Standing,
    outage: Outage,
    cut: Callable[[], int],
    seconds: float,
    local: LocalName | None,
) -> dict[str, Any]:
    """Be out of service for so long, and tell what the others did. ``cut`` cuts the clients' links, and says
    how many there were. ``local``: None if the box is not announced. Cancelled, the box is back in service.
    Raises ``PeeringError``.
    """
    if outage.on:
        raise PeeringError("a failover is being tested already")
    if not standing.others:
        raise PeeringError("there is no other box: invite one with   pocket peer invite")
    seen = [Seen(box, standing.entries(box.box)) for box in standing.others]
    taken: list[float] = []
    log.warning("out of service for a test", seconds=seconds)
    outage.begin()
    try:
        devices = cut()
        began = trio.current_time()
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for one in seen:
                    nursery.start_soon(_probe, one)
                if local is not None:
                    local.pause(seconds)
                    nursery.start_soon(_watch_name, local, began, taken)
                await trio.sleep_forever()
    finally:
        outage.end()
        if local is not None:
            local.pause(0)
        log.warning("back in service after a test")
    back = trio.current_time()
    with trio.move_on_after(CATCH_UP_S):
        while any(one.caught_up_s is None for one in seen):
            for one in seen:
                if one.caught_up_s is None and standing.state(one.box) == "in sync":
                    one.caught_up_s = round(trio.current_time() - back, 1)
            await trio.sleep(LOOK_EVERY_S)
    return {
        "seconds": seconds,
        "devices": devices,
        "boxes": [
            {
                "box": one.box.box,
                "name": one.box.name,
                "served": one.served,
                "why": None if one.served else one.why,
                "answered_ms": one.answered_ms,
                "entries": standing.entries(one.box.box) - one.entries,
                "caught_up_s": one.caught_up_s,
            }
            for one in seen
        ],
        "host": local.name if local is not None else None,
        "host_taken_s": taken[0] if taken else None,
    }


async def _probe(seen: Seen) -> None:
    """Ask the box again and again as a client would; the quickest answer counts."""
    while True:
        for address in seen.box.addresses:
            began = trio.current_time()
            try:
                with trio.fail_after(PROBE_S):
                    await _greet(address)
            except trio.TooSlowError:
                seen.why = f"no answer at {address}"
            except (OSError, LinkLost, EOFError, ValueError, wire.WireError) as error:
                seen.why = f"{address}: {getattr(error, 'strerror', None) or error}"
            else:
                took_ms = round((trio.current_time() - began) * 1000)
                seen.answered_ms = min(took_ms, seen.answered_ms or took_ms)
                seen.served = True
                break
        await trio.sleep(PROBE_EVERY_S)


async def _greet(address: str) -> None:
    """Get TMTP's first answer from there. Raises what goes wrong."""
    stream = await call(address)
    try:
        link = wire.ClientLink()
        await stream.send_all(link.encode(wire.TmtpRev("1")))
        while link.next_event() is wire.NEED_DATA:
            octets = await stream.receive()
            if not octets:
                raise EOFError("it hung up")
            link.receive_data(octets)
    finally:
        stream.close()


async def _watch_name(local: LocalName, began: float, taken: list[float]) -> None:
    while True:
        await trio.sleep(LOOK_EVERY_S)
        if local.holder is not None and not local.held:
            taken.append(round(trio.current_time() - began, 1))
            return
