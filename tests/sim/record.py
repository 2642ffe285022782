"""What was said and done in a schedule, as somebody sees it who sees all boxes: every entry that was ever
made, every request and what it was answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from appliance.site import LASTING, TRAFFIC, Decision, decode_facts
from appliance.site.facts import LastingFact, Requested, TrafficFact
from appliance.store import Arrival
from tests.sim.box import Box

AnyFact = LastingFact | TrafficFact
Key = tuple[int, bytes]


@dataclass
class Answer:
    """``seq``: of the entry by which the box did it, if it did. ``holders``: other boxes that had the entry
    when the answer was given, and were not put out as far as anybody knew; ``level_2``: what the box said.
    """

    box: Box
    decision: Decision
    seq: int
    holders: list[Box]
    level_2: bool
    at_s: float


@dataclass
class Ask:
    """A request, which may be sent several times. ``text``: the data, of a post."""

    node: int
    request: Any
    data: tuple[bytes, ...] = ()
    fresh: Any = None
    answers: list[Answer] = field(default_factory=list)
    tries: int = 0

    @property
    def key(self) -> bytes:
        octets = repr(self.request).encode() + b"".join(hashlib.sha256(data).digest() for data in self.data)
        return hashlib.blake2b(octets, digest_size=16).digest()

    @property
    def done(self) -> bool:
        return any(answer.decision.error is None for answer in self.answers)


class Done(NamedTuple):
    """That a box carried a request out."""

    box: str
    seq: int
    msgid: int
    at_s: float


class Record:
    """``entries`` by box and seq. A box in ``forked`` has made two under one number."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, int], list[AnyFact]] = {}
        self.forked: set[str] = set()
        self.asks: list[Ask] = []
        self.texts: dict[int, bytes] = {}
        self.requests: dict[Key, list[Done]] = {}
        self._signatures: dict[tuple[str, int], bytes] = {}

    def told(self, box: Box, arrivals: Sequence[Arrival]) -> None:
        """What a box says after its commit."""
        for arrival in arrivals:
            place = arrival.box, arrival.seq
            if place in self._signatures:
                if self._signatures[place] != arrival.signature:
                    self.forked.add(arrival.box)
                continue
            self._signatures[place] = arrival.signature
            assert arrival.kind in (LASTING, TRAFFIC)
            facts = self.entries[place] = decode_facts(arrival.body)
            for octets in arrival.octets:
                self.texts.setdefault(octets.msgid, octets.data or b"")
            for fact in facts:
                if isinstance(fact, Requested):
                    done = self.requests.setdefault((fact.node, fact.key), [])
                    done.append(Done(arrival.box, arrival.seq, fact.msgid, box.now_s))

    def facts(self, positions: Mapping[str, int]) -> Iterator[tuple[str, AnyFact]]:
        """Those up to these positions. Entries that say again what was said have no part in it."""
        for (box, seq), facts in self.entries.items():
            if seq <= positions.get(box, 0):
                for fact in facts:
                    yield box, fact
