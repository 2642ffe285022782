"""What a store should hold, told in the simplest way, beside a real one that random histories happen to."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance import wire
from appliance.site import Decision, drop_node
from appliance.store import Job, Store, verify
from tests.store import kit

MOST_NODES = 8
START_NS = 1_800_000_000_000_000_000
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """A message in a queue; sorts as the queue does."""

    rank: int
    msgid: int
    sender: int = field(compare=False)
    data: bytes = field(compare=False)


class Household:
    """A real store and the model of it. Each method is something that happens to both."""

    def __init__(self, folder: Path, clock: kit.Clock, **settings: Any) -> None:
        self.folder = folder
        self.clock = clock
        self.settings = settings
        self.store: Store
        self.queues: dict[int, list[Item]] = {}
        self.members: dict[int, int] = {}
        self.uids: dict[int, str] = {}
        self.answers: dict[tuple[int, str], tuple[Decision, bytes, str]] = {}
        self.highest = 0
        self._copies = itertools.count()
        self._stack = AsyncExitStack()
        self._serial = itertools.count()

    async def open(self) -> None:
        self.store = await self._stack.enter_async_context(kit.running(self.folder, **self.settings))

    async def close(self) -> None:
        await self._stack.aclose()

    async def settle(self, members: int, nodes: int) -> None:
        for _ in range(members):
            first = await kit.member(self.store)
            self.uids[first.member] = first.uid
            self._joined(first.node, first.member)
            for _ in range(nodes - 1):
                await self.newnode(first.node)

    # what can happen

    async def post(self, sender: int, targets: list[int], data: bytes) -> None:
        """``targets``: member numbers."""
        device = kit.Device(self.store, sender)
        request_id = f"p{next(self._serial)}"
        uids = [self.uids[number] for number in targets]
        device.relink()
        decision = await device.post(uids, data, id=request_id)
        assert decision.error is None, decision.error
        self._sent(decision.msgid, sender, self._recipients(sender, targets), data)
        self.answers[sender, request_id] = decision, data, repr(uids)

    async def repeat(self, which: int) -> None:
        """A request is sent again on a new link, by a device that lost its ack."""
        if not self.answers:
            return
        (node, request_id), (first, data, uids) = list(self.answers.items())[which % len(self.answers)]
        if node not in self.queues:
            return
        device = kit.Device(self.store, node)
        device.relink()
        again = await device.post(eval(uids), data, id=request_id)
        assert (again.error, again.msgid, again.posted_ms) == (None, first.msgid, first.posted_ms)

    async def alias(self, node: int) -> None:
        decision = await kit.Device(self.store, node).alias(f"alias-number-{next(self._serial)}")
        assert decision.error is None
        own = [n for n, member in self.members.items() if member == self.members[node]]
        await self._user_message(node, own)

    async def newnode(self, node: int) -> None:
        if len(self.queues) >= MOST_NODES:
            return
        own = [n for n, member in self.members.items() if member == self.members[node]]
        made = await kit.Device(self.store, node).newnode()
        self._joined(made.node, self.members[node])
        self.queues[made.node] = list(self.queues[node])
        await self._user_message(node, own)

    async def ack(self, node: int, first: int, count: int) -> None:
        chosen = self.queues[node][first : first + count]
        await kit.Device(self.store, node).acks(*(item.msgid for item in chosen))
        self.queues[node] = [item for item in self.queues[node] if item not in chosen]

    async def drop(self, node: int) -> None:
        if len(self.queues) < 3:
            return
        await kit.Device(self.store, node).drop()
        del self.queues[node], self.members[node]

    async def together(self, sender: int, heir_of: int, dropped: int, data: bytes) -> None:
        """A post to everybody, a new node and a drop wait for the same commit."""
        if len(self.queues) < 3 or len(self.queues) >= MOST_NODES or sender == dropped:
            return
        everybody = sorted(set(self.members.values()))
        answers: list[Decision] = []
        post = kit.Device(self.store, sender).post_job(
            [self.uids[m] for m in everybody], data, done=answers.append
        )
        request = wire.UserEdit(id=f"t{next(self._serial)}", newnode="heir")
        newnode = kit.Device(self.store, heir_of).job(
            request, done=answers.append, fresh=kit.Credentials.make()
        )
        own = [n for n, member in self.members.items() if member == self.members[heir_of]]
        for job in (post, newnode, Job(lambda scene: drop_node(scene, dropped), answers.append)):
            await self.store.submit(job)
        await kit.flush(self.store)
        assert [answer.error for answer in answers] == [None] * 3
        self._sent(answers[0].msgid, sender, self._recipients(sender, everybody), data)
        self._joined(answers[1].node, self.members[heir_of])
        self.queues[answers[1].node] = list(self.queues[heir_of])
        await self._user_message(heir_of, own, leave_out=dropped)
        del self.queues[dropped], self.members[dropped]

    async def spill(self) -> None:
        await kit.spill(self.store)

    async def cut(self) -> None:
        """A day and an hour pass."""
        self.clock.advance(25 * HOUR_S)
        self.answers.clear()
        await self.spill()

    async def week(self) -> None:
        """Eight days pass, and then something happens: what is pending is said again, and its entries go."""
        self.clock.advance(8 * 24 * HOUR_S)
        self.answers.clear()
        node = min(self.queues)
        for _ in range(2):
            await self.post(node, [self.members[node]], b"still here")
            await self.spill()
            self.clock.advance(HOUR_S)

    async def reopen(self) -> None:
        await self.close()
        await self.open()

    async def power_cut(self) -> None:
        """Go on with a copy of the files of the running store, as they are on the disk."""
        copy = kit.power_cut(self.folder, self.folder.with_name(f"cut{next(self._copies)}"))
        await self.close()
        shutil.rmtree(self.folder)
        copy.rename(self.folder)
        await self.open()

    async def turn_clock(self, seconds: float) -> None:
        self.clock.ns = max(0, self.clock.ns + int(seconds * 1e9))
        if seconds > 24 * HOUR_S:
            self.answers.clear()

    # whether it is so

    async def compare(self) -> None:
        store = self.store
        assert set(store.site.nodes) == set(self.queues)
        for node, want in self.queues.items():
            found = await kit.pending(store, node)
            assert [m.msgid for m in found] == [item.msgid for item in want]
            assert [m.rank for m in found] == [item.rank for item in want]
            for message, item in zip(found, want, strict=True):
                assert message.size == len(item.data)
                if message.blob is None:
                    assert message.data == item.data
                else:
                    assert store.blobs.path(message.blob).read_bytes() == item.data
            pending = store.queues.nodes.get(node)
            count, octets = (pending.count, pending.octets) if pending else (0, 0)
            assert (count, octets) == (len(want), sum(len(item.data) for item in want))
            assert await store.oldest(node) == min((item.msgid for item in want), default=0)
        everything = {item.msgid: item for queue in self.queues.values() for item in queue}
        assert await store.oldest() == min(everything, default=0)
        assert all(p.count >= 0 and p.octets >= 0 and p.on_disk >= 0 for p in store.queues.nodes.values())

    async def compare_disk(self) -> None:
        """After a spill the tables hold what is pending and nothing else."""
        everything = {item.msgid: item for queue in self.queues.values() for item in queue}
        rows = kit.rows(self.folder, "SELECT node, rank, msgid FROM queue ORDER BY 1, 2, 3")
        assert rows == [
            (node, item.rank, item.msgid) for node in sorted(self.queues) for item in self.queues[node]
        ]
        assert [m for (m,) in kit.rows(self.folder, "SELECT msgid FROM message")] == sorted(everything)
        assert kit.rows(self.folder, "SELECT count(*) FROM fresh") == [(0,)]
        large = [item.data for item in everything.values() if len(item.data) > wire.INLINE_MAX]
        assert kit.blob_files(self.folder) == {hashlib.sha256(data).hexdigest() for data in large}
        stored: dict[int, int] = {}
        for item in everything.values():
            stored[item.sender] = stored.get(item.sender, 0) + len(item.data)
        for number in self.uids:
            assert self.store.queues.stored_octets(number) == stored.get(number, 0)
        result = await trio.to_thread.run_sync(verify, self.folder)
        assert result["problems"] == [], result["problems"]

    # the model's own rules

    def _recipients(self, sender: int, targets: list[int]) -> list[int]:
        own = self.members[sender]
        return [n for n, m in self.members.items() if m in targets or (m == own and n != sender)]

    def _joined(self, node: int, member: int) -> None:
        self.queues[node] = []
        self.members[node] = member

    def _sent(self, msgid: int, sender: int, nodes: list[int], data: bytes, rank: int = 1) -> None:
        assert msgid > self.highest, "ids rise, whatever the clock says"
        self.highest = msgid
        for node in nodes:
            self.queues[node].append(Item(rank, msgid, self.members[sender], data))
            self.queues[node].sort()

    async def _user_message(self, sender: int, nodes: list[int], leave_out: int = 0) -> None:
        """What the site tells a member's devices: its id is not in the answer, but it is the newest."""
        nodes = [node for node in nodes if node != leave_out]
        if not nodes:
            return
        witness = nodes[0]
        ids = await kit.pending_ids(self.store, witness)
        known = {item.msgid for item in self.queues[witness]}
        [msgid] = [msgid for msgid in ids if msgid not in known]
        self._sent(msgid, sender, nodes, b"", rank=0)
