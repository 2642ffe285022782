"""A line editor, sans-I/O: octets of a terminal in, lines and octets for the terminal out.

    editor.ask("pocket> ")
    editor.feed(octets)
    while (event := editor.next_event()) is not None: ...
    terminal.write(editor.output())

It takes what terminals send for the usual keys (ECMA-48 cursor keys, Home, End, Delete; Ctrl-A B C D E F H K
L N P U W), completes words with whatever its owner offers, and ignores the rest: binary junk, NULs, octets
that are no UTF-8, characters that do not print. What it sends is printable text, CR, LF, BEL and three
control sequences (erase to the end of the line, cursor right, clear the screen), which every terminal knows.

A line that is longer than the terminal is wide scrolls sideways, so nothing here depends on how a terminal
wraps. What is shown is brought up to date once per `output`, however much was fed: a flood costs one
redraw.

Bounds: a line has LINE_OCTETS_MAX (a bell says that it is full, and it is not taken: half a command is
another command); what was fed and not yet read, FED_OCTETS_MAX; the history, HISTORY_LINES of them.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

LINE_OCTETS_MAX = 1024
FED_OCTETS_MAX = 4096
HISTORY_LINES = 50
COLUMNS = 80
OFFERED_MAX = 64
SEQUENCE_OCTETS_MAX = 16

BELL, NEWLINE, ERASE, CLEAR, INTERRUPTED = b"\a", b"\r\n", b"\x1b[K", b"\x1b[H\x1b[2J", b"^C"
CONTROLS = {
    0x01: "home", 0x02: "left", 0x03: "interrupt", 0x04: "end of file", 0x05: "end", 0x06: "right",
    0x08: "backspace", 0x09: "complete", 0x0A: "line feed", 0x0B: "kill end", 0x0C: "clear", 0x0D: "enter",
    0x0E: "down", 0x10: "up", 0x15: "kill start", 0x17: "kill word", 0x1B: "escape", 0x7F: "backspace",
}  # fmt: skip
FINALS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
TILDES = {"1": "home", "7": "home", "4": "end", "8": "end", "3": "delete"}


@dataclass(frozen=True, slots=True)
class Line:
    """Enter was pressed. `secret` is not shown by `repr`, nor kept in the history."""

    text: str
    secret: bool = False

    def __repr__(self) -> str:
        return "Line(...)" if self.secret else f"Line({self.text!r})"


@dataclass(frozen=True, slots=True)
class TooLong:
    """Enter was pressed on more than a line holds; it is forgotten."""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Ctrl-C; the line is forgotten."""


@dataclass(frozen=True, slots=True)
class End:
    """Ctrl-D on an empty line."""


@dataclass(frozen=True, slots=True)
class Complete:
    """Tab: `before` stands left of the cursor. Answer with `offer`."""

    before: str


Event = Line | TooLong | Interrupt | End | Complete


class Editor:
    """One terminal's line. `columns` is how wide it is taken to be."""

    def __init__(self, columns: int = COLUMNS) -> None:
        self._columns = columns
        self._prompt = ""
        self._secret = False
        self._fed = bytearray()
        self._out = bytearray()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("ignore")
        self._sequence: bytearray | None = None
        self._after_return = False
        self._history: deque[str] = deque(maxlen=HISTORY_LINES)
        self._recalled: int | None = None
        self._draft = ""
        self._lost = False
        self._shown = ("", 0)
        self._reset()

    @property
    def line(self) -> str:
        return self._text

    @property
    def cursor(self) -> int:
        """In characters from the start of the line."""
        return self._at

    def ask(self, prompt: str, secret: bool = False) -> None:
        """Begin a line. Of a secret one nothing is shown. The terminal's cursor must be in column 0."""
        self._prompt, self._secret = prompt, secret
        self._reset()
        self.show_again()

    def show_again(self) -> None:
        """Something else was written, and the terminal's cursor is in column 0 of an empty line."""
        self._shown = ("", 0)

    def feed(self, octets: bytes) -> None:
        """What the terminal sent. If it is more than FED_OCTETS_MAX that nobody read, all that is dropped,
        and so is the line whose beginning was among it.
        """
        if len(self._fed) + len(octets) > FED_OCTETS_MAX:
            self._fed.clear()
            if not self._lost:
                self._out += BELL
            self._lost = True
            octets = octets[-FED_OCTETS_MAX:]
        self._fed += octets

    def forget_fed(self) -> None:
        """Drop what was typed ahead."""
        self._fed.clear()
        self._lost = False

    def forget_history(self) -> None:
        self._history.clear()

    def output(self) -> bytes:
        """For the terminal, to have it show what is."""
        self._draw()
        out = bytes(self._out)
        self._out.clear()
        return out

    def next_event(self) -> Event | None:
        """The next thing that its owner has to deal with; None when all that was fed is read."""
        fed = self._fed
        at = 0
        event = None
        while at < len(fed) and event is None:
            octet = fed[at]
            if self._sequence is not None:
                at += 1
                event = self._escaped(octet)
            elif octet < 0x20 or octet == 0x7F:
                at += 1
                event = self._control(octet)
            else:
                start = at
                while at < len(fed) and fed[at] >= 0x20 and fed[at] != 0x7F:
                    at += 1
                self._after_return = False
                self._insert(self._utf8.decode(bytes(fed[start:at])))
        del fed[:at]
        return event

    def offer(self, candidates: Sequence[str], replace: int) -> None:
        """Answer a Complete: what the last `replace` characters left of the cursor may become. One is taken;
        of several what they have in common, or if that is nothing new, they are listed.
        """
        found = sorted(set(candidates))[:OFFERED_MAX]
        if not found:
            self._out += BELL
            return
        common = found[0]
        while not all(candidate.startswith(common) for candidate in found):
            common = common[:-1]
        if len(found) == 1:
            common += " "
        start = self._at - replace
        if len(common) > replace:
            self._put(self._text[:start] + self._text[self._at :], start)
            self._insert(common)
            return
        self._draw()
        self._out += NEWLINE + encoded("  ".join(found)) + NEWLINE
        self.show_again()

    def _reset(self) -> None:
        self._text, self._at = "", 0
        self._octets = 0
        self._overflow = False
        self._recalled = None
        self._left = 0
        self._utf8.reset()

    def _control(self, octet: int) -> Event | None:
        self._utf8.reset()
        after_return, self._after_return = self._after_return, octet == 0x0D
        action = CONTROLS.get(octet)
        if action is None or (action == "line feed" and after_return):
            return None
        if action == "escape":
            self._sequence = bytearray()
            return None
        return self._act("enter" if action == "line feed" else action)

    def _escaped(self, octet: int) -> Event | None:
        """An octet of a control sequence: ESC [ parameters final, ESC O final; after ESC alone, one key."""
        sequence = self._sequence
        assert sequence is not None
        sequence.append(octet)
        if len(sequence) == 1 and octet in b"[O":
            return None
        if 0x20 <= octet <= 0x3F and len(sequence) <= SEQUENCE_OCTETS_MAX and sequence[:1] == b"[":
            return None
        self._sequence = None
        if octet < 0x20:
            return self._control(octet)
        if len(sequence) < 2:
            return None
        final, parameters = chr(octet), bytes(sequence[1:-1]).decode("ascii", "ignore")
        action = TILDES.get(parameters.partition(";")[0]) if final == "~" else FINALS.get(final)
        return self._act(action) if action else None

    def _act(self, action: str) -> Event | None:
        text, at = self._text, self._at
        match action:
            case "enter":
                return self._enter()
            case "interrupt":
                return self._finish(Interrupt(), INTERRUPTED)
            case "end of file":
                if not text and not self._overflow:
                    return self._finish(End())
                self._put(text[:at] + text[at + 1 :], at)
            case "complete":
                if not self._secret:
                    return Complete(text[:at])
            case "clear":
                self._out += CLEAR
                self.show_again()
            case "home":
                self._at = 0
            case "end":
                self._at = len(text)
            case "left":
                self._at = max(at - 1, 0)
            case "right":
                self._at = min(at + 1, len(text))
            case "backspace":
                self._put(text[: max(at - 1, 0)] + text[at:], max(at - 1, 0))
            case "delete":
                self._put(text[:at] + text[at + 1 :], at)
            case "kill start":
                self._put(text[at:], 0)
            case "kill end":
                self._put(text[:at], at)
            case "kill word":
                before = text[:at].rstrip(" ")
                kept = before[: before.rfind(" ") + 1]
                self._put(kept + text[at:], len(kept))
            case "up":
                self._recall(-1)
            case "down":
                self._recall(1)
        return None

    def _enter(self) -> Event:
        if self._overflow or self._lost:
            return self._finish(TooLong())
        text = self._text
        if not self._secret and text.strip() and (not self._history or self._history[-1] != text):
            self._history.append(text)
        return self._finish(Line(text, self._secret))

    def _finish(self, event: Event, mark: bytes = b"") -> Event:
        self._at = len(self._text)
        self._draw()
        self._out += mark + NEWLINE
        self._lost = False
        self.ask("")
        return event

    def _recall(self, step: int) -> None:
        """Up and down in the history; what was being typed is below its latest line."""
        if self._secret:
            return
        here = len(self._history) if self._recalled is None else self._recalled
        there = here + step
        if not 0 <= there <= len(self._history):
            self._out += BELL
            return
        if self._recalled is None:
            self._draft = self._text
        text = self._draft if there == len(self._history) else self._history[there]
        self._put(text, len(text))
        self._recalled = None if there == len(self._history) else there

    def _insert(self, text: str) -> None:
        fitting = []
        for char in text:
            if not char.isprintable():
                continue
            size = len(char.encode())
            if self._octets + size > LINE_OCTETS_MAX:
                if not self._overflow:
                    self._out += BELL
                    self._overflow = True
                break
            self._octets += size
            fitting.append(char)
        added = "".join(fitting)
        self._text = self._text[: self._at] + added + self._text[self._at :]
        self._at += len(added)

    def _put(self, text: str, at: int) -> None:
        if text != self._text:
            self._overflow = False
        self._text, self._at, self._octets = text, at, len(text.encode())

    def _draw(self) -> None:
        """Have the terminal show prompt and line, and its cursor where ours is."""
        row, column = self._row()
        was, was_column = self._shown
        if (row, column) == (was, was_column):
            return
        self._shown = (row, column)
        if row.startswith(was) and was_column == width(was) and column == width(row):
            self._out += encoded(row[len(was) :])
            return
        self._out += b"\r"
        if row != was:
            self._out += encoded(row) + ERASE + b"\r"
        if column:
            self._out += b"\x1b[%dC" % column

    def _row(self) -> tuple[str, int]:
        """What is to be seen, and the column of the cursor in it. There stays room for the mark of Ctrl-C,
        and the last column empty.
        """
        if self._secret:
            return self._prompt, width(self._prompt)
        room = max(self._columns - 1 - len(INTERRUPTED) - width(self._prompt), 8)
        text, at = self._text, self._at
        self._left = min(self._left, at)
        while self._left and width(text[self._left - 1 :]) <= room:
            self._left -= 1
        while width(text[self._left : at]) > room:
            self._left += 1
        end = self._left
        seen = 0
        while end < len(text) and seen + width(text[end]) <= room:
            seen += width(text[end])
            end += 1
        return self._prompt + text[self._left : end], width(self._prompt + text[self._left : at])


def width(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(columns(char) for char in text)


def columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
