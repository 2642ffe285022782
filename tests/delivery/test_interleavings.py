"""Whatever is pushed, acknowledged, read, brought to the disk and reconnected in whatever order: a node gets
every message, in order, none after its ack, and on one link none twice but for those it kept for so long.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.delivery import CourierSettings
from appliance.delivery import courier as courier_module

from .judge import Judge
from .shelf import RANK_NORMAL, RANK_USER, Shelf, quiet, run

WINDOW = 4
OCTETS = 2000
RESEND_S = 30.0
SIZES = (10, 700, 1500, 5000, 200_000)

which = st.integers(0, 100)
STEPS = st.one_of(
    st.tuples(st.just("post"), st.integers(1, 12), st.sampled_from(SIZES), st.booleans()),
    st.tuples(st.just("user"), st.integers(1, 2), st.booleans()),
    st.tuples(st.just("ack"), which),
    st.tuples(st.just("ack all")),
    st.tuples(st.just("ack twice"), which),
    st.tuples(st.just("ack early"), which),
    st.tuples(st.just("ack nothing"), which),
    st.tuples(st.just("post, kept back"), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("keep back"), which),
    st.tuples(st.just("let go"), which),
    st.tuples(st.just("commit")),
    st.tuples(st.just("spill")),
    st.tuples(st.just("pause"), st.sampled_from((0.0, 0.05, 0.3, 1.0))),
    st.tuples(st.just("be away"), st.sampled_from((12.0, 31.0))),
    st.tuples(st.just("reconnect")),
)


class Story:
    """Carries out the steps on one shelf, with one link after another."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.judge = Judge(shelf, CourierSettings(WINDOW, OCTETS, RESEND_S), set())

    async def tell(self, steps: list[tuple[Any, ...]]) -> None:
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(self._connect)
            for step in steps:
                if step == ("reconnect",):
                    scope.cancel()
                    late = self.judge.late
                    self.judge = Judge(self.shelf, self.judge.settings, self.judge.acked)
                    self.judge.late = late
                    scope = await nursery.start(self._connect)
                else:
                    await self._do(*step)
            await self._drain()
            nursery.cancel_scope.cancel()

    async def _connect(self, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        judge = self.judge
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(judge.carry)
                nursery.start_soon(judge.tick)
                task_status.started(scope)

    async def _do(self, word: str, *args: Any) -> None:
        judge, shelf = self.judge, self.shelf
        kept = list(judge.kept)
        if word == "post":
            count, size, cached = args
            judge.post(count, size, RANK_NORMAL, cached=cached)
        elif word == "user":
            count, cached = args
            judge.post(count, 10, RANK_USER, cached=cached)
        elif word == "ack" and kept:
            judge.ack(kept[args[0] % len(kept)])
        elif word == "ack all":
            judge.ack(*kept)
        elif word == "ack twice" and kept:
            msgid = kept[args[0] % len(kept)]
            judge.ack(msgid, msgid)
        elif word == "ack early" and shelf.queue:
            judge.ack(list(shelf.queue)[args[0] % len(shelf.queue)])
        elif word == "ack nothing":
            judge.courier.ack(10**6 + args[0])
        elif word == "post, kept back":
            count, cached = args
            added = [shelf.add(cached=cached).msgid for _ in range(count)]
            shelf.kept_back.update(added)
            judge.late.update(added)
        elif word == "keep back":
            if others := [m.msgid for m in shelf.waiting() if m.msgid not in judge.kept]:
                shelf.kept_back.add(others[args[0] % len(others)])
                judge.late.update(shelf.kept_back)
        elif word == "let go" and shelf.kept_back:
            self._let_go(sorted(shelf.kept_back)[args[0] % len(shelf.kept_back)])
        elif word == "commit":
            shelf.commit()
        elif word == "spill":
            shelf.commit()
            shelf.spill()
        elif word in ("pause", "be away"):
            await trio.sleep(args[0])

    def _let_go(self, msgid: int) -> None:
        self.shelf.kept_back.remove(msgid)
        if msgid not in self.judge.acked:
            self.judge.push(self.shelf.queue[msgid])

    async def _drain(self) -> None:
        for msgid in sorted(self.shelf.kept_back):
            self._let_go(msgid)
        await quiet()
        while waiting := self.shelf.waiting():
            assert self.judge.kept, f"{len(waiting)} messages lie still"
            self.judge.ack(next(iter(self.judge.kept)))
            self.shelf.commit()
            await quiet()


@pytest.fixture(autouse=True)
def few_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier_module, "HINTS_MAX", 10)


@given(st.lists(STEPS, max_size=40), st.sampled_from((0.0, 0.1, 0.9)), st.integers(0, 15))
@settings(max_examples=150, deadline=None)
def test_every_message_once_in_order_and_none_after_its_ack(
    steps: list[tuple[Any, ...]], read_s: float, before: int
) -> None:
    shelf = Shelf(read_s)
    for n in range(before):
        shelf.add(rank=RANK_USER if n % 5 == 4 else RANK_NORMAL, cached=False)
    run(lambda: Story(shelf).tell(steps))
