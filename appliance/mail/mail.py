"""The archives of a box's members, for who asks: what is in them, what is found, what is exported.

A member sees what is in the archives of their own memberships, and of this site if they have it kept; what
others have nobody is shown. All results are JSON. Members and memberships go by their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from appliance import wire
from appliance.log import get_logger
from appliance.mail import pages
from appliance.mail.budget import Budget
from appliance.mail.errors import MailError, SearchError
from appliance.mail.index import Hit, Index, Order
from appliance.mail.indexer import Indexer
from appliance.mail.places import Place, places
from appliance.mail.query import Query, parse
from appliance.mail.settings import MailSettings
from appliance.mail.shelf import Shelf
from appliance.mail.snippets import snippet
from appliance.site.relaying import set_archive
from appliance.store import Store, StoreError

FRESH_S: Final = 1.0
"""How long a search waits for the index to have what came last."""
FOUND_MAX: Final = 200
"""Messages on a page."""

log = get_logger(__name__)


class Mail:
    """``run`` it in a task. ``folder`` is the box's data folder, ``leads`` says whether this box keeps to the
    budget for all boxes; ``warn`` is told what is wrong, or None.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        settings: MailSettings,
        warn: Callable[[str | None], None],
        leads: Callable[[], bool],
    ) -> None:
        self._store = store
        self._shelf = Shelf(folder, store.key.box)
        self._indexer = Indexer(store, self._shelf, settings, warn)
        self._budget = Budget(store, self._shelf, settings, self._indexer, leads)

    async def run(self) -> None:
        """Until cancelled, or until the store has ended."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._indexer.run)
                nursery.start_soon(self._budget.run)
        except* StoreError as group:
            log.info("the archives are no longer followed", reason=str(group.exceptions[0]))
        finally:
            await self._shelf.close()

    # what members ask

    async def search(
        self,
        member: int,
        text: str,
        *,
        order: Order = "newest",
        after: str = "",
        limit: int = 20,
        membership: int | None = None,
    ) -> dict[str, Any]:
        """Messages that ``text`` asks for (query.py): ``found``, at most ``limit``, and ``next``, to be
        given as ``after`` for more, empty at the end. ``order``: the newest first, or the best.
        ``indexed``: whether everything there is was looked through. Raises ``SearchError`` for what is no
        question, ``MailError``.
        """
        if order not in ("newest", "best"):
            raise SearchError("the order is newest or best")
        query = parse(text)
        here = places(self._store.site, member, membership)
        nodes = [place.node for place in here]
        await self._indexer.catch_up(nodes, FRESH_S)
        limit = max(1, min(limit, FOUND_MAX))
        found = await self._shelf.use(look_up, self._shelf.index, query, here, order, after, limit)
        return {**found, "indexed": not self._indexer.is_behind(nodes)}

    async def show(self, member: int, message: str) -> dict[str, Any]:
        """A message by its id, here or at its site (16 hex digits), as a record of an export. Raises
        ``MailError`` if none of the member's archives has it.
        """
        number = wire.parse_id(message.strip().lower())
        here = {place.node: place for place in places(self._store.site, member)}
        if number is None or number >= 1 << 63:
            raise MailError(
                f"{message!r} is no id of a message: it has 16 hex digits, as the search shows it"
            )
        await self._indexer.catch_up(list(here), FRESH_S)
        at = await self._shelf.use(self._shelf.index.of, list(here), number)
        found = await self._store.messages([at[1]]) if at is not None else []
        if at is None or not found:
            raise MailError("none of the member's archives has this message")
        return await pages.record(self._store, here[at[0]], found[0])

    async def page(
        self, member: int, after: pages.Marks, membership: int | None = None, limit: int = pages.PAGE_MESSAGES
    ) -> dict[str, Any]:
        """For an export: as ``pages.page``."""
        return await pages.page(
            self._store, member, after, membership, max(1, min(limit, pages.PAGE_MESSAGES))
        )

    async def piece(self, member: int, node: int, message: str, offset: int, octets: int) -> dict[str, Any]:
        """For an export: as ``pages.piece``; ``message`` is the ``msgid`` of a record."""
        number = wire.parse_id(message)
        if number is None or not 0 < number < 1 << 63:
            raise MailError(f"{message!r} is no id of a message")
        return await pages.piece(self._store, member, node, number, offset, octets)

    async def keep(self, member: int, on: bool) -> dict[str, Any]:
        """Keep what goes through the member's devices of this site, from now on, or let go of all that is
        kept of it; ``state`` says before how much that is. Returns the state then.
        """
        decision = await self._store.perform(lambda scene: set_archive(scene, member, on))
        if decision.error is not None:
            raise MailError(decision.error)
        return await self.state(member)

    async def state(self, member: int) -> dict[str, Any]:
        """What is kept of a member, for how long back, and how much it may be; sizes in octets."""
        archives = [await self._archive(place) for place in places(self._store.site, member)]
        own = [archive for archive in archives if not archive["membership"]]
        return {
            "kept": bool(own),
            "messages": sum(archive["messages"] for archive in archives),
            "octets": sum(archive["octets"] for archive in archives),
            "oldest": min((a["oldest"] for a in archives if a["oldest"]), default=""),
            "used": self._budget.used(member),
            "budget": self._budget.limit(),
            "indexed": sum(archive["indexed"] for archive in archives),
            "archives": archives,
            "trouble": self._indexer.trouble,
        }

    async def _archive(self, place: Place) -> dict[str, Any]:
        index = self._shelf.index
        count, octets = self._indexer.size(place.node)
        try:
            oldest_ms = await self._shelf.use(index.oldest_ms, [place.node])
            indexed = await self._shelf.use(index.count, place.node)
        except MailError:
            oldest_ms = indexed = 0
        return {
            "name": place.name,
            "membership": place.membership,
            "messages": count,
            "octets": octets,
            "oldest": wire.format_posted(oldest_ms) if oldest_ms else "",
            "indexed": indexed,
        }


def look_up(
    index: Index, query: Query, here: Sequence[Place], order: Order, after: str, limit: int
) -> dict[str, Any]:
    """A page of what is found in these archives. Blocks."""
    by_node = {place.node: place for place in here}
    hits = index.search(query, list(by_node), order, after, limit + 1)
    return {
        "found": [_shown(hit, by_node[hit.node], query.words) for hit in hits[:limit]],
        "next": hits[limit - 1].place if len(hits) > limit else "",
    }


def _shown(hit: Hit, place: Place, words: list[tuple[str, bool]]) -> dict[str, Any]:
    text, marks = snippet(hit.text, words)
    return {
        "msgid": wire.format_id(hit.msgid),
        "id": wire.format_id(hit.upid) if hit.upid else "",
        "archive": place.name,
        "membership": place.membership,
        "posted": wire.format_posted(hit.posted_ms) if hit.posted_ms else "",
        "op": hit.op,
        "from": hit.uid,
        "alias": hit.alias,
        "subject": hit.subject,
        "thread": hit.thread,
        "size": hit.size,
        "attachments": hit.files,
        "snippet": text,
        "marks": marks,
    }
