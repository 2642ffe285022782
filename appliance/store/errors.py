"""What can go wrong with the store."""

from __future__ import annotations


class StoreError(Exception):
    """Base of the store's errors; the text says what to do."""


class DiskFull(StoreError):
    """There is no room. Nothing of the commit has happened; what was there is untouched."""


class StoreBroken(StoreError, OSError):
    """A read, write or sync failed. What is on the disk is only known after opening anew: stop and start
    again.
    """


class FileDamaged(StoreBroken):
    """An attachment cannot be read, or is not what it was. The rest works."""


class StoreDamaged(StoreBroken):
    """What is on the disk is not what was written: starting again does not help."""


class Unstorable(Exception):
    """What a commit was to write cannot be written; nothing of it has happened. Never leaves the room."""
