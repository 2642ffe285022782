"""Whether everything has been seen that a site had for us when we logged in. Pure; times are seconds of any
clock that does not go back.

After a login the site queues a `login` message for all nodes of the member, this one too (TMTP revision 1,
section 4): when ours has come, so has everything before it. But other nodes log in as well, and the messages
do not say whose they are. So one that has not been seen before is not enough: besides, the site, with nothing
left to acknowledge and all our octets confirmed, must have been silent for a moment.
"""

from __future__ import annotations

from collections import deque

QUIET_S = 2.0
SILENT_S = 20.0
"""A site that says nothing for so long has nothing, whether or not it told of our login."""

BUSY_S = 60.0
"""Where something comes all the time: what was there at our login came long ago."""

LOGINS_MAX = 8
SEEN_MAX = 64


class Barrier:
    """One for the life of a membership on this box; ``began`` for each link."""

    def __init__(self) -> None:
        self._due = 0
        self._began = 0.0
        self._passing: float | None = None
        self._last = 0.0
        self._logins: deque[int] = deque(maxlen=SEEN_MAX)

    def began(self, now: float) -> None:
        """We have logged in."""
        self._due = min(LOGINS_MAX, self._due + 1)
        self._began = self._last = now
        self._passing = None

    def came(self, now: float) -> None:
        """A message came, or was acknowledged."""
        self._last = now

    def login(self, now: float, upid: int, counts: bool = True) -> bool:
        """A `login` message came. Whether it tells of a login of ours, as far as one can say; not if it was
        seen before, or does not count.
        """
        if upid in self._logins:
            return False
        self._logins.append(upid)
        self._passing = now
        ours = counts and self._due > 0
        self._due -= ours
        return ours

    def passed(self, now: float, quiet_s: float | None = None) -> bool:
        """Whether everything has been seen. Ask only while nothing waits to be acknowledged or confirmed.
        ``quiet_s``: another moment than ``QUIET_S``.
        """
        quiet = now - self._last
        if self._passing is None:
            return quiet >= SILENT_S
        return quiet >= (QUIET_S if quiet_s is None else quiet_s) or now - self._passing >= BUSY_S
