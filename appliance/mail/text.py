"""Text of messages, which strangers wrote, as text to search and to show. Pure.

Everything here takes time in proportion to the text, whatever is in it: no pattern can begin to match at
many places and go on from each of them to the end.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LINKS: Final = re.compile(r"\]\(([^()]*)\)")
_TAGS: Final = re.compile(r"<(/?[A-Za-z!][^<>]*)>")
_RULES: Final = re.compile(r"(?m)^[-=:|\t ]+$")
_MARKS: Final = re.compile(r"(?m)^[ \t]*(?:>[ \t]?|#{1,6}[ \t]|[-+*][ \t])+|!?\[|[\]*_`|]|~~")
_SPACE: Final = re.compile(r"\s+")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_JOINERS: Final = "\u200c\u200d"
"""Written between letters of some scripts, and between emoji that are to be one."""
_SHOWN: Final = ("http:", "https:", "mailto:")


def plain(markdown: str) -> str:
    """What is left of a CommonMark text when its marks are gone: words, in one line. A link leaves its
    text, and its address where that is on the web.
    """
    text = _LINKS.sub(lambda found: f" {found[1]}" if found[1].startswith(_SHOWN) else "", markdown)
    text = _TAGS.sub(lambda found: f" {found[1]} " if found[1].startswith(_SHOWN) else " ", text)
    return _SPACE.sub(" ", _MARKS.sub(" ", _RULES.sub("", text))).strip()


def line(value: object, most: int) -> str:
    """A text in one line of at most ``most`` characters, without what a terminal would obey; empty if it is
    no text.
    """
    if not isinstance(value, str):
        return ""
    value = value[: 4 * most]
    if not value.isprintable():
        value = "".join(c if c.isprintable() or c in _JOINERS else " " for c in value)
    return _SPACE.sub(" ", value).strip()[:most]


def decoded(octets: bytes) -> str:
    """UTF-8 as text; what is none is U+FFFD. Ends before the first octet 0: from there on it is no text."""
    return octets.partition(b"\0")[0].decode("utf-8", "replace")


def scrubbed(text: str) -> str:
    """Without lone surrogates, which no database and no file takes."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def folded(word: str) -> str:
    """A word as the index compares it: without case and marks over letters."""
    if word.isascii():
        return word.lower()
    parts = unicodedata.normalize("NFKD", word.lower())
    return "".join(c for c in parts if not unicodedata.combining(c))


def is_word(text: str) -> bool:
    """Whether the index finds a word in it."""
    return any(c.isalnum() or unicodedata.category(c) == "Co" for c in text)
