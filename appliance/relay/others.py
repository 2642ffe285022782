"""Which boxes of the household are linked to which sites, and so who does what for whom.

Boxes tell each other, of the moment and best effort, to which memberships' sites they have a link. Of those
that have one the box with the lowest slot is the *keeper*: it stores what comes from the site, and sends what
a box was to send that is gone. Times are seconds of any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from appliance.site import Box

TOPIC = "relay"
LISTED_AT_ONCE = 2000
"""Memberships in one telling: it has to fit 64 KiB."""


class Linked(msgspec.Struct, array_like=True, frozen=True, tag="linked"):
    """The box that says so has links to the sites of these memberships. ``only``: nothing else that it said
    before holds. ``ask``: it may have missed what the others said before. ``login``: the link is a new one.
    """

    memberships: list[int]
    only: bool = False
    ask: bool = False
    login: bool = False


class Unlinked(msgspec.Struct, array_like=True, frozen=True, tag="unlinked"):
    """It has no link there any more."""

    membership: int


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Linked | Unlinked)


@dataclass(slots=True)
class _Other:
    reach: bool = False
    linked: set[int] = field(default_factory=set)
    gone_at: dict[int, float] = field(default_factory=dict)
    logins: set[int] = field(default_factory=set)
    """Memberships at whose site it has logged in, of which the site will tell all nodes."""


class Others:
    """``boxes`` gives the site's boxes, ``own`` is this one's id. ``tell`` sends octets to all in reach."""

    def __init__(self, boxes: Callable[[], Mapping[str, Box]], own: str, now: Callable[[], float]) -> None:
        self.tell: Callable[[str, bytes], None] = lambda topic, payload: None
        self._boxes = boxes
        self._own = own
        self._now = now
        self._started = now()
        self._links: set[int] = set()
        self._others: dict[str, _Other] = {}

    # what this box's links say

    def linked(self, membership: int) -> None:
        """There is a link to its site."""
        self._links.add(membership)
        self.tell(TOPIC, _encode(Linked([membership], login=True)))

    def unlinked(self, membership: int) -> None:
        self._links.discard(membership)
        self.tell(TOPIC, _encode(Unlinked(membership)))

    # what other boxes say

    def in_reach(self, box: str, up: bool) -> None:
        """A box came in reach, or is out of it."""
        other = self._others.setdefault(box, _Other())
        other.reach = up
        if up:
            self._list(ask=True)
        else:
            self._lost(other, list(other.linked))

    def _list(self, ask: bool) -> None:
        links = sorted(self._links)
        for at in range(0, max(1, len(links)), LISTED_AT_ONCE):
            first = at == 0
            self.tell(TOPIC, _encode(Linked(links[at : at + LISTED_AT_ONCE], first, ask and first)))

    def heard(self, box: str, topic: str, payload: bytes) -> None:
        """A box told something. What is malformed is left alone."""
        if topic != TOPIC:
            return
        try:
            news = _decoder.decode(payload)
        except msgspec.DecodeError:
            return
        other = self._others.setdefault(box, _Other())
        if isinstance(news, Unlinked):
            self._lost(other, [news.membership])
            return
        if news.only:
            self._lost(other, other.linked - set(news.memberships))
        if news.login:
            other.logins.update(news.memberships)
        other.linked.update(news.memberships)
        if news.ask:
            self._list(ask=False)

    def _lost(self, other: _Other, memberships: Iterable[int]) -> None:
        now = self._now()
        for membership in list(memberships):
            if membership in other.linked:
                other.linked.discard(membership)
                other.gone_at[membership] = now

    # what follows

    @property
    def alone(self) -> bool:
        """Whether no other box has ever been of this site, but those that are out."""
        return not any(box != self._own and info.cut is None for box, info in self._boxes().items())

    def took_login(self, membership: int) -> bool:
        """Whether another box has logged in there, and nobody has asked about that login yet."""
        for other in self._others.values():
            if membership in other.logins:
                other.logins.discard(membership)
                return True
        return False

    @property
    def in_touch(self) -> bool:
        """Whether another box is in reach."""
        return any(other.reach for other in self._others.values())

    def is_keeper(self, membership: int) -> bool:
        """Whether this box is the one that stores what comes from there."""
        boxes = self._boxes()
        own = boxes.get(self._own)
        return own is None or not any(
            info.slot < own.slot and info.cut is None and self._has_link(box, membership)
            for box, info in boxes.items()
            if box != self._own
        )

    def has_link(self, slot: int, membership: int) -> bool:
        """Whether the box with that slot is in reach and has a link there."""
        return any(
            info.slot == slot and self._has_link(box, membership) for box, info in self._boxes().items()
        )

    def given_up(self, slot: int, membership: int, after_s: float) -> bool:
        """Whether the box with that slot has had no link there for so long that another one sends for it."""
        boxes = [(box, info) for box, info in self._boxes().items() if info.slot == slot and info.cut is None]
        return all(self._gone_s(box, membership) >= after_s for box, _ in boxes)

    def _has_link(self, box: str, membership: int) -> bool:
        other = self._others.get(box)
        return other is not None and other.reach and membership in other.linked

    def _gone_s(self, box: str, membership: int) -> float:
        if box == self._own or self._has_link(box, membership):
            return 0.0
        other = self._others.get(box)
        since = other.gone_at.get(membership, self._started) if other is not None else self._started
        return self._now() - since
