"""Calls that may block, one at a time, away from the box's own thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


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
