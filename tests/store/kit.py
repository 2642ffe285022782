"""What the tests of this room share: a store that runs, people who use it, a look at what is on the disk."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sqlite3
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance import wire
from appliance.site import Decision, Limits, Message, Payload, Scene, decide, drop_node, register
from appliance.store import Job, Store, StoreSettings

SETTINGS: dict[str, Any] = {
    "acks_delay_s": 0.005,
    "spill_every_s": 3600.0,
    "reserve_percent": 0.0,
    "reserve_octets": 0,
}
"""Spills happen when a test asks for them; no reserve, so that a nearly full disk fails no test."""

LARGE = 70_000
_serial = itertools.count(1)


def opened(folder: Path, **changes: Any) -> Store:
    return Store.open(
        folder, StoreSettings(**{**SETTINGS, **changes}), Limits(disk_octets_per_member=1 << 40)
    )


@asynccontextmanager
async def running(folder: Path, **changes: Any) -> AsyncIterator[Store]:
    """A store with its owner task; closed at the end."""
    store = opened(folder, **changes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.run)
        try:
            yield store
        finally:
            store.close()


def run(test: Callable[[], Awaitable[Any]], *, limit_s: float = 60.0) -> None:
    """Run a test on trio and the real clock. A hang is a failure."""

    async def limited() -> None:
        with trio.fail_after(limit_s):
            await test()

    trio.run(limited)


@dataclass(frozen=True, slots=True)
class Credentials:
    uid: str
    password: str
    secret: bytes

    @classmethod
    def make(cls) -> Credentials:
        number = next(_serial)
        return cls(f"uid-{number}-q", f"password-{number}", hashlib.sha256(b"%d" % number).digest())


@dataclass(slots=True)
class Device:
    """A node that sends requests, on one link until it moves to another."""

    store: Store
    node: int
    link: int = 0
    lookup: bool = False
    serial: Iterable[int] = field(default_factory=itertools.count)

    @property
    def member(self) -> int:
        return self.store.site.nodes[self.node].member

    @property
    def uid(self) -> str:
        return self.store.site.members[self.member].uid

    def relink(self) -> None:
        """What happens at a login: a new link, which may repeat requests of the ones before."""
        self.link = self.store.link_id()
        self.lookup = self.store.has_keys(self.node)

    def job(
        self,
        request: wire.Request,
        payloads: tuple[Payload, ...] = (),
        done: Callable[[Decision], None] = lambda decision: None,
        fresh: Credentials | None = None,
    ) -> Job:
        """As session/requests.py makes them."""

        def judge(scene: Scene) -> Decision:
            if self.node not in scene.site.nodes:
                return Decision(error="this device was dropped")
            return decide(scene, scene.site.nodes[self.node], request, payloads, fresh)

        octets = repr(request).encode() + b"".join(payload.digest for payload in payloads)
        return Job(
            judge,
            done,
            node=self.node,
            link=self.link,
            key=hashlib.blake2b(octets, digest_size=16).digest(),
            lookup=self.lookup,
            takes_room=bool(payloads),
            octets=sum(len(p.data) for p in payloads if p.data is not None),
            files=any(p.data is None for p in payloads),
        )

    async def ask(
        self,
        request: wire.Request,
        payloads: tuple[Payload, ...] = (),
        fresh: Credentials | None = None,
    ) -> Decision:
        """Submit a request and wait for its answer; unpins the payloads' blobs as a link does."""
        answered = trio.Event()
        answers: list[Decision] = []

        def done(decision: Decision) -> None:
            for payload in payloads:
                if payload.data is None:
                    self.store.blobs.unpin(payload.digest)
            answers.append(decision)
            answered.set()

        await self.store.submit(self.job(request, payloads, done, fresh))
        await answered.wait()
        return answers[0]

    async def post(self, to: Iterable[str], data: bytes = b"", *, id: str = "") -> Decision:
        """A Post to uids. Data above 64 KiB goes through a file."""
        if len(data) > wire.INLINE_MAX:
            payload = await upload(self.store, data)
        else:
            payload = Payload.of(data)
        return await self.ask(post_request(to, payload.size, id=id), (payload,))

    def post_job(
        self, to: Iterable[str], data: bytes = b"", done: Callable[[Decision], None] = lambda decision: None
    ) -> Job:
        """A small Post that nobody has submitted yet."""
        return self.job(post_request(to, len(data)), (Payload.of(data),), done)

    async def alias(self, alias: str) -> Decision:
        return await self.ask(wire.UserEdit(id="e", newalias=alias))

    async def newnode(self, label: str = "tablet") -> Device:
        decision = await self.ask(
            wire.UserEdit(id=f"n{next(_serial)}", newnode=label), fresh=Credentials.make()
        )
        assert decision.error is None, decision.error
        return Device(self.store, decision.node)

    async def acks(self, *msgids: int) -> None:
        """Acknowledge, and wait until that is on stable storage."""
        for msgid in msgids:
            self.store.ack(self.node, msgid)
        await flush(self.store)

    async def drop(self) -> None:
        await self.store.perform(lambda scene: drop_node(scene, self.node))


def post_request(to: Iterable[str], size: int, *, id: str = "") -> wire.Post:
    targets = [wire.Target(uid, 1) for uid in to]
    return wire.Post(id=id or f"p{next(_serial)}", to=targets, datalen=size, datahead=0, datasum=None)


async def member(store: Store, label: str = "laptop") -> Device:
    """A new member's first device."""
    decision = await store.perform(
        partial(register, label=label, alias=None, fresh=Credentials.make(), subject=None)
    )
    assert decision.error is None, decision.error
    return Device(store, decision.node)


async def members(store: Store, count: int) -> list[Device]:
    return [await member(store) for _ in range(count)]


async def upload(store: Store, data: bytes) -> Payload:
    """Data in a file, pinned."""
    intake = store.blobs.upload()
    try:
        await intake.write([data])
        return await intake.finish()
    finally:
        intake.abort()


async def flush(store: Store) -> None:
    """Return when everything that was asked before is on stable storage."""
    await store.perform(lambda scene: Decision())


async def until(true: Callable[[], bool], *, limit_s: float = 10.0) -> None:
    """Look until it is so."""
    with trio.fail_after(limit_s):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.002)


async def spill(store: Store) -> None:
    """Have the owner spill now, if there is anything to spill, and return when all that follows is done."""
    store.upkeep._last_spill = float("-inf")
    await flush(store)
    await flush(store)


async def pending(store: Store, node: int) -> list[Message]:
    """A node's whole queue, in order."""
    found: list[Message] = []
    while True:
        more, _ = await store.pending(node, {message.msgid for message in found}, 100)
        if not more:
            return found
        found += more


async def pending_ids(store: Store, node: int) -> list[int]:
    return [message.msgid for message in await pending(store, node)]


def power_cut(folder: Path, copy: Path) -> Path:
    """What a power cut would leave of a running store's folder: a copy without its memory."""
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm", "ballast"))
    return copy


def rows(folder: Path, sql: str, *values: Any) -> list[Any]:
    """What the database says, through a connection of its own."""
    with closing(sqlite3.connect(folder / "pocket.db")) as connection:
        return connection.execute(sql, values).fetchall()


def change(folder: Path, sql: str, *values: Any, **named: Any) -> int:
    """Tamper with the database of a closed store. Returns how many rows were changed."""
    with closing(sqlite3.connect(folder / "pocket.db")) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        return connection.execute(sql, named or values).rowcount


def blob_files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").glob("??/*")}


def unfinished(folder: Path) -> list[Path]:
    return list((folder / "blobs" / "incoming").iterdir())


class Clock:
    """Stands in for the module ``time``: wall clock and monotonic clock as a test sets them."""

    def __init__(self, ns: int) -> None:
        self.ns = ns
        self.monotonic_s = 1000.0
        self.module = types.SimpleNamespace(time_ns=lambda: self.ns, monotonic=lambda: self.monotonic_s)

    def drive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in ("store", "ledger", "upkeep"):
            monkeypatch.setattr(f"appliance.store.{module}.time", self.module)

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)
        self.monotonic_s += seconds
