"""Where a message goes that came from a membership's site: to all devices and the archive, or not.

Not passed on is what tells of doings of this box itself: its login, its presence, the password of a new node
for another box. And what we know already: because it came before, because another box has stored it, or
because it is the copy of a request that a device of ours made:

- the site gives a request's message to the sender's *other* nodes. To this node it comes if the sender is
  one of the recipients, as this box makes it in posts (``echo.shown``), or if another box has sent it.
  Devices have theirs from ``echo``: none gets this one, but the one that asked, where only the site knows
  whether it is a recipient.
- so a copy of an item that nobody has answered proves that it was sent: its answer is made from it. That
  keeps a box from sending again what it had sent when its link broke, and a second one from sending what the
  first had sent before it was gone. The site hears that we have the copy when the answer is durable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from appliance import wire
from appliance.relay.barrier import MARK_TYPE
from appliance.relay.echo import sent_as
from appliance.relay.errors import NoRoom, UpstreamBroke
from appliance.relay.inbound import Inbound, Incoming
from appliance.relay.others import Others
from appliance.relay.outbound import Outbound
from appliance.relay.presence import Presence
from appliance.relay.settings import RelaySettings
from appliance.store import Item, Store

ECHOED = ("delivery", "notify", "ping", "invite")
FOR_ALL = ("member", "user")
ALIASED = ("ping", "invite")
ANSWER_S = 10.0
"""For an answer that is on its way, and to bring it to the disk."""

NOBODY: tuple[int, ...] = ()
LOGIN_WAIT_S = 0.5
"""For another box to say that a login was its own. What comes behind waits, too, and is stored twice if it
waits for longer than others wait for the keeper.
"""
LOGIN_LOOK_S = 0.05
MISSED_MAX = 3
MISSED_PAUSE_S = 60.0
"""A keeper that has not stored several messages in time is not waited for, for so long."""


class Sorter:
    """One for the life of a membership. ``new_node`` takes the password of a node that another box is to
    have: whether the label is one.
    """

    def __init__(
        self,
        store: Store,
        membership: int,
        settings: RelaySettings,
        inbound: Inbound,
        outbound: Outbound,
        presence: Presence,
        others: Others,
        new_node: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._membership = membership
        self._settings = settings
        self._inbound = inbound
        self._outbound = outbound
        self._presence = presence
        self._others = others
        self._new_node = new_node
        self._awaited: dict[int, trio.Event] = {}
        self._missed = 0
        self._alone_until = 0.0
        inbound.settled = self._settled
        store.relay.on_relayed.append(self._relayed)

    def forget(self) -> None:
        """The membership is no more."""
        self._store.relay.on_relayed.remove(self._relayed)

    async def run(self) -> None:
        """The sorting task of a link."""
        while True:
            batch = await self._inbound.next_batch()
            await self._outbound.caught_up()
            known = await self._inbound.known(batch)
            for incoming in batch:
                await self._sort(incoming, incoming.upid in known)

    async def _sort(self, incoming: Incoming, known: bool) -> None:
        message = incoming.message
        own = message.from_ == self._uid
        if known:
            if message.op == "login":
                now, counts = trio.current_time(), not self._others.alone
                self._inbound.barrier.login(now, incoming.upid, counts)
            elif own and message.op == "ohiedit" and self._is_marker(incoming) and not self._others.alone:
                self._inbound.barrier.stored(incoming.upid)  # by another box
            elif own and message.op in ECHOED and await self._is_late(incoming):
                return
            await self._again(incoming)
        elif await self._is_of_box(incoming, own):
            await self._inbound.store(incoming, NOBODY)
        elif own and message.op in ECHOED and await self._is_own(incoming):
            return
        elif own and message.op in FOR_ALL and await self._is_answer(incoming):
            await self._inbound.store(incoming)
        elif await self._has_keeper(incoming):
            await self._again(incoming)
        else:
            await self._inbound.store(incoming)

    @property
    def _uid(self) -> str:
        membership = self._store.site.memberships.get(self._membership)
        return membership.uid if membership is not None else ""

    async def _again(self, incoming: Incoming) -> None:
        """It is known."""
        node = await self._sender(incoming.message)
        if node:
            await self._inbound.store(incoming, (node,), known=True)
        else:
            self._inbound.done_with(incoming)

    async def _sender(self, message: wire.Message) -> int:
        """The device that is to have this copy of its own request, which would not have come to this node if
        the member were no recipient; 0: none.
        """
        upid = sent_as(message)
        if message.from_ != self._uid or message.op not in ECHOED or message.id in self._inbound.copied:
            return 0
        item = self._outbound.sent.get(upid) if upid in self._outbound.copied else None
        if item is None and message.op in ALIASED and self._others.alone:
            item = await self._store.relay.sent(self._membership, upid)
        return item.node if item is not None and item.node in self._store.site.nodes else 0

    async def _is_of_box(self, incoming: Incoming, own: bool) -> bool:
        """Whether it tells of something that no device has done."""
        message = incoming.message
        if message.op == "login":
            return await self._is_login_of_box(incoming)
        if message.op == "ohiedit":
            return own and (self._is_marker(incoming) or self._presence.is_ours(message))
        label, password = message.fields.get("newnode"), message.fields.get("nodeid")
        if message.op != "user" or not label or not password:
            return False
        return await self._new_node(str(label), str(password))

    async def _is_login_of_box(self, incoming: Incoming) -> bool:
        """Ours, or that of another box: it says so itself, but perhaps a bit later than the site."""
        if self._inbound.barrier.login(trio.current_time(), incoming.upid):
            return True
        if not self._others.in_touch:
            return False
        told = self._awaited.setdefault(incoming.upid, trio.Event())
        deadline = incoming.came + min(LOGIN_WAIT_S, self._settings.keeper_wait_s / 2)
        try:
            while not self._others.took_login(self._membership) and not told.is_set():
                if trio.current_time() >= deadline:
                    return False
                with trio.move_on_after(LOGIN_LOOK_S):
                    await told.wait()
        finally:
            del self._awaited[incoming.upid]
        return True

    def _is_marker(self, incoming: Incoming) -> bool:
        """Whether it is what a box said to see where the queue is: no client has itself in its list."""
        message = incoming.message
        told = [str(entry.get("id")) for entry in message.fields.get("for", ())]
        if message.fields.get("type") != MARK_TYPE or set(told) != {self._uid}:
            return False
        self._inbound.barrier.mark_came(incoming.upid, len(told), self._others.alone)
        return True

    # what comes of own requests

    async def _is_own(self, incoming: Incoming) -> bool:
        """Deal with a message by the member, not known, if it is the copy of a request of one of its devices
        here; False if it is none.
        """
        message = incoming.message
        upid = sent_as(message)
        if await self._is_sent(message, upid):
            await self._drop(incoming)
            return True
        for item in await self._matching(incoming):
            if item.msgid in self._outbound.flow.in_flight or item.msgid in self._outbound.flow.answered:
                await self._until_answered(item)
                if await self._is_sent(message, upid):
                    await self._drop(incoming)
                    return True
                if item.msgid not in self._outbound.flow.in_flight:
                    continue
            if await self._is_others(item) and await self._is_told(incoming):
                await self._again(incoming)
                return True
            self._outbound.seen(item, upid, _posted_ms(message), own=self._others.alone)
            await self._until_recorded(item)
            await self._drop(incoming)
            return True
        return False

    async def _is_late(self, incoming: Incoming) -> bool:
        """Deal with the copy of an item, if another box has stored it as somebody else's, before it heard of
        the item; False if it is none.
        """
        if self._others.alone or not self._outbound.flow.in_doubt:
            return False
        if await self._store.relay.sent(self._membership, sent_as(incoming.message)) is not None:
            return False
        return await self._is_own(incoming)

    async def _matching(self, incoming: Incoming) -> list[Item]:
        message = incoming.message
        return await self._outbound.doubts.match(message, incoming.payload.digest, _posted_ms(message))

    async def _drop(self, incoming: Incoming) -> None:
        """It is the copy of a request whose answer is durable. The id of a note is not in that."""
        if incoming.message.op == "notify":
            node = await self._sender(incoming.message)
            await self._inbound.store(incoming, (node,) if node else NOBODY)
        else:
            await self._again(incoming)

    async def _is_sent(self, message: wire.Message, upid: int) -> bool:
        """Whether a device's request is ``upid`` there, and that is durable: it is waited for."""
        item = self._outbound.sent.get(upid)
        if item is not None:
            await self._until_recorded(item)
            return True
        if message.op != "notify" or not upid:
            return False
        return bool(
            await self._store.relay.known(self._membership, [upid])
            or await self._store.relay.sent(self._membership, upid)
        )

    async def _settled(self, message: wire.Message) -> None:
        """Before the large data of a message are taken: if an answer of the site tells whose they are, until
        that is durable, so that they need not be.
        """
        item = self._outbound.sent.get(message.id) if message.from_ == self._uid else None
        if item is not None:
            await self._until_answered(item)

    async def _is_answer(self, incoming: Incoming) -> bool:
        """Whether a message for all proves that an item was carried out; then that is durable."""
        message = incoming.message
        if not self._outbound.flow.in_doubt:
            return False
        found = False
        posted_ms = _posted_ms(message)
        for item in await self._outbound.doubts.proven(message, posted_ms):
            if item.msgid in self._outbound.flow.in_flight or await self._is_others(item):
                continue
            invite = message.fields.get("act") == "invite"
            if invite and not self._others.alone:
                continue  # the invite itself comes to us if another box has sent it
            self._outbound.seen(item, item.msgid if invite else 0, posted_ms if invite else 0)
            await self._until_recorded(item)
            found = True
        return found

    async def _until_answered(self, item: Item) -> None:
        deadline = trio.current_time() + ANSWER_S
        while item.msgid in self._outbound.flow and (left_s := deadline - trio.current_time()) > 0:
            await self._outbound.changed(left_s)

    async def _until_recorded(self, item: Item) -> None:
        await self._until_answered(item)
        if item.msgid in self._outbound.flow:
            raise NoRoom("what the site said to a request could not be stored in time")

    async def _is_others(self, item: Item) -> bool:
        """Whether another box is there to say what became of it."""
        slot = item.msgid % 16
        return slot != self._store.scene.mint.box and self._others.has_link(slot, self._membership)

    # the keeper

    async def _has_keeper(self, incoming: Incoming) -> bool:
        """Whether another box has stored it, or does so within the time."""
        if self._others.alone or self._others.is_keeper(self._membership):
            return False
        if trio.current_time() < self._alone_until:
            return False
        if await self._is_told(incoming):
            self._missed = 0
            return True
        self._missed += 1
        if self._missed >= MISSED_MAX:
            self._missed = 0
            self._alone_until = trio.current_time() + MISSED_PAUSE_S
        return False

    async def _is_told(self, incoming: Incoming) -> bool:
        """Wait for another box to say that it has stored it."""
        told = self._awaited.setdefault(incoming.upid, trio.Event())
        try:
            if await self._store.relay.known(self._membership, [incoming.upid]):
                return True
            left_s = incoming.came + self._settings.keeper_wait_s - trio.current_time()
            with trio.move_on_after(max(0.0, left_s)):
                await told.wait()
            return told.is_set()
        finally:
            del self._awaited[incoming.upid]

    def _relayed(self, membership: int, upid: int) -> None:
        if membership == self._membership and upid in self._awaited:
            self._awaited[upid].set()


def _posted_ms(message: wire.Message) -> int:
    try:
        return wire.parse_posted(message.posted)
    except ValueError as error:
        raise UpstreamBroke(f"the site gave a message without a time: {error}") from error
