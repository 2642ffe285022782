"""A device of a membership: its link is one to the site that the membership is at, kept here.

What it asks for goes into the membership's outbox, and the ack that it gets is that site's own, when that
comes: also on a later link, where it asks again with the same id and octets. It acknowledges messages by
the ids that they have there. Only another device for the membership is made here (TMTP revision 1, section 4,
UserEdit newnode), and a login is told here.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial

from appliance import wire
from appliance.session.requests import KEY_OCTETS, Acked, Client, Fresh, Large, Requests, WithData
from appliance.site import Decision, Message, Node, Payload, Scene, relay_newnode, relay_out
from appliance.site.facts import Outcome
from appliance.store import Item, Job

TIMES_OCTETS = 4
"""Of a key, at its end: how often the same request was made before."""

TIMES_MAX = 4096
"""Different requests of a link that are kept in mind, some 200 octets each."""


class RelayedRequests(Requests):
    """As ``Requests``, for a device of a membership."""

    def __init__(self, link: Client, node: Node) -> None:
        super().__init__(link, node)
        self._waiting = link.service.waiting
        self._over = False
        self._lookup = True  # requests of memberships are in a table of their own
        self._asked: dict[int, str] = {}
        """The device's ids of the items that it waits for."""
        self._times: OrderedDict[bytes, int] = OrderedDict()
        """How often a request was made on this link, of the last ``TIMES_MAX``: an id may be used again for a
        new one."""

    def end(self) -> None:
        """The link is gone."""
        self._over = True
        self._waiting.forget(self._asked, self)
        self._asked.clear()

    def tell(self, outcome: Outcome) -> None:
        """The site has answered."""
        asked = self._asked.pop(outcome.msgid, None)
        if asked is None:
            return
        if outcome.error:
            frame = wire.encode_ack(asked, error=outcome.error)
        elif outcome.upid:
            frame = wire.encode_ack(asked, outcome.upid, outcome.posted_ms)
        else:
            frame = wire.encode_ack(asked)
        self._link.send(frame)

    def _sizes(self, request: Large) -> list[int]:
        """It is stored as it came: who has what part of it is the site's business."""
        return [request.datalen]

    def _inline(self, request: WithData) -> tuple[Payload, ...]:
        return (Payload.of(request.data),)

    async def _submit(
        self, request: Acked, payloads: tuple[Payload, ...], digest: bytes, refusal: str | None = None
    ) -> None:
        if type(request) is wire.UserEdit and request.newnode is not None:
            await super()._submit(request, payloads, digest, refusal)
            return
        known, key = await self._known(request, digest)
        if known is not None and known.answered and type(request) is wire.OhiEdit:
            key = secrets.token_bytes(KEY_OCTETS)  # the list of then went with the link of then
        elif known is not None:
            self._unpin(payloads)
            self._wait_for(known, request.id)
            return
        if refusal is not None:
            self._refuse(request, refusal)
            return
        payload = payloads[0] if payloads else Payload.of(b"")
        job = Job(
            partial(self._decide_out, request, payload, key),
            partial(self._taken, request, payloads),
            takes_room=True,
            octets=len(request.head) + len(payload.data or b""),
        )
        self._begin()
        await self._store.submit(job)

    async def _known(self, request: Acked, digest: bytes) -> tuple[Item | None, bytes]:
        """The item of an earlier link that is this request, if there is one, and the key of that or for a new
        one. What was refused is judged anew.
        """
        plain = hashlib.blake2b(request.head + digest, digest_size=KEY_OCTETS - TIMES_OCTETS).digest()
        times = self._times[plain] = self._times.pop(plain, -1) + 1
        if len(self._times) > TIMES_MAX:
            self._times.popitem(last=False)
        first, last = (plain + n.to_bytes(TIMES_OCTETS, "big") for n in (times, (1 << 8 * TIMES_OCTETS) - 1))
        known, newest = await self._store.relay.asked(self._node.number, first, last)
        if known is not None:
            key = known.key
        elif newest >= first:
            times = int.from_bytes(newest[-TIMES_OCTETS:], "big") + 1
            key = plain + times.to_bytes(TIMES_OCTETS, "big")
        else:
            key = first
        self._times[plain] = int.from_bytes(key[-TIMES_OCTETS:], "big")
        return known, key

    def _decide_out(self, request: Acked, payload: Payload, key: bytes, scene: Scene) -> Decision:
        return relay_out(scene, self._node, request, payload, key)

    def _taken(self, request: Acked, payloads: tuple[Payload, ...], decision: Decision) -> None:
        """Called by the store: the request is in the outbox, or refused."""
        self._unpin(payloads)
        if decision.error is not None:
            self._link.send(wire.encode_ack(request.id, error=decision.error))
        elif not self._over:  # a later link may wait for it
            self._asked[decision.msgid] = request.id
            self._waiting.add(decision.msgid, self)
        self._end()

    def _wait_for(self, item: Item, asked: str) -> None:
        """The request was made on an earlier link: its answer is here, or may come."""
        self._asked[item.msgid] = asked
        if item.answered:
            self.tell(Outcome(item.msgid, item.upid, item.posted_ms, item.error))
        else:
            self._waiting.add(item.msgid, self)

    def _rule(
        self, scene: Scene, request: Acked, payloads: Sequence[Payload], fresh: Fresh | None
    ) -> Decision:
        assert isinstance(request, wire.UserEdit) and request.newnode is not None and fresh is not None
        return relay_newnode(scene, self._node, request.newnode, fresh)


class UpstreamIds:
    """Which message of ours is in flight under which id of the site."""

    def __init__(self) -> None:
        self._msgids: dict[int, list[int]] = {}

    def sent(self, messages: Iterable[Message]) -> None:
        """These are on their way to the device."""
        for message in messages:
            ours = self._msgids.setdefault(wire.id_of(message.head), [])
            if message.msgid not in ours:
                ours.append(message.msgid)

    def acked(self, upid: int) -> list[int]:
        """The device has the message with that id."""
        return self._msgids.pop(upid, [])
