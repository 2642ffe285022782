"""How a blank box whose button was pressed finds one that has a site, and joins it without a code.

It asks every box that has pairing open in the network; those whose button was not pressed, or that are blank
themselves, say no, and it goes on looking until the window closes. Exactly one has to say yes. Who that is
shows when the numbers are compared, not before: anybody in the network can announce a box.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import trio

from appliance.log import get_logger
from appliance.pairing import (
    BoxCard,
    BoxGift,
    ButtonGuest,
    Compared,
    Confirmed,
    Given,
    PairingError,
    Refused,
    Shared,
)
from appliance.peering.errors import PeeringError
from appliance.peering.guest import Accepted, Keep, connect, fingerprint_of, next_event, settle
from appliance.peering.peering import NOT_BLANK, Peering
from appliance.session import Buttons, LinkLost, NotNow, TlsStream, Try
from appliance.session.joining import ADMIT_S

log = get_logger(__name__)

Look = Callable[[], Awaitable[Sequence[Sequence[str]]]]
"""The addresses of each other box that has pairing open, as people type them. Raises ``PeeringError``."""

LOOK_EVERY_S = 0.5
BLANK_EVERY_S = 0.25
ASKED_MAX = 8
"""At a time; a home has fewer boxes, and each costs a link for some seconds."""
LEAVE_S = 1.0
RECEIVE_OCTETS = 65536

NONE = (
    "no other box with pairing open was found in this network: press the button of the box that has the site,"
    " and then of the blank one, within 2 minutes; or say   pocket peer invite   there"
)
TWO_SITES = (
    "{count} boxes with a site let a blank one in now ({where}): press the button of one of them only; if you"
    " did, somebody in your network plays another: say   pocket peer invite   there"
)


@dataclass(frozen=True, slots=True)
class Willing:
    """A box that would compare numbers."""

    stream: TlsStream
    address: str
    guest: ButtonGuest


class Looking:
    """``run`` does it whenever the button was pressed and this box is blank."""

    def __init__(self, buttons: Buttons, peering: Peering, look: Look) -> None:
        self._buttons = buttons
        self._peering = peering
        self._look = look
        self._heard = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._buttons.opened()
            if self._peering.has is None:
                await self._search()
            await trio.sleep(LOOK_EVERY_S)

    async def _search(self) -> None:
        """Until pairing closes, this box is blank no more, or it has tried."""
        log.info("looking for a box that has a site")
        self._heard = NONE
        while self._buttons.open_s and self._peering.has is None:
            willing: list[Willing] = []
            try:
                places = await self._look()
                async with trio.open_nursery() as nursery:
                    for place in places[:ASKED_MAX]:
                        nursery.start_soon(self._ask, place, willing)
                if willing and self._buttons.open_s and self._peering.has is None:
                    await self._try(willing)
            except PeeringError as error:
                self._hear(str(error))
            finally:
                for one in willing:
                    one.stream.close()
            await trio.sleep(LOOK_EVERY_S)
        if self._buttons.ran_out and self._peering.has is None:
            self._buttons.failed(self._heard)

    async def _ask(self, addresses: Sequence[str], willing: list[Willing]) -> None:
        """Add it to the willing ones, if it is one."""
        try:
            stream, address = await connect(addresses)
        except PeeringError as error:
            self._hear(str(error))
            return
        try:
            guest = ButtonGuest(fingerprint_of(stream))
            await stream.send_all(await trio.to_thread.run_sync(guest.begin))
            await next_event(stream, guest, Shared)
            willing.append(Willing(stream, address, guest))
            return
        except Refused as error:
            self._hear(f"the box at {address} says: {error}")
        except (PairingError, LinkLost, EOFError, trio.TooSlowError) as error:
            self._hear(f"the box at {address} does not answer as a box does: {error}")
        except trio.Cancelled:
            stream.close()
            raise
        stream.close()

    def _hear(self, reason: str) -> None:
        """Why there is none yet; the last one is told when the time is over."""
        if reason != self._heard:
            log.info("no box to join yet", reason=reason)
        self._heard = reason

    async def _try(self, willing: list[Willing]) -> None:
        try:
            with self._buttons.guest() as one:
                if len(willing) > 1:
                    where = ", ".join(box.address for box in willing)
                    raise NotNow(TWO_SITES.format(count=len(willing), where=where))
                log.info("pairing of boxes begun", address=willing[0].address)
                try:
                    await self._peering.enter(partial(self._pair, one, willing[0]))
                except PeeringError as error:
                    raise NotNow(str(error)) from None
        except NotNow as error:
            for box in willing:
                await _leave(box.stream, box.guest, str(error))

    async def _pair(self, one: Try, box: Willing, card: BoxCard, keep: Keep) -> Accepted:
        """Raises ``NotNow``, and what ``settle`` does."""
        return await settle(box.stream, box.address, keep, partial(self._exchange, one, box, card))

    async def _exchange(self, one: Try, box: Willing, card: BoxCard, keep: Keep) -> Accepted:
        stream, guest = box.stream, box.guest
        await stream.send_all(await trio.to_thread.run_sync(guest.open))
        one.compare((await next_event(stream, guest, Compared)).number)
        await self._said(one, box, here=True)
        await stream.send_all(guest.agree(card))
        await self._said(one, box, there=True)
        gift = one.theirs
        assert isinstance(gift, BoxGift)
        await keep(gift)
        await stream.send_all(guest.take())
        slot = (await next_event(stream, guest, Confirmed, ADMIT_S)).slot
        assert slot is not None
        return Accepted(gift, slot)

    async def _said(self, one: Try, box: Willing, *, here: bool = False, there: bool = False) -> None:
        """Until somebody has said yes here, or there. Raises ``NotNow`` if it comes to nothing."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, one, box)
            nursery.start_soon(self._stay_blank, one)
            await one.said(here=here, there=there)
            nursery.cancel_scope.cancel()
        if one.reason is not None:
            await _leave(box.stream, box.guest, one.reason)
            raise NotNow(one.reason)

    async def _stay_blank(self, one: Try) -> None:
        while (what := self._peering.has) is None:  # noqa: ASYNC110
            await trio.sleep(BLANK_EVERY_S)
        one.end(NOT_BLANK.format(what=what))


async def _listen(one: Try, box: Willing) -> None:
    """What the other box says meanwhile; also that it is gone."""
    try:
        while True:
            event = box.guest.next_event()
            if isinstance(event, Given):
                assert isinstance(event.gift, BoxGift)
                one.sent(event.gift)
                return
            octets = await box.stream.receive(RECEIVE_OCTETS)
            if not octets:
                raise EOFError
            box.guest.receive_data(octets)
    except Refused as error:
        one.end(f"the box at {box.address} says: {error}")
    except PairingError as error:
        one.end(str(error))
    except (LinkLost, EOFError):
        one.end(f"the box at {box.address} went away")


async def _leave(stream: TlsStream, guest: ButtonGuest, reason: str) -> None:
    with suppress(LinkLost), trio.move_on_after(LEAVE_S):
        await stream.send_all(guest.leave(reason))
