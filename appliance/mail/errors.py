"""What can go wrong with archives. Each text is for the person who asked: what is wrong, and what to do."""

from __future__ import annotations


class MailError(Exception):
    """It cannot be done; the text says why, and what to do."""


class SearchError(MailError, ValueError):
    """What is looked for cannot be understood."""


class ExportError(MailError):
    """An export cannot go on. What is there is whole; the same command goes on with it."""
