"""What discovery is told when it starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

BOX_ID = re.compile(r"[0-9a-z]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverySettings:
    """What to announce, and where. Raises ``ValueError`` for what cannot be announced.

    ``site`` is what people read; ``host`` the label of the name that they may type (``host``.local, "":
    made from the site's name). With a ``site_id`` that name belongs to all boxes of the site, one of which
    holds it; each has one of its own beside it (home-k7d2m9qa.local). ``listen`` are the addresses that the
    box's sockets are bound to: only what leads to one of them is announced. ``interfaces`` names the network
    interfaces to use; empty: all that can multicast, but for those of containers and virtual machines.
    """

    site: str
    box_id: str
    """8 characters of 0-9 and a-z, the same over restarts. Of two boxes with one name the lower keeps it."""
    version: str
    port: int
    site_id: str = ""
    """8 characters of 0-9 and a-z, the same on all boxes of the site; "": a box that never had a peer."""
    host: str = ""
    listen: tuple[str, ...] = ("0.0.0.0", "::")
    interfaces: tuple[str, ...] = ()
    enabled: bool = True
    warn_after_s: float = 15.0
    """How long there may be no network before it is worth a warning: a Wi-Fi needs its time."""

    def __post_init__(self) -> None:
        if not BOX_ID.fullmatch(self.box_id):
            raise ValueError(f"{self.box_id!r} is no box id: 8 characters of 0-9 and a-z")
        if self.site_id and not BOX_ID.fullmatch(self.site_id):
            raise ValueError(f"{self.site_id!r} is no site id: 8 characters of 0-9 and a-z")
        if not 0 < self.port < 65536:
            raise ValueError(f"{self.port} is no port: 1 to 65535")
        for address in self.listen:
            ip_address(address.partition("%")[0])
