"""Who is online and who wants whom to know it (TMTP revision 1, section 4, OhiEdit).

Volatile: a member's list lives as long as any link of that member is up, to this box or to another one of
the site. Pure data; whoever calls sends the notices, each box those to the nodes that are linked to it.
"""

from __future__ import annotations

from collections.abc import Iterable

ONLINE, OFFLINE = 1, 2
HERE = ""
"""This box, among the boxes that links are to."""


class Presence:
    """Knows which nodes are linked to which box, by member, and keeps each member's list of whom to tell."""

    def __init__(self) -> None:
        self._links: dict[int, set[tuple[str, int]]] = {}
        self._tells: dict[int, set[int]] = {}
        self._hears: dict[int, set[int]] = {}
        self._elsewhere: dict[int, set[str]] = {}

    def arrived(self, member: int, node: int, box: str = HERE) -> list[int]:
        """A link of a node of ``member`` came up. Returns the members whose presence is announced to this
        one.
        """
        self._links.setdefault(member, set()).add((box, node))
        if box != HERE:
            self._elsewhere.setdefault(node, set()).add(box)
        return sorted(self._hears.get(member, ()))

    def left(self, member: int, node: int, box: str = HERE) -> list[int]:
        """A link went. Returns the members to tell OFFLINE, if it was the last."""
        links = self._links.get(member, set())
        links.discard((box, node))
        boxes = self._elsewhere.get(node, set())
        boxes.discard(box)
        if not boxes:
            self._elsewhere.pop(node, None)
        if links:
            return []
        self._links.pop(member, None)
        told = self._tells.pop(member, set())
        self._forget(member, told)
        return sorted(told)

    def lost(self, box: str) -> list[tuple[int, list[int]]]:
        """Nothing is known any more of links to another box. Returns members that are offline now, and whom
        to tell.
        """
        gone = [(member, node) for member, links in self._links.items() for at, node in links if at == box]
        told = [(member, self.left(member, node, box)) for member, node in gone]
        return [(member, others) for member, others in told if others]

    def is_elsewhere(self, node: int) -> bool:
        """Whether the node has a link to another box."""
        return node in self._elsewhere

    def here(self) -> list[tuple[int, list[int], list[int]]]:
        """Members with links to this box: the nodes, and the member's list."""
        found = []
        for member, links in self._links.items():
            if nodes := sorted(node for box, node in links if box == HERE):
                found.append((member, nodes, sorted(self._tells.get(member, ()))))
        return found

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
