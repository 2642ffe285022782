"""Whether what other boxes have and say fits to what is here, and what becomes of it: links that are refused,
journals that are left out, a box that finds itself to be an old card. What is what is found in `judging`.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.log import get_logger
from appliance.replication import events, judging, showing
from appliance.replication.errors import Code, Refusal
from appliance.replication.interface import Arrival, Replica
from appliance.replication.link import Session
from appliance.replication.view import Site

log = get_logger(__name__)


class Histories:
    """As ``host.Judge``, for the links of a box of the site. ``public``: its key."""

    def __init__(self, replica: Replica, public: bytes, site: Site) -> None:
        self._replica = replica
        self._public = public
        self._site = site

    async def shown(self, shown: events.Shown) -> None:
        """Raises ``Refusal``."""
        answer, caller = await showing.look(self._replica, self._public, self._site.boxes(), shown)
        if isinstance(answer, judging.Restored):
            if caller is not None:
                self._site.acquainted(caller, shown.addresses)
            self._site.on_restored(str(answer))
        raise answer

    async def judge(self, session: Session, state: events.PeerState) -> None:
        """Raises ``Refusal``."""
        if session.link.purpose == "anew":
            return
        if session.link.purpose == "copy":
            forked = await judging.forks(self._replica, state.positions)
            if forked:
                raise Refusal(Code.FORKED, "what was copied so far is not what is here: begin the copy anew")
            return
        forked = await judging.judge(self._replica, session.box, state.positions, session.before)
        for box in state.positions.keys() - forked:
            self._site.warn(f"fork {session.box} {box}", None)
        for box in forked:
            self._forked(session, box)

    async def look_at_own(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        """Raises ``Refusal``, ``BadEntries``."""
        await judging.look_at_own(self._replica, self._public, session.box, arrivals)

    async def sift(self, session: Session, arrivals: list[Arrival]) -> list[Arrival]:
        """Raises ``Refusal``."""
        info = self._site.boxes().get(session.box)
        if info is None or info.cut is not None:
            raise Refusal(Code.REVOKED, f"box {session.box} was put out of the site")
        kept, forked = await judging.sift(self._replica, session.box, session.stream.barred, arrivals)
        for box in forked:
            self._forked(session, box)
        return kept

    def _forked(self, session: Session, box: str) -> None:
        if box in session.stream.barred:
            return
        session.bar(box)
        text = (
            f"box {session.box} has another history of box {box} than this one: a card was cloned or put"
            " back, or one of them is not to be trusted; see which boxes there are, and revoke it if in doubt"
        )
        log.error("a box has two histories", peer=session.box, journal=box)
        self._site.warn(f"fork {session.box} {box}", text)


class CopyHistories:
    """As ``host.Judge``, for a box that takes a copy, and so takes all that comes."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def judge(self, session: Session, state: events.PeerState) -> None:
        """Raises ``Refusal``."""
        if not state.complete:
            raise Refusal(Code.INCOMPLETE, "that box is being filled itself: it has not everything")
        forked = await judging.forks(self._replica, state.positions)
        if forked:
            raise Refusal(Code.FORKED, f"the copy has another history of box {min(forked)}: begin it anew")

    async def shown(self, shown: events.Shown) -> None:
        """Raises ``Refusal``."""
        raise Refusal(Code.UNKNOWN, "this box calls, and is not called")

    async def look_at_own(self, session: Session, arrivals: Sequence[Arrival]) -> None:
        """They are what a copy is for."""

    async def sift(self, session: Session, arrivals: list[Arrival]) -> list[Arrival]:
        return arrivals
