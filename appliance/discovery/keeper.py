"""Who holds the site's name: what to say and when, by what was heard and the time. No packets, no clock.

Who does not hold it asks the holder every CHECK_S. When an answer is missing, it asks again every GAP_S,
everybody, too (Wi-Fi loses what is said to everybody, but seldom what is said to one), and says that it wants
the name; after ASKS questions without an answer it takes it:

    holder dies ... CHECK_S ... asks, wants, wants, wants, takes: within CHECK_S + ASKS * GAP_S = 1.5 s
    holder says goodbye ... wants, takes: within GAP_S and some

- Of several that want it, the lowest box id takes it: the others hear that it wants it and wait.
- Who comes back finds it held, and leaves it so.
- Of two that hold it (their networks were joined) the lower id keeps it and says so again; the other says
  goodbye for its addresses. Holders look for each other every MEET_S.
- A stranger that has the name keeps it: we ask again now and then. One that claims a name that we hold has
  to say so twice, the second time after we asked, so that a stray packet takes nothing away.
- A box that cannot serve (``Willing.LAST``) leaves it to any other, and takes it when nobody else does.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum

from appliance.discovery.wording import Note, Says

CHECK_S = 0.5
GAP_S = 0.25
"""Between probes (RFC 6762, section 8.1)."""
ASKS = 4
DEFER_S = 0.6
"""How long who wants the name waits for a lower id that wants it, too: two of its questions may get lost."""
IDLE_S = 1.0
"""Between questions of who may not take the name, while nobody has it."""
STRANGER_S = 5.0
MEET_S, ALONE_S = 2.0, 5.0
"""Between a holder's questions whether another holds it, too; while no other box of the site is about."""
ABOUT_S = 600.0
"""For how long a box that was heard counts as being about."""
NEAR_S = 3.0
"""For how long who asks counts as ready to take over at once; and the head start of who can serve."""
REPEAT_S = (0.0, 0.3, 1.3)
"""A claim is announced three times: Wi-Fi loses some."""
ANEW_S = 0.2
"""Between two claims against another box that holds the name, too."""
DISPUTE_S, ECHO_S = 0.5, 0.05
"""How long we listen whether a stranger insists, and how late its first packet's copies may come."""
KNOWN_MAX = 64

Where = tuple[Hashable, ...]
"""How to reach who was heard; nothing is done with it here but to hand it back."""


class Willing(IntEnum):
    """Whether this box would hold the name."""

    NO = 0
    LAST = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Claim:
    """Announce that the name leads here, and no more to what is ``gone``."""

    gone: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Announce that it does not lead to these any more."""

    addresses: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask who holds it: ``to`` one box, or everybody (None)."""

    says: Says
    unicast: bool
    to: Where | None = None


Act = Claim | Goodbye | Ask


class Keeper:
    """Times are in seconds of any clock that does not go back."""

    def __init__(self, box: str) -> None:
        self.box = box
        self.holder: str | None = None
        """Who holds the name: a box's id; "" is a stranger, None nobody that we know of."""
        self.stranger: frozenset[bytes] = frozenset()
        """Where a stranger leads the name."""
        self.addresses: frozenset[bytes] = frozenset()
        """Where we would lead it. Set by ``here``."""
        self._own: frozenset[bytes] = frozenset()
        self._willing = Willing.NO
        self._acts: list[Act] = []
        self._where: Where | None = None
        self._theirs: frozenset[bytes] = frozenset()
        """The holder's addresses, or the last one's."""
        self._known: dict[bytes, None] = {}
        """Addresses of our site's boxes, the last KNOWN_MAX: also passed on by a router without the text."""
        self._unanswered = 0
        self._wanted = False
        self._ask_at = self._silent_since = self._defer_until = self._heard_at = self._near_at = float("-inf")
        self._claims: list[float] = []
        self._gone: frozenset[bytes] = frozenset()
        self._claimed_at = float("-inf")
        self._meet_at = 0.0
        self._asked_at: float | None = None
        """When a stranger claimed what we hold and we asked."""

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self.holder == self.box

    def here(self, addresses: frozenset[bytes], own: frozenset[bytes], now: float) -> None:
        """These are our addresses: told to others, and all. What we hold leads there at once."""
        gone = self.addresses - addresses
        self.addresses, self._own, self._where = addresses, own, None
        if self.held:
            self._announce(gone, now)

    def away(self) -> None:
        """We have left the network: what we held there is somebody else's by the time that we come back."""
        self.holder, self._where = None, None
        self._unanswered, self._wanted = 0, False
        self._ask_at = float("-inf")
        self._claims, self._asked_at = [], None

    def hear(self, note: Note, where: Where, now: float) -> None:
        """Take note of what was heard."""
        if note.box == self.box:
            return
        if note.box:
            self._heard_at = now
            self._learn(note.addresses)
            if note.says == "asks":
                self._near_at = now
            if note.says == "holds":
                self._left(note, now) if note.gone else self._holds(note, where, now)
            elif note.says == "wants":
                self._wants(note, now)
        elif not note.question:
            strange = note.addresses - self._own - self.addresses - self._known.keys()
            if strange:
                self._strange(strange, now)

    def step(self, willing: Willing, now: float) -> tuple[list[Act], float]:
        """What to say now, and in how many seconds to come again at the latest."""
        before, self._willing = self._willing, willing
        if self.held:
            if willing is Willing.NO or (willing is Willing.LAST and now - self._near_at < NEAR_S):
                self._leave(None, now)
        elif willing > before and self.holder is None:
            self._ask_at = now
        if self.held:
            self._hold(now)
        else:
            self._follow(now)
        acts, self._acts = self._acts, []
        due = min([self._meet_at, *self._claims, *self._disputed()]) if self.held else self._ask_at
        return acts, max(0.0, due - now)

    def _learn(self, addresses: frozenset[bytes]) -> None:
        for address in addresses:
            self._known.pop(address, None)
            self._known[address] = None
        while len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def _holds(self, note: Note, where: Where, now: float) -> None:
        if self.held:
            if note.box > self.box:
                if now - self._claimed_at >= ANEW_S:
                    self._announce(note.addresses - self.addresses, now)
                return
            self._leave(note.box, now)
        self.holder, self._where = note.box, where
        self._theirs = note.addresses or self._theirs
        self._defer_until = float("-inf")
        self._answered(CHECK_S, now)

    def _left(self, note: Note, now: float) -> None:
        if self.holder == note.box:
            self.holder, self._where = None, None
            self._unanswered, self._wanted = ASKS - 1, False
            self._ask_at = self._silent_since = now

    def _wants(self, note: Note, now: float) -> None:
        """Another box misses the holder: then we look, too, and the lower id comes first."""
        if self.held:
            return
        if note.box < self.box:
            self._defer_until = now + DEFER_S
            self._wanted = False
        if self._unanswered == 0 and self.holder != "":
            self._unanswered, self._ask_at = 1, now

    def _strange(self, addresses: frozenset[bytes], now: float) -> None:
        if not self.held:
            self.holder, self._where, self.stranger = "", None, addresses
            self._answered(STRANGER_S, now)
        elif self._asked_at is None:
            self._asked_at = now
            self._acts.append(Ask("holds", unicast=False))
        elif now - self._asked_at > ECHO_S:
            self.stranger = addresses
            self._leave("", now)
            self._answered(STRANGER_S, now)

    def _answered(self, again_s: float, now: float) -> None:
        self._unanswered, self._wanted = 0, False
        self._silent_since, self._ask_at = now, now + again_s

    def _leave(self, holder: str | None, now: float) -> None:
        self._acts.append(Goodbye(self.addresses))
        self.away()
        self.holder = holder
        self._silent_since, self._ask_at = now, now + GAP_S

    def _hold(self, now: float) -> None:
        if self._asked_at is not None and now >= self._asked_at + DISPUTE_S:
            self._asked_at = None
            self._announce(frozenset(), now)
        if any(at <= now for at in self._claims):
            self._claims = [at for at in self._claims if at > now]
            self._claimed_at = now
            self._acts.append(Claim(self._gone - self.addresses))
        if now >= self._meet_at:
            self._meet_at = now + (MEET_S if now - self._heard_at < ABOUT_S else ALONE_S)
            self._acts.append(Ask("holds", unicast=True))

    def _follow(self, now: float) -> None:
        if now < self._ask_at:
            return
        able = now >= self._defer_until and (
            self._willing is Willing.YES
            or (self._willing is Willing.LAST and now - self._silent_since >= NEAR_S)
        )
        if self._unanswered >= ASKS:
            self.holder, self._where = None, None
            if able and self._wanted:
                self._take(now)
                return
        missed = self._unanswered > 0 or self.holder is None
        self._wanted = able and missed
        ready: Says = "asks" if self._willing is Willing.YES else "looks"
        says: Says = "wants" if self._wanted else ready
        if self._where is not None:
            self._acts.append(Ask(says, unicast=True, to=self._where))
        if missed or self._where is None:
            self._acts.append(Ask(says, unicast=self._unanswered < 2))
        self._unanswered = min(self._unanswered + 1, ASKS)
        idle = self._unanswered == ASKS and not able and now >= self._defer_until
        self._ask_at = now + (IDLE_S if idle else GAP_S)

    def _take(self, now: float) -> None:
        self.holder, self._asked_at = self.box, None
        self._meet_at = now + MEET_S
        self._announce(self._theirs | self.stranger, now)
        self._theirs = self.stranger = frozenset()
        self._hold(now)

    def _announce(self, gone: frozenset[bytes], now: float) -> None:
        self._gone = gone
        self._claims = [now + later for later in REPEAT_S]

    def _disputed(self) -> list[float]:
        return [] if self._asked_at is None else [self._asked_at + DISPUTE_S]
