"""What replication sees of the rest of the box."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from appliance.store.errors import StoreError


class Octets(Struct, array_like=True, frozen=True):
    """A message, octet for octet: the frame head, and its data unless that is a blob."""

    msgid: int
    head: bytes
    data: bytes | None


class Arrival(Struct, array_like=True, frozen=True):
    """An entry with what travels with it."""

    box: str
    seq: int
    clock: int
    kind: int
    prev: bytes
    body: bytes
    signature: bytes
    octets: tuple[Octets, ...] = ()


class Position(NamedTuple):
    """How far into a box's journal, and the digest (32 octets) of the entry there; none where seq is 0."""

    seq: int
    digest: bytes


class BoxState(Protocol):
    """What the site knows of a box. ``cut``: its entries above are refused; None while it is in force."""

    @property
    def public(self) -> bytes: ...
    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    @property
    def cut(self) -> int | None: ...


class Replica(Protocol):
    """The journals of all boxes, as this one has them."""

    on_entries: list[Callable[[Sequence[Arrival]], None]]

    @property
    def own(self) -> str: ...
    @property
    def clock(self) -> int: ...
    def positions(self) -> Mapping[str, Position]: ...
    async def digest_at(self, box: str, seq: int) -> bytes | None: ...
    async def read(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]: ...
    async def read_all(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]: ...
    async def absorb(self, arrivals: Sequence[Arrival], source: str) -> None: ...
    def absent_blobs(self) -> Mapping[bytes, int]: ...
    def absent_messages(self) -> Sequence[int]: ...
    async def give_octets(self, given: Sequence[Octets]) -> None: ...
    async def octets(self, msgids: Sequence[int]) -> list[Octets]: ...
    async def blob_here(self, sha: bytes) -> None: ...
    def saw_clock(self, clock: int) -> None: ...


class Copies(Protocol):
    """Who has on stable storage what this box acknowledged."""

    def reach(self, box: str, up: bool) -> None: ...
    def confirmed(self, box: str, seq: int) -> None: ...
    def blob_confirmed(self, box: str, sha: bytes) -> None: ...
    def progress(self, box: str) -> None: ...


class Gap(StoreError):
    """Entries that were asked for have been cut."""

    def __init__(self, box: str) -> None:
        super().__init__(f"entries of box {box} have been cut")
        self.box = box


class BadEntries(StoreError):
    """Entries that are forged, forked, out of order or malformed: nothing of the batch was taken."""
