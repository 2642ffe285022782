"""A store that runs, other boxes as their links tell of them, and a service with no clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio

from appliance.peering import ensure_box, ensure_identity
from appliance.peering.standing import Standing
from appliance.replication.neighbour import PeerStatus
from appliance.session.certificate import ensure_certificate
from appliance.site import Identity, Limits, add_box
from appliance.store import Store, StoreSettings
from appliance.store.journal import BoxKey

AWAY = PeerStatus("", "", "away", 0, 0, 0.0, "", None, 0.0, 0.0, "", None, None)


@dataclass
class Links:
    """Tells what the test wants."""

    known: dict[str, PeerStatus] = field(default_factory=dict)

    def peers(self) -> list[PeerStatus]:
        return list(self.known.values())

    def says(self, box: str, **what: Any) -> None:
        self.known[box] = replace(self.known.get(box, AWAY), box=box, **what)


class House:
    """``store`` is this box; ``links`` are to the others, which ``other`` adds."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.links = Links()
        self.standing = Standing(store, self.links)
        self.service: Any = SimpleNamespace(
            store=store, name="Home", place=SimpleNamespace(fingerprint="SHA256:" + "0af7" * 16)
        )

    async def other(self, name: str, *, in_sync: bool = True, slot: int | None = None) -> str:
        """Another box of the site, which has everything; its id."""
        key = new_key(self.folder / f"{name}.key")
        await self.store.perform(lambda scene: add_box(scene, key.box, key.public, name, slot))
        if in_sync:
            self.catches_up(key.box)
        return key.box

    @property
    def identity(self) -> Identity:
        assert self.store.site.identity is not None
        return self.store.site.identity

    def catches_up(self, box: str) -> None:
        """It says that it has all, from now on."""
        self.links.says(box, state="in sync")
        self.store.copies.reach(box, True)
        self.store.copies.confirmed(box, 1 << 40)

    def leaves(self, box: str) -> None:
        self.links.says(box, state="away")
        self.store.copies.reach(box, False)


def new_key(path: Path) -> BoxKey:
    return BoxKey.load_or_create(path)


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """A box with an identity, alone in its site."""
    store = Store.open(folder / "data", StoreSettings(second_copy_wait_s=0.05), Limits())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        await ensure_box(store, "own")
        cert, key = await trio.to_thread.run_sync(ensure_certificate, folder / "tls", "Home")
        await ensure_identity(store, "Home", cert, key, theirs=False)
        yield House(store, folder)
        store.close()
