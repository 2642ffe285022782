"""What every kind of light can do. Everything that may block is called in a worker thread, one call at a
time for each light; `value` is not, and touches no hardware.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from enum import Enum

from appliance.panel.settings import Role
from appliance.panel.signs import Shown


class Leave(Enum):
    """How a light is left when the panel ends. It must not lie when nobody drives it any more."""

    SAFE = "dark, because the box may be unplugged"
    TROUBLE = "blinking or at least lit, because the box ended in another way"
    FOUND = "as it was found, because it was only tried out"


class Lamp(ABC):
    """One light."""

    quick = False
    """True: its calls never block, and are made without a thread."""
    at_night = True
    """Whether the night dims it."""

    def __init__(self, name: str, role: Role) -> None:
        self.name = name
        self.role = role

    @abstractmethod
    def value(self, shown: Shown) -> Hashable:
        """What `put` would be given for `shown`; the same value is not put twice in a row."""

    @abstractmethod
    def open(self) -> None:
        """Get hold of it, dark; what an earlier `open` took is given back first. Raises ``PanelError`` or
        ``OSError``."""

    @abstractmethod
    def put(self, value: Hashable) -> None:
        """Show `value`. Raises ``PanelError`` or ``OSError``."""

    @abstractmethod
    def leave(self, how: Leave) -> None:
        """Give it back. Called once at the end, also if `open` failed or was never called."""
