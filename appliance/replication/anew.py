"""How a box asks to become another one: its card was put back to an older state, or copied.

The link is the old box's. Nothing else goes over it: the old key is good for one signature, of the new one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from appliance.log import get_logger
from appliance.replication import events
from appliance.replication.dial import dial
from appliance.replication.engine import LinkState, PeerLink
from appliance.replication.errors import Code, PeerError, Refusal
from appliance.replication.identity import Identity, dial_context
from appliance.session import LinkLost, TlsStream
from appliance.store import StoreError

if TYPE_CHECKING:
    from appliance.replication.copying import Source
    from appliance.replication.link import Session

log = get_logger(__name__)

ANSWER_S: Final = 15.0
BEAT_S: Final = 1.0
RECEIVE_OCTETS: Final = 64 << 10


async def ask(identity: Identity, public: bytes, source: Source) -> tuple[int, str]:
    """Ask a box to take this one in as the one with that key: its slot, and the address that answered. It may
    be asked again for the same key. Raises ``PeerError``, ``LinkLost``, ``Unreachable``, and
    ``trio.TooSlowError`` after ``ANSWER_S``.
    """
    with trio.fail_after(ANSWER_S):
        stream, address = await dial(source.addresses, source.public, dial_context())
        try:
            link = PeerLink.dialer(identity, source.box, source.public, "anew")
            return await _exchange(link, stream, public), address
        finally:
            stream.close()


async def _exchange(link: PeerLink, stream: TlsStream, public: bytes) -> int:
    await stream.send_all(link.hello())
    said = trio.current_time()
    while True:
        event = link.next_event()
        if event is None:
            with trio.move_on_after(BEAT_S):
                octets = await stream.receive(RECEIVE_OCTETS)
                if not octets:
                    raise LinkLost("the other side closed the link")
                link.receive_data(octets)
        elif isinstance(event, events.Challenged):
            await stream.send_all(link.prove())
        elif isinstance(event, events.Welcomed):
            await stream.send_all(link.say_state({}, 0, False, "", 0))
        elif isinstance(event, events.PeerState):
            await stream.send_all(link.say_anew(public))
        elif isinstance(event, events.Taken):
            return event.slot
        if link.state is LinkState.OPEN and trio.current_time() - said > BEAT_S:
            said = trio.current_time()
            await stream.send_all(link.say_beat(0))


async def answer(session: Session, take: Callable[[str, bytes], Awaitable[int]], public: bytes) -> None:
    """Answer a box that asked, which ends the link if it is not taken."""
    try:
        slot = await take(session.box, public)
    except PeerError as error:
        log.warning("a box did not become another one", peer=session.box, reason=str(error))
        session.end(error)
    except StoreError as error:
        log.warning("a box did not become another one", peer=session.box, error=str(error))
        session.end(Refusal(Code.STOPPING, "this box cannot store anything now"))
    else:
        session.say(lambda link: link.say_taken(slot))
