"""Text on its way to a stream that may not take it: a terminal that somebody stopped with Ctrl-S, a pipe
whose reader sleeps. A write there lasts until somebody comes back, and so would the box's sleep, if it wrote
by itself. Files are written at once: they always take what they get.

    write -> what waits (WAITING_OCTETS_MAX) -> a thread -> stream
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from typing import TextIO

WAITING_OCTETS_MAX = 256 << 10
"""Some 1,000 records. What comes when there is no room is left out here; `pocket log` shows the latest in any
case.
"""

FLUSH_S = 0.3
"""Nobody who stops the box waits longer for a stream that takes nothing."""


class Writer:
    """Writes to `stream`; `write` never waits for whoever reads it. Thread-safe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._fd = _may_block(stream)
        self._encoding = stream.encoding or "utf-8"
        self._waiting: deque[bytes] = deque()
        self._octets = 0
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Write `text` soon. Raises what a file's `write` does."""
        if self._fd < 0:
            self._stream.write(text)
            self._stream.flush()
            return
        octets = text.encode(self._encoding, "backslashreplace")
        with self._change:
            if self._octets + len(octets) > WAITING_OCTETS_MAX:
                return
            self._octets += len(octets)
            self._waiting.append(octets)
            if self._thread is None:
                self._thread = threading.Thread(target=self._carry, name="log", daemon=True)
                self._thread.start()
            self._change.notify_all()

    def flush(self) -> None:
        """Wait until all is written, for FLUSH_S at most."""
        with self._change:
            self._change.wait_for(lambda: not self._octets, FLUSH_S)

    def _carry(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: bool(self._waiting))
                octets = self._waiting.popleft()
            _write(self._fd, octets)
            with self._change:
                self._octets -= len(octets)
                self._change.notify_all()


def _may_block(stream: TextIO) -> int:
    """The descriptor of a stream that is no file, else -1."""
    try:
        fd = stream.fileno()
        return -1 if stat.S_ISREG(os.fstat(fd).st_mode) else fd
    except (OSError, ValueError):
        return -1


def _write(fd: int, octets: bytes) -> None:
    try:
        while octets:
            octets = octets[os.write(fd, octets) :]
    except OSError:
        """A log that cannot be written stops nothing."""
