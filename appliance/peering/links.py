"""What this room sees of the links to the other boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from appliance.replication.neighbour import PeerStatus


class Links(Protocol):
    """The links to all other boxes."""

    def peers(self) -> Sequence[PeerStatus]:
        """How they are; those that never were looked for may be missing."""
