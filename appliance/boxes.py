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

import trio

from appliance.config import Config
from appliance.control.peers import PeerWords
from appliance.control.words import Words
from appliance.health import Health
from appliance.log import get_logger
from appliance.peering import (
    Peering,
    Settings,
    all_addresses,
    ensure_box,
    ensure_identity,
    follow_identity,
    place_of,
    reachable,
    tell_place,
    write_identity,
)
from appliance.replication import hub
from appliance.replication.hub import Hub
from appliance.replication.identity import Identity as Key
from appliance.session import Listener, Place, Service, addresses_of, let_peers_in
from appliance.session.certificate import ensure_certificate, fingerprint, fingerprint_of, server_context
from appliance.session.company import Company
from appliance.site import TRAFFIC, Identity, Site, decode_facts
from appliance.site.facts import Sent
from appliance.store import Store
from appliance.store.arrivals import Arrival
from appliance.store.copies import Copies
from appliance.store.journal import KEY_NAME
from appliance.store.partial import Partials
from appliance.version import __version__

log = get_logger(__name__)

REACH_S = 90 * 86400.0
"""How far back the journal reaches for a box that is away."""


@dataclass(frozen=True, slots=True)
class Front:
    """What clients and other boxes see. ``folder``: where the site's certificate and key are; None if the
    household keeps them elsewhere. ``own``: where this box is reached. ``key``: this box's, and ``peers``
    what is shown to other boxes.
    """

    identity: Identity
    context: ssl.SSLContext
    place: Place
    own: Callable[[], list[str]]
    folder: Path | None
    key: Key
    peers: ssl.SSLContext


def box_name(config: Config) -> str:
    """What this box is called among others."""
    return config.peer.name or "".join(c for c in socket.gethostname() if c.isprintable())[:64] or "box"


def own_addresses(config: Config, sockets: Sequence[socket.socket]) -> Callable[[], list[str]]:
    """What finds the addresses of this box, the one to try first in front; it always finds one."""
    if config.peer.addresses:
        return lambda: list(config.peer.addresses)
    return addresses_of(config.listen.host, sockets)


async def open_front(config: Config, store: Store, sockets: Sequence[socket.socket]) -> Front:
    """See to it that the site has this box and an identity, and that what clients see is that. Raises
    ``OSError``, ``ValueError``.
    """
    keys = await trio.to_thread.run_sync(Key.load, config.data / KEY_NAME)
    peers = await trio.to_thread.run_sync(keys.server_context)
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
        _context(cert, key, peers),
        Place(partial(all_addresses, store, own), fingerprint(cert)),
        own,
        None if theirs else folder,
        keys,
        peers,
    )


def _context(cert: Path, key: Path, peers: ssl.SSLContext) -> ssl.SSLContext:
    context = server_context(cert, key)
    let_peers_in(context, peers)
    return context


async def start_peering(
    nursery: trio.Nursery,
    config: Config,
    health: Health,
    words: Words,
    service: Service,
    listener: Listener,
    front: Front,
    restart: Callable[[], None],
) -> tuple[Peering, Hub]:
    """Start what keeps this box one of several, and add the words about it."""
    store = service.store
    settings = Settings(config.data, box_name(config), front.own, theirs=front.folder is None)
    links = _hub(config, service, health, front, lambda: peering)
    links.on_tell.append(service.company.heard)
    service.company.tell = links.tell
    peering = Peering(service, links, health, settings, restart, listener.cut)
    service.household = peering.household
    service.peers = links.accept
    service.company.tell = links.tell
    links.on_tell.append(service.company.heard)
    links.on_link.append(partial(_in_reach, service))
    store.upkeep.needed = partial(needed, store, links)
    listener.is_away = lambda: peering.out_of_service
    words.add(PeerWords(service, peering).handlers)
    words.figures = peering.standing.figures
    own = store.site.boxes.get(store.replica.own)
    if own is not None and own.name != settings.name:
        await tell_place(store, settings.name, place_of(store, front.own))
    nursery.start_soon(peering.outage.unless, links.run)
    nursery.start_soon(peering.watch)

    def changed(identity: Identity) -> None:
        folder = config.data / "tls"
        listener.context = _context(folder / "cert.pem", folder / "key.pem", front.peers)
        service.name = identity.name
        service.place = Place(service.place.addresses, fingerprint_of(identity.cert))

    if front.folder is not None:
        nursery.start_soon(follow_identity, store, front.identity, changed, front.folder)
    return peering, links


class Reach:
    """Hears which boxes are in reach, for those that have to do with it."""

    def __init__(self, copies: Copies, company: Company) -> None:
        self._copies = copies
        self._company = company
        self.confirmed = copies.confirmed
        self.blob_confirmed = copies.blob_confirmed
        self.progress = copies.progress

    def reach(self, box: str, up: bool) -> None:
        """A link to the box is there, or no more."""
        self._copies.reach(box, up)
        if up:
            self._company.joined()
        else:
            self._company.parted(box)


def _hub(
    config: Config, service: Service, health: Health, front: Front, peering: Callable[[], Peering]
) -> Hub:
    store = service.store
    found = front.own if config.peer.addresses else reachable(front.own)
    site = hub.Site(
        boxes=lambda: store.site.boxes,
        addresses=lambda: place_of(store, found),
        place=lambda addresses: tell_place(store, box_name(config), addresses),
        warn=health.warn,
        named=named_blobs,
        on_gap=lambda source: peering().copy_again(source),
        on_restored=lambda reason: peering().restored(reason),
        on_revoked=lambda by: peering().put_out(by),
        program=__version__,
    )
    partials = Partials(store.blobs)
    reach = Reach(store.copies, service.company)
    return hub.Hub(front.key, store.replica, reach, partials, site)


def _in_reach(service: Service, box: str, up: bool) -> None:
    if up:
        service.company.joined()
    else:
        service.company.parted(box)


def needed(store: Store, links: Hub) -> dict[str, int] | None:
    """Up to which seq of each journal every other box has it, as far as is known. None if that does not
    count: there is none, or it has been away for so long that it has to take a copy.
    """
    heads = store.replica.positions()
    limits: dict[str, int] | None = None
    for box, info in store.site.boxes.items():
        if box == store.replica.own or info.cut is not None or _is_long_gone(store, links, box):
            continue
        neighbour = links.neighbours.get(box)
        confirmed = neighbour.confirmed if neighbour is not None else {}
        if limits is None:
            limits = {journal: head.seq for journal, head in heads.items()}
        limits = {journal: min(seq, confirmed.get(journal, 0)) for journal, seq in limits.items()}
    return limits


def _is_long_gone(store: Store, links: Hub, box: str) -> bool:
    """Whether nothing was heard of a box for as long as the journal reaches."""
    neighbour = links.neighbours.get(box)
    if neighbour is not None and neighbour.seen_at is not None:
        return trio.current_time() - neighbour.seen_at > REACH_S
    return store.replica.clock - store.replica.clock_of(box) > REACH_S * 1e9


def named_blobs(arrival: Arrival) -> list[bytes]:
    """The hashes of the files that an entry names."""
    if arrival.kind != TRAFFIC:
        return []
    facts = decode_facts(arrival.body)
    return [fact.blob for fact in facts if isinstance(fact, Sent) and fact.blob is not None]


def site_id(site: Site) -> str:
    """What tells this site from others in the network, the same on all its boxes; empty while there is one
    box only.
    """
    if len(site.boxes) < 2:
        return ""
    first = min(site.boxes.values(), key=lambda box: (box.at, box.box))
    return sha256(b"pocket site " + first.public).hexdigest()[:8]


def peer_found(links: Hub, store: Store, announced: str, addresses: list[str], port: int) -> None:
    """A box of the site was seen in the network under the id by which boxes are announced."""
    for box in store.site.boxes.values():
        if sha256(box.public).hexdigest()[:8] == announced:
            for address in reversed(addresses):
                links.add_address(box.box, f"=[{address}]:{port}" if ":" in address else f"={address}:{port}")
