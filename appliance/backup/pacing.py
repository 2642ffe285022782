"""Work that blocks, step by step in a thread, with a rest after each step: clients go first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TypeVar

import trio

T = TypeVar("T")
REST_SHARE = 1.0
"""Who works rests for so many times as long as it took."""


async def thread(work: Callable[..., T], *args: object) -> T:
    """What ``work`` gives, which blocks."""
    return await trio.to_thread.run_sync(partial(work, *args))


async def rested(work: Callable[..., T], *args: object) -> T:
    """The same, with a rest."""
    began = trio.current_time()
    done = await thread(work, *args)
    await trio.sleep((trio.current_time() - began) * REST_SHARE)
    return done


async def each(steps: Iterator[int], seen: Callable[[int], object] = lambda octets: None) -> None:
    """All steps of an iterator that blocks; ``seen`` is called with what each gives. It is closed at the end,
    also when this is cancelled.
    """
    try:
        while (octets := await rested(next, steps, None)) is not None:
            seen(octets)
    finally:
        if isinstance(steps, Generator):
            steps.close()
