"""How the boxes of the site are, for people: who has what, and whether this one may go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from appliance.health import Peer as PeerHealth
from appliance.peering.links import Links
from appliance.site import Box, heirs
from appliance.store import Store
from appliance.version import __version__

if TYPE_CHECKING:
    from appliance.replication.neighbour import PeerStatus

State = Literal[
    "here", "in sync", "behind", "joining", "away", "never seen", "refused", "revoked", "replaced"
]
LACKS: dict[State, str] = {
    "joining": "is still being filled",
    "away": "is away",
    "never seen": "has yet to finish joining",
    "refused": "and this box do not get on, see   pocket peer show",
}
LINKED: tuple[State, ...] = ("in sync", "behind", "joining")

WORST: tuple[tuple[State, PeerHealth], ...] = (
    ("refused", "away"),
    ("away", "away"),
    ("never seen", "away"),
    ("behind", "behind"),
    ("joining", "behind"),
    ("in sync", "in sync"),
)


class Standing:
    """Reads what is in memory; nothing here waits."""

    def __init__(self, store: Store, links: Links) -> None:
        self._store = store
        self._links = links
        self.missing: str | None = None
        """What waits for something that only a box out of reach can have, and what to do."""

    @property
    def own(self) -> str:
        return self._store.replica.own

    @property
    def known(self) -> Mapping[str, Box]:
        """All boxes that the site ever had, by id."""
        return self._store.site.boxes

    @property
    def others(self) -> list[Box]:
        """The other boxes of the site that count, by slot: none that is revoked or has become another."""
        known = self._store.site.boxes.values()
        found = (box for box in known if box.box != self.own and box.cut is None and not self._replaced(box))
        return sorted(found, key=lambda box: box.slot)

    @property
    def all(self) -> list[Box]:
        return sorted(self._store.site.boxes.values(), key=lambda box: (box.cut is not None, box.slot))

    @property
    def copies(self) -> int:
        """On how many boxes everything is."""
        return 1 + sum(self.state(box) == "in sync" for box in self.others)

    @property
    def peer(self) -> PeerHealth:
        """The others in one word: what needs a look first."""
        states = {self.state(box) for box in self.others}
        return next((told for state, told in WORST if state in states), "none")

    def state(self, box: Box) -> State:
        """How a box is, as this one sees it."""
        if box.box == self.own:
            return "here"
        if box.cut is not None:
            return "revoked"
        if self._replaced(box):
            return "replaced"
        link = self.link(box.box)
        if link is None or link.state not in ("in sync", "catching up"):
            if link is not None and link.copy is not None:
                return "joining"
            if link is not None and link.state == "refused":
                return "refused"
            return "away" if self.entries(box.box) else "never seen"
        if link.state == "in sync" and self._store.copies.in_sync(box.box):
            return "in sync"
        return "behind"

    def _replaced(self, box: Box) -> bool:
        """Whether it is another one by now. Where its card was copied one of the two may live on, and be
        linked: then that is this box.
        """
        if box.box not in heirs(self._store.site.boxes):
            return False
        link = self.link(box.box)
        return link is None or link.state not in ("in sync", "catching up")

    def link(self, box: str) -> PeerStatus | None:
        """What the links say of a box."""
        return next((link for link in self._links.peers() if link.box == box), None)

    def trouble(self, newcomer: str = "") -> str | None:
        """Why ``newcomer``, a box that may be known from an earlier attempt, cannot be let in now; None if it
        can.
        """
        for box in self.others:
            state = self.state(box)
            if box.box == newcomer:
                continue
            if state in ("never seen", "joining"):
                return (
                    f"box {box.name} has yet to finish joining: wait for it, or if it never will:"
                    f"   pocket peer revoke {box.box}"
                )
            if state in ("away", "refused"):
                return (
                    f"box {box.name} is away: bring it back, or if it is gone for good:   pocket peer revoke"
                    f" {box.box}"
                )
            if state == "behind" and not self._absent(box):
                return f"box {box.name} is still fetching: wait until   pocket peer list   says in sync"
        return None

    def safe(self) -> tuple[bool, str]:
        """Whether this box may be unplugged for good as far as its data goes, and why, or why not."""
        others = self.others
        if not others:
            return False, "there is no other box, everything is on this one alone"
        complete = [box for box in others if self.state(box) == "in sync" and not self._absent(box)]
        if complete and not self._store.copies.waiting:
            names = " and ".join(box.name for box in complete)
            return True, f"{names} {'has' if len(complete) == 1 else 'have'} everything, too"
        return False, ", ".join(self._lack(box) for box in others)

    def _lack(self, box: Box) -> str:
        link = self.link(box.box)
        state = self.state(box)
        if state in ("behind", "in sync") and link is not None:
            if link.lag_entries or not link.absent:
                return f"{box.name} has yet to get {max(link.lag_entries, 1):,} entries"
            return f"{box.name} has yet to get what is in {link.absent:,} messages"
        return f"{box.name} {LACKS[state]}"

    def _absent(self, box: Box) -> int:
        link = self.link(box.box)
        return link.absent if link is not None else 0

    def describe(self, box: Box) -> dict[str, Any]:
        """One box, as `pocket peer list` has it."""
        own, state = box.box == self.own, self.state(box)
        link = None if own else self.link(box.box)
        counts = link is not None and box.cut is None and state != "replaced"
        heir = heirs(self._store.site.boxes).get(box.box)
        return {
            "box": box.box,
            "name": box.name,
            "slot": box.slot,
            "own": own,
            "state": state,
            "linked": own or state in LINKED,
            "addresses": list(box.addresses),
            "address": link.address if link is not None and link.address else None,
            "behind_entries": link.lag_entries if link is not None and counts else 0,
            "behind_s": round(link.lag_s, 1) if link is not None and counts else 0.0,
            "lacking": link.lacking if link is not None and counts else 0,
            "absent": link.absent if link is not None and counts else 0,
            "seen_s": 0.0 if own else _rounded(link.seen_s if link is not None else None),
            "octets_in_s": round(link.octets_in_s) if link is not None else 0,
            "octets_out_s": round(link.octets_out_s) if link is not None else 0,
            "version": __version__ if own else link.version if link is not None else "",
            "copied": list(link.copy) if link is not None and link.copy is not None else None,
            "problem": link.problem if link is not None else None,
            "cut": box.cut,
            "was": box.of or None,
            "replaced_by": heir.box if state == "replaced" and heir is not None else None,
            "entries": self.entries(box.box),
            "public": box.public.hex(),
        }

    def figures(self) -> dict[str, Any]:
        """For `pocket status` and the metrics."""
        copies, others = self._store.copies, self.others
        told = [self.describe(box) for box in others]
        safe, why = self.safe()
        return {
            "copies": self.copies,
            "one_copy_acks": copies.one_copy,
            "safe_to_unplug": safe,
            "why": why,
            "peers": {
                "paired": len(others),
                "linked": sum(box["linked"] for box in told),
                "in_sync": sum(box["state"] == "in sync" for box in told),
                "behind_entries": max((box["behind_entries"] for box in told), default=0),
                "behind_s": max((box["behind_s"] for box in told), default=0.0),
                "waiting": copies.waiting,
            },
        }

    def entries(self, box: str) -> int:
        """How far this box has the other's journal."""
        position = self._store.replica.positions().get(box)
        return position.seq if position is not None else 0


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
