"""Another box of the site, as this one sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import trio

from appliance.replication.dial import Backoff
from appliance.replication.errors import BadFrame, Code, PeerError, Refusal, Refused
from appliance.replication.host import Bell
from appliance.replication.interface import BoxState, Position
from appliance.replication.link import Session
from appliance.replication.stream import Mode
from appliance.session import LinkLost

State = Literal["in sync", "catching up", "away", "revoked", "refused"]

ADDRESSES_MAX: Final = 8
IN_SYNC_S: Final = 1.5
"""Behind by no more than this counts as in sync: entries are on their way all the time."""
GAP_PATIENCE_S: Final = 3.0
STEADY_S: Final = 5.0
"""A link that has lasted for so long shows that what was wrong is over."""
PASSING: Final = frozenset({Code.STOPPING, Code.OTHER_LINK, Code.INCOMPLETE})
"""Reasons to end a link that pass by themselves."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """``lag_entries``: what it has yet to confirm; ``lacking``: what it had that is not here yet, as far as
    is known. ``absent``: messages of which it has yet to get what is in them. ``lag_s``: for how long it has
    not been in sync. ``seen_s``: since its last octets; None: never.
    ``address``: where it is, or was. ``copy``: entries given and in all, while it takes a copy from here.
    ``problem``: what is wrong, and what to do. Rates are octets/s.
    """

    box: str
    name: str
    state: State
    lag_entries: int
    lacking: int
    lag_s: float
    address: str
    seen_s: float | None
    octets_in_s: float
    octets_out_s: float
    version: str
    copy: tuple[int, int] | None
    problem: str | None
    absent: int = 0


class Neighbour:
    def __init__(self, box: str, info: BoxState) -> None:
        self.box = box
        self.info = info
        self.session: Session | None = None
        self.giving: Session | None = None
        """The link on which it takes a copy."""
        self.backoff = Backoff()
        self.unlinked = Bell()
        self.problem: str | None = None
        self.refused = False
        self.confirmed: dict[str, int] = {}
        self.absent: int | None = None
        """Messages of which it lacks what is in them; None: it has yet to say."""
        self.address = ""
        self.version = ""
        self.seen_at: float | None = None
        self.synced_at = trio.current_time()
        self._gap: tuple[Session, str, int, float] | None = None
        self._placed = tuple(info.addresses)
        self._learned: list[str] = []
        self._rates = (0.0, 0.0)
        self._counted = (0, 0, trio.current_time())

    def update(self, info: BoxState) -> bool:
        """What the site knows of it now; whether it is reached elsewhere."""
        moved = tuple(info.addresses) != self._placed
        self.info, self._placed = info, tuple(info.addresses)
        return moved

    @property
    def revoked(self) -> bool:
        return self.info.cut is not None

    def learn(self, address: str) -> bool:
        """Somebody saw it there; whether that is news."""
        if address in self.addresses():
            return False
        self._learned = [address, *self._learned][:ADDRESSES_MAX]
        return True

    def addresses(self) -> list[str]:
        """Where to try, the best first."""
        last = [self.address] if self.address else []
        return list(dict.fromkeys([*last, *self.info.addresses, *self._learned]))[: 2 * ADDRESSES_MAX]

    def opened(self, session: Session) -> None:
        self._counted = (0, 0, trio.current_time())
        self.seen_at = session.heard_at
        self.absent = None
        if session.state is not None:
            self.version = session.state.program
            self.confirmed = {box: at.seq for box, at in session.state.positions.items()}
        if session.link.dialed:
            self.address = session.address

    def ended(self, error: PeerError | LinkLost | None) -> str | None:
        """A link to it is over, or none came about; what to tell, if it is more than a break."""
        if isinstance(error, Refused) and error.said not in PASSING:
            self.problem = f"box {self.box} ({self.info.name}) refuses this one: {error}"
        elif (isinstance(error, Refusal) and error.code not in PASSING) or (
            isinstance(error, PeerError) and not isinstance(error, Refused | Refusal)
        ):
            self.problem = f"box {self.box} ({self.info.name}) is refused: {error}"
        else:
            return None
        self.refused = True
        return self.problem

    def have(self, positions: Mapping[str, int]) -> None:
        for box, seq in positions.items():
            if box in self.confirmed or len(self.confirmed) < 256:
                self.confirmed[box] = max(seq, self.confirmed.get(box, 0))

    def gap(self, session: Session, journal: str) -> None:
        """It says that it no longer has what is missing here of a journal. Raises ``BadFrame`` if it has
        nothing of that.
        """
        theirs = session.state.positions.get(journal) if session.state is not None else None
        if theirs is None:
            raise BadFrame("a gap in a journal that it does not have")
        self._gap = session, journal, theirs.seq, trio.current_time() + GAP_PATIENCE_S

    def gap_met(self, positions: Mapping[str, int]) -> str | None:
        """The journal of which entries are missing here and gone there; None if there is none, or another box
        may still give them. Said once.
        """
        if self._gap is None or trio.current_time() < self._gap[3]:
            return None
        (session, journal, seq, _), self._gap = self._gap, None
        met = session is self.session and positions.get(journal, 0) < seq
        return journal if met else None

    def look(self, marks: Sequence[tuple[float, Mapping[str, int]]]) -> None:
        """Note how the link does. ``marks``: what this box had at some moments, the latest last."""
        now = trio.current_time()
        session = self.session
        if session is None or not session.open:
            self._rates = (0.0, 0.0)
            return
        self.seen_at = session.heard_at
        if now - session.began > STEADY_S and self.problem is not None:
            self.problem, self.refused = None, False
            self.backoff.reset()
        counted_in, counted_out, at = self._counted
        if now - at >= 1.0:
            self._rates = (
                (session.octets_in - counted_in) / (now - at),
                (session.octets_out - counted_out) / (now - at),
            )
            self._counted = (session.octets_in, session.octets_out, now)
        if session.stream.mode is Mode.LIVE and session.reached and self.absent == 0:
            barred = session.stream.barred
            for at, positions in reversed(marks):
                if at <= self.synced_at:
                    break
                if all(self.confirmed.get(b, 0) >= seq for b, seq in positions.items() if b not in barred):
                    self.synced_at = at
                    break

    def status(self, positions: Mapping[str, Position], now: float) -> PeerStatus:
        session = self.session if self.session is not None and self.session.open else None
        barred = session.stream.barred if session else set()
        lag_entries = sum(
            max(0, at.seq - self.confirmed.get(box, 0)) for box, at in positions.items() if box not in barred
        )
        lacking = sum(
            max(0, seq - (positions[box].seq if box in positions else 0))
            for box, seq in self.confirmed.items()
            if box not in barred
        )
        lag_s = now - self.synced_at
        state: State = "away"
        if self.revoked:
            state = "revoked"
        elif session is not None:
            state = "in sync" if lag_s <= IN_SYNC_S and not lacking else "catching up"
        elif self.refused:
            state = "refused"
        copy = None
        if self.giving is not None and self.giving.open:
            given, total = self.giving.stream.known, sum(at.seq for at in positions.values())
            copy = min(total, sum(given.get(box, 0) for box in positions)), total
        return PeerStatus(
            self.box,
            self.info.name,
            state,
            lag_entries,
            lacking,
            0.0 if state == "in sync" else lag_s,
            session.address if session else self.address,
            None if self.seen_at is None else now - self.seen_at,
            *self._rates,
            self.version,
            copy,
            self.problem,
            self.absent or 0,
        )
