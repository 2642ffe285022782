"""What a person may ask about the boxes of the site, and what keeps the answers true."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from appliance.health import Health
from appliance.log import get_logger
from appliance.pairing import BadCode, BoxCard, Code
from appliance.pairing.gifts import BOX_ADDRESSES_MAX
from appliance.peering import folder as joining
from appliance.peering.errors import NotLetIn, PeeringError
from appliance.peering.household import Household, entry_of
from appliance.peering.identity import make_identity
from appliance.peering.links import Links
from appliance.peering.outage import LocalName, Outage, play_dead
from appliance.peering.placing import Addresses
from appliance.peering.renewal import Renewal
from appliance.peering.standing import LINKED, Standing
from appliance.session import NotNow, Service
from appliance.session.certificate import fingerprint_of
from appliance.site import Box, Decision, Identity, Scene, revoke_box, set_identity

if TYPE_CHECKING:
    from appliance.peering.guest import Accepted, Keep

log = get_logger(__name__)

LOOK_EVERY_S = 0.25

REVOKED = (
    "this box was put out of the site, and does not serve any more: to use it again, reset it:"
    "   pocket factory-reset   and let it join:   pocket peer join"
)
RENEWED = (
    "box {name} ({was}): its card was put back to an older state, or copied; it goes on as box {box}. If that"
    " was none of you, put both out:   pocket peer revoke"
)
TOLD_NS = 86_400 * 10**9
STALE = (
    "this box was away for longer than the others remember: it fetches everything anew, and serves after that"
)
NOT_BLANK = (
    "this box has a site of its own, with {what}: joining another one would lose that. To go on, reset it"
    " first:   pocket factory-reset"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """``name``: what this box is called. ``theirs``: the site's certificate is the household's own file."""

    folder: Path
    name: str
    own_addresses: Addresses
    theirs: bool = False


class Peering:
    """``restart``: have the box start anew inside, to join a site. ``cut``: cut all clients' links, and say
    how many were logged in. ``addresses``: where a box (id) may be found.
    """

    def __init__(
        self,
        service: Service,
        links: Links,
        health: Health,
        settings: Settings,
        restart: Callable[[], None],
        cut: Callable[[], int],
        addresses: Callable[[str], Sequence[str]] = lambda box: (),
    ) -> None:
        self.standing = Standing(service.store, links)
        self.household = Household(service, self.standing, settings.own_addresses)
        self.outage = Outage()
        self.renewal = Renewal(service.store, health, settings.folder, self.outage, addresses, restart, cut)
        """What is to be done when this box's card turns out to be a copy."""
        self.local_name: LocalName | None = None
        """Set when the box is announced in the network."""
        self.gave_up: str | None = None
        """Why this box is not one of the site that it was to join."""
        self.expelled: str | None = None
        """Why this box must not serve any more: it is none of the site's, and what to do."""
        self._put_out_by: set[str] = set()
        self._stale: str | None = None
        """The box from which everything is to be fetched anew."""
        self._service = service
        self._store = service.store
        self._health = health
        self._settings = settings
        self._restart = restart
        self._cut = cut
        self._asking = False

    @property
    def own_addresses(self) -> list[str]:
        """Where this box is reached."""
        return self._settings.own_addresses()

    @property
    def out_of_service(self) -> bool:
        """Whether clients are to go to another box."""
        return self.outage.on or self.renewal.on or self.expelled is not None or self._stale is not None

    async def watch(self) -> None:
        """Keep what health says of the others true. Runs until cancelled."""
        while True:
            for box in self.standing.all:
                out = box.cut is not None or self.standing.state(box) == "replaced"
                if out and box.box in self._store.copies.boxes:
                    self._store.copies.forget(box.box)
            self._health.copies = self.standing.copies
            self._health.peer = self.standing.peer
            self._judge()
            self._tell_renewed()
            self._look_for_source()
            if self._stale is not None and not self.outage.on:
                self._begin_anew(self._stale)
            await trio.sleep(LOOK_EVERY_S)

    def put_out(self, by: str) -> None:
        """Box ``by`` says that this one was revoked; it may be this one itself, from its journal."""
        self._put_out_by.add(by)

    def copy_again(self, source: str) -> None:
        """Box ``source`` no longer has what this one lacks: let clients go to others, and fetch everything
        anew after a restart inside, when it has what only this box has.
        """
        if self._stale is None and not self.renewal.on:
            log.warning("away for too long: everything is fetched anew", source=source)
            self._stale = source
            self._health.warn("copy", STALE)
            self._cut()

    def _look_for_source(self) -> None:
        """While the other box is there this one waits for it; what it has itself is better than nothing."""
        box = self.standing.known.get(self._stale) if self._stale is not None else None
        if box is not None and self.standing.state(box) not in LINKED:
            log.warning("not fetched anew: the box that has everything is gone", source=self._stale)
            self._stale = None
            self._health.warn("copy", None)

    def _begin_anew(self, source: str) -> None:
        """If the source has what this box wrote."""
        identity, own = self._store.site.identity, self._store.site.boxes.get(self.standing.own)
        other = self._store.copies.boxes.get(source)
        head = self.standing.entries(self.standing.own)
        if identity is None or own is None or other is None or other.seq < head:
            return
        boxes = [entry_of(box) for box in self.standing.all]
        facts = joining.Joining(identity.name, own.slot, source, boxes, again=True, own_seq=head)
        try:
            joining.again(self._settings.folder, facts, identity.cert, identity.key)
        except OSError as error:
            self._health.warn("copy", f"this box was away for too long, and cannot begin anew: {error}")
            return
        self.outage.begin()  # what is written from now on, at the end, is nobody's
        self._restart()

    def _tell_renewed(self) -> None:
        """For a day."""
        for box in self._store.site.boxes.values():
            if box.of and box.of in self._store.site.boxes:
                fresh = box.cut is None and self._store.replica.clock - box.at < TOLD_NS
                text = RENEWED.format(name=box.name, was=box.of, box=box.box)
                self._health.warn(f"renewed {box.box}", text if fresh else None)

    def _judge(self) -> None:
        """Who was put out does not serve. What one box says is not believed while another talks to us: it may
        be the one that was stolen.
        """
        if self._put_out_by and self.expelled is None:
            talking = any(self.standing.state(box) in LINKED for box in self.standing.others)
            by = self._put_out_by & {self.standing.own, *(box.box for box in self.standing.others)}
            if self.standing.own in by or (by and not talking):
                self._expel(REVOKED)

    def _expel(self, reason: str) -> None:
        if self.expelled is None:
            log.error("this box does not serve any more", reason=reason)
            self.expelled = reason
            self._health.fail("peering", reason)
            self._cut()

    def listed(self) -> dict[str, Any]:
        """All boxes, and how they are."""
        figures, comparison = self.standing.figures(), self._health.comparison
        return {
            "site": self._service.name,
            "box": self.standing.own,
            "announced": self._store.key.short,
            "joining": None,
            "gave_up": self.gave_up,
            "missing": self.standing.missing,
            "comparison": comparison.facts if comparison is not None else None,
            **{key: figures[key] for key in ("copies", "one_copy_acks", "safe_to_unplug", "why")},
            "boxes": [self.standing.describe(box) for box in self.standing.all],
        }

    async def join(self, addresses: Sequence[str], typed: str) -> dict[str, Any]:
        """Become a box of the site of the one that shows the code, at the first address that answers; see
        ``enter``.
        """
        self._check_blank()
        try:
            code = Code.parse(typed)
        except BadCode as error:
            raise PeeringError(str(error)) from None
        from appliance.peering.guest import ask  # of use once in a box's life

        return await self.enter(lambda card, keep: ask(addresses, code, card, keep))

    async def enter(self, ask: Callable[[BoxCard, Keep], Awaitable[Accepted]]) -> dict[str, Any]:
        """Become a box of the site that lets us in when it is asked. When this returns, this box is about to
        start anew, and then fetches everything. Raises ``PeeringError``, ``NotNow`` if ``ask`` does.
        """
        self._check_blank()
        if self._asking:
            raise PeeringError("this box is being paired already: wait a moment")
        self._asking = True
        self.gave_up = None
        folder = self._settings.folder
        try:
            key = await trio.to_thread.run_sync(joining.new_key, folder)
            own = self._settings.own_addresses()[:BOX_ADDRESSES_MAX]
            card = BoxCard(key.public, self._settings.name, own)
            accepted = await ask(card, lambda gift: trio.to_thread.run_sync(joining.keep, folder, gift))
            self._check_blank()
            await trio.to_thread.run_sync(joining.accept, folder, accepted.slot)
        except (NotLetIn, NotNow):
            await trio.to_thread.run_sync(joining.forget, folder)
            raise
        except (OSError, ValueError) as error:
            raise PeeringError(f"this box cannot join: {error}") from error
        finally:
            self._asking = False
        log.info("joining", site=accepted.gift.site, box=key.box, slot=accepted.slot)
        self._restart()
        gift = accepted.gift
        return {"site": gift.site, "box": key.box, "slot": accepted.slot, "host": gift.host}

    async def revoke(self, box: Box) -> dict[str, Any]:
        """Put a box out for good. Raises ``PeeringError``."""
        if box.box == self.standing.own:
            raise PeeringError(
                "this is that box itself: say so on another one, or reset this one:   pocket factory-reset"
            )
        if box.cut is not None:
            raise PeeringError(f"{box.name} was revoked already")
        position = self._store.replica.positions().get(box.box)
        cut = position.seq if position is not None else 0
        renewed = None if self._settings.theirs else await make_identity(self._store)
        decision = await self._store.perform(partial(_put_out, box=box.box, seq=cut, renewed=renewed))
        if decision.error is not None:
            raise PeeringError(decision.error)
        log.warning("box revoked", box=box.box, name=box.name, seq=cut)
        to_do = [
            f"box {heir.name} ({heir.box}) came from it, when its card was put back or copied: if that was"
            f" none of you, put it out, too:   pocket peer revoke {heir.box}"
            for heir in self.standing.all
            if heir.of == box.box and heir.cut is None
        ]
        before = self.standing.known.get(box.of)
        if before is not None and before.cut is None:
            to_do.append(
                f"it came from box {before.box}, and whoever has that card can come back as yet another one:"
                f" put that out, too:   pocket peer revoke {before.box}"
            )
        if self._settings.theirs:
            to_do.append(
                "the key of tls.cert is on that box: have a new one made, put it into the configuration of"
                " each box, and restart them"
            )
        elsewhere = self._store.site.memberships.values()
        sites = {each.fields.get("site") or each.name for each in elsewhere if box.box in each.credentials}
        if sites:
            to_do.append(
                f"it can still log in at {', '.join(sorted(sites))}, as the members who are there: have the"
                f" people of these sites drop the node pocket-{box.name}"
            )
        print_of_cert = fingerprint_of(renewed.cert) if renewed is not None else None
        return {"box": box.box, "name": box.name, "cut": cut, "fingerprint": print_of_cert, "to_do": to_do}

    async def failover(self, seconds: float) -> dict[str, Any]:
        """Play dead for so long. Raises ``PeeringError``."""
        return await play_dead(self.standing, self.outage, self._cut, seconds, self.local_name)

    @property
    def has(self) -> str | None:
        """What this box would lose if it joined another one's site; None if it is blank."""
        site = self._store.site
        if site.members:
            return f"{len(site.members)} members"
        return f"{len(site.boxes) - 1} other boxes" if len(site.boxes) > 1 else None

    def _check_blank(self) -> None:
        if (what := self.has) is not None:
            raise PeeringError(NOT_BLANK.format(what=what))


def _put_out(scene: Scene, box: str, seq: int, renewed: Identity | None) -> Decision:
    """The end of a box and the site's new identity are one thing: a crash in between must not leave the old
    key in force.
    """
    decision = revoke_box(scene, box, seq)
    if decision.error is None and renewed is not None:
        decision.lasting += set_identity(scene, renewed.name, renewed.cert, renewed.key).lasting
    return decision
