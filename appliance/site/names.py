"""What an alias, a gid or a node's label may look like (TMTP revision 1, section 4)."""

from __future__ import annotations

ALIAS_MIN_OCTETS = 8
NAME_MAX_OCTETS = 1024
"""So that every message that carries names fits a header, whatever has to be escaped: at most three names
of 6 x 1024.
"""


def name_problem(field: str, name: str) -> str | None:
    """What is wrong with an alias or gid, worded with the request's ``field``; None if nothing is."""
    if len(name.encode()) < ALIAS_MIN_OCTETS:
        return f"{field} must be {ALIAS_MIN_OCTETS}+ characters"
    if not name.isprintable():
        return f"{field} must be printable text"
    return length_problem(field, name)


def length_problem(field: str, name: str) -> str | None:
    """What is wrong with a label, which may be any text that is not too long."""
    octets = len(name.encode())
    return (
        f"{field} must be at most {NAME_MAX_OCTETS} octets, this has {octets}"
        if octets > NAME_MAX_OCTETS
        else None
    )
