"""What a session has to do with the other boxes of the site."""

from __future__ import annotations

from typing import Protocol

from appliance.pairing import BoxCard, BoxGift


class Household(Protocol):
    """The boxes of the site, as far as another one that wants to join has to do with them."""

    def gift(self, card: BoxCard) -> BoxGift:
        """What this new box needs. Raises ``NotNow`` if there can be none now; the text says what to do."""

    async def admit(self, card: BoxCard) -> int:
        """Make a box one of the site: its slot, when all boxes in reach have that on stable storage. Raises
        ``NotNow``. Cancelled, it may be one or not.
        """
