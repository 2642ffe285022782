"""A port that leads to another one, until the plug is pulled: the Internet between a box and a site."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

import trio

from .background import Background

PIECE_OCTETS = 1 << 16


class Plug(Background):
    """`address` leads to `target`, or wherever `target` is pointed later."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__()
        self.target = target
        self.address: tuple[str, int] = ("127.0.0.1", 0)
        self.came = self.went = 0
        """Octets that came back from the target, and that went to it."""
        self.tries = 0
        """Connections that were made, or refused."""
        self._in = True
        self._flows = trio.Event()
        self._scopes: set[trio.CancelScope] = set()

    @property
    def words(self) -> str:
        """The address, as it is typed."""
        return f"={self.address[0]}:{self.address[1]}"

    def pull(self) -> None:
        """All connections are reset, and new ones are, until it is put back."""

        def cut() -> None:
            self._in = False
            for scope in self._scopes:
                scope.cancel()

        self.do(cut)

    def put_back(self) -> None:
        self._in = True

    def stall(self) -> None:
        """Nothing goes through any more, and nobody is told."""

        def stop() -> None:
            if self._flows.is_set():
                self._flows = trio.Event()

        self.do(stop)

    def flow(self) -> None:
        """All goes on where it stopped."""
        self.do(lambda: self._flows.set())

    async def serve(self, started: Callable[[], None]) -> None:
        self._flows.set()
        (listener,) = await trio.open_tcp_listeners(0, host=self.address[0])
        self.address = listener.socket.getsockname()[:2]
        async with trio.open_nursery() as nursery:
            started()
            await trio.serve_listeners(self._connect, [listener], handler_nursery=nursery)

    async def _connect(self, near: trio.SocketStream) -> None:
        self.tries += 1
        scope = trio.CancelScope()
        self._scopes.add(scope)
        far = None
        try:
            with scope, contextlib.suppress(OSError):
                if self._in:
                    far = await trio.open_tcp_stream(*self.target)
                    await self._join(near, far)
        finally:
            self._scopes.discard(scope)
            for stream in (near, far):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        linger = struct.pack("ii", 1, 0)
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    stream.socket.close()

    async def _join(self, near: trio.SocketStream, far: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, near, far, "went")
            nursery.start_soon(self._copy, far, near, "came")

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream, counter: str) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while octets := await source.receive_some(PIECE_OCTETS):
                while not self._flows.is_set():
                    await self._flows.wait()
                setattr(self, counter, getattr(self, counter) + len(octets))
                await target.send_all(octets)
            await target.send_eof()
