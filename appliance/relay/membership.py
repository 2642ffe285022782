"""One membership on this box: a link to its site, kept for as long as the membership is.

    wait (care) -> dial, handshake, pin -> hello, login -> reader, sorter, recorder, sender, looks -> wait ...

All that goes wrong on the way ends in ``run``, which notes it and tries again: a membership never harms
another one, or the box.
"""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack, suppress
from typing import Any

import trio

from appliance import wire
from appliance.log import get_logger
from appliance.relay.barrier import MARK_S, MARK_TYPE
from appliance.relay.care import Care, Why
from appliance.relay.dialing import connected
from appliance.relay.ending import Leaving, told_by, why_of
from appliance.relay.errors import (
    CertificateChanged,
    LoginRefused,
    UpstreamLost,
)
from appliance.relay.inbound import Inbound
from appliance.relay.outbound import Outbound
from appliance.relay.places import SiteAddress
from appliance.relay.presence import Presence
from appliance.relay.shared import Ear, Shared
from appliance.relay.sorting import Sorter
from appliance.relay.upstream import Upstream, said
from appliance.site import Membership, set_membership
from appliance.store import Item, StoreError

log = get_logger(__name__)

LOOK_S = 0.5
FAREWELL_S = 5.0
ASK_AGAIN_S = 3600.0
"""For a node of another box, whose password did not come."""

SLOTS = 16
MARK = "pocket-mark-"


class Keeping:
    """A membership that this box keeps. ``run`` it in a task."""

    def __init__(self, shared: Shared, membership: Membership) -> None:
        store, settings = shared.store, shared.settings
        self.number = membership.number
        self.care = Care(settings, shared.chance)
        self.online_since: float | None = None
        self.offered_pin = membership.fields.get("offered", "")
        self._shared = shared
        self._store = store
        self._inbound = Inbound(store, self.number, settings)
        self._outbound = Outbound(
            store,
            self.number,
            settings.pipeline,
            self._may_send,
            self._inbound.lately.__contains__,
            self._done,
        )
        self.presence = Presence(self._notice)
        self._sorter = Sorter(
            store,
            self.number,
            settings,
            self._inbound,
            self._outbound,
            self.presence,
            shared.others,
            self._new_node,
        )
        self._taken: set[int] = set()
        """Slots of the boxes for which this one sends."""
        self._claimed: set[int] = set()
        """Those for which it is to send, once it has seen what they had sent."""
        self._marked_at: float | None = None
        self._inbound.barrier.on_reached = self._seen_all
        self._asked: dict[str, float] = {}
        self._used: tuple[str, ...] = ()
        self._leaving: Why | None = None
        self._metered = self._metered_min
        self._halted_word = membership.fields.get("halted", "")
        self._change = trio.Event()
        if self._halted_word:
            self.care.halt(self._halted_word)

    # its life

    async def run(self) -> None:
        """Until cancelled."""
        ear = Ear(self.number, self._outbound.push)
        out = self._membership.out
        self._shared.exchange.enter(out, ear)
        try:
            if self.care.halted:
                self._tell_halted()
            else:
                self.care.start(trio.current_time(), len(self._shared.store.site.memberships))
            while True:
                await self._until_due()
                await self._try()
        finally:
            self._shared.exchange.leave(out, ear)
            self._outbound.forget()
            self._sorter.forget()
            self._shared.warn(self._topic, None)

    @property
    def _membership(self) -> Membership:
        return self._store.site.memberships[self.number]

    @property
    def _topic(self) -> str:
        return f"membership {self.number}"

    async def _until_due(self) -> None:
        while (left_s := self.care.next_at - trio.current_time()) > 0:
            with trio.move_on_after(min(left_s, LOOK_S)):
                await self._change.wait()
            self._change = trio.Event()
            self._heed_words()

    def _heed_words(self) -> None:
        """What was said about the membership, here or at another box."""
        word = self._membership.fields.get("halted", "")
        if word != self._halted_word:
            self._halted_word = word
            if word:
                self.care.halt(word)
                self.offered_pin = self._membership.fields.get("offered", "")
                self._tell_halted()
            else:
                self.resume()
        if self._metered != self._metered_min and not self.care.halted:
            self._metered = self._metered_min
            self.care.poke(trio.current_time())
        if self._used and self._used != self._ways() and not self.care.halted:
            self._used = ()
            self.care.poke(trio.current_time())

    def resume(self) -> None:
        """Try again, at once."""
        self.offered_pin = ""
        self.care.resume(trio.current_time())
        self._shared.warn(self._topic, None)
        self.poke()

    def poke(self) -> None:
        """Look at once whether there is something to do."""
        self._change.set()

    async def _try(self) -> None:
        """One link, or what comes of the try. The one place where it ends."""
        self.care.calling()
        why, text = Why.LOST, "the link ended"
        try:
            await self._call()
        except* Exception as group:
            error = told_by(group)
            why, text = why_of(error)
            if isinstance(error, CertificateChanged):
                self.offered_pin = error.offered
            elif why is Why.ERROR and self.number in self._store.site.memberships:
                log.exception("link to another site ended by an error", membership=self.number)
        if self._leaving is not None:
            why, text = self._leaving, ""
            self._leaving = None
        await self._note(why, text)

    async def _note(self, why: Why, text: str) -> None:
        self._metered = self._metered_min
        self.care.ended(trio.current_time(), why, text, self._metered)
        if text:
            log.info("link to another site ended", membership=self.number, reason=text)
        if self.care.halted:
            self._tell_halted()
            if why is Why.CHANGED or len(self._membership.credentials) <= 1:
                await self._set_halted()
        elif why is Why.NO_ROOM:
            self._shared.warn(self._topic, f"membership {self._membership.name}: {text}")

    def _tell_halted(self) -> None:
        word = "repin" if self.offered_pin else "resume"
        self._shared.warn(
            self._topic,
            f"membership {self._membership.name}: {self.care.halted}; then say   pocket membership {word}",
        )

    async def _set_halted(self) -> None:
        """So that it stays so over a restart, and at other boxes."""
        self._halted_word = self.care.halted
        with suppress(StoreError):
            await self._set(halted=self.care.halted, offered=self.offered_pin)

    async def _set(self, **fields: str) -> None:
        await self._store.perform(lambda scene: set_membership(scene, self.number, **fields))

    def _ways(self) -> tuple[str, ...]:
        """What a link depends on: when that changes there is to be a new one."""
        membership = self._membership
        own = membership.credentials.get(self._store.key.box, b"")
        return (membership.fields.get("address", ""), membership.uid, own.hex())

    # a link

    async def _call(self) -> None:
        membership, settings = self._membership, self._shared.settings
        secret = self._shared.secret_of(membership)
        if secret is None:
            raise LoginRefused("what this box logs in with cannot be read: it was sealed for another one")
        self._used = self._ways()
        try:
            address = SiteAddress.parse(membership.fields.get("address", ""))
        except ValueError as error:
            raise LoginRefused(str(error)) from error
        pin = membership.fields.get("pin", "")
        async with AsyncExitStack() as stack:
            async with self._shared.dials:
                link = connected(address, pin, settings, self._shared.lookups)
                upstream = await stack.enter_async_context(link)
                if upstream.pin != pin:
                    await self._set(pin=upstream.pin)
                online = await self._enter(upstream, membership.uid, secret)
            await self._live(upstream, online)

    async def _enter(self, upstream: Upstream, uid: str, secret: str) -> list[str]:
        limit_s = self._shared.settings.login_timeout_s
        with trio.move_on_after(limit_s):
            reply = await upstream.greet()
            online = await upstream.log_in(uid, secret)
            if not self._membership.fields.get("site"):
                await self._set(site=said(reply.name))
            return online
        raise UpstreamLost(f"the site did not answer the login within {limit_s:g} s")

    async def _live(self, upstream: Upstream, online: list[str]) -> None:
        now = trio.current_time()
        others = self._shared.others
        self.care.linked(now)
        self.online_since = now
        self.offered_pin = ""
        others.linked(self.number)
        self._shared.warn(self._topic, None)
        self._taken = set()
        self._claimed = {slot for slot in range(SLOTS) if self._is_given_up(slot)}
        self._marked_at = None
        self._inbound.began(upstream, now)
        self._outbound.began(upstream)
        self.presence.began(online)
        log.info("logged in at another site", membership=self.number)
        try:
            await self._outbound.load()
            flow = self._outbound.flow
            if flow.in_doubt if others.alone else len(flow):
                self._mark(upstream)
            else:
                self._outbound.open()
            for request in self.presence.again() if self._anybody() else ():
                upstream.say(request)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, upstream)
                nursery.start_soon(self._read, upstream)
                nursery.start_soon(self._sorter.run)
                nursery.start_soon(self._outbound.record)
                nursery.start_soon(self._inbound.failure)
                nursery.start_soon(self._look, upstream)
        finally:
            self.online_since = None
            self._inbound.ended()
            self._outbound.ended()
            self.presence.ended()
            others.unlinked(self.number)

    async def _send(self, upstream: Upstream) -> None:
        await upstream.send_all(self._outbound, self._store.blobs)

    async def _read(self, upstream: Upstream) -> None:
        while True:
            event = await upstream.next_event()
            if isinstance(event, wire.Message):
                await self._inbound.take(upstream, event)
            elif isinstance(event, wire.AckReply):
                if event.id.startswith(MARK):
                    self._inbound.barrier.heard()
                    if event.error:
                        self._inbound.barrier.no_mark()
                elif not self._outbound.answered(event):
                    await upstream.brought_nothing()
            elif isinstance(event, wire.Ohi):
                self.presence.heard(event)
                await upstream.brought_nothing()
            elif isinstance(event, wire.QuitReply):
                raise UpstreamLost(f"the site ended the link: {said(event.error)}")

    async def _look(self, upstream: Upstream) -> None:
        """What is due now and then on a link."""
        began = trio.current_time()
        while True:
            await trio.sleep(LOOK_S)
            now = trio.current_time()
            self._heed_words()
            if self.care.halted or self._used != self._ways():
                await self._leave(upstream, Why.AGAIN)
            if self._outbound.problem is not None:
                problem, self._outbound.problem = self._outbound.problem, None
                raise problem
            seen_all = self._inbound.idle and not upstream.backlog and not upstream.unconfirmed()
            barrier = self._inbound.barrier
            flow = self._outbound.flow
            self._taken = {slot for slot in self._taken if self._is_given_up(slot)}  # else it is back
            if not flow.closed:
                self._claimed = {slot for slot in flow.slots() - self._taken if self._is_given_up(slot)}
                if self._claimed:
                    self._mark(upstream)
                    self._marked_at = now
            elif self._marked_at is not None:
                if now - self._marked_at >= MARK_S:
                    await self._leave(upstream, Why.AGAIN)
            elif seen_all and barrier.passed(now):
                self._seen_all()
            for request in self.presence.look(now, self._anybody()):
                upstream.say(request)
            if seen_all and barrier.passed(now):
                self._ask_for_nodes(upstream, now)
            stay_s = self._shared.settings.metered_stay_s
            looked_in = seen_all and now - began >= stay_s and barrier.passed(now, stay_s)
            if self._metered_min and looked_in and not len(self._outbound.flow):
                await self._leave(upstream, Why.LEFT)

    def _mark(self, upstream: Upstream) -> None:
        """Send nothing before all is seen that the site has for us now."""
        self._outbound.close()
        uid = self._membership.uid
        times = self._inbound.barrier.mark(self._store.scene.mint.box)
        new = secrets.token_hex(4)  # a site that recognises repeated requests tells of each only once
        if times:
            upstream.say(wire.OhiEdit(f"{MARK}{new}", [uid] * times, MARK_TYPE))

    def _seen_all(self) -> None:
        self._taken |= self._claimed
        self._marked_at = None
        self._outbound.open()

    async def _leave(self, upstream: Upstream, why: Why) -> None:
        """Say goodbye. What was said before counts."""
        self._leaving = why
        upstream.quit()
        await trio.sleep(FAREWELL_S)  # the site's answer ends it sooner
        raise Leaving(why)

    # what others ask

    @property
    def _metered_min(self) -> float:
        try:
            return max(0.0, float(self._membership.fields.get("metered_min", "") or 0))
        except ValueError:
            return 0.0

    def _may_send(self, item: Item) -> bool:
        slot = item.msgid % SLOTS
        return slot == self._store.scene.mint.box or (slot in self._taken and self._is_given_up(slot))

    def _is_given_up(self, slot: int) -> bool:
        """Whether this box sends what the one with that slot was to send."""
        others = self._shared.others
        return (
            slot != self._store.scene.mint.box
            and others.is_keeper(self.number)
            and others.given_up(slot, self.number, self._shared.settings.takeover_s)
        )

    def _done(self, request: wire.Request) -> None:
        self.presence.done(request)

    def _notice(self, frame: bytes) -> None:
        self._shared.exchange.notice(self._membership.devices, frame)

    def _anybody(self) -> bool:
        return any(self._shared.is_online(device) for device in self._membership.devices)

    async def _new_node(self, label: str, password: str) -> bool:
        return await self._shared.new_node(self.number, label, password)

    def _ask_for_nodes(self, upstream: Upstream, now: float) -> None:
        """Have the site make nodes for boxes that have none there. Their passwords come as messages."""
        if not self._shared.others.is_keeper(self.number):
            return
        for label in self._shared.wants_nodes(self.number):
            if now - self._asked.get(label, float("-inf")) >= ASK_AGAIN_S:
                self._asked[label] = now
                upstream.say(wire.UserEdit(f"pocket-node-{len(self._asked)}-{now:.0f}", newnode=label))

    def state(self) -> dict[str, Any]:
        """For words: seconds ago, or from now."""
        now = trio.current_time()
        care, waiting = self.care, self._store.queues.nodes.get(self._membership.out)
        return {
            "online": self.online_since is not None,
            "online_s": None if self.online_since is None else now - self.online_since,
            "failing_s": None if care.failing_since is None else now - care.failing_since,
            "next_try_s": None if care.next_at == float("inf") else max(0.0, care.next_at - now),
            "last_error": care.last_error,
            "halted": care.halted,
            "offered_pin": self.offered_pin,
            "waiting_out": waiting.count if waiting is not None else 0,
            "received": self._inbound.received,
            "online_uids": len(self.presence.online()),
        }
