"""A terminal that understands what an editor sends, and nothing else."""

import re
import unicodedata

TOKEN = re.compile(r"\x1b\[K|\x1b\[(\d+)C|\x1b\[H|\x1b\[2J|[\r\n\a]|[^\x00-\x1f\x7f]")


class Screen:
    """Lines of cells; a wide character takes two. Writing into the last column fails: terminals differ in
    what they do there."""

    def __init__(self, columns=80):
        self.columns = columns
        self.lines: list[list[str]] = [[]]
        self.column = 0
        self.bells = 0

    @property
    def line(self):
        return "".join(self.lines[-1]).rstrip(" ")

    @property
    def text(self):
        return "\n".join("".join(cells).rstrip(" ") for cells in self.lines)

    def write(self, octets):
        text = octets.decode()
        at = 0
        while at < len(text):
            token = TOKEN.match(text, at)
            assert token, f"what is {text[at : at + 10]!r} to a terminal?"
            self._take(token)
            at = token.end()

    def _take(self, token):
        cells = self.lines[-1]
        match token[0]:
            case "\r":
                self.column = 0
            case "\n":
                self.lines.append([])
            case "\a":
                self.bells += 1
            case "\x1b[K":
                del cells[self.column :]
            case "\x1b[H":
                self.column = 0
            case "\x1b[2J":
                self.lines = [[]]
            case _ if token[1]:
                self.column += int(token[1])
                assert self.column < self.columns
            case char:
                self._show(char, cells)

    def _show(self, char, cells):
        if unicodedata.category(char) in ("Mn", "Me"):
            if self.column:
                cells[self.column - 1] += char
            return
        wide = unicodedata.east_asian_width(char) in "WF"
        assert self.column + 1 + wide < self.columns, "it writes into the last column"
        cells += " " * (self.column + 1 + wide - len(cells))
        cells[self.column] = char
        if wide:
            cells[self.column + 1] = ""
        self.column += 1 + wide
