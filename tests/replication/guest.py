"""Somebody whom a box takes for a box of its site, with a program of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager

import trio

from appliance.replication import dial
from appliance.replication.engine import PeerLink
from appliance.replication.errors import Refused
from appliance.replication.events import PeerState, Welcomed
from appliance.replication.identity import dial_context
from appliance.session import LinkLost
from tests.replication.fakes import FakeReplica
from tests.replication.household import Known, identity_of, until


class Guest:
    """A box of the site with a program of its own."""

    def __init__(self, home, seed):
        self.identity = identity_of(seed)
        self.replica = FakeReplica(seed, home.keys)
        home.boxes[self.identity.box] = Known(self.identity.public, f"guest {seed}")

    @property
    def id(self):
        return self.identity.box

    async def connect(self, box, purpose="sync"):
        self.stream, _ = await dial.dial([box.address], box.identity.public, dial_context())
        self.link = PeerLink.dialer(self.identity, box.id, box.identity.public, purpose)
        await self.stream.send_all(self.link.hello())

    async def event(self):
        while (event := self.link.next_event()) is None:
            octets = await self.stream.receive()
            if not octets:
                raise LinkLost("closed")
            self.link.receive_data(octets)
        return event

    async def enter(self, box, positions=None, clock=1, purpose="sync"):
        """Until both have said where they stand; the box's positions."""
        await self.connect(box, purpose)
        await self.event()
        await self.stream.send_all(self.link.prove())
        assert isinstance(await self.event(), Welcomed)
        mine = self.replica.positions() if positions is None else positions
        await self.stream.send_all(self.link.say_state(mine, clock, True, "evil", 0))
        while not isinstance(state := await self.event(), PeerState):
            pass
        return state.positions

    async def send(self, octets):
        await self.stream.send_all(octets)

    async def end(self):
        """What the box says at the end; nothing if it just closes."""
        with trio.fail_after(8):
            try:
                while True:
                    await self.event()
            except Refused as refused:
                return refused.said, str(refused)
            except LinkLost:
                return None
            finally:
                self.stream.close()


@asynccontextmanager
async def attacked(home, seed=9):
    """A box with an honest peer, and a guest that is a box of the site as well."""
    a, b = home.box(1), home.box(2)
    guest = Guest(home, seed)
    async with home.running(a, b) as nursery:
        await until(lambda: a.copies.reached.get(b.id) and b.copies.reached.get(a.id))
        yield a, b, guest
        entry = a.replica.add()
        await until(lambda: a.copies.seqs.get(b.id) == entry.seq)
        assert a.status(b).problem is None and b.status(a).problem is None
        nursery.cancel_scope.cancel()
