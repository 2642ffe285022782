"""The site's name at work, on the library's thread: packets in, packets out, one timer.

What is heard is read off the library's sockets before the library sees it (``Gate``): it passes over packets
that come again within a second, and answers only for services. What to say is the ``Keeper``'s business.
The desk outlives the sockets, so that a name that we hold stays held when an address changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, cast

from zeroconf import Zeroconf

from appliance.discovery.dns import DNSOutgoing
from appliance.discovery.keeper import Act, Ask, Claim, Keeper
from appliance.discovery.shared import SiteName
from appliance.discovery.wording import PORT, Note, Plate
from appliance.log import get_logger

log = get_logger(__name__)

Sender = tuple[asyncio.DatagramTransport, tuple[Any, ...]]

AGAIN_S = 1.0
PROBE_AGAIN_S = 0.25
"""Between two answers to everybody (RFC 6762, section 6); who asks for itself is answered each time."""

GOODBYE_AGAIN_S = 0.1
"""A goodbye is said twice: Wi-Fi loses some."""

HEARD_MAX = 64
SILENT_S = 5.0
"""A box that was silent for so long and speaks again may have been away."""


class Desk:
    """``heard`` is called on the library's thread with the id of a box of our site that speaks after a
    silence.
    """

    def __init__(self, plate: Plate, name: SiteName, heard: Callable[[str], None] | None) -> None:
        self._plate, self._name, self._heard = plate, name, heard
        self._keeper = Keeper(plate.box)
        self._zeroconf: Zeroconf | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered_at = float("-inf")
        self._spoke: dict[str, float] = {}
        name.name = plate.name.rstrip(".")

    @property
    def stranger(self) -> list[str]:
        """The addresses of a device of others that has the name; empty if none has."""
        return [str(ip_address(each)) for each in self._keeper.stranger] if self._keeper.holder == "" else []

    def away(self) -> None:
        """We have left the network; closed first."""
        self._keeper.away()
        self._tell()

    def open(self, zeroconf: Zeroconf, addresses: Iterable[str], own: frozenset[bytes]) -> None:
        """Go to work with these sockets and addresses."""
        self._zeroconf = zeroconf
        told = frozenset(ip_address(each).packed for each in addresses)
        self._keeper.here(told, own, time.monotonic())
        loop = asyncio.get_running_loop()
        self._name.when_changed(lambda: _call(loop, self._step))
        self._step()

    def close(self, *, goodbye: bool) -> DNSOutgoing | None:
        """End with these sockets; the goodbye to send if the name was held and is not any more."""
        self._name.when_changed(None)
        if self._timer is not None:
            self._timer.cancel()
        self._zeroconf = None
        if not (goodbye and self._keeper.held):
            return None
        self.away()
        return self._plate.goodbye(self._keeper.addresses)

    def tap(self, data: bytes, address: tuple[Any, ...], transport: asyncio.DatagramTransport) -> None:
        """One packet from the network."""
        if self._zeroconf is None:
            return
        note = self._plate.read(data)
        if note is None:
            return
        now = time.monotonic()
        if address[1] == PORT:
            self._keeper.hear(note, (transport, address), now)
            if note.box and note.box != self._plate.box:
                self._listen(note.box, now)
        self._step()
        if note.question and note.asked and self._keeper.held and note.box != self._plate.box:
            self._answer(note, address, transport, now)

    def _answer(
        self, note: Note, address: tuple[Any, ...], transport: asyncio.DatagramTransport, now: float
    ) -> None:
        plain = address[1] != PORT
        out = self._plate.answer(note, self._keeper.addresses, plain=plain)
        if out is None:
            return
        if plain or note.unicast:
            _send_to(out, transport, address)
        elif now - self._answered_at >= (PROBE_AGAIN_S if note.probe else AGAIN_S):
            self._answered_at = now
            self._send(out)

    def _listen(self, box: str, now: float) -> None:
        before = self._spoke.pop(box, float("-inf"))
        if len(self._spoke) >= HEARD_MAX:
            del self._spoke[next(iter(self._spoke))]
        self._spoke[box] = now
        if now - before > SILENT_S and self._heard is not None:
            self._heard(box)

    def _step(self) -> None:
        if self._zeroconf is None:
            return
        now = time.monotonic()
        acts, due_s = self._keeper.step(self._name.willing(now), now)
        for act in acts:
            self._perform(act)
        self._tell()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(due_s, self._step)

    def _perform(self, act: Act) -> None:
        keeper, plate = self._keeper, self._plate
        if isinstance(act, Claim):
            self._send(plate.claim(keeper.addresses, act.gone))
        elif isinstance(act, Ask):
            out = plate.question(act.says, keeper.addresses, unicast=act.unicast)
            if act.to is None:
                self._send(out)
            else:
                _send_to(out, *cast(Sender, act.to))
        else:
            out = plate.goodbye(act.addresses)
            self._send(out)
            asyncio.get_running_loop().call_later(GOODBYE_AGAIN_S, self._send_unless_held, out)

    def _send_unless_held(self, out: DNSOutgoing) -> None:
        if not self._keeper.held:
            self._send(out)

    def _send(self, out: DNSOutgoing) -> None:
        if self._zeroconf is not None:
            self._zeroconf.async_send(out)

    def _tell(self) -> None:
        holder, held = self._keeper.holder or None, self._keeper.held
        if (holder, held) != (self._name.holder, self._name.held):
            log.info("the site's name is held", name=self._name.name, box=holder or "none", here=held)
            self._name.told(holder, held)


def _send_to(out: DNSOutgoing, transport: asyncio.DatagramTransport, address: tuple[Any, ...]) -> None:
    for packet in out.packets():
        if not transport.is_closing():
            transport.sendto(packet, address)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    if not loop.is_closed():
        try:
            loop.call_soon_threadsafe(function)
        except RuntimeError:
            log.debug("the network is being left")
