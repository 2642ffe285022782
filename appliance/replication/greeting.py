"""The beginning of a link: who is who, and where both stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.replication import events
from appliance.replication.engine import LinkState
from appliance.replication.host import Host

if TYPE_CHECKING:
    from appliance.replication.link import Session


async def shake_hands(session: Session, host: Host) -> events.PeerState:
    """Where the other side stands, when it has proven who it is and this side has said the same. Raises
    ``PeerError``, ``LinkLost``.
    """
    link, send = session.link, session.tls.send_all
    if link.state is LinkState.BEGIN:
        await send(link.hello())
    while not session.joined:
        event = await session.next_event()
        if isinstance(event, events.Greeted):
            await send(link.challenge(host.public_of(session)))
        elif isinstance(event, events.Shown):
            await host.histories.shown(event)
        elif isinstance(event, events.Challenged):
            await send(link.prove())
        elif isinstance(event, events.Proven):
            session.joined = True
            host.join(session)
            await send(link.welcome())
        elif isinstance(event, events.Welcomed):
            session.joined = True
            host.join(session)
    shop = session.shop
    replica = shop.replica
    await send(link.say_state(replica.positions(), replica.clock, shop.complete(), shop.program, 0))
    state = await session.next_event()
    assert isinstance(state, events.PeerState)
    return state
