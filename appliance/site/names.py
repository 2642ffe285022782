"""What an alias, a gid or a node's label may look like (TMTP revision 1, section 4)."""

from __future__ import annotations

ALIAS_MIN_OCTETS = 8
NAME_MAX_OCTETS = 1024
"""So that every message that carries names fits a header, whatever has to be escaped: at most three names
of 6 x 1024.
"""


def name_problem(field: str, name: str, shortest: int = ALIAS_MIN_OCTETS) -> str | None:
    """What is wrong with ``name``, worded with the request's ``field``; None if nothing is."""
    octets = len(name.encode())
    if octets < shortest:
        return f"{field} must be {shortest}+ characters"
    if octets > NAME_MAX_OCTETS:
        return f"{field} must be at most {NAME_MAX_OCTETS} octets, this has {octets}"
    if not name.isprintable() or "\ufffd" in name:
        return f"{field} must be printable text"
    return None
