"""How the archives are kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MailSettings:
    """``budget_percent`` of the file system is what one member's archives may take, at most
    ``budget_octets``. The index is brought up to date every ``index_every_s``, and when somebody searches,
    or many wait.
    """

    budget_percent: float = 20.0
    budget_octets: int = 64 << 30
    index_every_s: float = 600.0
