"""What a person looks for, as the index is asked for it. Pure.

    anna invoice            messages with both words; the last one may be the beginning of a word
    "the whole phrase"      these words, one after the other
    from:anna               by whom: alias or uid
    subject:"summer camp"   only in the subject
    since:2026-05           from then on; until: up to the end of then; a day, month or year, in UTC
    has:attachment          only with attachments

Whatever else people type is words: nothing of it reaches the index as anything but quoted text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from appliance.mail.errors import SearchError
from appliance.mail.text import folded, is_word, scrubbed

QUERY_MAX: Final = 1000
"""Characters."""
TERMS_MAX: Final = 32
PREFIX_MIN: Final = 3
"""Characters that the beginning of a word has at least: with two, every other message has it."""

EVERYWHERE: Final = "{subject sender names body}"
COLUMNS: Final = {"": EVERYWHERE, "from": "sender", "subject": "subject"}

_TERM: Final = re.compile(r'(?:([A-Za-z]+):)?(?:"([^"]*)"?|([^\s"]+))')
_WORD: Final = re.compile(r"\w+")
_DATE: Final = re.compile(r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2}))?)?")


@dataclass(frozen=True, slots=True)
class Term:
    """Words that have to follow each other in one of the columns; ``begun``: the last may go on."""

    field: str
    text: str
    begun: bool = False

    def match(self) -> str:
        star = "*" if self.begun else ""
        return f'{COLUMNS[self.field]} : "{self.text}"{star}'


@dataclass(frozen=True, slots=True)
class Query:
    """``since_s`` and ``until_s`` (up to, not at) are seconds since the epoch; None: no bound."""

    terms: tuple[Term, ...] = ()
    since_s: int | None = None
    until_s: int | None = None
    files: bool = False

    @property
    def words(self) -> list[tuple[str, bool]]:
        """What to show of a message: words as ``text.folded`` has them, and whether they may go on."""
        found = []
        for term in self.terms:
            words = [folded(word) for word in _WORD.findall(term.text)]
            found += [(word, False) for word in words[:-1]] + [(word, term.begun) for word in words[-1:]]
        return found

    def match(self, nodes: Sequence[int], within: str = "") -> str:
        """In the index's language: in these archives; ``within`` a list of columns that all words without a
        field have to be in."""
        places = " OR ".join(f"n{node}" for node in nodes)
        parts = [f"place : ({places})"]
        if self.files:
            parts.append("place : files")
        parts += [self._within(term, within) for term in self.terms]
        return " AND ".join(parts)

    def _within(self, term: Term, within: str) -> str:
        if not within or term.field:
            return term.match()
        return f'{within} : "{term.text}"{"*" if term.begun else ""}'

    @property
    def free(self) -> bool:
        """Whether there are words that may be anywhere."""
        return any(not term.field for term in self.terms)


def parse(text: str) -> Query:
    """What ``text`` asks for. Raises ``SearchError`` for a date that is none, what has
    no word in it, and what is too long.
    """
    if len(text) > QUERY_MAX:
        raise SearchError(f"that is too long to look for: at most {QUERY_MAX} characters")
    terms: list[Term] = []
    bounds: dict[str, int] = {}
    files = False
    for found in _TERM.finditer(scrubbed(text).replace("\0", " ")):
        field, phrase, word = (found[1] or "").lower(), found[2], found[3]
        value = word if phrase is None else phrase
        if field in ("since", "until"):
            first, after = _span(field, value)
            bounds[field] = first if field == "since" else after
        elif field == "has" and value.lower() in ("attachment", "attachments"):
            files = True
        else:
            if field not in COLUMNS:
                field, value = "", found[0].replace('"', " ")
            if is_word(value):
                terms.append(Term(field, value, begun=phrase is None and len(value) >= PREFIX_MIN))
    if len(terms) > TERMS_MAX:
        raise SearchError(f"these are too many words to look for: at most {TERMS_MAX}")
    if text.strip() and not (terms or bounds or files):
        raise SearchError("there is no word in this to look for")
    last = len(terms) - 1
    terms = [Term(t.field, t.text, t.begun and at == last) for at, t in enumerate(terms)]
    return Query(tuple(terms), bounds.get("since"), bounds.get("until"), files)


def _span(field: str, text: str) -> tuple[int, int]:
    """Where a year, month or day begins, and where the next one does."""
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day = int(found[1]), int(found[2] or 1), int(found[3] or 1)
        first = date(year, month, day)
        if found[3]:
            after = first.toordinal() + 1
        elif found[2]:
            after = (date(year + month // 12, month % 12 + 1, 1)).toordinal()
        else:
            after = date(year + 1, 1, 1).toordinal()
        return _seconds(first.toordinal()), _seconds(after)
    except (ValueError, OverflowError):
        raise SearchError(
            f"{field}:{text} is no date: write it as {field}:2026-05-31, {field}:2026-05 or {field}:2026"
        ) from None


_EPOCH: Final = date(1970, 1, 1).toordinal()


def _seconds(ordinal: int) -> int:
    return (ordinal - _EPOCH) * 86400
