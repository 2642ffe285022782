"""A blank box on a link that has no code: both show a number, and somebody says on both that it is the same.

Bounds: those of `joining`, and ``COMPARE_S`` for the people; one exchange at a time (`buttons`).
"""

from __future__ import annotations

from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.pairing import BadFrame, BoxCard, ButtonHost, Committed, Introduced, Opened, Refused, Taken
from appliance.session.buttons import COMPARE_S, Try
from appliance.session.errors import LinkLost
from appliance.session.household import Household
from appliance.session.joining import ADMIT_S, QUEUE_S, STEP_S, GuestLink
from appliance.session.pairing import NotNow
from appliance.session.service import Service

log = get_logger(__name__)

T = TypeVar("T")

LEFT = (
    "the link to the blank box ended: if that was not switched off, its lights and   pocket status   say why"
)
SLOW = "the blank box did not answer in time"


async def compare(service: Service, link: GuestLink, first: bytes) -> None:
    """Serve a blank box, whose first octets are ``first``. Returns when the last frame is in the outbox. If
    it is cancelled after the guest has said that it has its gift, it may be in force or not.
    """
    host = ButtonHost(service.place.fingerprint)
    host.receive_data(first)
    try:
        link.send(await _compare(service, link, host))
    except (BadFrame, NotNow) as error:
        log.info("box not paired", address=link.address, reason=str(error))
        link.send(host.refuse(str(error)))


async def _compare(service: Service, link: GuestLink, host: ButtonHost) -> bytes:
    """The last frame. Raises ``BadFrame``, ``NotNow``."""
    await _next(link, host, Committed)
    household = service.household
    if household is None:
        raise NotNow("this box takes no other box in: it is not ready yet, try again in a minute")
    link.allow(QUEUE_S + COMPARE_S + ADMIT_S)
    with service.buttons.host() as one:
        log.info("pairing of boxes begun", address=link.address)
        try:
            confirmed = await _pair(service, household, link, host, one)
            service.pairing.close_window()
            return confirmed
        except Refused as error:
            raise NotNow(f"the blank box says: {error}") from None
        except BadFrame as error:
            raise NotNow(str(error)) from None
        except LinkLost:
            raise NotNow(LEFT) from None
        except trio.TooSlowError:
            raise NotNow(SLOW) from None
        except trio.Cancelled:
            service.buttons.failed(LEFT)
            raise


async def _pair(service: Service, household: Household, link: GuestLink, host: ButtonHost, one: Try) -> bytes:
    link.send(await trio.to_thread.run_sync(host.answer, limiter=service.pairing_limiter))
    number = (await _next(link, host, Opened)).number
    link.send(host.compare())
    one.compare(number)
    card = await _agreed(link, host, one)
    log.info("both boxes say that the numbers are the same", address=link.address, name=card.name)
    link.send(host.give(household.gift(card)))
    await _next(link, host, Taken)
    slot = await household.admit(card)
    log.info("box paired", name=card.name, slot=slot, address=link.address)
    return host.confirm(slot)


async def _agreed(link: GuestLink, host: ButtonHost, one: Try) -> BoxCard:
    """What the box says about itself, when somebody has said yes here and there. Raises ``NotNow``."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hear, link, host, one)
        await one.said(here=True, there=True)
        nursery.cancel_scope.cancel()
    if one.reason is not None:
        raise NotNow(one.reason)
    assert isinstance(one.theirs, BoxCard)
    return one.theirs


async def _hear(link: GuestLink, host: ButtonHost, one: Try) -> None:
    """What the blank box says meanwhile; also that it is gone."""
    try:
        while True:
            event = host.next_event()
            if isinstance(event, Introduced):
                one.sent(event.card)
            elif event is None:
                await _receive(link, host)
    except Refused as error:
        one.end(f"the blank box says: {error}")
    except BadFrame as error:
        one.end(str(error))
    except LinkLost:
        one.end(LEFT)


async def _next(link: GuestLink, host: ButtonHost, kind: type[T]) -> T:
    """What the blank box says next. Raises ``BadFrame``, ``Refused``, ``LinkLost``, ``TooSlowError``."""
    with trio.fail_after(STEP_S):
        while (event := host.next_event()) is None:
            await _receive(link, host)
    assert isinstance(event, kind), event
    return event


async def _receive(link: GuestLink, host: ButtonHost) -> None:
    octets = await link.receive()
    if not octets:
        raise LinkLost("the guest left")
    host.receive_data(octets)
