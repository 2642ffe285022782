"""Announcing the box for as long as it runs: one task decides, one watches the network.

    watch   netlink says something changed -> settle -> new plan -> wake
    serve   for each plan: sockets -> ask whether our names are free -> announce -> keep watch:
            pairing opened or closed, others use our names, another plan

Names are asked for before they are announced, but where only addresses changed within the same networks.
The name that the site's boxes share is the ``desk``'s business, on the library's thread.
Everything that blocks runs in worker threads of our own few, so that a library that hangs takes none of
the box's; a stop waits for a goodbye of STOP_S and no longer.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import TypeVar

import trio

from appliance.discovery import netlink
from appliance.discovery.desk import Desk
from appliance.discovery.ear import Verdict, Watch
from appliance.discovery.names import first_names, host_label, own_host
from appliance.discovery.netlink import read_network
from appliance.discovery.peers import FoundPeer, Peers
from appliance.discovery.plan import Plan, only_here, plan
from appliance.discovery.responder import Card, NoMulticast, Responder
from appliance.discovery.settings import DiscoverySettings
from appliance.discovery.shared import SiteName
from appliance.discovery.vouching import vouch
from appliance.discovery.wording import Plate
from appliance.health import Health
from appliance.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")

TOPIC = "discovery"
TICK_S = 0.1
"""How often pairing is looked at: it is announced within 250 ms."""
SETTLE_S, SETTLE_MAX_S = 0.3, 2.0
"""A change of the network is looked at when it has been quiet for so long, or after so long."""
POLL_S = 30.0
"""For kernels that do not tell: how often the network is looked at in any case."""
RETRY_S, RETRY_MAX_S = 2.0, 60.0
ASKS, ASK_GAP_S = 3, 0.25
"""Questions, and the time between them and after the last (RFC 6762, section 8.1)."""
ECHO_S = 3.0
"""How long our own announcement may take to come back to us. It takes a millisecond."""
DISPUTE_S, DISPUTE_MAX_S = 1.0, 60.0
"""Between two looks at who uses our names; doubled while somebody goes on claiming them."""
CHECK_S = 300.0
"""How often we ask who uses our names without a cause: two boxes that nobody asks do not hear each other."""
RECENT_S = 300.0
"""For how long an address that we had may still be told about us by others' delayed packets."""
OPEN_S = 10.0
STOP_S = 0.45
THREADS = 4
"""One works; three may hang in a library that does."""


class Taken(Exception):
    """All names that we could have are others'."""


async def run_discovery(
    settings: DiscoverySettings,
    health: Health,
    name: SiteName | None = None,
    found: FoundPeer | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Announce the box until cancelled. Raises nothing else: trouble is a warning in health, and is tried
    again. Ready at once. When cancelled it says goodbye within half a second.

    ``name`` is told who holds the site's name. ``found`` is called from this task's loop with a box's id, its
    addresses and its port when another box of the site appears, comes back or changes its place; it must not
    block, and what it raises is logged.
    """
    task_status.started()
    if not settings.enabled:
        return
    if only_here(settings.listen):
        log.info("not announced: the box listens to this machine only", listen=list(settings.listen))
        return
    peers = Peers(settings.site_id, settings.box_id, found) if found and settings.site_id else None
    discovery = _Discovery(settings, health, name or SiteName(), peers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discovery.watch)
        nursery.start_soon(discovery.serve)
        nursery.start_soon(vouch, discovery.name, discovery.desk, health, settings.warn_after_s)
        if peers is not None:
            nursery.start_soon(peers.deliver)


class _Discovery:
    def __init__(
        self, settings: DiscoverySettings, health: Health, name: SiteName, peers: Peers | None
    ) -> None:
        self._settings = settings
        self._health = health
        self.name, self._peers = name, peers
        self.desk: Desk | None = None
        host = settings.host
        if settings.site_id:
            plate = Plate(host_label(host or settings.site), settings.site_id, settings.box_id)
            self.desk = Desk(plate, name, peers.heard if peers else None)
            host = own_host(settings.site, host, settings.box_id)
        self._token = trio.lowlevel.current_trio_token()
        self._limiter = trio.CapacityLimiter(THREADS)
        self._first = self._names = first_names(settings.site, host, settings.box_id)
        self._plan: Plan | None = None
        self._joined: frozenset[int] = frozenset()
        """The interfaces that have been up ever since we claimed our names there."""
        self._up = self._joined
        """Those of the plan that have been up ever since we took it up: they may go while we claim."""
        self._told_addresses: set[str] = set()
        self._recent: dict[bytes, float] = {}
        self._woken = trio.Event()
        self._pairing = False
        self._since: float | None = None
        self._reason = self._told = ""
        self._known: dict[str, object] = {}
        self._dispute_s, self._dispute_at = DISPUTE_S, float("-inf")

    async def watch(self) -> None:
        """Keep the plan up to date."""
        retry_s = RETRY_S
        while True:
            try:
                with netlink.open_watch() as sock:
                    while True:
                        await self._look()
                        retry_s = RETRY_S
                        with trio.move_on_after(POLL_S):
                            await trio.lowlevel.wait_readable(sock)
                            await self._settle(sock)
            except Exception as error:
                log.debug("the network cannot be watched", error=repr(error))
                if self._plan is None:
                    self._trouble(
                        f"the kernel does not say which networks there are ({error}): in a service unit, "
                        "RestrictAddressFamilies has to allow AF_NETLINK"
                    )
            await trio.sleep(retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S)

    async def _settle(self, sock: socket.socket) -> None:
        with trio.move_on_after(SETTLE_MAX_S):
            while True:
                netlink.drain(sock)
                with trio.move_on_after(SETTLE_S) as quiet:
                    await trio.lowlevel.wait_readable(sock)
                if quiet.cancelled_caught:
                    return

    async def _look(self) -> None:
        network = await self._thread(read_network)
        found = plan(network, self._settings.interfaces, self._settings.listen)
        now = time.monotonic()
        self._recent = {ip: until for ip, until in self._recent.items() if until > now}
        self._recent |= dict.fromkeys(found.own, now + RECENT_S)
        self._joined &= found.links
        self._up &= found.links
        if found != self._plan:
            self._plan = found
            self._wake()

    async def serve(self) -> None:
        """Announce by the plan of the hour."""
        retry_s = RETRY_S
        while True:
            current = self._plan
            if current is None:
                await self._another_plan(None, POLL_S)
                continue
            try:
                await self._announce(current)
                retry_s = RETRY_S
                continue
            except (NoMulticast, Taken) as error:
                self._trouble(str(error))
            except Exception as error:
                reason = f"announcing failed ({error!r}), and the log says how; it is tried again"
                if reason != self._reason:
                    log.exception("announcing the box failed")
                self._trouble(reason)
            await self._another_plan(current, retry_s)
            retry_s = min(2 * retry_s, RETRY_MAX_S) if self._plan == current else RETRY_S

    async def _announce(self, current: Plan) -> None:
        """Announce the box until there is another plan."""
        if current.sockets and not current.addresses:
            raise NoMulticast(
                f"the box listens on {', '.join(self._settings.listen)}, which is no address here"
            )
        self._up = current.links
        if self.desk is not None and not self._joined:
            self.desk.away()
        responder = await self._open(current)
        goodbye = True
        try:
            await self._thread(responder.share, current.addresses, frozenset(self._recent))
            if self._peers is not None:
                await self._thread(responder.browse, self._peers)
            if not self._joined:
                self._names = self._first
            if not current.links <= self._joined:
                await self._claim(responder, current)
            self._joined = self._up
            await self._publish(responder, current)
            gone = self._told_addresses.difference(current.addresses)
            self._told_addresses = set(current.addresses)
            if gone:
                await self._thread(responder.take_back, self._names.host, sorted(gone))
            await self._hear_echo(responder, current)
            self._well(current)
            check_at = time.monotonic() + CHECK_S
            while self._plan == current:
                await self._tick(responder, current)
                now = time.monotonic()
                if (responder.ear.alarm and now >= self._dispute_at) or now >= check_at:
                    await self._dispute(responder, current)
                    check_at = time.monotonic() + CHECK_S
            goodbye = False
        finally:
            with trio.move_on_after(STOP_S, shield=True):
                await self._thread(partial(responder.close, goodbye=goodbye))

    async def _open(self, current: Plan) -> Responder:
        unwanted = threading.Event()

        def opening() -> Responder:
            responder = Responder(current.sockets, self._heard, self.desk)
            if unwanted.is_set():
                responder.close(goodbye=False)
            return responder

        try:
            with trio.fail_after(OPEN_S):
                return await self._thread(opening)
        finally:
            unwanted.set()

    async def _claim(self, responder: Responder, current: Plan) -> None:
        """Find names that nobody else has. Raises ``Taken`` after the last."""
        while not (verdict := await self._ask(responder, current, held=False)).free:
            self._rename(verdict)

    async def _ask(self, responder: Responder, current: Plan, *, held: bool) -> Verdict:
        """Ask who uses our names and judge the answers. Without a claim to them one answer is enough."""
        await self._thread(responder.watch, self._watch(current, held))
        verdict = Verdict()
        for count in range(ASKS):
            unicast = count < ASKS - 1 if held else count == 0
            ask = partial(responder.ask, self._card(current), probe=not held, unicast=unicast)
            await self._thread(ask)
            await self._pause(ASK_GAP_S, responder, current, held)
            verdict = await self._thread(responder.verdict)
            if not (held or verdict.free):
                break
        return verdict

    async def _dispute(self, responder: Responder, current: Plan) -> None:
        """Somebody uses our names, or took them back. Either they are ours, then we say so, or we take
        others.
        """
        now = time.monotonic()
        if now - self._dispute_at > DISPUTE_MAX_S:
            self._dispute_s = DISPUTE_S
        alarmed = responder.ear.alarm
        verdict = await self._ask(responder, current, held=True)
        self._dispute_at = time.monotonic() + self._dispute_s
        self._dispute_s = min(2 * self._dispute_s, DISPUTE_MAX_S)
        if verdict.free:
            if alarmed or responder.ear.alarm:
                await self._thread(responder.announce)
            await self._thread(responder.forget)
            return
        old = self._names
        self._rename(verdict)
        await self._claim(responder, current)
        await self._publish(responder, current)
        if self._names.host != old.host:
            await self._thread(responder.take_back, old.host, current.addresses)
        await self._thread(responder.forget)
        self._well(current)

    async def _publish(self, responder: Responder, current: Plan) -> None:
        await self._thread(responder.watch, self._watch(current, held=True))
        self._pairing = self._health.pairing
        await self._thread(responder.publish, self._card(current), self._pairing)

    async def _hear_echo(self, responder: Responder, current: Plan) -> None:
        deadline = time.monotonic() + ECHO_S
        while not responder.ear.echo and self._plan == current:
            if time.monotonic() > deadline:
                raise NoMulticast(
                    "what is announced does not come back: a firewall may drop UDP port 5353; "
                    "typing the address always works"
                )
            await self._tick(responder, current)

    async def _pause(self, seconds: float, responder: Responder, current: Plan, held: bool) -> None:
        """Wait, and go on with pairing meanwhile if we are announced."""
        if not held:
            await trio.sleep(seconds)
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await self._tick(responder, current)

    async def _tick(self, responder: Responder, current: Plan) -> None:
        """Wait a moment, less if woken; then announce pairing as it is."""
        await self._rest()
        if self._health.pairing != self._pairing:
            self._pairing = not self._pairing
            await self._thread(responder.pairing, self._card(current), self._pairing)

    async def _another_plan(self, this: Plan | None, timeout_s: float) -> None:
        """Wait until there is another plan than this, or for so long."""
        deadline = time.monotonic() + timeout_s
        while self._plan == this and time.monotonic() < deadline:
            await self._rest()
            self._tell()

    async def _rest(self) -> None:
        with trio.move_on_after(TICK_S):
            await self._woken.wait()
        if self._woken.is_set():
            self._woken = trio.Event()

    def _rename(self, verdict: Verdict) -> None:
        old, self._names = self._names, self._names.after(instance=verdict.instance, host=verdict.host)
        if self._names.exhausted:
            self._names = self._first
            raise Taken(
                f"all names from {self._first.instance} and {self._first.host.rstrip('.')} on are used by "
                "others in this network: give the site another name"
            )
        log.info(
            "a name of ours is taken in this network",
            **{"from": [old.instance, old.host], "to": [self._names.instance, self._names.host]},
        )

    def _card(self, current: Plan) -> Card:
        settings = self._settings
        return Card(self._names, settings.version, settings.port, current.addresses, settings.site_id)

    def _watch(self, current: Plan, held: bool) -> Watch:
        told = frozenset(ip_address(each).packed for each in current.addresses)
        return Watch(self._names, self._settings.port, told, frozenset(self._recent), held)

    def _heard(self) -> None:
        """Called on the library's thread. However often, one wake waits at most."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._wake, idempotent=True)

    def _wake(self) -> None:
        self._woken.set()

    def _trouble(self, reason: str) -> None:
        self._reason = reason
        if self._since is None:
            self._since = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        """Say what is wrong, once, and not before it has been so for a while."""
        if self._since is None or self._reason == self._told:
            return
        if time.monotonic() - self._since >= self._settings.warn_after_s:
            self._told, self._known = self._reason, {}
            log.warning("the box is not announced in the network", reason=self._reason)
            self._health.warn(TOPIC, f"others cannot find this box in the network: {self._reason}")

    def _well(self, current: Plan) -> None:
        self._since, self._reason, self._told = None, "", ""
        self._health.warn(TOPIC, None)
        if self.desk is None:
            held = self._names.host == self._first.host
            self.name.alone(self._first.host, self._settings.box_id if held else None)
        known: dict[str, object] = {
            "name": self._names.instance,
            "host": self._names.host.rstrip("."),
            "addresses": list(current.addresses),
        }
        if known != self._known:
            self._known = known
            log.info("announced in the network", **known)

    async def _thread(self, function: Callable[..., T], *args: object) -> T:
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter, abandon_on_cancel=True)
