"""A backup, or a restore, that is cut off on the way: the last whole one counts, and it goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.backup import (
    StickError,
    restoring,
    stick,
    writing,
)
from appliance.peering import folder as joining
from tests.backup.kit import (
    LARGE,
    house,
    new_box,
    people,
    restored,
    run,
    the_same,
)
from tests.store import kit


class Breaks:
    """Each thing that is done to the stick is counted; the one with that number fails, and all after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1 << 30
        self.count = 0
        for cls, names in (
            (stick.Folder, ("make", "overwrite", "remove")),
            (stick.Writing, ("__init__", "write", "finish")),
        ):
            for name in names:
                monkeypatch.setattr(cls, name, self.counted(getattr(cls, name)))

    def counted(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any) -> Any:
            self.count += 1
            self.left -= 1
            if self.left < 0:
                if len(args) == 3 and self.left == -1:  # the state: some of it is written
                    do(*args[:2], args[2][: len(args[2]) // 2])
                raise StickError("pulled out")
            return do(*args)

        return counting

    def after(self, operations: int) -> None:
        self.left, self.count = operations, 0


def test_wherever_it_is_interrupted_the_last_whole_backup_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = Breaks(monkeypatch)
    monkeypatch.setattr(writing, "ANEW_OCTETS", 0)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], os.urandom(30_000))
            await home.back_up()
            operations, interrupted = 0, 0
            while True:
                await ann.post([bob.uid], os.urandom(random.choice([100, 30_000, LARGE])))
                await bob.acks((await kit.pending_ids(home.store, bob.node))[0])
                last = home.backup().state
                breaks.after(operations)
                try:
                    await home.back_up()
                except StickError:
                    interrupted += 1
                    breaks.after(1 << 30)
                    found = home.backup()
                    assert found.state.number in (last.number, last.number + 1)
                    assert sum(found.check()) > 0
                    operations += 1
                else:
                    break
            assert interrupted > 10
            breaks.after(1 << 30)
            await home.back_up()
            await the_same(tmp_path, home)

    run(main)


def test_attachments_that_an_interrupted_backup_wrote_are_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for _ in range(3):
                await ann.post([bob.uid], os.urandom(LARGE))
            writer = home.writer()
            monkeypatch.setattr(writer, "_prove", _fails)
            with pytest.raises(StickError):
                await writer.run()
            kept = {path: path.stat().st_mtime_ns for path in home.stick.rglob("files/*/*")}
            (spoiled, *whole) = kept
            spoiled.write_bytes(bytes(spoiled.stat().st_size))
            await home.back_up()
            assert len(kept) == 3 and all(path.stat().st_mtime_ns == kept[path] for path in whole)
            await the_same(tmp_path, home)

    async def _fails() -> None:
        raise StickError("pulled out")

    run(main)


def test_a_restore_that_is_cut_off_anywhere_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "READ_OCTETS", 5000)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            for size in (3000, LARGE, 100, 20_000, LARGE, 10):
                await ann.post([bob.uid], os.urandom(size))
            await home.back_up()
            boxes = set()
            for delay in range(25):
                work = new_box(tmp_path)
                with trio.move_on_after(0.01 * delay):
                    await work.run()
                    break
            boxes.add(joining.prepare_copy(tmp_path / "restored").joinpath("box.key").read_bytes())
            assert len(boxes) == 1
            async with restored(tmp_path) as store:
                assert store.entries == 1
                assert await kit.pending_ids(store, bob.node) == await kit.pending_ids(home.store, bob.node)

    run(main)


@pytest.mark.parametrize("damaged", [False, True])
def test_an_attachment_of_which_some_is_there_goes_on_from_there(tmp_path: Path, damaged: bool) -> None:
    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], os.urandom(LARGE))
            await home.back_up()
            work = new_box(tmp_path)
            incoming = joining.prepare_copy(tmp_path / "restored") / "blobs" / "incoming"
            incoming.mkdir(parents=True)
            (path,) = (tmp_path / "data" / "blobs").glob("??/*")
            part = bytes(100_000) if damaged else path.read_bytes()[:100_000]
            (incoming / f"{path.name}.part").write_bytes(part)
            assert await work.run()
            assert work.octets == (LARGE - 100_000) + (LARGE if damaged else 0)
            assert (tmp_path / "restored" / "copy" / "blobs" / path.parent.name / path.name).exists()

    run(main)


def test_a_stick_that_was_pulled_out_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "RETRY_S", 0.02)

    async def main() -> None:
        async with house(tmp_path) as home:
            ann, bob = await people(home)
            await ann.post([bob.uid], b"text")
            await home.back_up()
            work = new_box(tmp_path)
            home.stick.rename(tmp_path / "pocket")
            async with trio.open_nursery() as nursery:
                done: list[bool] = []

                async def runs() -> None:
                    done.append(await work.run())

                nursery.start_soon(runs)
                await kit.until(lambda: work.problem is not None)
                assert "stick" in str(work.problem) and not done
                (tmp_path / "pocket").rename(home.stick)
            assert done == [True] and work.problem is None

    run(main)
