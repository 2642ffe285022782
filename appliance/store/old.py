"""The data of a box that becomes another one, while nothing runs on them: read, and left as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from appliance.site import Site
from appliance.store import accounts, reading
from appliance.store.arrivals import Arrival
from appliance.store.connection import connect, translated
from appliance.store.database import DATABASE_NAME
from appliance.store.replica import read_arrivals


class OldData:
    """Everything blocks. Raises ``StoreError``, ``SchemaError``. ``newer``: the tables may be of a newer
    version.
    """

    def __init__(self, folder: Path, newer: bool = False) -> None:
        self.blobs = folder / "blobs"
        with _readable():
            self._connection = connect(folder / DATABASE_NAME, newer)
            self._numbers = {box: n for n, (box, _) in reading.boxes(self._connection).items()}
            newest = reading.newest(self._connection)
        self.heads = {box: newest[n].seq for box, n in self._numbers.items() if n in newest}
        """How far each journal is here."""

    def digest_at(self, box: str, seq: int) -> bytes | None:
        """The digest of an entry; None if it is not here."""
        with _readable():
            entry = reading.entry_at(self._connection, self._numbers[box], seq)
        return entry.digest() if entry is not None else None

    def read(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]:
        """The next entries of the boxes in ``after``, beyond that seq, in the order of their clocks."""
        numbers = {self._numbers[box]: seq for box, seq in after.items() if seq < self.heads.get(box, 0)}
        with _readable():
            return read_arrivals(self._connection, numbers, max_octets, True) if numbers else []

    def site(self) -> Site:
        """The accounts as they are here."""
        site = Site()
        with _readable():
            for fact in accounts.read(self._connection):
                site.apply(fact)
        return site

    def close(self) -> None:
        self._connection.close()


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error) from error
