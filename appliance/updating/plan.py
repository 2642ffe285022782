"""What to take, and when to look: decided without looking at anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from appliance.updating.errors import UpdateError
from appliance.updating.sums import Payload
from appliance.updating.versions import is_newer, order

RETRY_S = 900.0
"""By itself, after something was in the way."""

WINDOW_S = 4 * 3600.0
"""After the hour: a box that was off at night does not begin in the middle of the day."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A payload that somebody has: ``rank`` says whom to prefer, the lowest first. Its sums are verified."""

    payload: Payload
    sums: bytes
    signature: bytes
    where: str
    rank: int

    @property
    def version(self) -> str:
        return self.payload.version


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants. ``version`` None: the newest. ``by_hand``: a person said so, who may also want
    what was given up ``again``, or an older one (``downgrade``).
    """

    version: str | None = None
    downgrade: bool = False
    again: bool = False
    by_hand: bool = True


def choose(offers: Iterable[Offer], wish: Wish, running: str, shunned: Iterable[str]) -> Offer | None:
    """The offer to take; None if there is nothing newer. Raises ``UpdateError`` where a person asked for
    something that is not to be done just so.
    """
    known = sorted(offers, key=lambda offer: offer.rank)
    known.sort(key=lambda offer: order(offer.version), reverse=True)
    if wish.version is not None:
        known = [offer for offer in known if order(offer.version) == order(wish.version)]
        if not known:
            raise UpdateError(f"nobody has version {wish.version}: see   pocket update check")
    if not known:
        return None
    avoided = {order(version) for version in shunned}
    if not wish.by_hand:
        known = [offer for offer in known if order(offer.version) not in avoided]
    if not wish.downgrade:
        newer = [offer for offer in known if is_newer(offer.version, running)]
        if not newer and wish.version is not None and order(wish.version) != order(running):
            raise UpdateError(
                f"version {wish.version} is older than {running}, which runs: to go there anyway, add"
                "   --downgrade"
            )
        known = newer
    else:
        known = [offer for offer in known if order(offer.version) != order(running)]
    if not known:
        return None
    if order(known[0].version) in avoided and not wish.again:
        raise UpdateError(
            f"version {known[0].version} was tried here before, and left: to try it once more, add   --again"
        )
    return known[0]


def due(now: datetime, at: time, jitter_s: float, tried: float, failed: bool) -> bool:
    """Whether it is time to look by itself: once a day, ``jitter_s`` after the hour; again after a while when
    that failed. ``tried``: when that was, in seconds since the epoch.
    """
    last = datetime.combine(now.date(), at) + timedelta(seconds=jitter_s)
    if last > now:
        last -= timedelta(days=1)
    since = now.timestamp() - tried  # below 0: the clock was wrong then
    if (now - last).total_seconds() > WINDOW_S:
        return False
    return tried < last.timestamp() or since < 0 or (failed and since > RETRY_S)
