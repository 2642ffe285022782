"""The relay of a box: all links to other sites, and what is said about them.

``run`` keeps one task for each membership that this box has a password for. Memberships come and go, here
and at other boxes, which is looked at now and then. A box without a password for a membership publishes its
sealing key; one that has a link there has the site make a node for it (``wants_nodes``), and seals its
password for it when that comes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import trio

from appliance.delivery import Exchange
from appliance.log import get_logger
from appliance.relay.enrolment import Enrolled, Enrolment, Greeting
from appliance.relay.errors import EnrolmentFailed
from appliance.relay.membership import Keeping
from appliance.relay.others import Others
from appliance.relay.settings import RelaySettings
from appliance.relay.shared import Shared
from appliance.site import (
    Decision,
    Membership,
    Scene,
    add_membership,
    set_credential,
    set_membership,
    set_sealing,
)
from appliance.site.facts import CredentialSet
from appliance.site.relaying import name_problem
from appliance.store import Store, StoreError

if TYPE_CHECKING:
    from appliance.relay.sealing import SealingKey

log = get_logger(__name__)

LOOK_S = 0.5
LABEL = "pocket-"
HEAR_OTHERS_S = 3.0
HEAR_LOOK_S = 0.05
ANEW_S = 60.0
"""After an error in this program."""


class Relay:
    """``warn`` as ``Health.warn``. What other boxes have to do with it goes through ``others``: its ``tell``
    is to be set, its ``heard`` and ``in_reach`` to be called. ``is_online`` says whether a device has a link
    to any box; ``chance`` gives a number from 0 to 1.
    """

    def __init__(
        self,
        store: Store,
        exchange: Exchange,
        warn: Callable[[str, str | None], None],
        settings: RelaySettings,
        is_online: Callable[[int], bool] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.others = Others(lambda: store.site.boxes, store.key.box, trio.current_time)
        self._store = store
        self._settings = settings
        self._keepings: dict[int, Keeping] = {}
        self._shared = Shared(
            store,
            exchange,
            settings,
            self.others,
            warn,
            self._secret_of,
            is_online or exchange.online.__contains__,
            self._new_node,
            self._wants_nodes,
            trio.Semaphore(settings.dials_at_once),
            chance=chance,
        )
        self.enrolment = Enrolment(settings, self._shared.lookups)

    # its life

    async def run(self) -> None:
        """Keep the links up until cancelled."""
        await self._hear_others()
        scopes: dict[int, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            while True:
                memberships = self._store.site.memberships
                if memberships:
                    await self._publish_key()
                for number in scopes.keys() - memberships.keys():
                    scopes.pop(number).cancel()
                for number, membership in list(memberships.items()):
                    if number not in scopes and self._store.key.box in membership.credentials:
                        scopes[number] = trio.CancelScope()
                        nursery.start_soon(self._keep, membership, scopes[number])
                await trio.sleep(LOOK_S)

    async def _hear_others(self) -> None:
        """A box that starts says to the others that it logs in, and hears who stores what comes: so it waits
        a moment for them.
        """
        with trio.move_on_after(HEAR_OTHERS_S):
            while not self.others.alone and not self.others.in_touch:  # noqa: ASYNC110
                await trio.sleep(HEAR_LOOK_S)

    async def _keep(self, membership: Membership, scope: trio.CancelScope) -> None:
        """An error in this program, too, is that membership's alone."""
        number = membership.number
        with scope:
            while number in self._store.site.memberships:
                keeping = self._keepings[number] = Keeping(self._shared, membership)
                try:
                    await keeping.run()
                except Exception as error:
                    if number not in self._store.site.memberships:
                        return
                    log.exception("a membership starts anew", membership=number)
                    self._shared.warn(
                        f"membership {number}",
                        f"membership {membership.name}: an error in this program ({error!r}): see the log",
                    )
                finally:
                    del self._keepings[number]
                await trio.sleep(ANEW_S)

    # secrets

    @cached_property
    def _key(self) -> SealingKey:
        from appliance.relay.sealing import SealingKey  # most boxes have no memberships

        return SealingKey(self._store.key)

    async def _publish_key(self) -> None:
        known = self._store.site.sealing.get(self._store.key.box)
        if known is None or known[0] != self._key.public:
            box, public = self._store.key.box, self._key.public
            with suppress(StoreError):  # another time
                await self._store.perform(lambda scene: set_sealing(scene, box, public))

    def _secret_of(self, membership: Membership) -> str | None:
        from appliance.relay.sealing import NotSealed

        box = self._store.key.box
        try:
            return self._key.open(membership.credentials.get(box, b""), membership.number, box)
        except NotSealed:
            return None

    async def _give(self, number: int, box: str, public: bytes, secret: str) -> None:
        from appliance.relay.sealing import seal

        sealed = seal(secret, public, number, box)
        await self._store.perform(lambda scene: set_credential(scene, number, box, sealed))

    # nodes for other boxes

    def _lacking(self, number: int) -> dict[str, str]:
        """Boxes without a password for the membership that one can be sealed for, and how they are called at
        its site.
        """
        membership, site = self._store.site.memberships[number], self._store.site
        return {
            box: LABEL + info.name
            for box, info in site.boxes.items()
            if info.cut is None
            and box != self._store.key.box
            and box in site.sealing
            and box not in membership.credentials
        }

    def _wants_nodes(self, number: int) -> list[str]:
        return list(dict.fromkeys(self._lacking(number).values()))

    async def _new_node(self, number: int, label: str, password: str) -> bool:
        """A node was made at the site; whether it is one for a box."""
        for box, called in self._lacking(number).items():
            if called == label:
                public, _ = self._store.site.sealing[box]
                await self._give(number, box, public, password)
                log.info("another box has a node at the site now", membership=number, box=box)
                return True
        return any(label == LABEL + info.name for info in self._store.site.boxes.values())

    # words

    async def look(self, address: str, pin: str = "") -> Greeting:
        """What a site says of itself. Raises ``EnrolmentFailed``."""
        return await self.enrolment.look(address, pin)

    async def add(
        self,
        member: int,
        name: str,
        address: str,
        alias: str | None = None,
        oidc: dict[str, Any] | None = None,
        pin: str = "",
    ) -> int:
        """Make an account at a site for a member, and keep it under this name: the membership's number.
        Raises ``EnrolmentFailed``, ``StoreError``.
        """
        self._check(member, name)
        label = LABEL + self._box_name
        enrolled = await self.enrolment.register(address, label, alias, oidc, pin)
        alias_there = alias if alias and not enrolled.trouble else ""
        return await self._keep_account(member, name, address, alias_there, enrolled)

    async def adopt(
        self, member: int, name: str, address: str, uid: str, node: str, alias: str = "", pin: str = ""
    ) -> int:
        """Keep an account that is there, as the node that has the password ``node``: the membership's number.
        Raises ``EnrolmentFailed``, ``StoreError``.
        """
        self._check(member, name)
        enrolled = await self.enrolment.adopt(address, uid, node, pin)
        return await self._keep_account(member, name, address, alias, enrolled)

    async def resume(self, number: int, pin: str | None = None) -> None:
        """Try again where nothing was tried any more; ``pin``: trust this certificate from now on. Raises
        ``KeyError`` if there is no such membership, ``StoreError``.
        """
        fields = {"halted": "", "offered": ""} | ({} if pin is None else {"pin": pin.lower()})
        self._store.site.memberships[number]
        await self._store.perform(lambda scene: set_membership(scene, number, **fields))
        keeping = self._keepings.get(number)
        if keeping is not None:
            keeping.resume()

    def state(self, number: int) -> dict[str, Any]:
        """How a membership's link is, as this box sees it (``Keeping.state``); only ``online`` False where it
        has none.
        """
        keeping = self._keepings.get(number)
        return keeping.state() if keeping is not None else {"online": False}

    def ohi(self, membership: int) -> list[str]:
        """The uids that are online there and announce themselves to the member."""
        keeping = self._keepings.get(membership)
        return keeping.presence.online() if keeping is not None else []

    @property
    def _box_name(self) -> str:
        own = self._store.site.boxes.get(self._store.key.box)
        return own.name if own is not None else "box"

    def _check(self, member: int, name: str) -> None:
        """What would be found out only after the account is made."""
        problem = name_problem(self._store.site, member, name)
        if problem is not None:
            raise EnrolmentFailed(problem)

    async def _keep_account(
        self, member: int, name: str, address: str, alias: str, enrolled: Enrolled
    ) -> int:
        fields = {
            "address": address.strip(),
            "uid": enrolled.uid,
            "alias": alias,
            "site": enrolled.greeting.site,
            "pin": enrolled.greeting.pin,
            "trouble": enrolled.trouble,
        }
        taken = f"the account is there, and can be adopted: uid {enrolled.uid}, password {enrolled.node}"
        try:
            decision = await self._store.perform(partial(self._add, member, name, fields, enrolled.node))
        except StoreError as error:
            raise EnrolmentFailed(f"it could not be stored ({error}); {taken}") from error
        if decision.error is not None:
            raise EnrolmentFailed(f"{decision.error}; {taken}")
        return decision.node

    def _add(self, member: int, name: str, fields: dict[str, str], secret: str, scene: Scene) -> Decision:
        """The account and what this box logs in with, in one commit."""
        from appliance.relay.sealing import seal

        decision = add_membership(scene, member, name, fields)
        if decision.error is None:
            box = self._store.key.box
            sealed = seal(secret, self._key.public, decision.node, box)
            decision.lasting.append(CredentialSet(decision.node, box, sealed, scene.mint.id()))
        return decision
