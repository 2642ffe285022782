"""What is answered to a request that a client sends again, because its ack was lost."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from appliance import wire
from appliance.session.requests import Requests
from appliance.store import Store
from appliance.store.queues import Absent
from tests.store import kit


class Link:
    """A device that has logged in anew."""

    backlog = 0

    def __init__(self, store: Store, data: bytes, message_octets: int = 1 << 30) -> None:
        settings = SimpleNamespace(requests_in_flight=8, message_octets=message_octets)
        self.service: Any = SimpleNamespace(store=store, settings=settings)
        self.acks: list[bytes] = []
        self._data = data

    async def drained(self) -> None:
        await trio.lowlevel.checkpoint()

    async def next_data(self) -> wire.Data:
        await trio.lowlevel.checkpoint()
        return wire.Data(self._data, True)

    def send(self, frame: bytes) -> None:
        self.acks.append(frame)


async def send(store: Store, node: int, to: str, data: bytes) -> bytes:
    """The ack of a large post."""
    link = Link(store, data)
    requests = Requests(link, store.site.nodes[node])
    request = kit.post_request([to], len(data), id="1")
    request.head, request.inline = b"the same octets", False
    await requests.take(request)
    await requests.settled()
    (ack,) = link.acks
    return ack


@pytest.mark.parametrize("is_here", [True, False])
def test_without_room_what_was_carried_out_is_acknowledged_again_if_its_data_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_here: bool
) -> None:
    """A box that is gone may have told of the request, and not given its file."""

    async def main() -> None:
        data = os.urandom(kit.LARGE)
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            first = await send(store, ann.node, bob.uid, data)
            monkeypatch.setattr(store.disk, "problem", lambda octets=0: "the disk is full: make room")
            if not is_here:
                (msgid,) = await kit.pending_ids(store, bob.node)
                sha = hashlib.sha256(data).digest()
                store.queues.absent[msgid] = Absent(3, len(data), sha, b"", True, {bob.node})
            again = await send(store, ann.node, bob.uid, data)
            assert again == first if is_here else b"the disk is full" in again, again

    kit.run(main)


@pytest.mark.parametrize("is_inline", [True, False])
def test_a_message_has_at_most_so_many_octets_however_it_comes(tmp_path: Path, is_inline: bool) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for size, is_refused in ((2048, False), (2049, True)):
                link = Link(store, bytes(size), message_octets=2048)
                requests = Requests(link, store.site.nodes[ann.node])
                request = kit.post_request([bob.uid], size, id="1")
                request.head, request.inline = b"octets %d" % size, is_inline
                request.data = bytes(size) if is_inline else b""
                await requests.take(request)
                await requests.settled()
                (ack,) = link.acks
                assert (b"at most 2048 octets, this has 2049" in ack) is is_refused, ack

    kit.run(main)
