"""The library at work: sockets on the plan's interfaces, our services on them, goodbye.

zeroconf brings its own thread with its own loop. Every method here hands over to that and waits CALL_S at
most, so it belongs into a worker thread; none waits for what the library repeats later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

from zeroconf import ServiceInfo, Zeroconf

from appliance.discovery.desk import Desk
from appliance.discovery.dns import (
    AAAA,
    ANY,
    IN,
    PTR,
    QUERY,
    RESPONSE,
    UNICAST,
    A,
    DNSAddress,
    DNSOutgoing,
    DNSQuestion,
)
from appliance.discovery.ear import Ear, Verdict, Watch
from appliance.discovery.gate import Bucket, Gate, Tap
from appliance.discovery.names import PAIRING, SERVICE, Names
from appliance.discovery.peers import Peers
from appliance.log import get_logger

log = get_logger(__name__)

T = TypeVar("T")

CALL_S = 2.0
"""The library's loop answers in milliseconds, in WAIT_MAX_S under a flood. If it does not, it is broken."""

GOODBYES = 2
GOODBYE_GAP_S = 0.1
"""RFC 6762 asks for one goodbye; Wi-Fi loses some."""


class NoMulticast(Exception):
    """There is no socket to announce on; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a service of ours says about itself."""

    names: Names
    version: str
    port: int
    addresses: tuple[str, ...]
    site_id: str = ""

    def info(self, kind: str) -> ServiceInfo:
        """The library's form of it, for SERVICE or PAIRING."""
        text = {"txtvers": "1", "version": self.version, "id": self.names.box_id}
        if self.site_id:
            text["site"] = self.site_id
        return ServiceInfo(
            kind,
            self.names.service(kind),
            port=self.port,
            properties=text,
            server=self.names.host,
            parsed_addresses=list(self.addresses),
        )


def open_zeroconf(sockets: Sequence[str | int], tap: Tap | None = None) -> Zeroconf:
    """The library on these sockets, behind a gate with a ``tap``. Raises ``NoMulticast``."""
    logging.getLogger("zeroconf").setLevel(logging.ERROR)
    if not sockets:
        raise NoMulticast(
            "no network interface that can multicast is up: check the cable or the Wi-Fi; "
            "typing the address works whenever there is a network"
        )
    try:
        zeroconf = Zeroconf(interfaces=list(sockets), use_asyncio=False)
    except OSError as error:
        raise NoMulticast(
            f"multicast DNS cannot use port 5353 ({error.strerror or error}): if avahi runs here, set "
            "disallow-other-stacks=no in /etc/avahi/avahi-daemon.conf; typing the address always works"
        ) from error
    try:
        _on_loop(zeroconf, _guard, zeroconf, tap)
        if not zeroconf.engine.senders:
            raise NoMulticast("no network interface takes multicast; typing the address always works")
    except BaseException:
        zeroconf.close()
        raise
    return zeroconf


class Responder:
    """Our services in the network of one plan, and with ``desk`` the site's name. ``wake``: see ``Ear``.
    Raises ``NoMulticast``; its methods raise ``TimeoutError`` when the library hangs.
    """

    def __init__(
        self, sockets: Sequence[str | int], wake: Callable[[], None], desk: Desk | None = None
    ) -> None:
        self.ear = Ear(wake)
        self._desk = desk
        self._peers: Peers | None = None
        self._zeroconf = open_zeroconf(sockets, desk.tap if desk else None)
        self._services: dict[str, ServiceInfo] = {}
        self._repeating: dict[str, asyncio.Future[Any]] = {}
        self._closed = False
        self._turn = asyncio.Lock()
        """Whatever is asked for, one thing is done after the other: the goodbye last."""
        self._zeroconf.add_listener(self.ear, None)

    def share(self, addresses: Sequence[str], own: frozenset[bytes]) -> None:
        """Take part in who holds the site's name. ``own``: all addresses of this machine, packed."""
        if self._desk is not None:
            _on_loop(self._zeroconf, self._desk.open, self._zeroconf, addresses, own)

    def browse(self, peers: Peers) -> None:
        """Look for the site's other boxes until closed."""
        self._peers = peers
        _on_loop(self._zeroconf, peers.open, self._zeroconf)

    def watch(self, watch: Watch | None) -> None:
        """Listen for others that use these names."""
        _on_loop(self._zeroconf, self.ear.watch, watch)

    def verdict(self) -> Verdict:
        """What was heard, judged."""
        return _on_loop(self._zeroconf, self.ear.verdict)

    def forget(self) -> None:
        """Start anew with what is heard."""
        _on_loop(self._zeroconf, self.ear.forget)

    def ask(self, card: Card, *, probe: bool, unicast: bool) -> None:
        """Ask the network who uses the card's names. A probe says that we are about to (RFC 6762, section
        8.1).
        """
        _on_loop(self._zeroconf, self._ask, card, probe, unicast)

    def publish(self, card: Card, pairing: bool) -> None:
        """Announce the card now and twice more within half a second, in place of what was announced."""
        _wait(self._zeroconf, self._publish(card, (SERVICE, PAIRING) if pairing else (SERVICE,)))

    def pairing(self, card: Card, open: bool) -> None:
        """Announce that pairing is open, or take that back."""
        _wait(self._zeroconf, self._publish(card, (PAIRING,)) if open else self._withdraw(PAIRING))

    def announce(self) -> None:
        """Say once more what we have: somebody claimed it, or took it back in our name."""
        _on_loop(self._zeroconf, self._announce)

    def take_back(self, host: str, addresses: Sequence[str]) -> None:
        """Tell that these addresses are none of the host's any more."""
        _on_loop(self._zeroconf, self._take_back, host, addresses)

    def close(self, *, goodbye: bool) -> None:
        """End, with a goodbye or without a word. Takes GOODBYES * GOODBYE_GAP_S and some; the second call
        does nothing. If it is abandoned, the library's thread does no harm and ends with the process.
        """
        if self._closed:
            return
        self._closed = True
        try:
            _wait(self._zeroconf, self._leave(GOODBYES if goodbye else 0))
        finally:
            self._zeroconf.close()

    async def _publish(self, card: Card, kinds: Sequence[str]) -> None:
        async with self._turn:
            old = [self._services.pop(kind) for kind in kinds if kind in self._services]
            self._zeroconf.registry.async_remove(old)
            for kind in () if self._closed else kinds:
                self._stop_repeating(kind)
                info = self._services[kind] = card.info(kind)
                repeating = await self._zeroconf.async_register_service(info, cooperating_responders=True)
                self._repeating[kind] = asyncio.ensure_future(repeating)

    async def _withdraw(self, kind: str) -> None:
        async with self._turn:
            self._stop_repeating(kind)
            info = self._services.pop(kind, None)
            if info is not None:
                repeating = await self._zeroconf.async_unregister_service(info)
                self._repeating[kind] = asyncio.ensure_future(repeating)

    async def _leave(self, goodbyes: int) -> None:
        async with self._turn:
            self.ear.watch(None)
            for kind in list(self._repeating):
                self._stop_repeating(kind)
            if self._peers is not None:
                await self._peers.close()
            outs = [self._desk.close(goodbye=goodbyes > 0)] if self._desk is not None else []
            outs.append(self._zeroconf.generate_unregister_all_services())
            for count in range(goodbyes):
                await asyncio.sleep(GOODBYE_GAP_S if count else 0)
                for out in outs:
                    if out is not None:
                        self._zeroconf.async_send(out)

    def _stop_repeating(self, kind: str) -> None:
        """An announcement that is repeated after a goodbye would bring back the dead, and the other way
        round.
        """
        repeating = self._repeating.pop(kind, None)
        if repeating is not None:
            repeating.cancel()

    def _announce(self) -> None:
        for info in self._services.values():
            self._zeroconf.async_send(self._zeroconf.generate_service_broadcast(info, None))

    def _ask(self, card: Card, probe: bool, unicast: bool) -> None:
        info = card.info(SERVICE)
        out = DNSOutgoing(QUERY)
        flag = UNICAST if unicast else 0
        out.add_question(DNSQuestion(info.name, ANY, IN | flag))
        out.add_question(DNSQuestion(card.names.host, ANY, IN | flag))
        out.add_question(DNSQuestion(SERVICE, PTR, IN | flag))
        if probe:
            claims: list[Any] = [info.dns_service(), *info.dns_addresses()]
            out.authorities.extend(claims)
        self._zeroconf.async_send(out)

    def _take_back(self, host: str, addresses: Sequence[str]) -> None:
        out = DNSOutgoing(RESPONSE)
        for address in addresses:
            packed = ip_address(address).packed
            out.add_answer_at_time(DNSAddress(host, A if len(packed) == 4 else AAAA, IN, 0, packed), 0)
        self._zeroconf.async_send(out)


def _guard(zeroconf: Zeroconf, tap: Tap | None) -> None:
    bucket = Bucket()
    for reader in zeroconf.engine.readers:
        transport = reader.transport
        transport.set_protocol(Gate(transport.get_protocol(), bucket, tap, transport))
    asyncio.get_running_loop().set_exception_handler(_failed)


def _failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.warning("the mDNS library failed", what=context.get("message"), error=repr(context.get("exception")))


def _on_loop(zeroconf: Zeroconf, function: Callable[..., T], *args: Any) -> T:
    async def call() -> T:
        return function(*args)

    return _wait(zeroconf, call())


def _wait(zeroconf: Zeroconf, coroutine: Coroutine[Any, Any, T]) -> T:
    loop = zeroconf.loop
    if loop is None or not loop.is_running():
        coroutine.close()
        raise TimeoutError("the mDNS library does not run")
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(CALL_S)
    except TimeoutError:
        future.cancel()
        raise TimeoutError(f"the mDNS library did not answer in {CALL_S} s") from None
