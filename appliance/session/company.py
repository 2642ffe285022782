"""Who is there: presence of members, and links of one node to several boxes.

Boxes tell each other, of the moment and best effort, which nodes are linked to them and whom these members
announce themselves to. So a member is online while any box has a link; and a box hears that a node of its
own has turned up elsewhere, which mostly means that its own link is dead: it looks at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from appliance import wire
from appliance.delivery import Exchange
from appliance.log import get_logger
from appliance.site import OFFLINE, ONLINE, Node, Presence, Site

log = get_logger(__name__)

TOPIC = "presence"
LISTED_AT_ONCE = 500
"""Members or nodes in one telling: it has to fit 64 KiB."""


class Linked(msgspec.Struct, array_like=True, frozen=True, tag="linked"):
    """Nodes of a member have links to the box that says so. ``only``: nothing else that it said before
    holds.
    """

    member: int
    nodes: list[int]
    only: bool = False


class Unlinked(msgspec.Struct, array_like=True, frozen=True, tag="unlinked"):
    """A node has no link there any more."""

    member: int
    node: int


class Listed(msgspec.Struct, array_like=True, frozen=True, tag="listed"):
    """A member announces itself to others, or, if ``off``, does so no more."""

    member: int
    others: list[int]
    off: bool = False


def _of(node: Node) -> int:
    """Who is there with it: its member, or for a device of a membership, the membership: to be at another
    site is not to be at this one. Numbers of both are different.
    """
    return node.membership or node.member


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Linked | Unlinked | Listed)


class Company:
    """``tell`` sends a topic and octets to all other boxes in reach, if they take it."""

    def __init__(self, site: Site, exchange: Exchange) -> None:
        self.tell: Callable[[str, bytes], None] = lambda topic, payload: None
        self._site = site
        self._exchange = exchange
        self._presence = Presence()

    # what this box's links say

    def arrived(self, node: Node) -> list[int]:
        """A node logged in. Returns the members who announce themselves to its own."""
        hears = self._presence.arrived(_of(node), node.number)
        self._say(Linked(_of(node), [node.number]))
        return hears

    def left(self, node: Node) -> None:
        """Its link is gone."""
        told = self._presence.left(_of(node), node.number)
        self._notice(_of(node), told, OFFLINE)
        self._say(Unlinked(_of(node), node.number))

    def announce(self, member: int, others: Iterable[int]) -> None:
        """A member wants others to know that it is there."""
        new = self._presence.announce(member, others)
        self._notice(member, new, ONLINE)
        self._say_listed(member, new, off=False)

    def withdraw(self, member: int, others: Iterable[int]) -> None:
        """A member wants others to know no longer."""
        gone = self._presence.withdraw(member, others)
        self._notice(member, gone, OFFLINE)
        self._say_listed(member, gone, off=True)

    def is_online(self, node: int) -> bool:
        """Whether the node has a link to any box."""
        return node in self._exchange.online or self._presence.is_elsewhere(node)

    # what other boxes say

    def joined(self) -> None:
        """Another box came in reach: tell how it is here."""
        self._say(Linked(0, [], only=True))
        for member, nodes, others in self._presence.here():
            self._say(Linked(member, nodes))
            self._say_listed(member, others, off=False)

    def parted(self, box: str) -> None:
        """Another box is out of reach."""
        for member, told in self._presence.lost(box):
            self._notice(member, told, OFFLINE)

    def heard(self, box: str, topic: str, payload: bytes) -> None:
        """Another box told something. What is malformed is left alone."""
        if topic != TOPIC:
            return
        try:
            news = _decoder.decode(payload)
        except msgspec.DecodeError as error:
            log.debug("what a box told is not understood", peer=box, error=str(error))
            return
        presence = self._presence
        match news:
            case Linked():
                if news.only:
                    self.parted(box)
                for node in news.nodes:
                    presence.arrived(news.member, node, box)
                    own = self._exchange.online.get(node)
                    if own is not None:
                        own.suspect()
            case Unlinked():
                self._notice(news.member, presence.left(news.member, news.node, box), OFFLINE)
            case Listed():
                change = presence.withdraw if news.off else presence.announce
                self._notice(news.member, change(news.member, news.others), OFFLINE if news.off else ONLINE)

    def _say(self, news: Linked | Unlinked | Listed) -> None:
        self.tell(TOPIC, _encode(news))

    def _say_listed(self, member: int, others: list[int], off: bool) -> None:
        for at in range(0, len(others), LISTED_AT_ONCE):
            self._say(Listed(member, others[at : at + LISTED_AT_ONCE], off))

    def _notice(self, member: int, told: Iterable[int], status: int) -> None:
        members = self._site.members
        if member not in members:
            return
        frame = wire.encode_ohi(members[member].uid, status)
        for other in told:
            if other in members:
                self._exchange.notice(members[other].nodes, frame)
