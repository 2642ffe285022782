"""Boxes with real TLS links between them on the loopback, over replicas in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.replication.hub import Hub, Site
from appliance.replication.identity import Identity
from appliance.replication.interface import Arrival
from appliance.session import LinkLost, TlsStream, let_peers_in, listen
from appliance.session.certificate import ensure_certificate, server_context
from appliance.session.sockets import accept
from appliance.store.blobs import Blobs
from appliance.store.disk import Disk
from appliance.store.partial import Partials
from tests.replication.fakes import FakeCopies, FakeReplica, seed_of


@dataclass
class Known:
    """A box as the site knows it."""

    public: bytes
    name: str
    addresses: tuple[str, ...] = ()
    cut: int | None = None


class Called:
    def __init__(self, stream: TlsStream, address: str) -> None:
        self.stream, self.address = stream, address
        self.is_proven = False

    def proven(self) -> None:
        self.is_proven = True


def identity_of(seed: int) -> Identity:
    return Identity(Ed25519PrivateKey.from_private_bytes(seed_of(seed)))


def named(arrival: Arrival) -> list[bytes]:
    return [bytes.fromhex(sha) for sha in json.loads(arrival.body)["blobs"]]


class Box:
    """``home.boxes`` is what all boxes know of each other."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home = home
        self.identity = identity_of(seed)
        self.id = self.identity.box
        self.replica = FakeReplica(seed, home.keys)
        self.copies = FakeCopies()
        folder = home.folder / f"box{seed}"
        (folder / "blobs" / "incoming").mkdir(parents=True)
        self.blobs = Blobs(folder / "blobs", Disk(folder, 0, 0), lambda: None)
        self.partials = Partials(self.blobs)
        self.warnings: dict[str, str] = {}
        self.gaps: list[str] = []
        self.restored: list[str] = []
        self.revoked: list[str] = []
        self.placed: list[tuple[str, ...]] = []
        self.address = ""
        self.published: list[str] = []
        """What others are told instead of its address."""
        self.complete = True
        self.boxes = home.boxes
        self.hub = self.make_hub()
        self.calls: list[Called] = []
        self.scope = trio.CancelScope()

    def make_hub(self) -> Hub:
        site = Site(
            boxes=lambda: self.boxes,
            addresses=lambda: self.published or [self.address],
            place=self.place,
            warn=self.warn,
            named=named,
            on_gap=self.gaps.append,
            on_restored=self.restored.append,
            on_revoked=self.revoked.append,
            complete=lambda: self.complete,
            program="0.1",
        )
        return Hub(self.identity, self.replica, self.copies, self.partials, site)

    async def place(self, addresses: tuple[str, ...]) -> None:
        self.placed.append(addresses)
        self.boxes[self.id].addresses = addresses

    def warn(self, topic: str, text: str | None) -> None:
        if text is None:
            self.warnings.pop(topic, None)
        else:
            self.warnings[topic] = text

    def put_blob(self, octets: bytes) -> bytes:
        sha = hashlib.sha256(octets).digest()
        path = self.blobs.path(sha)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(octets)
        return sha

    async def listen(self, task_status: trio.TaskStatus[None]) -> None:
        """Take calls."""
        port = int(self.address.rpartition(":")[2]) if self.address else 0
        (sock,) = listen("127.0.0.1", port)
        self.address = f"=127.0.0.1:{sock.getsockname()[1]}"
        context = server_context(*self.home.certificate)
        let_peers_in(context, self.identity.server_context())
        with sock:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    called, address = await accept(sock)
                    nursery.start_soon(self._take, TlsStream(called, context), address)

    async def _take(self, stream: TlsStream, address: str) -> None:
        call = Called(stream, address)
        self.calls.append(call)
        try:
            with trio.fail_after(5):
                await stream.handshake()
            if stream.is_peers:
                await self.hub.accept(call)
        except (LinkLost, trio.TooSlowError):
            pass
        finally:
            stream.close()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Take calls and make them, until ``stop``."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.listen)
                await nursery.start(self.hub.run)
                task_status.started()

    def stop(self) -> None:
        self.scope.cancel()

    def status(self, other: Box):
        return next(peer for peer in self.hub.peers() if peer.box == other.id)

    def session(self, other: Box):
        return self.hub.neighbours[other.id].session


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: dict[str, bytes] = {}
        self.boxes: dict[str, Known] = {}
        self.certificate = ensure_certificate(folder / "tls", "home")

    def box(self, seed: int) -> Box:
        box = Box(self, seed)
        self.boxes[box.id] = Known(box.identity.public, f"box {seed}")
        return box

    @asynccontextmanager
    async def running(self, *boxes: Box) -> AsyncIterator[trio.Nursery]:
        """All of them run, and know where the others are."""
        async with trio.open_nursery() as nursery:
            for box in boxes:
                await nursery.start(box.run)
            yield nursery
            nursery.cancel_scope.cancel()


async def until(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something; fails after so long."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


class Wire:
    """A line between boxes that can be cut, frozen, or made to break after so many octets."""

    def __init__(self, target: str) -> None:
        self.host, _, port = target.removeprefix("=").rpartition(":")
        self.port = int(port)
        self.address = ""
        self.frozen = trio.Event()
        self.frozen.set()
        self.left: float = float("inf")
        self.each: float = float("inf")
        """How many octets go over a link before it breaks: the next one, and every one."""
        self.octets = 0
        self.links: list[trio.CancelScope] = []
        self.opened = 0

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = f"=127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._carry, listeners)

    async def _carry(self, near: trio.SocketStream) -> None:
        self.opened += 1
        if self.each < float("inf"):
            self.left = self.each
        with trio.CancelScope() as scope:
            self.links.append(scope)
            try:
                far = await trio.open_tcp_stream(self.host, self.port)
                async with far, near, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, near, far, nursery.cancel_scope)
                    nursery.start_soon(self._pump, far, near, nursery.cancel_scope)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass

    async def _pump(self, source, target, scope) -> None:
        while octets := await source.receive_some(16384):
            while not self.frozen.is_set():
                await self.frozen.wait()
            self.octets += len(octets)
            if len(octets) > self.left:
                await target.send_all(octets[: int(self.left)])
                self.left = float("inf")
                scope.cancel()
                return
            self.left -= len(octets)
            await target.send_all(octets)
        scope.cancel()

    def cut(self) -> None:
        for scope in self.links:
            scope.cancel()
        self.links.clear()

    def freeze(self) -> None:
        self.frozen = trio.Event()
