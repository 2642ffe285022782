"""A box's journals in memory, with real keys, signatures and chains, and a judge of causality in them: each
body says what its maker had applied, and ``absorb`` fails the test if that is not here yet.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

import msgspec
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.replication.interface import Arrival, BadEntries, Gap, Octets, Position
from appliance.store.journal import GENESIS, BoxKey, Checker, Entry, box_id


def seed_of(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def make_key(seed: int) -> BoxKey:
    return BoxKey(Ed25519PrivateKey.from_private_bytes(seed_of(seed)))


class Signer:
    """What the engine wants of a box's key."""

    def __init__(self, seed: int) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(seed_of(seed))
        self.public = self._private.public_key().public_bytes_raw()
        self.box = box_id(self.public)

    def sign(self, octets: bytes) -> bytes:
        return self._private.sign(octets)


class FakeReplica:
    """``boxes``: public keys by id, shared by all replicas of a test."""

    def __init__(self, seed: int, boxes: dict[str, bytes]) -> None:
        self.key = make_key(seed)
        self.own = self.key.box
        self.boxes = boxes
        boxes[self.own] = self.key.public
        self.journals: dict[str, dict[int, Arrival]] = {}
        self.heads: dict[str, Position] = {}
        self.clock = 0
        self.on_entries: list[Callable[[Sequence[Arrival]], None]] = []
        self.on_blob: list[Callable[[bytes], None]] = []
        self.order: list[tuple[str, int]] = []
        self.messages: dict[int, Octets] = {}
        self.due_messages: dict[int, str] = {}
        self.blobs: set[bytes] = set()
        self.due_blobs: dict[bytes, int] = {}
        self.absorbed: list[int] = []
        self.moved: list[bytes] = []
        self.commits: list[tuple[float, float]] = []
        """When each one began and ended."""
        self.slow_s = 0.0
        self.failure: Exception | None = None

    # making

    def add(
        self, size: int = 10, octets: Sequence[Octets] = (), blobs: Mapping[bytes, int] | None = None
    ) -> Arrival:
        """An entry of this box's own, and the commit of it."""
        self.clock += 1
        body = {
            "deps": {box: at.seq for box, at in self.heads.items()},
            "blobs": {sha.hex(): n for sha, n in (blobs or {}).items()},
            "messages": {str(o.msgid): hashlib.sha256(o.head + (o.data or b"")).hexdigest() for o in octets},
            "fill": "x" * size,
        }
        head = self.heads.get(self.own, Position(0, GENESIS))
        entry = self.key.sign(head.seq + 1, self.clock, 1, head.digest, json.dumps(body).encode())
        arrival = Arrival(
            entry.box, entry.seq, entry.clock, 1, entry.prev, entry.body, entry.signature, tuple(octets)
        )
        for sha in blobs or {}:
            self.blobs.add(sha)
        self._apply(arrival)
        self._tell([arrival])
        return arrival

    def cut(self, box: str, upto: int) -> None:
        for seq in range(1, upto + 1):
            self.journals[box].pop(seq, None)

    # the interface

    def positions(self) -> Mapping[str, Position]:
        return dict(self.heads)

    async def digest_at(self, box: str, seq: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        arrival = self.journals.get(box, {}).get(seq)
        return digest_of(arrival) if arrival else None

    def read_now(self, after: Mapping[str, int], max_octets: int, gaps: bool = False) -> list[Arrival]:
        found = []
        for box, journal in self.journals.items():
            seqs = sorted(seq for seq in journal if seq > after.get(box, 0))
            head = self.heads[box].seq
            if not gaps and head > after.get(box, 0) and seqs[:1] != [after.get(box, 0) + 1]:
                raise Gap(box)
            found += [journal[seq] for seq in seqs]
        found.sort(key=lambda a: (a.clock, a.box, a.seq))
        taken: list[Arrival] = []
        octets = 0
        for arrival in found:
            octets += len(arrival.body)
            if taken and octets > max_octets:
                break
            here = tuple(self.messages.get(o.msgid, o) for o in arrival.octets)
            taken.append(msgspec.structs.replace(arrival, octets=here))
        return taken

    async def read(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]:
        await trio.lowlevel.checkpoint()
        return self.read_now(after, max_octets)

    async def read_all(self, after: Mapping[str, int], max_octets: int) -> list[Arrival]:
        await trio.lowlevel.checkpoint()
        return self.read_now(after, max_octets, gaps=True)

    async def introductions(self) -> dict[str, Arrival]:
        return {}

    def absorb_now(self, arrivals: Sequence[Arrival], gaps: bool = False) -> list[Arrival]:
        fresh = []
        for arrival in arrivals:
            head = self.heads.get(arrival.box, Position(0, GENESIS))
            if arrival.seq <= head.seq:
                continue
            public = self.boxes.get(arrival.box)
            if public is None:
                raise BadEntries(f"box {arrival.box} is unknown")
            entry = entry_of(arrival)
            checker = Checker(public)
            checker._seq, checker._digest = (head.seq, head.digest) if head.digest else (0, GENESIS)
            problem = checker.check(entry, gap=gaps)
            if problem:
                raise BadEntries(problem)
            fresh.append(arrival)
            self._apply(arrival, gaps)
        self.absorbed.append(len(arrivals))
        if fresh:
            self._tell(fresh)
        return fresh

    gaps = False

    async def absorb(self, arrivals: Sequence[Arrival], source: str) -> None:
        began = trio.current_time()
        await trio.sleep(self.slow_s)
        if self.failure is not None:
            raise self.failure
        self.absorb_now(arrivals, self.gaps)
        self.commits.append((began, trio.current_time()))

    def absent(self) -> int:
        return len(self.absent_blobs()) + len(self.absent_messages())

    def absent_blobs(self) -> dict[bytes, int]:
        return {sha: size for sha, size in self.due_blobs.items() if sha not in self.blobs}

    def absent_messages(self) -> list[int]:
        return [msgid for msgid in self.due_messages if msgid not in self.messages]

    async def give_octets(self, given: Sequence[Octets]) -> None:
        await trio.lowlevel.checkpoint()
        self.give_now(given)

    def give_now(self, octets: Sequence[Octets]) -> None:
        for message in octets:
            if hashlib.sha256(message.head + (message.data or b"")).hexdigest() != self.due_messages.get(
                message.msgid
            ):
                raise BadEntries(f"message {message.msgid}: wrong octets")
            self.messages[message.msgid] = message

    async def octets(self, msgids: Sequence[int]) -> list[Octets]:
        await trio.lowlevel.checkpoint()
        return [self.messages[msgid] for msgid in msgids if msgid in self.messages]

    def blob_moves(self, sha: bytes) -> None:
        self.moved.append(sha)

    async def blob_here(self, sha: bytes) -> None:
        self.blobs.add(sha)
        for call in self.on_blob:
            call(sha)

    def saw_clock(self, clock: int) -> None:
        self.clock = max(self.clock, clock)

    def _apply(self, arrival: Arrival, gaps: bool = False) -> None:
        body = json.loads(arrival.body)
        for box, seq in body["deps"].items():
            there = self.heads.get(box, Position(0, b"")).seq
            assert gaps or there >= seq, f"an effect before its cause: {arrival.box} {arrival.seq}"
        self.journals.setdefault(arrival.box, {})[arrival.seq] = arrival
        self.heads[arrival.box] = Position(arrival.seq, digest_of(arrival))
        self.order.append((arrival.box, arrival.seq))
        self.clock = max(self.clock, arrival.clock)
        self.due_messages.update({int(msgid): digest for msgid, digest in body["messages"].items()})
        self.due_blobs.update({bytes.fromhex(sha): size for sha, size in body["blobs"].items()})
        self.give_now(arrival.octets)

    def _tell(self, arrivals: Sequence[Arrival]) -> None:
        for call in self.on_entries:
            call(arrivals)


class FakeCopies:
    def __init__(self) -> None:
        self.reached: dict[str, bool] = {}
        self.seqs: dict[str, int] = {}
        self.blobs: set[tuple[str, bytes]] = set()
        self.moved = 0
        self.lacks: dict[str, int] = {}

    def reach(self, box: str, up: bool) -> None:
        self.reached[box] = up

    def confirmed(self, box: str, seq: int) -> None:
        self.seqs[box] = max(seq, self.seqs.get(box, 0))

    def blob_confirmed(self, box: str, sha: bytes) -> None:
        self.blobs.add((box, sha))

    def lacking(self, box: str, messages: int) -> None:
        self.lacks[box] = messages

    def progress(self, box: str) -> None:
        self.moved += 1


def entry_of(arrival: Arrival) -> Entry:
    return Entry(
        arrival.box, arrival.seq, arrival.clock, arrival.kind, arrival.prev, arrival.body, arrival.signature
    )


def digest_of(arrival: Arrival) -> bytes:
    return entry_of(arrival).digest()
