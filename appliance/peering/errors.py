"""What can go wrong between boxes. Each text is for the person who asked for it."""

from __future__ import annotations


class PeeringError(Exception):
    """It cannot be done; the text says why, and what to do."""


class NotLetIn(PeeringError):
    """The other box said no: this one is none of its site."""
