"""What ends a link to another site. The texts are for the person: what is wrong, and what to do."""

from __future__ import annotations


class RelayError(Exception):
    """Anything that this room raises."""


class UpstreamLost(RelayError):
    """The site cannot be reached, or the link to it has ended. Tried again by itself."""


class UpstreamBroke(RelayError):
    """The site said what TMTP does not allow. Tried again by itself, less often."""


class UpstreamBusy(RelayError):
    """The site takes this box for logged in: its last link ended without the site having noticed."""


class LoginRefused(RelayError):
    """The site does not let this box in."""


class CertificateChanged(RelayError):
    """Not the certificate that was there at first. ``offered`` is the new one's SHA-256 in hex digits."""

    def __init__(self, text: str, offered: str) -> None:
        super().__init__(text)
        self.offered = offered


class NoRoom(RelayError):
    """What the site has for us does not fit on the disk, or in what the member may use of it."""


class EnrolmentFailed(RelayError):
    """No account was made or taken over."""
