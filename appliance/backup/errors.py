"""What can go wrong with backups. Each text is for the person who asked for it."""

from __future__ import annotations


class BackupError(Exception):
    """It cannot be done; the text says why, and what to do."""


class WrongKey(BackupError):
    """What was typed is no recovery key, or that of another backup."""


class Damaged(BackupError):
    """What is in a backup is not what was written."""


class StickError(BackupError):
    """The stick is full, cannot be written to or read, or is gone."""
