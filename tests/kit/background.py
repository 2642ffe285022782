"""Trio in a thread of its own, for what serves while a test waits."""

from __future__ import annotations

import contextlib
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

import trio

T = TypeVar("T")
START_S = 20.0


class Background(ABC):
    """`with` starts the thread, and ends it. An error in it is raised where the `with` ends."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self._failure: BaseException | None = None

    @abstractmethod
    async def serve(self, started: Callable[[], None]) -> None:
        """Run for ever; call `started` when the others may come."""

    def __enter__(self) -> Self:
        self._scope = trio.CancelScope()
        ready: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        async def main() -> None:
            self._token = trio.lowlevel.current_trio_token()
            with self._scope:
                await self.serve(lambda: ready.put(None))

        def body() -> None:
            try:
                trio.run(main)
            except BaseException as error:
                self._failure = error
                ready.put(error)

        self._thread = threading.Thread(target=body, daemon=True, name=type(self).__name__)
        self._thread.start()
        failure = ready.get(timeout=START_S)
        if failure is not None:
            raise failure
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def close(self) -> None:
        """End the thread, and all that it serves, without a word to anybody."""
        if self._thread is not None and self._thread.is_alive():
            assert self._token is not None
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)
            self._thread.join(START_S)
            assert not self._thread.is_alive(), f"{self} does not end"
        self._thread = None

    def do(self, what: Callable[..., T], *args: Any) -> T:
        """Call it in that thread; its result, or its error. From any other thread."""
        return self._give(lambda future: self._call(future, what, *args))

    def do_async(self, what: Callable[..., Awaitable[T]], *args: Any) -> T:
        """The same with an async function, for which the test waits."""

        def begin(future: Future[T]) -> None:
            trio.lowlevel.spawn_system_task(self._await, future, what, *args)

        return self._give(begin)

    def _give(self, begin: Callable[[Future[T]], None]) -> T:
        assert self._token is not None and self._thread is not None, "it is not running"
        assert threading.current_thread() is not self._thread
        future: Future[T] = Future()
        self._token.run_sync_soon(begin, future)
        return future.result(START_S)

    @staticmethod
    def _call(future: Future[T], what: Callable[..., T], *args: Any) -> None:
        try:
            future.set_result(what(*args))
        except Exception as error:
            future.set_exception(error)

    @staticmethod
    async def _await(future: Future[T], what: Callable[..., Awaitable[T]], *args: Any) -> None:
        try:
            future.set_result(await what(*args))
        except Exception as error:
            future.set_exception(error)
