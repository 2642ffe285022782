"""What makes a box one of several, put together for `app`: who it is, who the others are, and the words about
them.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from appliance.config import Config
from appliance.configured import box_name
from appliance.control.peers import PeerWords
from appliance.control.words import Words
from appliance.health import Health
from appliance.log import get_logger
from appliance.peering import (
    Peering,
    PeeringError,
    Settings,
    all_addresses,
    ensure_box,
    ensure_identity,
    follow_identity,
    place_of,
    reachable,
    tell_noted,
    tell_place,
    write_identity,
)
from appliance.session import Caller, Listener, Place, Service, addresses_of, let_peers_in, notice_peers
from appliance.session.certificate import ensure_certificate, fingerprint, fingerprint_of, server_context
from appliance.site import Identity, Site
from appliance.store import Store

if TYPE_CHECKING:
    from appliance.replication.hub import Hub
    from appliance.replication.neighbour import PeerStatus

log = get_logger(__name__)

LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Front:
    """What clients see of the site. ``folder``: where the site's certificate and key are; None if the
    household keeps them elsewhere. ``own``: where this box is reached.
    """

    identity: Identity
    context: ssl.SSLContext
    place: Place
    own: Callable[[], list[str]]
    folder: Path | None


def own_addresses(config: Config, sockets: Sequence[socket.socket]) -> Callable[[], list[str]]:
    """What finds the addresses of this box, the one to try first in front; it always finds one."""
    if config.peer.addresses:
        return lambda: list(config.peer.addresses)
    return addresses_of(config.listen.host, sockets)


async def open_front(config: Config, store: Store, sockets: Sequence[socket.socket]) -> Front:
    """See to it that the site has this box and an identity, and that what clients see is that. Raises
    ``OSError``, ``ValueError``.
    """
    await ensure_box(store, box_name(config))
    folder = config.data / "tls"
    theirs = config.tls.cert is not None and config.tls.key is not None
    if config.tls.cert is not None and config.tls.key is not None:
        cert, key = config.tls.cert, config.tls.key
    else:
        cert, key = await trio.to_thread.run_sync(ensure_certificate, folder, config.name)
    identity = await ensure_identity(store, config.name, cert, key, theirs)
    if not theirs:
        await trio.to_thread.run_sync(write_identity, folder, identity)
    own = own_addresses(config, sockets)
    return Front(
        identity,
        server_context(cert, key),
        Place(partial(all_addresses, store, own), fingerprint(cert)),
        own,
        None if theirs else folder,
    )


class Door:
    """What is shown to those who connect: to clients the site's certificate, to other boxes, once there are
    some, this box's.
    """

    def __init__(self, listener: Listener) -> None:
        self.called = trio.Event()
        """Set when a box calls and is not expected: it knows more of this one than this one itself."""
        self._listener = listener
        self._peers: ssl.SSLContext | None = None
        notice_peers(listener.context, self.called.set)

    def open_for(self, peers: ssl.SSLContext) -> None:
        """Show this to other boxes."""
        self._peers = peers
        let_peers_in(self._listener.context, peers)

    def change(self, context: ssl.SSLContext) -> None:
        """Show this to clients from now on."""
        if self._peers is not None:
            let_peers_in(context, self._peers)
        else:
            notice_peers(context, self.called.set)
        self._listener.context = context


class Others:
    """The links to the other boxes, made when there are some, or one calls: their libraries take 8 MB, which
    a single box need not pay. ``make`` makes them, and what is shown to the others.
    """

    def __init__(self, store: Store, make: Callable[[], tuple[Hub, ssl.SSLContext]], door: Door) -> None:
        self._store = store
        self._make = make
        self._door = door
        self.hub: Hub | None = None
        self.on_made: list[Callable[[Hub], None]] = []
        """Called with the links, once there are some."""
        self._made = trio.Event()

    def peers(self) -> list[PeerStatus]:
        """How they are."""
        return self.hub.peers() if self.hub is not None else []

    def addresses(self, box: str) -> list[str]:
        """Where a box may be found, the best first."""
        neighbour = self.hub.neighbours.get(box) if self.hub is not None else None
        return neighbour.addresses() if neighbour is not None else []

    async def accept(self, caller: Caller) -> None:
        """Serve a box that calls."""
        if self.hub is not None:
            await self.hub.accept(caller)

    async def run(self) -> None:
        """Keep the links up until cancelled. May be run again."""
        while len(self._store.site.boxes) < 2 and not self._door.called.is_set():  # noqa: ASYNC110
            await trio.sleep(LOOK_S)
        if self.hub is None:
            made, peers = await trio.to_thread.run_sync(self._make)
            self._door.open_for(peers)
            self.hub = made
            for listener in self.on_made:
                listener(made)
            self._made.set()
        await self.hub.run()

    async def settle(self, seconds: float) -> None:
        """Wait until this box has what the others have, if there are any in reach, but not for longer."""
        if len(self._store.site.boxes) < 2:
            return
        with trio.move_on_after(seconds):
            await self._made.wait()
            if self.hub is not None:
                await self.hub.settle(seconds)


async def start_peering(
    nursery: trio.Nursery,
    config: Config,
    health: Health,
    words: Words,
    service: Service,
    listener: Listener,
    front: Front,
    restart: Callable[[], None],
) -> tuple[Peering, Others]:
    """Start what keeps this box one of several, and add the words about it."""
    store = service.store
    settings = Settings(config.data, box_name(config), front.own, theirs=front.folder is None)
    door = Door(listener)

    def make() -> tuple[Hub, ssl.SSLContext]:
        from appliance.linking import make_hub

        found = front.own if config.peer.addresses else reachable(front.own)
        return make_hub(config.data, service, health, settings.name, found, lambda: peering)

    others = Others(store, make, door)
    peering = Peering(service, others, health, settings, restart, listener.cut, others.addresses)
    service.household = peering.household
    service.peers = others.accept
    listener.is_away = lambda: peering.out_of_service
    words.add(PeerWords(service, peering).handlers)
    words.figures.append(peering.standing.figures)
    own = store.site.boxes.get(store.replica.own)
    if own is not None and (own.name != settings.name or not own.addresses):
        await tell_place(store, settings.name, place_of(store, front.own))
    nursery.start_soon(peering.outage.unless, others.run)
    nursery.start_soon(peering.watch)
    nursery.start_soon(peering.renewal.run)
    nursery.start_soon(tell_noted, config.data, store)
    service.buttons.blank = lambda: peering.has is None
    nursery.start_soon(look_when_pressed, config.discovery.enabled, service, peering)

    def changed(identity: Identity) -> None:
        folder = config.data / "tls"
        door.change(server_context(folder / "cert.pem", folder / "key.pem"))
        service.name = identity.name
        service.place = Place(service.place.addresses, fingerprint_of(identity.cert))

    if front.folder is not None:
        nursery.start_soon(follow_identity, store, front.identity, changed, front.folder)
    return peering, others


async def look_when_pressed(enabled: bool, service: Service, peering: Peering) -> None:
    """While this box is blank, a press of its button has it look for a site to join; ``enabled``: if it may.
    Runs until cancelled.
    """
    await service.buttons.opened()
    from appliance.peering.looking import Looking  # of use once in a box's life

    look = partial(boxes_that_pair, enabled, service.store.key.short)
    await Looking(service.buttons, peering, look).run()


async def boxes_that_pair(enabled: bool, own: str) -> list[list[str]]:
    """Where each box is that has pairing open, but for the one announced as ``own``. Raises
    ``PeeringError``.
    """
    if not enabled:
        raise PeeringError(
            "this box looks for no others (discovery.enabled): say   pocket peer invite   on the box that has"
            " the site, and   pocket peer join ADDRESS CODE   here"
        )
    from appliance.discovery import DiscoveryError, find

    try:
        found = await find()
    except DiscoveryError as error:
        raise PeeringError(str(error)) from None
    return [
        [typed(address, box.port) for address in box.addresses]
        for box in found
        if box.pairing and box.id != own
    ]


def typed(address: str, port: int) -> str:
    """As people type it."""
    return f"=[{address}]:{port}" if ":" in address else f"={address}:{port}"


def site_id(site: Site) -> str:
    """What tells this site from others in the network, the same on all its boxes; empty while there is one
    box only.
    """
    if len(site.boxes) < 2:
        return ""
    first = min(site.boxes.values(), key=lambda box: (box.at, box.box))
    return sha256(b"pocket site " + first.public).hexdigest()[:8]


def peer_found(others: Others, store: Store, announced: str, addresses: list[str], port: int) -> None:
    """A box of the site was seen in the network under the id by which boxes are announced."""
    links = others.hub
    if links is None:
        return
    for box in store.site.boxes.values():
        if sha256(box.public).hexdigest()[:8] == announced:
            for address in reversed(addresses):
                links.add_address(box.box, typed(address, port))
