"""Figures, ages and tables for people. Nothing that a box says can move the cursor: names come from
anybody."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from appliance.log.outputs import printable as printable

NONE = "-"


def count(number: Any) -> str:
    """1234567 -> "1,234,567"; a fraction with one digit."""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return NONE
    return f"{number:,}" if isinstance(number, int) else f"{number:,.1f}"


def size(octets: Any) -> str:
    """Octets to three digits: "512 B", "4.20 KiB", "29.0 GiB"."""
    if isinstance(octets, bool) or not isinstance(octets, int | float):
        return NONE
    amount, unit = float(octets), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    if unit == "B":
        return f"{octets:.0f} B"
    return f"{amount:.{2 if amount < 10 else 1 if amount < 100 else 0}f} {unit}"


def age(seconds: Any) -> str:
    """A span of time in its two largest units: "3 d 4 h", "12 min 5 s", "8 s"."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return NONE
    left = max(0, round(seconds))
    parts: list[str] = []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, length)
        if number or parts:
            parts.append(f"{number} {unit}" if number else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def width(text: str) -> int:
    """Columns on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[int] = ()) -> str:
    """Columns as wide as their widest cell, two spaces between them; those in `right` are aligned to the
    right."""
    cells = [list(heads), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(heads))]
    aligned = set(right)
    lines = []
    for row in cells:
        padded = (
            " " * (widths[column] - width(cell)) + cell
            if column in aligned
            else cell + " " * (widths[column] - width(cell))
            for column, cell in enumerate(row)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values in two columns."""
    known = [(name, printable(str(value))) for name, value in pairs]
    longest = max((len(name) for name, _ in known), default=0)
    return "\n".join(f"{name:{longest}}  {value}".rstrip() for name, value in known)


def names(people: Any) -> str:
    """A list of aliases, uids, or tables with one of them, as one text."""
    if not isinstance(people, list):
        return NONE
    found = [
        person.get("alias") or person.get("uid") if isinstance(person, dict) else person for person in people
    ]
    return ", ".join(str(person) for person in found) or NONE


def dig(tree: Any, path: str) -> Any:
    """The value at "links.open"; None if a box of another version does not tell it."""
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree
