"""Keeps a sender's messages in order, where what is in an earlier one has yet to come from another box.

A message that is absent holds back later ones of the same sender that go to one of its nodes: for ``WAIT_S``,
and while its file moves for ``MOVING_S`` in all. Then they overtake it. Only what comes while the box runs
is kept in order: what was absent before that may be so for long.

Bounds: ``BLOCKS_MAX`` absent messages, ``HELD_MAX`` held back; what is more is not kept in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec import structs

from appliance.site import RANK_NORMAL, Message
from appliance.site.facts import Sent
from appliance.store.queues import Absent

WAIT_S = 5.0
"""For a file that does not move, or not yet."""
PAUSE_S = 2.0
"""As long may a file that moves stand still."""
MOVING_S = 30.0
BLOCKS_MAX = 1000
HELD_MAX = 2000


@dataclass(slots=True)
class Block:
    """An absent message. ``until``: when it holds nobody back any more, unless it moves; ``end``: also if it
    does.
    """

    sender: int
    blob: bytes | None
    nodes: frozenset[int]
    until: float
    end: float


class Order:
    """``clock`` in seconds; ``absent``: the messages whose octets or files are not here."""

    def __init__(self, absent: Callable[[], dict[int, Absent]], clock: Callable[[], float]) -> None:
        self.held: dict[int, Message] = {}
        """What is held back, by id, without its octets."""
        self._absent = absent
        self._clock = clock
        self._blocks: dict[int, Block] = {}

    def begin(self, fact: Sent) -> None:
        """A message has come whose octets, or whose file, are not here."""
        if fact.rank == RANK_NORMAL and len(self._blocks) < BLOCKS_MAX:
            now = self._clock()
            nodes = frozenset(fact.nodes)
            self._blocks[fact.msgid] = Block(fact.sender, fact.blob, nodes, now + WAIT_S, now + MOVING_S)

    def moved(self, blob: bytes) -> None:
        """Some of a file has come."""
        until = self._clock() + PAUSE_S
        for block in self._blocks.values():
            if block.blob == blob:
                block.until = min(block.end, max(block.until, until))

    @property
    def left_s(self) -> float:
        """Seconds until somebody has been held back for long enough; infinite if nobody is."""
        if not self.held:
            return math.inf
        first = min((block.until for block in self._blocks.values()), default=0.0)
        return max(0.0, first - self._clock())

    def keep(self, messages: Sequence[Message]) -> list[Message]:
        """Those that may go out now; the others are held back."""
        if not self._blocks:
            return list(messages)
        self._look()
        go = []
        early: dict[int, set[int]] = {}
        for held in self.held.values():
            early.setdefault(held.sender, set()).update(held.nodes)
        for message in messages:
            if len(self.held) < HELD_MAX and self._has_to_wait(message, early):
                self.held[message.msgid] = structs.replace(message, head=b"", data=None)
            else:
                go.append(message)
        return go

    def release(self) -> list[Message]:
        """Those that need not be held back any more, without their octets, in order."""
        if not self.held:
            return []
        self._look()
        early: dict[int, set[int]] = {}
        free = [m for m in sorted(self.held) if not self._has_to_wait(self.held[m], early)]
        return [self.held.pop(msgid) for msgid in free]

    def _has_to_wait(self, message: Message, early: dict[int, set[int]]) -> bool:
        """Whether a message is held back by an absent one, or by one that is held back itself: it waits for
        all its nodes. ``early``: nodes of those, by sender; this one is added to them.
        """
        if message.rank != RANK_NORMAL:
            return False
        nodes = early.setdefault(message.sender, set())
        if not self._is_blocked(message) and nodes.isdisjoint(message.nodes):
            return False
        nodes.update(message.nodes)
        return True

    def _look(self) -> None:
        """See which messages are still absent, and wait to be."""
        now, absent = self._clock(), self._absent()
        for msgid, block in list(self._blocks.items()):
            if msgid not in absent or not absent[msgid].nodes or block.until <= now:
                del self._blocks[msgid]

    def _is_blocked(self, message: Message) -> bool:
        return any(
            msgid < message.msgid and block.sender == message.sender and _meet(message.nodes, block.nodes)
            for msgid, block in self._blocks.items()
        )


def _meet(nodes: Iterable[int], others: frozenset[int]) -> bool:
    return any(node in others for node in nodes)
