"""The links to other boxes, put together: imported when there is another box, and not before."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import trio

from appliance.health import Health
from appliance.peering import Peering, place_of, tell_place
from appliance.peering.admitting import Admitting
from appliance.peering.losses import Losses
from appliance.replication import hub
from appliance.replication.hub import Hub
from appliance.replication.identity import Identity
from appliance.replication.mending import Mending
from appliance.session import Service
from appliance.site import TRAFFIC, decode_facts, heirs
from appliance.site.facts import Sent
from appliance.store import Store
from appliance.store.arrivals import Arrival
from appliance.store.journal import KEY_NAME
from appliance.store.partial import Partials
from appliance.version import __version__

REACH_S = 90 * 86400.0
"""How far back the journal reaches for a box that is away."""


def make_hub(
    folder: Path,
    service: Service,
    health: Health,
    name: str,
    found: Callable[[], list[str]],
    peering: Callable[[], Peering],
) -> tuple[Hub, ssl.SSLContext]:
    """The links, and what is shown to other boxes. ``name``: what this box is called, ``found`` where it is
    reached. Blocks. Raises ``OSError``, ``ValueError``.
    """
    identity = Identity.load(folder / KEY_NAME)
    store = service.store

    @cache
    def admitting() -> Admitting:
        return Admitting(store, peering().standing, lambda: not peering().out_of_service)

    site = hub.Site(
        boxes=lambda: store.site.boxes,
        addresses=lambda: place_of(store, found),
        place=lambda addresses: tell_place(store, name, addresses),
        warn=health.warn,
        named=named_blobs,
        on_gap=lambda source: peering().copy_again(source),
        on_restored=lambda reason: peering().renewal.begin(reason),
        acquainted=lambda box, addresses: peering().renewal.meet(box, addresses),
        on_revoked=lambda by: peering().put_out(by),
        program=__version__,
        anew=lambda old, public: admitting().take(old, public),
        gone=lambda: heirs(store.site.boxes),
    )
    links = Hub(identity, store.replica, store.copies, Partials(store.blobs), site)
    links.on_tell.append(service.company.heard)
    mending = Mending(store.healing, links)
    links.on_tell.append(mending.heard)
    links.companions.append(mending.run)
    losses = Losses(store, peering().standing, health, links.tell, lambda: links.fetcher.is_stuck)
    links.on_tell.append(losses.heard)
    links.companions.append(losses.run)
    links.on_link.append(lambda box, up: losses.parted(box))
    service.company.tell = links.tell
    links.on_link.append(partial(_in_reach, service))
    store.upkeep.needed = partial(needed, store, links)
    return links, identity.server_context()


def _in_reach(service: Service, box: str, up: bool) -> None:
    if up:
        service.company.joined()
    else:
        service.company.parted(box)


def needed(store: Store, links: Hub) -> dict[str, int] | None:
    """Up to which seq of each journal entries may go: every other box has them that counts, as far as is
    known, and of what this box says itself at least one has. None if there is no other box.
    """
    own, gone = store.replica.own, heirs(store.site.boxes)
    others = [
        box
        for box, info in store.site.boxes.items()
        if box != own and info.cut is None and (box not in gone or _is_linked(links, box))
    ]
    if not others:
        return None
    limits = {journal: head.seq for journal, head in store.replica.positions().items()}
    given = 0
    for box in others:
        neighbour = links.neighbours.get(box)
        confirmed = neighbour.confirmed if neighbour is not None else {}
        given = max(given, confirmed.get(own, 0))
        if not _is_given_up(store, links, box):
            limits = {journal: min(seq, confirmed.get(journal, 0)) for journal, seq in limits.items()}
    return limits | {own: min(limits.get(own, 0), given)}


def _is_linked(links: Hub, box: str) -> bool:
    """A box that has become another one may live on where its card was copied."""
    neighbour = links.neighbours.get(box)
    return neighbour is not None and neighbour.session is not None


def _is_given_up(store: Store, links: Hub, box: str) -> bool:
    """Whether a box may have to take a copy to come back: nothing was heard of it for as long as the journal
    reaches. Of two boxes that do not see each other for so long only one does this: if both did, each would
    lack what is gone at the other, and neither could take a copy without losing what only it has.
    """
    if store.replica.own > box:
        return False
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
