"""How the scan goes on beside the store's work, and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.store import Scrubber, StoreError
from tests.store import kit
from tests.store.damage import scrubbed


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.store.scrubber.LOOK_S", 0.01)


def test_the_store_goes_on_meanwhile(tmp_path: Path) -> None:
    """Acknowledgements, spills and cuts beside a scan; no false alarm, nothing lost."""

    async def main() -> None:
        async with kit.running(tmp_path, spill_weight=40) as store:
            ann, bob = await kit.members(store, 2)
            told: list[int] = []

            async def post() -> None:
                for turn in range(400):
                    size = kit.LARGE if turn % 40 == 0 else 30
                    msgid = (await ann.post([bob.uid], b"%04d" % turn * (size // 4))).msgid
                    if turn % 3:
                        store.ack(bob.node, msgid)
                    else:
                        told.append(msgid)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(post)
                for _ in range(10):
                    state = await scrubbed(tmp_path, store)
                    assert state["found"] == 0, state
            assert store.healing.found == 0
            assert await kit.pending_ids(store, bob.node) == told

    kit.run(main)


def test_it_keeps_to_its_share(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            for turn in range(3):
                await ann.post([bob.uid], b"%d" % turn * 1_000_000)
            scrubber = Scrubber(tmp_path, store, 50, 60 << 20, lambda reason: None)
            began = trio.current_time()
            await scrubber._go(hurry=False)
            assert 2.5 < trio.current_time() - began < 6, "3 MB at 1 MiB a second"
            assert scrubber.state()["octets"] > 3_000_000

    kit.run(main)


def test_a_store_that_ended_ends_the_scan_without_a_fuss(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann, bob = await kit.members(store, 2)
            await ann.post([bob.uid], b"data")

        def broken(function: Any, *args: Any) -> Any:
            raise StoreError("the store is closed")

        scrubber = Scrubber(tmp_path, store, 1, 1 << 30, lambda reason: None)
        store._ledger.read = broken  # type: ignore[method-assign]
        (tmp_path / "blobs" / "00").mkdir()
        (tmp_path / "blobs" / "00" / bytes(32).hex()).write_bytes(b"not that")
        await scrubber._go(hurry=True)
        assert "could not go on" in scrubber.state()["problems"][-1]

    kit.run(main)
