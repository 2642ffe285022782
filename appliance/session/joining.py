"""A guest on a link: the exchange of ``appliance.pairing``, and the device or box that comes of it.

Bounds. Each step ends after ``STEP_S``. Computing happens in one thread, one exchange after the other, at
most ``BEGINNINGS_MAX`` for each code; the answer goes out on the next multiple of ``ANSWER_EVERY_S``, because
how long it took would tell something of the code.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import trio

from appliance.log import get_logger
from appliance.pairing import (
    Asked,
    BadFrame,
    Host,
    Introduced,
    NodeGift,
    Proved,
    Taken,
)
from appliance.session.errors import LinkLost
from appliance.session.pairing import NotNow, Offer
from appliance.session.requests import Fresh
from appliance.session.service import Service
from appliance.site import add_device

log = get_logger(__name__)

T = TypeVar("T")

STEP_S = 5.0
QUEUE_S = 10.0
"""For the answer: as many as can be begun with all codes, at 100 ms each, and some."""
ANSWER_EVERY_S = 0.25
ADMIT_S = 30.0
"""For all boxes in reach to have a new one on stable storage. The guest waits for as long."""


class GuestLink(Protocol):
    """A link whose first frame begins a pairing."""

    address: str

    def send(self, frame: bytes) -> None:
        """Send a frame."""

    def allow(self, seconds: float) -> None:
        """The link ends after so long, unless this is called again."""

    async def receive(self) -> bytes:
        """What comes next. Raises ``LinkLost``."""


async def join(service: Service, link: GuestLink, first: bytes) -> None:
    """Serve a guest, whose first octets are ``first``. Returns when its last frame is in the outbox. If it is
    cancelled after the guest has said that it has its gift, the device or box may be in force or not.
    """
    host = Host(service.place.fingerprint)
    host.receive_data(first)
    try:
        link.send(await _join(service, link, host))
    except (BadFrame, NotNow) as error:
        log.warning("pairing refused", address=link.address, reason=str(error))
        link.send(host.refuse(str(error)))


async def _join(service: Service, link: GuestLink, host: Host) -> bytes:
    """The last frame. Raises ``BadFrame``, ``NotNow``."""
    pairing = service.pairing
    asked = await _next(link, host, Asked)
    offer = pairing.begin(asked.number, asked.kind)
    log.info("pairing begun", address=link.address, number=asked.number)
    link.send(await _answer(service, link, host, offer))
    proved = await _next(link, host, Proved)
    pairing.judge(offer, proved.right)
    paired = False
    try:
        if offer.kind == "box":
            confirmed = await _join_box(service, link, host)
            paired = True
            return confirmed
        fresh = Fresh.make()
        link.send(host.give(_gift(service, offer, fresh)))
        await _next(link, host, Taken)
        node = await _add(service, offer, fresh)
        paired = True
    finally:
        pairing.ended(offer, paired)
    uid = service.store.site.members[offer.member].uid
    log.info("device paired", member=uid, device=node, address=link.address)
    return host.confirm()


async def _join_box(service: Service, link: GuestLink, host: Host) -> bytes:
    household = service.household
    if household is None:
        raise NotNow("this box takes no other box in: it is not ready yet, try again in a minute")
    card = (await _next(link, host, Introduced)).card
    link.send(host.give(household.gift(card)))
    await _next(link, host, Taken)
    link.allow(ADMIT_S)
    slot = await household.admit(card)
    log.info("box paired", name=card.name, slot=slot, address=link.address)
    return host.confirm(slot)


async def _next(link: GuestLink, host: Host, kind: type[T]) -> T:
    """What the guest says next. Raises ``BadFrame``, ``LinkLost``."""
    link.allow(STEP_S)
    while (event := host.next_event()) is None:
        octets = await link.receive()
        if not octets:
            raise LinkLost("the guest left")
        host.receive_data(octets)
    assert isinstance(event, kind), event
    return event


async def _answer(service: Service, link: GuestLink, host: Host, offer: Offer) -> bytes:
    began = trio.current_time()
    link.allow(QUEUE_S)
    try:
        return await trio.to_thread.run_sync(host.answer, offer.code, limiter=service.pairing_limiter)
    finally:
        await trio.sleep(-(trio.current_time() - began) % ANSWER_EVERY_S)


def _gift(service: Service, offer: Offer, fresh: Fresh) -> NodeGift:
    place = service.place
    uid = service.store.site.members[offer.member].uid
    return NodeGift(uid, fresh.password, place.addresses(), place.fingerprint, service.name)


async def _add(service: Service, offer: Offer, fresh: Fresh) -> int:
    """The new device's number. Raises ``NotNow``."""
    decision = await service.store.perform(lambda scene: add_device(scene, offer.member, offer.label, fresh))
    if decision.error is not None:
        raise NotNow(decision.error)
    return decision.node
