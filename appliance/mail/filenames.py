"""Names that strangers gave to attachments, as names of files on any file system. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

OCTETS_MAX: Final = 120
"""Of a name; file systems take 255, but paths have limits too."""
SUFFIX_MAX: Final = 16

_NOT: Final = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_SPACE: Final = re.compile(r"\s+")
_DEVICE: Final = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)")


def safe_name(name: str, otherwise: str) -> str:
    """The last part of ``name``, without what some system does not take or takes for something else; where
    nothing is left, ``otherwise``. At most ``OCTETS_MAX`` octets, with its suffix.
    """
    name = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join(c for c in name if c.isprintable() or c.isspace())
    name = _NOT.sub("_", _SPACE.sub(" ", name)).strip(" .")
    if not name:
        return otherwise
    if _DEVICE.match(name):
        name = "_" + name
    if len(name.encode()) <= OCTETS_MAX:
        return name
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) > SUFFIX_MAX:
        stem, dot, suffix = name, "", ""
    room = OCTETS_MAX - len((dot + suffix).encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + dot + suffix
