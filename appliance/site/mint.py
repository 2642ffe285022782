"""Message ids: a hybrid clock (TMTP revision 1, section 1).

An id is the time in ns since the epoch, or a little more than the last id where that is higher: ids rise
over restarts and wrong clocks. The low four bits are the box's number in the site, so that two boxes never
mint the same id. With the floor in the database an id is never issued twice.
"""

from __future__ import annotations

BOXES = 16
"""How many boxes the low bits tell apart."""

NS_PER_MS = 1_000_000
_TOP = 1 << 63


class Mint:
    """Issues ids above ``floor``, for the box with number ``box`` (0 to 15)."""

    def __init__(self, floor: int, box: int) -> None:
        if not 0 <= box < BOXES:
            raise ValueError(f"box number {box} is not in 0 to {BOXES - 1}")
        self.box = box
        self.last = floor
        self.now_ns = 0

    def tick(self, now_ns: int) -> None:
        """Tell the time. A clock that went back changes nothing."""
        self.now_ns = now_ns

    def id(self) -> int:
        """The next id: above all ids before it, at or above the present time."""
        floor = self.last + 1 if self.last >= self.now_ns else self.now_ns
        msgid = floor - floor % BOXES + self.box
        if msgid < floor:
            msgid += BOXES
        if msgid >= _TOP:
            raise OverflowError("the ids are used up: the clock was set centuries ahead")
        self.last = msgid
        return msgid

    def number(self, taken: int) -> int:
        """A number for a new member or node, above ``taken``, that no other box gives out."""
        return (taken // BOXES + 1) * BOXES + self.box

    def saw(self, msgid: int) -> None:
        """Note an id that is in use already."""
        self.last = max(self.last, msgid)
