"""Who is online and who wants whom to know it (TMTP revision 1, section 4, OhiEdit).

Volatile: a member's list lives as long as any link of that member is up. Pure data; whoever calls sends the
notices.
"""

from __future__ import annotations

from collections.abc import Iterable

ONLINE, OFFLINE = 1, 2


class Presence:
    """Counts links by member number and keeps each member's list of whom to tell."""

    def __init__(self) -> None:
        self._links: dict[int, int] = {}
        self._tells: dict[int, set[int]] = {}
        self._hears: dict[int, set[int]] = {}

    def arrived(self, member: int) -> list[int]:
        """A link of ``member`` came up. Returns the members whose presence is announced to this one."""
        self._links[member] = self._links.get(member, 0) + 1
        return sorted(self._hears.get(member, ()))

    def left(self, member: int) -> list[int]:
        """A link went. Returns the members to tell OFFLINE, if it was the last."""
        count = self._links.get(member, 0) - 1
        if count > 0:
            self._links[member] = count
            return []
        self._links.pop(member, None)
        told = self._tells.pop(member, set())
        self._forget(member, told)
        return sorted(told)

    def announce(self, member: int, to: Iterable[int]) -> list[int]:
        """Add to the list. Returns those who are newly on it, to tell ONLINE. Nothing if no link of
        ``member`` is up.
        """
        if member not in self._links:
            return []
        tells = self._tells.setdefault(member, set())
        new = [other for other in dict.fromkeys(to) if other not in tells]
        tells.update(new)
        for other in new:
            self._hears.setdefault(other, set()).add(member)
        return new

    def withdraw(self, member: int, to: Iterable[int]) -> list[int]:
        """Take off the list. Returns those who were on it, to tell OFFLINE."""
        tells = self._tells.get(member, set())
        gone = [other for other in dict.fromkeys(to) if other in tells]
        tells.difference_update(gone)
        self._forget(member, gone)
        return gone

    def _forget(self, member: int, told: Iterable[int]) -> None:
        for other in told:
            hears = self._hears.get(other)
            if hears is not None:
                hears.discard(member)
                if not hears:
                    del self._hears[other]
