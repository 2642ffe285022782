"""What boxes send each other: entries, and with them the octets of the messages that they are about."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from appliance.store.errors import StoreError
from appliance.store.journal import Entry


class Octets(msgspec.Struct, array_like=True, frozen=True):
    """A message's frame head, and its data where they are not a file."""

    msgid: int
    head: bytes
    data: bytes | None


class Arrival(msgspec.Struct, array_like=True, frozen=True):
    """An entry with what travels with it. A message without octets was acknowledged by all, as far as the
    sender knows; or it is too large, and has to be asked for.
    """

    box: str
    seq: int
    clock: int
    kind: int
    prev: bytes
    body: bytes
    signature: bytes
    octets: tuple[Octets, ...] = ()

    @classmethod
    def of(cls, entry: Entry, octets: tuple[Octets, ...] = ()) -> Arrival:
        return cls(
            entry.box, entry.seq, entry.clock, entry.kind, entry.prev, entry.body, entry.signature, octets
        )

    @property
    def entry(self) -> Entry:
        return Entry(self.box, self.seq, self.clock, self.kind, self.prev, self.body, self.signature)

    @property
    def size(self) -> int:
        """About how many octets it is on the way."""
        return 200 + len(self.body) + sum(40 + len(o.head) + len(o.data or b"") for o in self.octets)


class Position(NamedTuple):
    """How far somebody has a box's journal: ``digest`` is that of the entry at ``seq``, empty at 0."""

    seq: int
    digest: bytes


Positions = dict[str, Position]
"""By box id."""


class Gap(StoreError):
    """Entries of box ``box`` that were asked for are not here any more: take a copy."""

    def __init__(self, box: str) -> None:
        super().__init__(f"entries of box {box} that would be needed are gone: a copy has to be taken")
        self.box = box


class BadEntries(StoreError):
    """What came from another box is forged, forked, out of order or malformed; nothing of it was taken."""
