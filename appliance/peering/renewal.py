"""A box whose card was put back to an older state, or copied, becomes a new box by itself.

Another box has shown it an entry that it signed and does not have. So it must not go on under its id: there
would be two entries under one number. It stops serving, makes a new key, has it taken into the site by any
box that takes it, and joins as if it were blank; its old data stay until what only they have is in the copy
(`tail`). Each step can be done again after a power cut: the key is kept, and to be taken in twice is to be
taken in once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio

from appliance.health import Health
from appliance.log import get_logger
from appliance.pairing import BoxEntry
from appliance.pairing.gifts import BOX_ADDRESSES_MAX
from appliance.peering import folder as joining
from appliance.peering.household import entry_of
from appliance.peering.outage import Outage
from appliance.session import LinkLost
from appliance.site.facts import BoxAdded
from appliance.store import Store
from appliance.store.journal import KEY_NAME, BoxKey

log = get_logger(__name__)

RETRY_S = 5.0
MET_MAX = 16
BECOMING = (
    "{reason}. It does not serve until then; what only this box has is kept, and will be on the new one"
)
STUCK = (
    "{reason}. No box takes it in: {problem}. Nothing is lost, it is tried again. To give up what is only on"
    " this card:   pocket factory-reset   and   pocket peer join"
)


class Renewal:
    """``addresses``: where a box (id) may be found. ``restart``: have this box start anew inside. ``cut``:
    cut all clients' links.
    """

    def __init__(
        self,
        store: Store,
        health: Health,
        folder: Path,
        outage: Outage,
        addresses: Callable[[str], Sequence[str]],
        restart: Callable[[], None],
        cut: Callable[[], int],
    ) -> None:
        self._store = store
        self._health = health
        self._folder = folder
        self._outage = outage
        self._addresses = addresses
        self._restart = restart
        self._cut = cut
        self._reason = ""
        self._met: dict[str, BoxEntry] = {}
        self._begun = trio.Event()

    @property
    def on(self) -> bool:
        """This box must not go on as it is."""
        return self._begun.is_set()

    def begin(self, reason: str) -> None:
        """This box's journal has gone on elsewhere."""
        if not self.on:
            log.warning("this box becomes a new one", box=self._store.replica.own, reason=reason)
            self._reason = reason
            self._health.fail("renewal", BECOMING.format(reason=reason))
            self._begun.set()
            self._cut()

    def meet(self, box: BoxAdded, addresses: Sequence[str]) -> None:
        """A box that this one does not know (any more) is of the site, and reached there."""
        known = self._store.site.boxes.get(box.box)
        if known is None and len(self._met) < MET_MAX:
            self._met[box.box] = BoxEntry(box.box, box.public, box.slot, box.name, list(addresses))

    @property
    def _others(self) -> list[BoxEntry]:
        """The boxes of the site, as far as they are known here, and where each may be found."""
        found = []
        for box in sorted(self._store.site.boxes.values(), key=lambda box: box.slot):
            entry = entry_of(box)
            found.append(msgspec.structs.replace(entry, addresses=list(self._addresses(box.box))))
        return [*found, *(box for box in self._met.values() if box.box not in self._store.site.boxes)]

    async def run(self) -> None:
        """Wait until it has to be, and do it. Returns when the box is about to start anew."""
        await self._begun.wait()
        while True:
            try:
                if await self._become():
                    return
            except (OSError, ValueError) as error:
                log.error("this box cannot become a new one", error=str(error))
                self._health.fail("renewal", STUCK.format(reason=self._reason, problem=error))
            await trio.sleep(RETRY_S)

    async def _become(self) -> bool:
        from appliance.replication import anew
        from appliance.replication.copying import Source
        from appliance.replication.errors import PeerError, Unreachable
        from appliance.replication.identity import Identity

        own = self._store.replica.own
        key: BoxKey = await trio.to_thread.run_sync(joining.new_key, self._folder)
        identity = await trio.to_thread.run_sync(Identity.load, self._folder / KEY_NAME)
        problems: list[str] = []
        for box in self._others:
            if box.box == own or box.cut is not None or not box.addresses:
                continue
            source = Source(box.box, box.public, tuple(box.addresses))
            try:
                slot, address = await anew.ask(identity, key.public, source)
            except trio.TooSlowError:
                problems.append(f"box {box.name} does not answer")
            except (PeerError, LinkLost, Unreachable) as error:
                problems.append(f"box {box.name}: {error}")
            else:
                log.warning("this box is a new one now", was=own, box=key.box, slot=slot, host=box.box)
                await self._leave(key, slot, box.box, address)
                return True
        problem = "; ".join(problems) or "no address of another box is known"
        log.warning("no box lets this one become a new one", problem=problem)
        self._health.fail("renewal", STUCK.format(reason=self._reason, problem=problem))
        return False

    async def _leave(self, key: BoxKey, slot: int, host: str, address: str) -> None:
        """Raises ``OSError``."""
        site = self._store.site
        if site.identity is None:
            raise OSError("the site has no certificate")
        boxes = []
        for box in self._others:
            found = dict.fromkeys([*([address] if box.box == host else []), *box.addresses])
            boxes.append(msgspec.structs.replace(box, addresses=list(found)[:BOX_ADDRESSES_MAX]))
        facts = joining.Joining(site.identity.name, slot, host, boxes, of=self._store.replica.own)
        await trio.to_thread.run_sync(
            partial(joining.renew, self._folder, facts, site.identity.cert, site.identity.key)
        )
        self._outage.begin()
        self._restart()
