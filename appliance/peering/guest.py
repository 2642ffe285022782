"""How a blank box asks another one to be let in: the guest's side of the exchange of `appliance.pairing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TypeVar

import trio

from appliance.log import get_logger
from appliance.pairing import (
    BoxCard,
    BoxGift,
    ButtonGuest,
    Code,
    Confirmed,
    Given,
    Guest,
    PairingError,
    Refused,
    Shared,
)
from appliance.peering.calling import CONNECT_S, call
from appliance.peering.errors import NotLetIn, PeeringError
from appliance.session import LinkLost, TlsStream
from appliance.session.joining import ADMIT_S, QUEUE_S

log = get_logger(__name__)

T = TypeVar("T")
Keep = Callable[[BoxGift], Awaitable[None]]

STEP_S = QUEUE_S + 2.0
"""For each answer of the host, as long as it may take, and some. The last one has ``ADMIT_S``."""
RECEIVE_OCTETS = 65536

MAYBE_IN = (
    "; the other box may have taken this one in: if   pocket peer list   shows it there, invite it again, and"
    " it is the same one"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a box got that was let in."""

    gift: BoxGift
    slot: int


async def ask(addresses: Sequence[str], code: Code, card: BoxCard, keep: Keep) -> Accepted:
    """Ask the box at the first of ``addresses`` that answers. ``keep`` has put the gift on stable storage
    when it returns. Raises ``NotLetIn`` or another ``PeeringError``, and whatever ``keep`` raises. Cancelled,
    the other box may have taken us in, or not.
    """
    stream, address = await connect(addresses)
    return await settle(stream, address, keep, partial(_exchange, stream, code, card))


async def settle(
    stream: TlsStream, address: str, keep: Keep, exchange: Callable[[Keep], Awaitable[Accepted]]
) -> Accepted:
    """Bring an exchange to its end, whichever, and close the stream. What goes wrong in it is raised as
    ``ask`` does.
    """
    taken = False

    async def kept(gift: BoxGift) -> None:
        nonlocal taken
        await keep(gift)
        taken = True

    try:
        return await exchange(kept)
    except Refused as error:
        raise NotLetIn(f"the box at {address} says: {error}") from None
    except PairingError as error:
        raise PeeringError(f"{error}{MAYBE_IN if taken else ''}") from None
    except (LinkLost, trio.TooSlowError, EOFError) as error:
        reason = str(error) or f"no answer within {ADMIT_S if taken else STEP_S:.0f} s"
        raise PeeringError(f"cannot pair with {address}: {reason}{MAYBE_IN if taken else ''}") from None
    finally:
        stream.close()


async def _exchange(stream: TlsStream, code: Code, card: BoxCard, keep: Keep) -> Accepted:
    guest = Guest(code, fingerprint_of(stream), card=card)
    await stream.send_all(await trio.to_thread.run_sync(guest.begin))
    await next_event(stream, guest, Shared)
    await stream.send_all(await trio.to_thread.run_sync(guest.prove))
    gift = (await next_event(stream, guest, Given)).gift
    assert isinstance(gift, BoxGift)
    await keep(gift)
    await stream.send_all(guest.take())
    slot = (await next_event(stream, guest, Confirmed, ADMIT_S)).slot
    assert slot is not None
    return Accepted(gift, slot)


async def next_event(
    stream: TlsStream, guest: Guest | ButtonGuest, kind: type[T], wait_s: float = STEP_S
) -> T:
    """What the host says next. Raises ``PairingError``, ``LinkLost``, ``EOFError``, ``TooSlowError``."""
    with trio.fail_after(wait_s):
        while (event := guest.next_event()) is None:
            octets = await stream.receive(RECEIVE_OCTETS)
            if not octets:
                raise EOFError("it hung up: is it a box, and does this version of it pair with boxes?")
            guest.receive_data(octets)
    assert isinstance(event, kind), event
    return event


def fingerprint_of(stream: TlsStream) -> str:
    """Of the certificate that the other end showed."""
    return f"SHA256:{sha256(stream.certificate).hexdigest()}"


async def connect(addresses: Sequence[str]) -> tuple[TlsStream, str]:
    """To the first that answers, and which it is. Raises ``PeeringError``."""
    reason = "there is no address to try"
    for address in addresses:
        try:
            return await call(address), address
        except trio.TooSlowError:
            reason = f"the box at {address} did not answer within {CONNECT_S:g} s"
        except (OSError, LinkLost, ValueError) as error:
            text = getattr(error, "strerror", None) or str(error)
            reason = f"cannot connect to {address}: {text}"
        log.debug("box to join not reached", address=address, reason=reason)
    raise PeeringError(reason)
