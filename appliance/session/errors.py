"""What can go wrong outside of this process."""

from __future__ import annotations


class LinkLost(Exception):
    """The connection broke, timed out or was reset."""


class Unavailable(Exception):
    """A key set cannot be had. The text completes "cannot get the keys of PROVIDER: "."""
