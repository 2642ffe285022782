"""A power cut at any instant leaves a store that opens, is clean, and holds what was acknowledged."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance.store import Store, verify
from tests.store import kit, shim
from tests.store.crash import Disk, read_records

SEEDS = 3
CUTS = 30
"""Anywhere, for each seed; and all in the first start, shared among the seeds."""

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shim.COMPILER is None:
        pytest.skip("there is no C compiler")
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        yield Path(folder)


class Judge:
    """What must and what may be pending, by the remarks before the cut."""

    def __init__(self, marks: list[Any]) -> None:
        self.must: dict[int, dict[int, int]] = {}
        self.gone: set[tuple[int, int]] = set()
        self.made: set[int] = set()
        self.dropped: set[int] = set()
        self.highest = 0
        perhaps: set[int] = set()
        for mark in marks:
            match mark:
                case {"sent": msgid, "nodes": nodes, "size": size}:
                    self.highest = max(self.highest, msgid)
                    for node in nodes:
                        self.must.setdefault(node, {})[msgid] = size
                case {"acking": msgids, "node": node}:
                    for msgid in msgids:
                        self.must.get(node, {}).pop(msgid, None)
                case {"acked": msgids, "node": node}:
                    self.gone.update((node, msgid) for msgid in msgids)
                case {"made": node}:
                    self.made.add(node)
                case {"dropping": node}:
                    perhaps.add(node)
                case {"dropped": node}:
                    self.dropped.add(node)
        for node in perhaps:
            self.must.pop(node, None)
            self.made.discard(node)

    async def check(self, store: Store) -> None:
        nodes = set(store.site.nodes)
        assert self.made | set(self.must) <= nodes
        assert not self.dropped & nodes
        for node in nodes:
            found = {message.msgid: message.size for message in await kit.pending(store, node)}
            for msgid, size in self.must.get(node, {}).items():
                assert found.get(msgid) == size, f"{msgid:x} for {node} is lost"
            assert not [msgid for msgid in found if (node, msgid) in self.gone], (
                "acknowledged, and there again"
            )
        assert store.scene.mint.id() > self.highest


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_power_cut_at_any_instant_loses_nothing_that_was_acknowledged(
    library: Path, memory: Path, seed: int
) -> None:
    data, record = memory / "data", memory / "record"
    data.mkdir()
    shim.run("busy", library, data, str(seed), record=record)
    records = list(read_records(record))
    rng = Random(seed)
    started = next(at for at, what in enumerate(records) if what.type == "m")
    cuts = sorted({*range(seed, started, SEEDS), *rng.sample(range(len(records)), CUTS)})
    disk = Disk(data)
    for at, what in enumerate(records):
        if cuts and at == cuts[0]:
            cuts.pop(0)
            after = memory / f"after{at}"
            disk.after_cut(after, rng)
            judge = Judge(disk.marks)

            async def main(after: Path = after, judge: Judge = judge) -> None:
                async with kit.running(after) as store:
                    assert verify(after)["problems"] == []
                    await judge.check(store)
                assert verify(after)["problems"] == []

            kit.run(main)
            shutil.rmtree(after)
        disk.take(what)
    assert {what.type for what in records} >= set("wscrum"), os.fsdecode(record)
