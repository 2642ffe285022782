"""A device of a membership: what it asks goes to the outbox, and the answer finds it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from appliance import wire
from appliance.session import relayed
from appliance.session.relayed import RelayedRequests, UpstreamIds
from appliance.session.waiting import UNCLAIMED_MAX, Waiting
from appliance.site import Message, relay_answered
from appliance.site.facts import Outcome
from appliance.store import Store
from tests.store import kit
from tests.store.test_relay import membership, perform

PIECE = 50_000


class Line:
    """A link of the device, as its requests see it: what is sent to the device is in ``frames``."""

    backlog = 0

    def __init__(self, store: Store, waiting: Waiting, node: int) -> None:
        settings = SimpleNamespace(requests_in_flight=64, message_octets=1 << 30)
        self.service: Any = SimpleNamespace(store=store, waiting=waiting, settings=settings)
        self.frames: list[bytes] = []
        self.requests = RelayedRequests(self, store.site.nodes[node])
        self._data: list[wire.Data] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)

    async def drained(self) -> None:
        raise AssertionError("nothing is behind")

    async def next_data(self) -> wire.Data:
        await trio.lowlevel.checkpoint()
        return self._data.pop(0)

    async def ask(self, request: Any, data: bytes = b"") -> None:
        """A request comes, and is durable when this returns."""
        event = _received(request, data)
        if len(data) > wire.INLINE_MAX:
            pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
            self._data = [wire.Data(piece, piece is pieces[-1]) for piece in pieces]
        await self.requests.take(event)
        await self.requests.settled()


def _received(request: Any, data: bytes) -> Any:
    """The request as a server's link gives it, with its head."""
    request.head = repr(request).encode()
    if data:
        request.inline = len(data) <= wire.INLINE_MAX
        request.data = data if request.inline else b""
    return request


def post(id: str, data: bytes = b"ho") -> wire.Post:
    return wire.Post(id, [wire.Target("B", 1)], len(data), 0, None)


def test(folder: Path, body: Callable[[Store, Waiting, int, int], Awaitable[None]]) -> None:
    """``body`` gets the store, who waits there, the membership's number and its device."""

    async def main() -> None:
        async with kit.running(folder / "a") as store:
            number, devices = await membership(store)
            waiting = Waiting()
            store.relay.on_outcome.append(waiting.answered)
            await body(store, waiting, number, devices[0])

    kit.run(main)


test.__test__ = False  # type: ignore[attr-defined]


async def answer(store: Store, number: int, msgid: int, upid: int = 77, error: str = "") -> None:
    await perform(store, relay_answered, number, msgid, upid, 1_700_000_000_000, error)


def test_the_ack_is_the_sites_and_comes_when_that_has_answered(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        line = Line(store, waiting, device)
        await line.ask(post("1"), b"ho")
        assert line.frames == []
        (item,) = await store.relay.items(number)
        await answer(store, number, item.msgid)
        assert line.frames == [wire.encode_ack("1", 77, 1_700_000_000_000)]

    test(tmp_path, body)


def test_who_comes_back_and_asks_again_gets_the_first_answer_and_nothing_is_sent_twice(
    tmp_path: Path,
) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        first = Line(store, waiting, device)
        await first.ask(post("1"), b"ho")
        first.requests.end()
        second = Line(store, waiting, device)
        await second.ask(post("1"), b"ho")
        (item,) = await store.relay.items(number)
        assert second.frames == []
        await answer(store, number, item.msgid)
        third = Line(store, waiting, device)
        await third.ask(post("1"), b"ho")
        ack = [wire.encode_ack("1", 77, 1_700_000_000_000)]
        assert (first.frames, second.frames, third.frames) == ([], ack, ack)
        assert await store.relay.items(number) == []

    test(tmp_path, body)


def test_a_link_that_is_gone_waits_for_no_answer(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        line = Line(store, waiting, device)
        await line.requests.take(_received(post("1"), b"ho"))
        line.requests.end()
        await line.requests.settled()
        (item,) = await store.relay.items(number)
        await answer(store, number, item.msgid)
        assert line.frames == []

    test(tmp_path, body)


def test_what_was_refused_is_judged_anew(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        first = Line(store, waiting, device)
        await first.ask(post("1"), b"ho")
        (item,) = await store.relay.items(number)
        await answer(store, number, item.msgid, 0, "unknown uid: B")
        assert first.frames == [wire.encode_ack("1", error="unknown uid: B")]
        second = Line(store, waiting, device)
        await second.ask(post("1"), b"ho")
        (again,) = await store.relay.items(number)
        await answer(store, number, again.msgid)
        third = Line(store, waiting, device)
        await third.ask(post("1"), b"ho")
        assert second.frames == third.frames == [wire.encode_ack("1", 77, 1_700_000_000_000)]

    test(tmp_path, body)


def test_what_was_refused_over_and_over_is_not_looked_through_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        looks: list[Any] = []
        keys: set[bytes] = set()
        asked = store.relay.asked

        async def counted(*args: Any) -> Any:
            looks.append(args)
            return await asked(*args)

        monkeypatch.setattr(store.relay, "asked", counted)
        for turn in range(12):
            line = Line(store, waiting, device)
            for _ in range(2):  # on one link an id may be used again
                await line.ask(post("1"), b"ho")
            items = await store.relay.items(number)
            assert len(items) == 2, f"new ones in turn {turn}"
            keys.update(item.key for item in items)
            for item in items:
                await answer(store, number, item.msgid, 0, "not today")
            line.requests.end()
        assert len(looks) == len(keys) == 24
        line = Line(store, waiting, device)
        await line.ask(post("1"), b"ho")
        (item,) = await store.relay.items(number)
        await answer(store, number, item.msgid)
        again = Line(store, waiting, device)
        await again.ask(post("1"), b"ho")
        assert line.frames == again.frames == [wire.encode_ack("1", 77, 1_700_000_000_000)]
        await again.ask(post("1"), b"ho")
        assert len(await store.relay.items(number)) == 1, "used again: a new one"

    test(tmp_path, body)


def test_whom_one_announces_oneself_to_is_said_to_the_site_on_each_link(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        first = Line(store, waiting, device)
        await first.ask(wire.OhiEdit("1", ["B"], "init"))
        (item,) = await store.relay.items(number)
        first.requests.end()
        second = Line(store, waiting, device)
        await second.ask(wire.OhiEdit("1", ["B"], "init"))
        assert await store.relay.items(number) == [item], "it has not been said yet"
        await answer(store, number, item.msgid, 0)
        third = Line(store, waiting, device)
        await third.ask(wire.OhiEdit("1", ["B"], "init"))
        (again,) = await store.relay.items(number)
        await answer(store, number, again.msgid, 0)
        assert second.frames == third.frames == [wire.encode_ack("1")]

    test(tmp_path, body)


def test_a_link_keeps_in_mind_so_many_requests_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "TIMES_MAX", 2)

    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        line = Line(store, waiting, device)
        for id in ("1", "2", "1", "3", "1"):
            await line.ask(post(id), b"ho")
        assert [item.id for item in await store.relay.items(number)] == ["1", "2", "1", "3", "1"]
        assert len(line.requests._times) == 2

    test(tmp_path, body)


def test_an_id_that_is_used_again_on_a_link_is_a_new_request(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        line = Line(store, waiting, device)
        for _ in range(3):
            await line.ask(post("1"), b"ho")
        items = await store.relay.items(number)
        assert len(items) == 3
        again = Line(store, waiting, device)
        for _ in range(3):
            await again.ask(post("1"), b"ho")
        assert await store.relay.items(number) == items
        for upid, item in enumerate(items, 1):
            await answer(store, number, item.msgid, upid)
        assert again.frames == [wire.encode_ack("1", upid, 1_700_000_000_000) for upid in (1, 2, 3)]

    test(tmp_path, body)


def test_large_data_are_one_file_as_they_came_note_and_all(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        data = b"note" + bytes(100_000)
        request = wire.PostNotify("1", [wire.Target("B", 1)], len(data), 0, None, 4, 0, None, [], False)
        await Line(store, waiting, device).ask(request, data)
        (message,) = await kit.pending(store, store.site.memberships[number].out)
        assert message.blob == hashlib.sha256(data).digest() and message.size == len(data)
        assert message.head == request.head

    test(tmp_path, body)


def test_on_a_full_disk_too_large_data_that_come_again_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        data = bytes(100_000)
        await Line(store, waiting, device).ask(post("1", data), data)
        (item,) = await store.relay.items(number)
        await answer(store, number, item.msgid)
        monkeypatch.setattr(store.disk, "problem", lambda size: "disk full")
        line = Line(store, waiting, device)
        await line.ask(post("1", data), data)
        await line.ask(post("2", data), data)
        assert line.frames == [
            wire.encode_ack("1", 77, 1_700_000_000_000),
            wire.encode_ack("2", error="disk full"),
        ]

    test(tmp_path, body)


def test_another_device_is_made_here(tmp_path: Path) -> None:
    async def body(store: Store, waiting: Waiting, number: int, device: int) -> None:
        line = Line(store, waiting, device)
        await line.ask(wire.UserEdit("n", "tablet", None))
        assert line.frames == [wire.encode_ack("n")]
        assert await store.relay.items(number) == []
        assert len(store.site.memberships[number].devices) == 3
        await line.ask(wire.UserEdit("m", None, "a new name"))
        assert [item.id for item in await store.relay.items(number)] == ["m"]

    test(tmp_path, body)


def test_an_answer_that_comes_before_the_link_waits_for_it_is_not_lost() -> None:
    told: list[int] = []
    asker: Any = SimpleNamespace(tell=lambda outcome: told.append(outcome.msgid))
    waiting = Waiting()
    for msgid in range(1, UNCLAIMED_MAX + 3):
        waiting.answered(Outcome(msgid, 7, 8, ""))
    for msgid in (1, UNCLAIMED_MAX + 2):
        waiting.add(msgid, asker)
    assert told == [UNCLAIMED_MAX + 2], "and what is kept is bounded"


def test_messages_are_acknowledged_by_the_ids_of_their_site() -> None:
    def message(msgid: int, upid: int) -> Message:
        head = wire.encode_message("delivery", "B", upid, 0, 0, 0, None)
        return Message(msgid, 1, head, 0, b"", None, 0, ())

    ids = UpstreamIds()
    ids.sent([message(16, 5), message(32, 6), message(48, 5)])
    ids.sent([message(16, 5)])
    assert ids.acked(7) == []
    assert ids.acked(5) == [16, 48]
    assert ids.acked(5) == []
    assert ids.acked(6) == [32]


@pytest.mark.parametrize(
    "text",
    [
        '{"op": "delivery", "id": "0123456789abcdef", "from": "B", "posted": "x"}',
        '{"Op":"delivery","ID":"0123456789abcdef","From":"B","Posted":"x"}',
        '{"id":"0000000000000001","op":"member","from":"B","posted":"x","id":"0123456789abcdef"}',
        '{"for":[{"id":"0000000000000001"}],"from":"B","id":"0123456789abcdef","op":"ohiedit","posted":"x"}',
    ],
)
def test_the_id_is_found_however_the_site_writes_its_headers(text: str) -> None:
    ids = UpstreamIds()
    head = b"%04x" % len(text) + text.encode()
    ids.sent([Message(16, 1, head, 0, b"", None, 0, ())])
    assert ids.acked(0x0123456789ABCDEF) == [16]
