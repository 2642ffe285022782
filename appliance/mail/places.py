"""Which archives a member has, and what each is called. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.site import Site


@dataclass(frozen=True, slots=True)
class Place:
    """An archive: the queue ``node``. ``membership`` is 0, and ``name`` empty, for what is kept of this
    site's.
    """

    node: int
    member: int
    membership: int
    name: str


def places(site: Site, member: int, membership: int | None = None) -> list[Place]:
    """A member's archives, or (``membership``) those of this site (0) or of one membership."""
    known = site.members.get(member)
    if known is None:
        return []
    found = [Place(node, member, 0, "") for node in known.archives]
    for number in known.memberships:
        of = site.memberships[number]
        if of.archive:
            found.append(Place(of.archive, member, number, of.name))
    return [place for place in found if membership is None or place.membership == membership]


def all_places(site: Site) -> Iterator[Place]:
    """Everybody's."""
    for member in site.members:
        yield from places(site, member)


def slots(site: Site) -> list[int]:
    """Of all boxes that there are or were; what was made before there were any has slot 0."""
    return sorted({0, *(box.slot for box in site.boxes.values())})
