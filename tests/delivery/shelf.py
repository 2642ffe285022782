"""A node's queue as the store shows it to a courier, without a disk: what is awaited, and for how long, is
the test's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import trio
import trio.testing

from appliance.delivery import Courier, CourierSettings
from appliance.site import RANK_NORMAL, RANK_USER, Message

NODE = 16
READ_OCTETS = 1 << 20


class Shelf:
    """Acknowledgements take effect with `commit`. A read of messages that are not `cached` waits `read_s`."""

    def __init__(self, read_s: float = 0.0) -> None:
        self.read_s = read_s
        self.queue: dict[int, Message] = {}
        self.cached: set[int] = set()
        self.on_disk: set[int] = set()
        self.acked: dict[int, None] = {}
        self.lost: set[int] = set()
        """In the queue, but the message is not to be found: the card is dying."""
        self.kept_back: set[int] = set()
        """In the queue, and not to be delivered yet: a second copy, or the octets, are on their way."""
        self.reads = 0
        self._last = 0

    def add(self, size: int = 10, rank: int = RANK_NORMAL, *, cached: bool = True) -> Message:
        """A message is in the queue from now on. Of 100,000 octets and more the data are a file."""
        self._last += 1
        in_memory = size < 100_000
        data, blob = (b"x" * size, None) if in_memory else (None, b"blob")
        message = Message(self._last, rank, b"h" * 100, size, data, blob, 1, (NODE,))
        self.queue[message.msgid] = message
        if cached:
            self.cached.add(message.msgid)
        return message

    def spill(self) -> None:
        self.on_disk = set(self.queue)
        self.cached.clear()

    def commit(self) -> None:
        for msgid in self.acked:
            del self.queue[msgid]
            self.kept_back.discard(msgid)
        self.acked.clear()

    def waiting(self) -> list[Message]:
        """What the node has yet to acknowledge, in the order of the queue."""
        found = [message for msgid, message in self.queue.items() if msgid not in self.acked]
        return sorted(found, key=lambda message: (message.rank, message.msgid))

    # what a courier calls

    async def messages(self, msgids: Sequence[int]) -> list[Message]:
        if not self.cached.issuperset(msgids):
            self.reads += 1
            await trio.sleep(self.read_s)
        found: list[Message] = []
        octets = 0
        for msgid in msgids:
            if msgid in self.queue and msgid not in self.lost and octets < READ_OCTETS:
                found.append(self.queue[msgid])
                octets += len(found[-1].data or b"")
        return found

    async def pending(self, node: int, exclude: set[int], limit: int) -> tuple[list[Message], bool]:
        if self.on_disk:
            await trio.sleep(self.read_s / 2)
        ids = [m.msgid for m in self.waiting() if m.msgid not in exclude and m.msgid not in self.kept_back]
        messages = await self.messages(ids[:limit])
        return messages, len(messages) < len(ids)

    def awaits(self, node: int, msgid: int) -> bool:
        return msgid in self.queue and msgid not in self.acked and msgid not in self.on_disk

    def ack(self, node: int, msgid: int, known: bool = True) -> None:
        if not known and (msgid not in self.queue or msgid in self.acked):
            return
        assert msgid in self.queue, "the node has this message already"
        assert msgid not in self.acked, "acknowledged twice"
        self.acked[msgid] = None


class Carrier:
    """The sender of a link, less the link: takes when it is woken, and notes what went out."""

    def __init__(self, store: Any, settings: CourierSettings, node: int = NODE) -> None:
        self.store = store
        self.settings = settings
        self.node = node
        self.bell = trio.Event()
        self.bell.set()
        self.courier = Courier(node, store, settings, lambda: self.bell.set())
        self.out: list[Message] = []
        self.batches: list[list[Message]] = []

    async def carry(self) -> None:
        """As `Link` does: until cancelled."""
        while True:
            await self.bell.wait()
            self.bell = trio.Event()
            while messages := await self.courier.take():
                self.courier.sent(messages)
                self.note(messages)

    def note(self, messages: list[Message]) -> None:
        """These went out."""
        self.batches.append(messages)
        self.out += messages

    async def tick(self) -> None:
        """As `Service` does, for messages that are to be sent again."""
        while True:
            await trio.sleep(0.5)
            if self.courier.next_expiry <= trio.current_time():
                self.bell.set()

    @property
    def shelf(self) -> Shelf:
        assert isinstance(self.store, Shelf)
        return self.store

    def push(self, *messages: Message) -> None:
        for message in messages:
            self.courier.push(message.msgid, message.rank)

    def post(self, count: int = 1, size: int = 10, rank: int = RANK_NORMAL, *, cached: bool = True) -> None:
        for _ in range(count):
            self.push(self.shelf.add(size, rank, cached=cached))

    def ack(self, *msgids: int) -> None:
        for msgid in msgids:
            self.courier.ack(msgid)

    @property
    def ids(self) -> list[int]:
        return [message.msgid for message in self.out]


async def quiet() -> None:
    """Until nobody can go on without being told to. Reads take no longer than a second."""
    for _ in range(4):
        await trio.sleep(1)
        await trio.testing.wait_all_tasks_blocked()


def carried(
    body: Callable[[Carrier], Any],
    *,
    before: int = 0,
    read_s: float = 0.0,
    prepare: Callable[[Shelf], object] = lambda shelf: None,
    **settings: Any,
) -> Carrier:
    """Run `body` beside a carrier whose node has `before` messages waiting, on a clock that jumps."""
    shelf = Shelf(read_s)
    for _ in range(before):
        shelf.add(cached=False)
    prepare(shelf)
    carrier = Carrier(shelf, CourierSettings(**settings))

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carrier.carry)
            nursery.start_soon(carrier.tick)
            await body(carrier)
            nursery.cancel_scope.cancel()

    run(main)
    return carrier


def run(main: Callable[[], Any]) -> None:
    """On a clock that jumps. An error comes as itself, not in a group."""
    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


def ids(messages: Iterable[Message]) -> list[int]:
    return [message.msgid for message in messages]


__all__ = ["NODE", "RANK_NORMAL", "RANK_USER", "Carrier", "Shelf", "carried", "ids", "quiet", "run"]
