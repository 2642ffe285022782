"""Updates, put together for `app`: who does them, what a version has to prove, and the words about them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.boxes import Others
from appliance.config import Config
from appliance.control.updates import UpdateWords
from appliance.control.words import Words
from appliance.health import Health
from appliance.peering import Peering
from appliance.session import Service
from appliance.updating.gathering import Gatherer
from appliance.updating.handing import BEFORE, Handing
from appliance.updating.notes import Before, Place
from appliance.updating.peers import NotGiven, Peers, Take
from appliance.updating.proof import Proof, answers, has_network, own_address, stores
from appliance.updating.system import System
from appliance.updating.trial import Trial
from appliance.updating.turning import Turning
from appliance.updating.updater import Settings, Updater

if TYPE_CHECKING:
    from appliance.replication.hub import Hub
    from appliance.replication.link import Session


class Boxes:
    """The other boxes of the site, as updates see them."""

    def __init__(self, others: Others, peering: Peering) -> None:
        self._others = others
        self._standing = peering.standing
        self._given: dict[bytes, Path] = {}
        others.on_made.append(self._made)

    def _made(self, hub: Hub) -> None:
        hub.files.given = self._given

    @property
    def own(self) -> str:
        return self._standing.own

    def counting(self) -> list[str]:
        return [box.box for box in self._standing.others]

    def linked(self) -> list[str]:
        return [box for box in self.counting() if self._session(box) is not None]

    def in_sync(self, box: str) -> bool:
        known = self._standing.known.get(box)
        return known is not None and self._standing.state(known) == "in sync"

    def name(self, box: str) -> str:
        known = self._standing.known.get(box)
        return known.name if known is not None else box

    def tell(self, box: str, topic: str, payload: bytes) -> None:
        if (session := self._session(box)) is not None:
            session.tell(topic, payload)

    def give(self, files: dict[bytes, Path]) -> None:
        self._given = files
        if self._others.hub is not None:
            self._made(self._others.hub)

    async def fetch(self, box: str, sha: bytes, offset: int, size: int, take: Take) -> None:
        from appliance.replication.files import NotGiven as NotThere

        hub, session = self._others.hub, self._session(box)
        if hub is None or session is None:
            raise NotGiven("it is not in reach")
        try:
            await hub.files.fetch(session, sha, offset, size, take)
        except NotThere as error:
            raise NotGiven(str(error)) from None

    def _session(self, box: str) -> Session | None:
        return self._others.hub.session(box) if self._others.hub is not None else None


def make_updater(
    config: Config,
    service: Service,
    health: Health,
    peering: Peering,
    others: Others,
    words: Words,
    sockets: Sequence[socket.socket],
    system: System | None = None,
) -> Updater:
    """Who updates this box. It has to be run; until it has proven that this version works, clients may have
    to wait.
    """
    system = system or System()
    store, settings = service.store, config.updates
    place, boxes = Place(config.data), Boxes(others, peering)
    peers, turning = Peers(boxes), Turning(place, boxes)

    def made(hub: Hub) -> None:
        hub.on_tell += [turning.heard, peers.heard]
        hub.on_link.append(turning.met)

    others.on_made.append(made)
    address = sockets[0].getsockname()[:2]
    checks = [
        answers(lambda: own_address(address), lambda: service.place.fingerprint),
        stores(store, config.data),
    ]
    proof = Proof(checks, boxes, place.read(BEFORE, Before), has_network)
    trial = Trial(system, config.data, proof, health)
    service.held = lambda: trial.held
    store.upkeep.undo = trial.heads

    def room() -> int:
        now = store.disk.room()
        return now.free - now.needed

    handing = Handing(system, place, peers, turning, trial, boxes, has_network, room)
    search = tuple(map(Path, config.backup.search))
    gatherer = Gatherer(settings.url, search, system.key, peers)
    how = Settings(settings.automatic, settings.at, settings.jitter_s, room)
    updater = Updater(how, system, place, gatherer, handing, peers, turning, trial, boxes, health)
    words.add(UpdateWords(updater).handlers)
    words.figures.append(updater.figures)
    return updater
