"""What can go wrong with updates. Each text is for the person who asked, or reads status."""

from __future__ import annotations


class UpdateError(Exception):
    """It cannot be done; the text says why, and what to do."""


class Untrusted(UpdateError):
    """It is not signed with the key that this box trusts, or is not what was signed."""


class NoSource(UpdateError):
    """Where an update is to come from cannot be reached, or has none. Trying again may help."""


class NoRoom(UpdateError):
    """It does not fit on the disk beside the reserve."""


class NotYourTurn(UpdateError):
    """Another box of the site is being updated, or cannot say that it is not."""


class Unmanaged(UpdateError):
    """This machine is not updated by the box."""
