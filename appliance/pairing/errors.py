"""What can go wrong in a pairing. Each text is for the person who pairs."""

from __future__ import annotations


class PairingError(Exception):
    """The pairing has failed."""


class BadCode(PairingError):
    """What was typed cannot be a code; no guess was made."""


class BadFrame(PairingError):
    """The other side does not speak this protocol, or what it sent was changed on the way."""


class Impostor(PairingError):
    """The other side does not have the code, or sees another certificate than we do."""


class Refused(PairingError):
    """The host said no; the text is its own, made printable."""
