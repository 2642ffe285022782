"""Whether everything has been seen that a site had for us when we logged in. Pure; times are seconds of any
clock that does not go back.

After a login the site queues a `login` message for all nodes of the member, this one too (TMTP revision 1,
section 4): when ours has come, so has everything before it. But other nodes log in as well, and the messages
do not say whose they are. So it is not enough to have as many as we made logins: besides, the site, with
nothing left to acknowledge and all our octets confirmed, must have been silent for a moment.
"""

from __future__ import annotations

QUIET_S = 2.0
SILENT_S = 20.0
"""A site that says nothing for so long has nothing, whether or not it told of our login."""

BUSY_S = 60.0
"""Where something comes all the time: what was there at our login came long ago."""

LOGINS_MAX = 8


class Barrier:
    """One for the life of a membership on this box; ``began`` for each link."""

    def __init__(self) -> None:
        self._due = 0
        self._began = 0.0
        self._seen: float | None = None
        self._last = 0.0

    def began(self, now: float) -> None:
        """We have logged in."""
        self._due = min(LOGINS_MAX, self._due + 1)
        self._began = self._last = now
        self._seen = None

    def came(self, now: float) -> None:
        """A message came, or was acknowledged."""
        self._last = now

    def login(self, now: float) -> bool:
        """A `login` message came. Whether it tells of a login of ours, as far as one can say."""
        ours = self._due > 0
        if ours:
            self._due -= 1
            if not self._due:
                self._seen = now
        return ours

    def passed(self, now: float, quiet_s: float = QUIET_S) -> bool:
        """Whether everything has been seen. Ask only while nothing waits to be acknowledged or confirmed."""
        quiet = now - self._last
        if self._seen is None:
            return quiet >= SILENT_S
        return quiet >= quiet_s or now - self._seen >= BUSY_S
