"""What can go wrong between two boxes. Each text is for whoever looks after them."""

from __future__ import annotations

from enum import StrEnum

from appliance.replication.interface import Arrival


class Code(StrEnum):
    """Why a link is ended, as the last frame says it."""

    BAD_FRAME = "bad frame"
    BAD_ENTRIES = "bad entries"
    VERSION = "version"
    UNKNOWN = "unknown box"
    REVOKED = "revoked"
    PROOF = "bad proof"
    OTHER_LINK = "other link"
    FORKED = "forked"
    INCOMPLETE = "incomplete"
    STOPPING = "stopping"
    NOT_NOW = "not now"


class PeerError(Exception):
    """The link to a peer cannot go on. ``code`` is what to tell it."""

    code = Code.BAD_FRAME


class BadFrame(PeerError):
    """What the other side sent breaks the protocol."""


class Impostor(PeerError):
    """Whoever answered or called is not the box that it should be."""

    code = Code.PROOF


class Refused(PeerError):
    """The other side ended the link. ``said`` is its code, the text its own, made printable."""

    def __init__(self, said: str, text: str) -> None:
        super().__init__(text)
        self.said = said


class Refusal(PeerError):
    """We end the link, and say why. ``evidence``: an entry that shows it."""

    def __init__(self, code: Code, text: str, evidence: Arrival | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.evidence = evidence


class Unreachable(Exception):
    """None of a box's addresses answered as a box of the site."""
