"""The panel in a terminal: one live line at the place where the next line of the log will be; elsewhere, as
in a file, a line at each change.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import TextIO

from appliance.panel.lamps import Lamp, Leave
from appliance.panel.settings import PanelError, Role
from appliance.panel.signs import ENDED, STARTING, STOPPED, Shown

GLYPHS = "○◔◑◕●"
PLAIN_GLYPHS = ".-oO*"
COLUMNS = 80
"""Where the terminal does not say."""

CLEAR = "\r\x1b[2K"


class Terminal(Lamp):
    """Shows the sign's glyph, words and note on `stream`.

    The cursor rests at the beginning of the live line, so whatever is printed next writes over it, and the
    line shows up again below.
    """

    at_night = False

    def __init__(self, stream: TextIO, role: Role = "status") -> None:
        super().__init__("terminal", role)
        self._stream = stream
        self._fd = -1
        self._live = is_terminal(stream)
        self._encoding = stream.encoding or "ascii"
        self._glyphs = GLYPHS if _can_encode(GLYPHS, self._encoding) else PLAIN_GLYPHS
        self._drawn: Hashable = None

    def value(self, shown: Shown) -> Hashable:
        if self._live and shown.sign is STARTING:
            # What the box has to say when it starts comes in short lines, which would not cover ours.
            return ""
        words = shown.sign.words + (f": {shown.note}" if shown.note else "")
        words = "".join(letter if letter.isprintable() else "?" for letter in words)
        if not self._live:
            return f"{shown.sign.pattern.name}: {words}"
        return f"{self._glyphs[round(shown.level * (len(self._glyphs) - 1))]} {words}"

    def open(self) -> None:
        try:
            self._fd = self._stream.fileno()
        except (OSError, ValueError) as error:
            raise PanelError(f"standard error is not open ({error}): take --panel leds or none") from error

    def put(self, value: Hashable) -> None:
        if self._live:
            self._write(f"{CLEAR}{str(value)[: self._columns() - 1]}\r")
        else:
            self._write(f"panel {value}\n")
        self._drawn = value

    def leave(self, how: Leave) -> None:
        if self._drawn is None:
            return
        if how is Leave.FOUND:
            if self._live:
                self._write(CLEAR)
            return
        line = self.value(Shown(STOPPED, 0.0) if how is Leave.SAFE else Shown(ENDED, 1.0))
        if self._live:
            self._write(f"{CLEAR}{line}\n")
        elif line != self._drawn:
            self.put(line)

    def _columns(self) -> int:
        try:
            columns = os.get_terminal_size(self._fd).columns
        except OSError:
            columns = 0
        return columns or COLUMNS

    def _write(self, text: str) -> None:
        octets = text.encode(self._encoding, "replace")
        while octets:
            octets = octets[os.write(self._fd, octets) :]


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and stream.fileno() >= 0
    except (OSError, ValueError):
        return False


def _can_encode(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
