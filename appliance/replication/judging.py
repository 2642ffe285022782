"""Whether what another box has fits to what is here.

A journal has one history: under each number one entry. Where two boxes have two, somebody has cloned or put
back a card, or signs twice what should be once. What fits to that: if it is the journal of the one at the
other end, or of this box, the link is refused; if it is a third box's, both leave that box's entries out and
go on with the rest, so that who breaks its own journal breaks nothing between others.

Nobody has to give itself up because another one says so: what shows that this box's journal has gone on
elsewhere is an entry with this box's signature, which who refuses a link for that sends along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.replication.errors import Code, Refusal
from appliance.replication.interface import Arrival, BadEntries, Gap, Position, Replica
from appliance.store.journal import is_signed

FORKED_THEIRS = (
    "its journal is not the one that is known here: its card was cloned or put back to an older state;"
    " it becomes a new box by itself, with what only it has: if that takes long, its own status says why"
)


class Restored(Refusal):
    """This box's own journal has gone on elsewhere, as an entry with its own signature shows: the card here
    is a copy, or an old state of it.
    """

    def __init__(self, box: str) -> None:
        super().__init__(
            Code.FORKED,
            f"the journal of this box has gone on elsewhere, as box {box} shows: the card was cloned or put"
            " back to an older state; this box has to become a new one",
        )


async def forks(replica: Replica, positions: Mapping[str, Position]) -> set[str]:
    """Boxes of which somebody with these positions has another history, as far as can be seen."""
    found: set[str] = set()
    for box, theirs in positions.items():
        ours = replica.positions().get(box)
        if ours is None or not theirs.seq or theirs.seq > ours.seq or not theirs.digest:
            continue
        digest = ours.digest if theirs.seq == ours.seq else await replica.digest_at(box, theirs.seq)
        if digest and digest != theirs.digest:
            found.add(box)
    return found


async def judge(
    replica: Replica, other: str, positions: Mapping[str, Position], before: Mapping[str, Position]
) -> set[str]:
    """Boxes to leave out on a link to ``other``, which has these positions, and said so after ``before`` was
    here. Raises ``Refusal``. What it says of this box's own journal is only believed when it is shown.
    """
    found = await forks(replica, positions)
    if other in found or _seq(positions, other) < _seq(before, other):
        raise Refusal(Code.FORKED, FORKED_THEIRS, await evidence(replica, other))
    return found - {replica.own}


async def sift(
    replica: Replica,
    other: str,
    barred: set[str],
    arrivals: Sequence[Arrival],
) -> tuple[list[Arrival], set[str]]:
    """The entries to absorb, and boxes to leave out from now on because they have two histories. Raises
    ``Refusal``.

    Those of a box that was revoked are absorbed, also above where it was cut off: who sends them had them
    before it heard of that, and may have built on them. So they count, and the cut is raised. From the
    revoked box itself nothing is taken.
    """
    positions = replica.positions()
    kept: list[Arrival] = []
    forked: set[str] = set()
    looked_at: set[str] = set()
    for arrival in arrivals:
        box = arrival.box
        if box in barred or box in forked:
            continue
        at = positions.get(box)
        if box not in looked_at and at is not None and arrival.seq <= at.seq + 1:
            if arrival.seq <= at.seq:
                continue
            looked_at.add(box)
            if at.digest and arrival.prev != at.digest:
                if box == other:
                    raise Refusal(Code.FORKED, FORKED_THEIRS, await evidence(replica, other))
                forked.add(box)
                continue
        kept.append(arrival)
    return kept, forked


async def look_at_own(replica: Replica, public: bytes, other: str, arrivals: Sequence[Arrival]) -> None:
    """See whether there are entries by this box's key among these that are not in its journal. Raises
    ``Restored``; ``BadEntries`` if they are somebody else's.
    """
    for arrival in arrivals:
        if arrival.box != replica.own:
            continue
        digest = arrival.entry.digest()
        if arrival.seq <= _seq(replica.positions(), replica.own):
            known = await replica.digest_at(replica.own, arrival.seq)
            if known is None or known == digest:
                continue
        if not is_signed(arrival.signature, digest, public):
            raise BadEntries("entries that are said to be this box's own, and are not")
        raise Restored(other)


async def evidence(replica: Replica, box: str) -> Arrival | None:
    """The newest entry of a box that is here, to show it that it has another one under that number."""
    positions = replica.positions()
    after = {other: at.seq for other, at in positions.items()}
    after[box] = max(0, _seq(positions, box) - 1)
    try:
        found = await replica.read(after, 1)
    except Gap:
        return None
    return next((arrival for arrival in found if arrival.box == box), None)


def _seq(positions: Mapping[str, Position], box: str) -> int:
    return positions[box].seq if box in positions else 0
