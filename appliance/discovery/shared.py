"""The site's name as the rest of the box sees it."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.discovery.keeper import Willing

VOUCH_S = 3.0
"""A box whose loop has not vouched for itself for so long does not serve, and does not hold the name."""


class SiteName:
    """The name that all boxes of a site share, such as home.local: one of them holds it at a time.

    May be read and told from any thread.
    """

    def __init__(self) -> None:
        self.name = ""
        """home.local; "" until it is known."""
        self.holder: str | None = None
        """The id of the box that holds it, as far as we have heard; None: nobody of our site does."""
        self.held = False
        """This box holds it."""
        self.ready = True
        """Whether this box may hold it. False: it leaves it to the others, at once and until told otherwise,
        as while it is joining a site. A box that is not serving does not hold it in any case."""
        self._pause_until = float("-inf")
        self._vouched_at = float("-inf")
        self._willing = Willing.NO
        self._changed: Callable[[], None] = _nothing

    def pause(self, seconds: float) -> None:
        """Say goodbye now and do not hold the name for so long; 0 ends that. Another box takes it at once,
        and keeps it. The box that paused takes it again if nobody has.
        """
        self._pause_until = time.monotonic() + seconds
        self._changed()

    def vouch(self, willing: Willing) -> None:
        """Discovery's own: the box lives, and would hold the name or not."""
        willing = willing if self.ready else Willing.NO
        late = time.monotonic() - self._vouched_at > VOUCH_S
        self._vouched_at = time.monotonic()
        if willing is not self._willing or late:
            self._willing = willing
            self._changed()

    def willing(self, now: float) -> Willing:
        """Discovery's own: whether the box would hold the name at this time (monotonic)."""
        if now < self._pause_until or now - self._vouched_at > VOUCH_S:
            return Willing.NO
        return self._willing

    def when_changed(self, changed: Callable[[], None] | None) -> None:
        """Discovery's own: whom to call, on any thread, when it is time to look."""
        self._changed = changed or _nothing

    def told(self, holder: str | None, held: bool) -> None:
        """Discovery's own: who holds it now."""
        self.holder, self.held = holder, held

    def alone(self, name: str, holder: str | None) -> None:
        """Discovery's own: the name is the box's only one, and it has it, or others have."""
        self.name, self.holder, self.held = name.rstrip("."), holder, holder is not None


def _nothing() -> None:
    """Nobody listens."""
