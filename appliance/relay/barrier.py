"""Whether everything has been seen that a site had for us at some moment. Pure; times are seconds of any
clock that does not go back.

A site puts a member's messages into each node's queue in the order in which it took the requests (TMTP
revision 1, section 4). So the box asks for something of which the site tells the member's nodes, this one
too, and which changes nothing: to have itself dropped from the list of those who hear of its presence. When
that *mark* is back, so is everything that came of requests before it, however much goes on coming. How
often the list names the member says which box asked, and when: ``number``.

It counts when it is durable that it came. While it is on its way this box sends no requests. Hence a mark
of an earlier link, which may still be in the queue, is as good as this one's for what this box has sent
itself; for what others have sent the numbers differ, of ``NUMBERS`` in a row.

A site that refuses the mark or shortens its list leaves us to guess. After a login it queues a `login`
message for all nodes of the member, this one too: when ours has come, so has everything before it. But
other nodes log in as well, and the messages do not say whose they are. So besides, the site, with nothing
left to acknowledge and all our octets confirmed, must have been silent for a moment; for longer while a
mark may yet come back.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

MARK_TYPE = "drop"
NUMBERS = 4
SLOTS = 16
MARK_S = 5.0
"""A mark that is to be on a link that is up for longer, and is not back by then, is given up."""

QUIET_S = 2.0
SILENT_S = 20.0
"""A site that says nothing for so long has nothing, whether or not it told of our login."""

BUSY_S = 60.0
"""Where something comes all the time: what was there at our login came long ago."""

UNHEARD_MAX = 5
"""A site that said nothing to so many marks in a row, but ended the links, does not like them: on the next
link it gets none.
"""

LOGINS_MAX = 8
SEEN_MAX = 64


class Barrier:
    """One for the life of a membership on this box; ``began`` for each link."""

    def __init__(self) -> None:
        self.on_reached: Callable[[], None] = lambda: None
        """Called when a mark is back for good."""
        self._turn = random.randrange(NUMBERS)
        self._number = 0
        self._mark = 0
        self._unheard = 0
        self._due = 0
        self._began = 0.0
        self._passing: float | None = None
        self._last = 0.0
        self._logins: deque[int] = deque(maxlen=SEEN_MAX)

    def began(self, now: float) -> None:
        """We have logged in."""
        self._number = self._mark = 0
        self._due = min(LOGINS_MAX, self._due + 1)
        self._began = self._last = now
        self._passing = None

    # marks

    def mark(self, slot: int) -> int:
        """How often the mark that is to be sent now, by the box with that slot, names the member; 0: send
        none.
        """
        if self._unheard >= UNHEARD_MAX:
            self._unheard = self._number = self._mark = 0
            return 0
        self._unheard += 1
        self._turn = (self._turn + 1) % NUMBERS
        self._number, self._mark = 2 + slot + SLOTS * self._turn, 0
        return self._number

    def heard(self) -> None:
        """The site has answered a mark."""
        self._unheard = 0

    def no_mark(self) -> None:
        """The site has refused it."""
        self._number = 0

    def mark_came(self, upid: int, number: int, alone: bool) -> None:
        """A mark of some box came, as message ``upid``. If the site has shortened the list, it may be any
        box's; where this one is ``alone`` it is ours.
        """
        if self._number and (number == self._number or (alone and number == 1)):
            self._mark = upid
        elif number == 1:
            self.no_mark()

    def stored(self, upid: int) -> None:
        """That a message came is durable."""
        if self._mark and upid == self._mark:
            self._number = self._mark = 0
            self.on_reached()

    # logins and silence

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
        """Whether everything has been seen that was there at our login. Ask only while nothing waits to be
        acknowledged or confirmed. ``quiet_s``: another moment than ``QUIET_S``.
        """
        quiet = now - self._last
        if self._passing is not None and now - self._passing >= BUSY_S:
            return True
        if self._passing is None or (self._number and quiet_s is None):
            return quiet >= SILENT_S
        return quiet >= (QUIET_S if quiet_s is None else quiet_s)
