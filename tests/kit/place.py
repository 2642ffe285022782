"""What a client has to know of whom it talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .client import Client
    from .line import Line


class Place(Protocol):
    """A box, a site of another make, or a membership at such a site as a box keeps it."""

    @property
    def name(self) -> str:
        """The site's, as its tmtprev answer says."""

    @property
    def address(self) -> tuple[str, int]: ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate: hex digits, lower case."""

    @property
    def lines(self) -> set[Line]:
        """Connections that were made to it."""

    @property
    def prompter_uid(self) -> str: ...

    def prompter(self) -> Client:
        """A member that nobody knows; see people.py."""
