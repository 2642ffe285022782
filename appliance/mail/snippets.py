"""A few words of a message around what was looked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from appliance.mail.text import folded

LOOK_MAX: Final = 8000
"""Characters of a body that are looked through; a word that comes later shows the beginning."""
BEFORE: Final = 40
LENGTH: Final = 160
"""Characters."""

_WORD: Final = re.compile(r"\w+")


def snippet(text: str, words: Sequence[tuple[str, bool]]) -> tuple[str, list[tuple[int, int]]]:
    """About ``LENGTH`` characters of ``text`` from shortly before the first of ``words`` on (as
    ``Query.words`` has them), and where in them words are that were looked for.
    """
    whole = {word for word, begun in words if not begun}
    begun = tuple(word for word, begun in words if begun)
    first = next((f.start() for f in _WORD.finditer(text, 0, LOOK_MAX) if _is(f[0], whole, begun)), 0)
    start = _gap(text, first - BEFORE) if first > BEFORE else 0
    end = start + LENGTH
    if end < len(text):
        end = text.rfind(" ", start + LENGTH // 2, end) if " " in text[start + LENGTH // 2 : end] else end
    lead, tail = ("... " if start else ""), (" ..." if end < len(text) else "")
    shown = text[start:end]
    marks = [
        (len(lead) + f.start(), len(lead) + f.end()) for f in _WORD.finditer(shown) if _is(f[0], whole, begun)
    ]
    return lead + shown + tail, marks


def _is(word: str, whole: set[str], begun: tuple[str, ...]) -> bool:
    word = folded(word)
    return word in whole or (bool(begun) and word.startswith(begun))


def _gap(text: str, at: int) -> int:
    """The beginning of the first word at or after ``at``, if there is one near."""
    space = text.find(" ", at, at + BEFORE)
    return space + 1 if space >= 0 else at
