"""Which requests a site has carried out, as what comes from it shows.

Of the items that may have been sent and that nobody has answered. ``match`` compares a message with all that
the wire shows of a request, ``proven`` is for requests of which messages of another kind tell.

Bound: the outbox, some 500 octets each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from appliance import wire
from appliance.relay.echo import Trace, proves, trace_in, trace_of, traced_part
from appliance.relay.flow import Flow
from appliance.relay.parts import digest_of
from appliance.site import Message
from appliance.store import FileDamaged, Item, Store

NS_PER_MS = 1_000_000
CLOCKS_APART_MS = 600_000
"""So far apart may a site's clock and ours be, beyond what its answers to earlier requests show. What it
posted longer than that before a request was made is not the request's: another client of the member may have
said the same while this box was away.
"""


class Doubts:
    """Of a membership's outbox. ``load`` makes sure that ``flow`` has all of it; ``read`` gives the request
    of an item, and its data.
    """

    def __init__(
        self,
        store: Store,
        membership: int,
        flow: Flow,
        load: Callable[[], Awaitable[None]],
        read: Callable[[Item], Awaitable[tuple[wire.Request, Message] | None]],
    ) -> None:
        self._store = store
        self._membership = membership
        self._flow = flow
        self._load = load
        self._read = read
        self._traces: dict[int, Trace | None] = {}
        self._others: dict[int, wire.Request] = {}
        """Those that are no posts."""
        self._behind_ms: int | None = None

    def began(self) -> None:
        """There is a link."""
        self._behind_ms = None

    def forget(self, msgid: int) -> None:
        """It has its outcome."""
        self._traces.pop(msgid, None)
        self._others.pop(msgid, None)

    async def match(self, message: wire.Message, digest: bytes, posted_ms: int) -> list[Item]:
        """The items of which ``message`` may be the copy that comes to the sender's nodes, in order.
        ``digest``: the SHA-256 of its data. ``posted_ms``: when, by the site's clock.
        """
        trace = trace_in(message)
        matching = []
        for item in await self._items(posted_ms):
            if self._traces[item.msgid] != trace:
                continue
            found = await self._read(item)
            if found is None:
                continue
            request, stored = found
            with suppress(FileDamaged):
                if await digest_of(self._store.blobs, stored, traced_part(request)) == digest:
                    matching.append(item)
        return matching

    async def proven(self, message: wire.Message, posted_ms: int) -> list[Item]:
        """Those that were carried out, as a message to all of the member's nodes tells, or one to a group."""
        items = await self._items(posted_ms)
        return [i for i in items if i.msgid in self._others and proves(message, self._others[i.msgid])]

    async def _items(self, posted_ms: int) -> list[Item]:
        await self._load()
        asked = set(self._flow.in_flight)  # what the site answers will tell
        items = list(self._flow.doubtful())
        for item in items:
            if item.msgid in self._traces:
                continue
            found = await self._read(item)
            if found is not None and item.msgid in self._flow:
                self._traces[item.msgid] = trace_of(found[0])
                if not isinstance(found[0], wire.Post | wire.PostNotify):
                    self._others[item.msgid] = found[0]
        if items and self._behind_ms is None:
            self._behind_ms = await self._store.relay.behind_ms(self._membership)
        latest = (posted_ms + (self._behind_ms or 0) + CLOCKS_APART_MS) * NS_PER_MS
        return [i for i in items if i.msgid in self._traces and (i.msgid < latest or i.msgid in asked)]
