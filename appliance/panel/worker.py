"""Calls that may block, one at a time, away from the box's own thread; and when to try again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Backoff:
    """How long to wait before the next try: RETRY_S, the first, then twice as long each time, up to the
    second. What then works for longer than that begins anew.
    """

    RETRY_S = (1.0, 60.0)

    def __init__(self) -> None:
        self._next_s = self.RETRY_S[0]
        self._until = float("-inf")

    async def sleep(self) -> None:
        if trio.current_time() > self._until + self.RETRY_S[1]:
            self._next_s = self.RETRY_S[0]
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, self.RETRY_S[1])
        await trio.sleep(wait_s)
        self._until = trio.current_time()


class Worker:
    """At most one thread: a call that hangs takes no other thread of the box. `quick` calls, which never
    block, need none.
    """

    def __init__(self, quick: bool = False) -> None:
        self._quick = quick
        self._limiter = trio.CapacityLimiter(1)

    async def call(self, function: Callable[..., T], *args: object) -> T:
        """What `function` returns or raises. When cancelled, a call that has begun goes on unheard."""
        if self._quick:
            await trio.lowlevel.checkpoint()
            return function(*args)
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=self._limiter)
