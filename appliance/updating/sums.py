"""What a folder with updates has, by its SHA256SUMS: the only file that is signed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.updating.versions import VERSION, order

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.gpg"
SUMS_OCTETS_MAX = 64 << 10
SIGNATURE_OCTETS_MAX = 8 << 10
ROOT_OCTETS_MAX = 512 << 20
"""A slot has as many, and what goes into it is compressed."""

EFI_OCTETS_MAX = 96 << 20
"""Two of them have to fit into the boot partition."""

LIMITS = {"root": ROOT_OCTETS_MAX, "efi": EFI_OCTETS_MAX}
BOARD = r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
LINE = re.compile(rf"([0-9a-f]{{64}}) [ *](pocket-({BOARD})-({VERSION.pattern})\.(root|efi)\.zst)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Payload:
    """One version for one board. ``files``: the SHA-256 of each file, by its name."""

    board: str
    version: str
    files: dict[str, bytes]


def most(name: str) -> int:
    """How many octets a file of a payload may have at most."""
    return LIMITS[name.rsplit(".", 2)[-2]]


def payloads(sums: bytes, board: str) -> list[Payload]:
    """Those for a board that are whole, the newest first. A line that says something else is left out; a
    file that is listed twice in different ways makes its version count for nothing.
    """
    found: dict[str, dict[str, bytes]] = {}
    doubtful: set[str] = set()
    for line in sums.decode("ascii", "replace").splitlines():
        match = LINE.fullmatch(line)
        if match is None or match[3] != board:
            continue
        files = found.setdefault(match[4], {})
        if files.setdefault(match[2], bytes.fromhex(match[1])) != bytes.fromhex(match[1]):
            doubtful.add(match[4])
    whole = [
        Payload(board, version, files)
        for version, files in found.items()
        if len(files) == len(LIMITS) and version not in doubtful
    ]
    return sorted(whole, key=lambda payload: order(payload.version), reverse=True)
