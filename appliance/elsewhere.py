"""Other sites and archives, put together for `app`: what keeps the links to the sites at which members have
accounts, what looks after the archives, the words about both, and what is told of them.

    run -- relay    from the first membership on; not while the box is out of service
       \\- mail     from the first archive on
       \\- watch    health, and the figures of `status`

A box that has neither does not load them: their libraries take some MB. A word that needs them has them
started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import trio

from appliance.boxes import Others
from appliance.config import Config
from appliance.configured import mail_settings, relay_settings
from appliance.control.words import Words
from appliance.health import Health
from appliance.log import get_logger
from appliance.peering import Peering
from appliance.session import Service
from appliance.site import Site
from appliance.store import StoreBroken, StoreError

if TYPE_CHECKING:
    from appliance.control.mail import MailWords
    from appliance.control.memberships import MembershipWords
    from appliance.mail import Mail
    from appliance.relay import Relay
    from appliance.replication.hub import Hub

LOOK_S = 0.5
OLDEST_S = 10.0
"""How often the oldest request that waits to be sent is looked for."""

AGAIN_S = 30.0
"""After the disk was full, or an error of this program."""

MEMBERSHIP_WORDS = ("look", "add", "adopt", "list", "show", "drop", "resume", "set", "repin")
MAIL_WORDS = ("search", "message", "page", "piece", "archive", "show")

NEARLY = 20
"""A queue of which no more than so much of it is free counts as full."""

FULL = (
    "{device} of membership {name} has so much waiting that it gets little more, or nothing: let it fetch"
    " some, or drop it; what comes meanwhile is kept (pocket mail search), and for new ones with   --history"
)

log = get_logger(__name__)


class Part:
    """Something that is made when there is something for it to do, or when somebody wants it."""

    def __init__(self) -> None:
        self.wanted = trio.Event()
        self.there = trio.Event()

    async def wait(self, needed: Callable[[], bool]) -> None:
        """Until it has to be made."""
        while not needed():
            with trio.move_on_after(LOOK_S):
                await self.wanted.wait()
                return


class Elsewhere:
    """``others`` are the boxes of the site, ``peering`` how they are."""

    def __init__(
        self, config: Config, service: Service, health: Health, peering: Peering, others: Others
    ) -> None:
        self.relay: Relay | None = None
        self.mail: Mail | None = None
        self._config = config
        self._service = service
        self._store = service.store
        self._health = health
        self._peering = peering
        self._others = others
        self._relay_part, self._mail_part = Part(), Part()
        self._attached: Hub | None = None
        self._membership_words: MembershipWords | None = None
        self._mail_words: MailWords | None = None
        self._oldest: dict[int, int] = {}
        self._full: set[int] = set()
        self._scope, self._in_service = trio.CancelScope(), trio.CancelScope()

    # its life

    async def run(self) -> None:
        """Until cancelled, or until ``end``."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_relay)
                nursery.start_soon(self._run_mail)
                nursery.start_soon(self._watch)

    def end(self) -> None:
        """The box stops: before its store does."""
        self._scope.cancel()

    async def _run_relay(self) -> None:
        await self._relay_part.wait(lambda: bool(self._store.site.memberships))
        room = await trio.to_thread.run_sync(import_module, "appliance.relay")
        settings, online = relay_settings(self._config), self._service.company.is_online
        self.relay = room.Relay(self._store, self._service.exchange, self._health.warn, settings, online)
        self._service.upstream = self.relay
        self._attach()
        self._relay_part.there.set()
        while True:
            while self._peering.out_of_service:  # noqa: ASYNC110
                await trio.sleep(LOOK_S)
            with self._in_service:
                await self._always(self.relay.run)
            self._in_service = trio.CancelScope()

    async def _run_mail(self) -> None:
        await self._mail_part.wait(lambda: has_archives(self._store.site))
        room = await trio.to_thread.run_sync(import_module, "appliance.mail")
        warn = partial(self._health.warn, "mail")
        settings = mail_settings(self._config)
        self.mail = room.Mail(self._store, self._config.data, settings, warn, self.leads)
        self._mail_part.there.set()
        await self._always(self.mail.run)

    async def _always(self, run: Callable[[], Awaitable[None]]) -> None:
        """A full disk, for instance, ends it, and not the box."""
        while True:
            try:
                await run()
            except* StoreBroken:
                raise
            except* StoreError as group:
                log.warning("links to other sites, or archives, pause", reason=str(group.exceptions[0]))
            await trio.sleep(AGAIN_S)

    def _attach(self) -> None:
        """Boxes tell each other to which sites they have links."""
        hub = self._others.hub
        if hub is None or self.relay is None or self._attached is not None:
            return
        self._attached, known = hub, self.relay.others
        known.tell = hub.tell
        hub.on_tell.append(known.heard)
        hub.on_link.append(known.in_reach)
        for box, neighbour in hub.neighbours.items():
            if neighbour.session is not None:
                known.in_reach(box, True)

    def leads(self) -> bool:
        """Whether this box does what one of them has to do for all: of those in reach the one with the lowest
        slot.
        """
        standing = self._peering.standing
        own = standing.known.get(standing.own)
        linked = [box for box in standing.others if standing.describe(box)["linked"]]
        return own is None or all(own.slot < box.slot for box in linked)

    # what is told

    async def _watch(self) -> None:
        looked_at = float("-inf")
        while True:
            self._attach()
            if self._peering.out_of_service:
                self._in_service.cancel()
            self._health.relay = self._state()
            if trio.current_time() - looked_at >= OLDEST_S:
                looked_at = trio.current_time()
                await self._look_for_oldest()
                self._look_at_queues()
            await trio.sleep(LOOK_S)

    def _state(self) -> Any:
        memberships = self._store.site.memberships.values()
        if not memberships:
            return "none"
        return "online" if all(self._is_fine(membership.number) for membership in memberships) else "offline"

    def _is_fine(self, number: int) -> bool:
        """Online, or where the box only looks in now and then, nothing in the way of the next time."""
        fields, state = self._store.site.memberships[number].fields, self._link(number)
        if fields.get("halted") or state.get("halted"):
            return False
        return bool(state.get("online") or (fields.get("metered_min") and not state.get("last_error")))

    def _link(self, number: int) -> Mapping[str, Any]:
        return self.relay.state(number) if self.relay is not None else {}

    def _look_at_queues(self) -> None:
        """Say which devices get nothing more until they have fetched something."""
        memberships = self._store.site.memberships
        if not memberships and not self._full:
            return
        from appliance.site.relaying import queue_has_room

        full: dict[int, str] = {}
        near = self._store.scene.limits.relay_octets_per_device // NEARLY
        for membership in memberships.values():
            for node in membership.devices:
                if not queue_has_room(self._store.scene, node, near):
                    label = self._store.site.nodes[node].label
                    full[node] = FULL.format(device=label, name=membership.name)
        for node in self._full | full.keys():
            self._health.warn(f"queue {node}", full.get(node))
        self._full = set(full)

    async def _look_for_oldest(self) -> None:
        nodes, found = self._store.queues.nodes, {}
        for membership in list(self._store.site.memberships.values()):
            pending = nodes.get(membership.out)
            if pending is not None and pending.count:
                try:
                    found[membership.number] = await self._store.oldest(membership.out)
                except StoreError:
                    return
        self._oldest = found

    def figures(self) -> dict[str, Any]:
        """For `pocket status` and the metrics."""
        from appliance.control.devices import age_s

        site, nodes = self._store.site, self._store.queues.nodes
        known = list(site.memberships.values())
        states = {each.number: self._link(each.number) for each in known}
        out = [pending for each in known if (pending := nodes.get(each.out)) is not None]
        kept = [each.archive for each in known] + [n for m in site.members.values() for n in m.archives]
        archives = [pending for node in kept if (pending := nodes.get(node)) is not None]
        waiting = sum(pending.count for pending in out)
        return {
            "memberships": {
                "kept": len(known),
                "online": sum(bool(state.get("online")) for state in states.values()),
                "halted": sum(
                    bool(each.fields.get("halted") or states[each.number].get("halted")) for each in known
                ),
                "outbox": waiting,
                "outbox_oldest_s": age_s(min(self._oldest.values(), default=0)) if waiting else 0,
            },
            "archives": {
                "messages": sum(pending.count for pending in archives),
                "octets": sum(pending.octets for pending in archives),
            },
        }

    # words

    def add_words(self, words: Words) -> None:
        """The words about memberships and archives, each of which loads what it needs."""
        names = [f"membership.{name}" for name in MEMBERSHIP_WORDS] + [f"mail.{name}" for name in MAIL_WORDS]
        words.add({name: partial(self._say, name) for name in names})
        words.figures.append(self.figures)

    async def _say(self, word: str, args: dict[str, Any]) -> Any:
        return await self._words(word)[word](args)

    def _words(self, word: str) -> Mapping[str, Callable[[dict[str, Any]], Awaitable[Any]]]:
        if word.startswith("mail."):
            if self._mail_words is None:
                from appliance.control.mail import MailWords

                self._mail_words = MailWords(self._service, self._archives)
            return self._mail_words.handlers
        if self._membership_words is None:
            from appliance.control.memberships import MembershipWords

            self._membership_words = MembershipWords(self._service, self._links, lambda: self.relay)
        return self._membership_words.handlers

    async def _links(self) -> Relay:
        self._relay_part.wanted.set()
        await self._relay_part.there.wait()
        assert self.relay is not None
        return self.relay

    async def _archives(self) -> Mail:
        self._mail_part.wanted.set()
        await self._mail_part.there.wait()
        assert self.mail is not None
        return self.mail


def has_archives(site: Site) -> bool:
    """Whether anything is kept of anybody."""
    return bool(site.memberships) or any(member.archives for member in site.members.values())
