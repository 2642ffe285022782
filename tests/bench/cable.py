"""A cable between two boxes that takes its time: `python -m tests.bench.cable FROM TO MS` forwards what comes
to port FROM of 127.0.0.1 to port TO, MS milliseconds later in each direction.

A thread for each end of each direction, because an event loop sleeps in whole milliseconds only.
"""

from __future__ import annotations

import contextlib
import math
import socket
import sys
import threading
import time
from queue import SimpleQueue

RECEIVE_OCTETS = 256 << 10
UNDER_WAY = 4096
"""Pieces on the way, in each direction of a connection."""


class Way:
    """One direction, from `source` to `to`."""

    def __init__(self, source: socket.socket, to: socket.socket, delay_s: float) -> None:
        self.ends = source, to
        self.delay_s = delay_s
        self.pieces: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
        self.room = threading.Semaphore(UNDER_WAY)
        for task in (self.take, self.give):
            threading.Thread(target=task, daemon=True).start()

    def take(self) -> None:
        piece = b"begin"
        while piece:
            self.room.acquire()
            try:
                piece = self.ends[0].recv(RECEIVE_OCTETS)
            except OSError:
                piece = b""
            self.pieces.put((time.monotonic() + self.delay_s, piece))

    def give(self) -> None:
        while True:
            due, piece = self.pieces.get()
            self.room.release()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self.ends[1].sendall(piece)
            except OSError:
                piece = b""
            if not piece:
                for end in self.ends:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                return


def main(port: int, target: int, delay_s: float) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            caller, _ = listener.accept()
            try:
                called = socket.create_connection(("127.0.0.1", target))
            except OSError:
                caller.close()
                continue
            for end in (caller, called):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((caller, called), (called, caller)):
                Way(*ends, delay_s)


if __name__ == "__main__":
    assert math.isfinite(float(sys.argv[3]))
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000)
