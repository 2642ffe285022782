"""What a link needs to know of the rest: who runs it, and what it deals in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from appliance.replication import events
from appliance.replication.interface import Arrival, Replica

if TYPE_CHECKING:
    from appliance.replication.link import Session


class Bell:
    """Somebody sleeps until somebody else rings. Rung while nobody sleeps, it is heard the next time."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = trio.Event()


class Judge(Protocol):
    """Knows whether what the other side has and says fits to what is here."""

    async def shown(self, shown: events.Shown) -> None:
        """Somebody shows entries and goes. Raises ``Refusal``."""

    async def judge(self, session: Session, state: events.PeerState) -> None:
        """Whether what the other side has fits to what is here. Raises ``Refusal``."""

    async def look_at_own(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        """There are entries of this box's own among these. Raises ``Refusal``, ``BadEntries``."""

    async def sift(self, session: Session, arrivals: list[Arrival]) -> list[Arrival]:
        """Those of the entries that are to be absorbed. Raises ``Refusal``."""


class Host(Protocol):
    """Who runs the link, and knows what it is for."""

    @property
    def histories(self) -> Judge:
        """Who judges what comes on it."""

    def public_of(self, session: Session) -> bytes:
        """The key of the box that calls. Raises ``Refusal``."""

    def join(self, session: Session) -> None:
        """The other side has proven who it is. Raises ``Refusal``."""

    def opened(self, session: Session) -> None:
        """Both know where the other stands."""

    def absorbed(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        """These are on stable storage here."""

    def have(self, session: Session, have: events.Have) -> None:
        """The other side has these on stable storage. Raises ``Refusal``."""

    def heard(self, session: Session, event: events.Event) -> None:
        """Something that is not the link's own business: a gap, a chunk, something told, and so on."""

    def moved(self, session: Session) -> None:
        """Some of a blob is on its way to the other side."""


@dataclass(frozen=True)
class Shop:
    """What a link has to do with what is stored here. ``read``: what the other side gets from; None if it
    gets nothing. ``takes``: whether it may send. ``read_blob``: octets of a blob (hash, offset, octets), None
    if it is not here. ``program``: what runs here, for people.
    """

    replica: Replica
    read: Callable[[Mapping[str, int], int], Awaitable[list[Arrival]]] | None
    takes: bool
    read_blob: Callable[[bytes, int, int], Awaitable[bytes | None]]
    complete: Callable[[], bool]
    program: str
