"""One node's messages on their way to its link.

A courier holds ids only; the truth is the queue in the store. ``push`` is a hint that something new is
there. Where hints have been dropped (``_behind``) the next ids are read from the store, until a read found
the end of the queue and nothing was pushed meanwhile: what the store kept back then (it waits for a second
copy, or for its octets) is pushed when its time comes. A message stays *in
flight* from when it is taken until the node acknowledges it; after ``resend_after_s`` without, it is taken
again, in order.

Bounds per courier: ``window_messages`` and ``window_octets`` in flight, ``HINTS_MAX`` hints: some 100 KiB
of memory. A message larger than the window is in flight beside it, one at a time: the others need not wait
for its acknowledgement.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import trio

from appliance.site import RANK_USER, Message
from appliance.store import Store

HINTS_MAX = 1024
READ_SHARE = 4
TAKE_OCTETS = 256 << 10
"""About what one ``take`` returns at most, beside the data of large messages, which are files."""


@dataclass(frozen=True, slots=True)
class CourierSettings:
    window_messages: int = 64
    window_octets: int = 4 << 20
    resend_after_s: float = 30.0


@dataclass(slots=True)
class Flight:
    """A message that was taken. ``charge`` is what it takes of the window: nothing if it is larger than that.
    ``expires`` is in trio's time: infinite until it has been sent.
    """

    charge: int
    expires: float


class Courier:
    """``wake`` is called, from within the trio run, when there may be something to ``take``.

    While ``take`` waits for the store (``_reading``) the node may acknowledge what is being read, if it knows
    the message from an earlier link, or from another box: ``_meanwhile`` has those ids, so that nothing is
    sent after its ack. ``_pushed``: something was pushed since the last read began. ``_overtaken``: a `user`
    message came while hints were dropped, and goes ahead of those that were not.
    """

    def __init__(self, node: int, store: Store, settings: CourierSettings, wake: Callable[[], None]) -> None:
        self.node = node
        self.delivered = 0
        self.resent = 0
        self._store = store
        self._settings = settings
        self._wake = wake
        self._urgent: deque[int] = deque()
        self._hints: deque[int] = deque()
        self._behind = True
        self._flights: dict[int, Flight] = {}
        self._charged = 0
        self._oversize: int | None = None
        self._overtaken = False
        self._pushed = False
        self._reading = False
        self._meanwhile: set[int] = set()

    def push(self, msgid: int, rank: int) -> None:
        """A message is in the queue and on stable storage. It may be known: then it was absent meanwhile."""
        hints = self._urgent if rank == RANK_USER else self._hints
        if msgid in self._flights or (hints and msgid <= hints[-1] and msgid in hints):
            return
        if self._behind:
            self._pushed = True
            self._overtaken = self._overtaken or rank == RANK_USER
        else:
            hints.append(msgid)
            self._behind = len(self._hints) + len(self._urgent) > HINTS_MAX
        if self._open():
            self._wake()

    def ack(self, msgid: int) -> None:
        """The node has the message, from here or elsewhere. An id that is not in its queue is ignored."""
        if msgid in self._flights:
            self._land(msgid)
            if self._hints or self._urgent or (self._behind and self._worth_reading()):
                self._wake()
            self.delivered += 1
            self._store.ack(self.node, msgid)
            return
        if self._reading:
            self._meanwhile.add(msgid)
        for hints in (self._urgent, self._hints):
            if msgid in hints:
                hints.remove(msgid)
        known = self._store.awaits(self.node, msgid)
        self.delivered += known
        self._store.ack(self.node, msgid, known)

    def drop(self, msgid: int) -> None:
        """A message that was taken cannot be sent: the store has it no more, and pushes it if it is back."""
        if msgid in self._flights:
            self._land(msgid)

    async def take(self) -> list[Message]:
        """The messages to send next, by rank and rising id; empty if there are none, or the window is full.

        Cancelled or failed, some may be in flight without having been sent: the link is then at its end
        anyway.
        """
        while True:
            self._reading = True
            self._meanwhile.clear()
            if again := self._expired():
                messages = await self._store.messages(again)
                launched, blocked = self._launch_again(again, messages), False
            elif not self._open():
                break
            elif hints := self._next_ids():
                ids, urgent = hints
                messages = await self._store.messages(ids)
                launched, blocked = self._launch(ids, urgent, messages)
            elif self._behind and self._worth_reading():
                self._pushed = False
                messages, more = await self._store.pending(self.node, set(self._flights), self._room())
                urgent = sum(message.rank == RANK_USER for message in messages)
                launched, blocked = self._launch([message.msgid for message in messages], urgent, messages)
                self._behind = more or self._pushed
                if not messages:
                    break
            else:
                break
            if launched or blocked:
                self._reading = False
                return launched
        self._reading = False
        return []

    def sent(self, messages: list[Message]) -> None:
        """They are on their way: from now on they may expire."""
        expires = trio.current_time() + self._settings.resend_after_s
        for message in messages:
            flight = self._flights.get(message.msgid)
            if flight is not None:
                flight.expires = expires

    def postpone(self) -> None:
        """The link is slow: what was sent has not reached the other side yet, so nothing can have expired."""
        expires = trio.current_time() + self._settings.resend_after_s
        for flight in self._flights.values():
            if flight.expires != math.inf:
                flight.expires = expires

    @property
    def next_expiry(self) -> float:
        """When something is to be sent again, in trio's time; infinite if nothing is in flight."""
        for flight in self._flights.values():
            return flight.expires
        return math.inf

    def _open(self) -> bool:
        return (
            len(self._flights) < self._settings.window_messages
            and self._charged < self._settings.window_octets
        )

    def _expired(self) -> list[int]:
        now = trio.current_time()
        return (
            [msgid for msgid, flight in self._flights.items() if flight.expires <= now]
            if self.next_expiry <= now
            else []
        )

    def _room(self) -> int:
        return self._settings.window_messages - len(self._flights)

    def _worth_reading(self) -> bool:
        """A read from the store costs as much as some messages: not for every free place in the window."""
        return self._room() * READ_SHARE >= self._settings.window_messages

    def _next_ids(self) -> tuple[list[int], int] | None:
        """The next hints, and how many of them are of `user` messages; None if there are none."""
        if self._overtaken:
            self._overtaken, self._behind = False, True
            self._hints.clear()
            self._urgent.clear()
        room = self._room()
        ids: list[int] = []
        while self._urgent and len(ids) < room:
            ids.append(self._urgent.popleft())
        urgent = len(ids)
        while self._hints and len(ids) < room:
            ids.append(self._hints.popleft())
        return (ids, urgent) if ids else None

    def _launch(self, ids: list[int], urgent: int, messages: list[Message]) -> tuple[list[Message], bool]:
        """Put into flight what the window takes of ``messages``: those of the first ``ids`` (the ``urgent``
        first of them are of `user` messages) that the store still has. The rest goes back to where it was.
        Returns also whether the window did not take the next.
        """
        octets = 0
        launched: list[Message] = []
        blocked = False
        rest = deque(ids if messages else ())
        for message in messages:
            needless = message.msgid in self._meanwhile or message.msgid in self._flights
            if not needless and (octets >= TAKE_OCTETS or not self._fits(message)):
                blocked = True
                break
            while rest.popleft() != message.msgid:
                pass
            if needless:
                continue
            charge = message.octets
            if charge > self._settings.window_octets:
                self._oversize, charge = message.msgid, 0
            self._flights[message.msgid] = Flight(charge, math.inf)
            self._charged += charge
            octets += _octets_in_memory(message)
            launched.append(message)
        first = {*ids[:urgent]}
        for msgid in reversed(rest):
            if msgid not in self._meanwhile:
                (self._urgent if msgid in first else self._hints).appendleft(msgid)
        return launched, blocked

    def _launch_again(self, ids: list[int], messages: list[Message]) -> list[Message]:
        """Those of ``messages`` that were not acknowledged meanwhile, at the end of the flights. What the
        store has no more is forgotten: it would be read again and again.
        """
        there = {message.msgid for message in messages}
        for msgid in ids[: ids.index(messages[-1].msgid)] if messages else ids:
            if msgid not in there and msgid in self._flights:
                self._land(msgid)
        octets = 0
        launched: list[Message] = []
        for message in messages:
            flight = self._flights.pop(message.msgid, None)
            if flight is None:
                continue
            flight.expires = math.inf
            self._flights[message.msgid] = flight
            launched.append(message)
            octets += _octets_in_memory(message)
            if octets >= TAKE_OCTETS:
                break
        self.resent += len(launched)
        return launched

    def _land(self, msgid: int) -> None:
        """No longer in flight."""
        self._charged -= self._flights.pop(msgid).charge
        if msgid == self._oversize:
            self._oversize = None

    def _fits(self, message: Message) -> bool:
        window = self._settings.window_octets
        if message.octets > window:
            return self._oversize is None
        return self._charged + message.octets <= window


def _octets_in_memory(message: Message) -> int:
    return len(message.head) + (message.size if message.data is not None else 0)
