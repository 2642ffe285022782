"""Showing a box what it was: one whose card was put back to a time before it knew the box that calls.

It refuses that box as unknown, and would serve on alone. So the box that was refused calls once more and
shows it, in one frame and without proof of who it is, entries that prove themselves: the newest one of the
refusing box's own journal, and how the caller came to the site, one box taken in by the other, from one that
started it. Who sees its own signature on an entry that it does not have was put back. Whom a box that it
knows took in, it can ask to be taken in anew.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from appliance.log import get_logger
from appliance.replication import events
from appliance.replication.bodies import weight
from appliance.replication.dial import dial
from appliance.replication.engine import PeerLink
from appliance.replication.errors import Code, Impostor, PeerError, Refusal, Unreachable
from appliance.replication.frames import SHOWN_MAX, SHOWN_OCTETS_MAX
from appliance.replication.identity import Identity
from appliance.replication.interface import Arrival, BadEntries, BoxState, Replica
from appliance.replication.judging import evidence, look_at_own
from appliance.session import LinkLost
from appliance.site.facts import BoxAdded, decode_facts
from appliance.store.journal import box_id, is_signed

if TYPE_CHECKING:
    from appliance.replication.neighbour import Neighbour

log = get_logger(__name__)

ANSWER_S: Final = 5.0
ADDRESSES_ROOM: Final = 4096
UNKNOWN = "that box is not of this site: pair it first"


async def show(
    identity: Identity,
    replica: Replica,
    neighbour: Neighbour,
    addresses: Sequence[str],
    context: ssl.SSLContext,
) -> None:
    """Show it to the box that refused this one. ``addresses``: of this box."""
    entries = await proofs(replica, neighbour.box)
    if not entries:
        return
    link = PeerLink.dialer(identity, neighbour.box, neighbour.info.public)
    try:
        with trio.fail_after(ANSWER_S):
            stream, _ = await dial(neighbour.addresses(), neighbour.info.public, context)
            try:
                await stream.send_all(link.say_show(entries, addresses))
                while octets := await stream.receive():
                    link.receive_data(octets)
                    link.next_event()
            finally:
                stream.close()
    except PeerError as error:
        log.info("shown to a box that does not know this one", peer=neighbour.box, answer=str(error))
    except (LinkLost, Unreachable, Impostor, trio.TooSlowError) as error:
        log.debug("not shown", peer=neighbour.box, error=str(error))


async def proofs(replica: Replica, box: str) -> list[Arrival]:
    """How this box came to the site, the beginning first, and the newest entry of ``box``; no more than fit
    into the frame.
    """
    newest = await evidence(replica, box)
    by = await replica.introductions()
    chain: dict[str, Arrival] = {}
    at = replica.own
    while at in by and at not in chain:
        chain[at] = by[at]
        at = by[at].box
    found: list[Arrival] = []
    octets = ADDRESSES_ROOM
    for arrival in ([newest] if newest is not None else []) + list(reversed(chain.values())):
        bare = msgspec.structs.replace(arrival, octets=())
        if octets + weight(bare) <= SHOWN_OCTETS_MAX and len(found) < SHOWN_MAX:
            octets += weight(bare)
            found.append(bare)
    return found


async def look(
    replica: Replica, public: bytes, known: Mapping[str, BoxState], shown: events.Shown
) -> tuple[Refusal, BoxAdded | None]:
    """What there is to say to who showed it: ``Restored``, if this box, whose key is ``public``, was put
    back; and how the caller was taken in, if a box that is ``known`` here did so.
    """
    keys = {box: info.public for box, info in known.items() if info.cut is None} | {replica.own: public}
    caller: BoxAdded | None = None
    for arrival in shown.arrivals:
        key = keys.get(arrival.box)
        if key is None or not is_signed(arrival.signature, arrival.entry.digest(), key):
            continue
        with suppress(ValueError):
            for fact in decode_facts(arrival.body):
                if isinstance(fact, BoxAdded) and box_id(fact.public) == fact.box:
                    keys.setdefault(fact.box, fact.public)
                    if fact.box == shown.box and keys[fact.box] == fact.public:
                        caller = fact
    try:
        await look_at_own(replica, public, shown.box, shown.arrivals)
    except Refusal as restored:
        return restored, caller
    except BadEntries as error:
        return Refusal(Code.BAD_ENTRIES, str(error)), None
    return Refusal(Code.UNKNOWN, UNKNOWN), None
