"""Which request of a membership's outbox goes out next. Pure: no I/O, no clock.

An item is *waiting*, then *in flight* (sent on this link and not answered), then *answered* (its outcome is
on its way to the disk), then gone. A link that ends takes what is in flight back to waiting, to be sent
again under the same id; what was answered stays so. An outcome may come from elsewhere, too: from another
box, or because the message came to us as to another device of the member.

Items go out in order. Of those that another box is to send, and of later ones of the same device, none goes
until that box is given up (``may_send``). While the flow is ``closed`` nothing goes at all: it has yet to
be seen what was sent before, or by others. One that is ``like`` another one, so that the message that comes
of the one could be taken for the other's, goes when that has its outcome.

Bound: the outbox, of which each item is some 300 octets here; ``pipeline`` in flight.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable

from appliance.store import Item


class Flow:
    def __init__(self, pipeline: int) -> None:
        self.pipeline = pipeline
        self.closed = True
        self.in_flight: dict[int, Item] = {}
        self.answered: dict[int, Item] = {}
        self.tried: set[int] = set()
        """Those that may have been sent: by this box in this life or before, or by others."""
        self._items: dict[int, Item] = {}
        self._waiting: list[int] = []
        self._absent: set[int] = set()
        self._like: dict[int, int] = {}

    def __len__(self) -> int:
        """Items without an outcome."""
        return len(self._items)

    def __contains__(self, msgid: int) -> bool:
        return msgid in self._items

    def add(self, item: Item, tried: bool) -> None:
        """An item of the outbox, unless it is known. ``tried``: it may have been sent already."""
        if item.msgid in self._items:
            return
        self._items[item.msgid] = item
        insort(self._waiting, item.msgid)
        if tried:
            self.tried.add(item.msgid)

    def next(self, may_send: Callable[[Item], bool]) -> Item | None:
        """What to send next; None if that is nothing now."""
        if self.closed or len(self.in_flight) >= self.pipeline:
            return None
        blocked: set[int] = set()
        for msgid in self._waiting:
            item = self._items[msgid]
            if item.node in blocked:
                continue
            if msgid not in self._absent and not self._is_like(msgid) and may_send(item):
                return item
            blocked.add(item.node)
        return None

    def before(self, msgid: int) -> list[Item]:
        """Those that wait and that were taken before that one."""
        return [self._items[m] for m in self._waiting[: bisect_left(self._waiting, msgid)]]

    def like(self, msgid: int, other: int) -> None:
        """It is to wait for that one's outcome."""
        self._like[msgid] = other

    def _is_like(self, msgid: int) -> bool:
        return self._like.get(msgid) in self._items

    def sent(self, msgid: int) -> None:
        """It is on its way from now on."""
        self._waiting.remove(msgid)
        self.in_flight[msgid] = self._items[msgid]
        self.tried.add(msgid)

    def absent(self, msgid: int) -> None:
        """Its octets are not here: it waits until somebody says ``here`` or ``present``."""
        self._absent.add(msgid)

    def present(self) -> None:
        """What was absent may be here now."""
        self._absent.clear()

    def here(self, msgid: int) -> None:
        """The octets of an item are here."""
        self._absent.discard(msgid)

    def answer(self, msgid: int) -> Item | None:
        """The site has answered; the item, or None if no answer is due."""
        item = self.in_flight.pop(msgid, None)
        if item is None and msgid in self._items and msgid not in self.answered:
            if msgid not in self.tried:
                return None
            self._waiting.remove(msgid)
            item = self._items[msgid]
        if item is not None:
            self.answered[msgid] = item
        return item

    def unrecorded(self, msgid: int) -> None:
        """The outcome could not be made durable: as if it had not come."""
        if self.answered.pop(msgid, None) is not None:
            insort(self._waiting, msgid)

    def settled(self, msgid: int) -> None:
        """Its outcome is on stable storage, whoever found it out."""
        if self._items.pop(msgid, None) is None:
            return
        if self.in_flight.pop(msgid, None) is None and self.answered.pop(msgid, None) is None:
            self._waiting.remove(msgid)
        self.tried.discard(msgid)
        self._absent.discard(msgid)
        self._like.pop(msgid, None)

    def broke(self) -> None:
        """The link is gone, and what was in flight is to be sent again."""
        self.closed = True
        for msgid in self.in_flight:
            insort(self._waiting, msgid)
        self.in_flight.clear()

    def slots(self) -> set[int]:
        """Of the boxes that took what waits."""
        return {msgid % 16 for msgid in self._waiting}

    @property
    def in_doubt(self) -> bool:
        """Whether there are items that may have been sent and that nobody has answered."""
        return any(msgid not in self.answered for msgid in self.tried & self._items.keys())

    def doubtful(self) -> Iterable[Item]:
        """Items that may have been sent and that nobody has answered to us, in order."""
        return [self._items[m] for m in sorted(self.tried & self._items.keys()) if m not in self.answered]
