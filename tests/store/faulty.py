"""A process whose disk fails, for test_faults.py: prints what everybody was told, a JSON line a scenario."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import trio

from appliance.site import Decision
from appliance.store import Store, StoreError, database, disk
from tests.store import kit
from tests.store.shim import arm

POSTS = 40
WORKERS = 4


@dataclass
class Outcome:
    """``told``: ids that were acknowledged. ``broken``: why the store ended. ``after``: whether a post was
    accepted once the disk worked again. ``uploads``: what the uploads came to.
    """

    name: str
    node: int = 0
    told: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    broken: str = ""
    performed: str = ""
    submitted: str = ""
    unanswered: int = 0
    after: str = ""
    uploads: list[str] = field(default_factory=list)


async def post_much(store: Store, ann: kit.Device, uid: str, outcome: Outcome) -> None:
    """Several at a time, until all are posted or the store has ended."""

    async def work() -> None:
        for _ in range(POSTS // WORKERS):
            answers: list[Decision] = []
            outcome.unanswered += 1
            try:
                await store.submit(ann.post_job([uid], bytes(3000), answers.append))
            except StoreError:
                outcome.unanswered -= 1
                return
            with trio.move_on_after(5):
                while not answers and not outcome.broken:  # noqa: ASYNC110
                    await trio.sleep(0.001)
            if answers:
                outcome.unanswered -= 1
                error = answers[0].error
                if error is None:
                    outcome.told.append(answers[0].msgid)
                else:
                    outcome.refused.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work)


async def upload_much(store: Store, ann: kit.Device, uid: str, outcome: Outcome) -> None:
    for turn in range(4):
        try:
            answer = await ann.post([uid], bytes([turn]) * kit.LARGE)
            outcome.uploads.append(str(answer.error))
            outcome.told.append(answer.msgid)
        except StoreError as error:
            outcome.uploads.append(f"{type(error).__name__}: {error}")
        finally:
            if turn == 1:
                arm("", "", times=0)


async def spill_and_post(store: Store, ann: kit.Device, uid: str, outcome: Outcome) -> None:
    store.upkeep._last_spill = float("-inf")
    await post_much(store, ann, uid, outcome)


async def grow_log(store: Store, ann: kit.Device, uid: str, outcome: Outcome) -> None:
    """Until the log's index needs more room."""
    database.CHECKPOINT_OCTETS, before = 1 << 30, database.CHECKPOINT_OCTETS
    for _ in range(6):
        jobs = [ann.post_job([uid], bytes(60_000)) for _ in range(60)]
        for job in jobs:
            await store.submit(job)
        await kit.flush(store)
        for job in jobs:
            if job.decision.error is None:
                outcome.told.append(job.decision.msgid)
            else:
                outcome.refused.append(job.decision.error)
    database.CHECKPOINT_OCTETS = before


Work = Callable[[Store, kit.Device, str, Outcome], Awaitable[None]]


async def scenario(folder: Path, name: str, work: Work, fault: dict[str, Any]) -> Outcome:
    outcome = Outcome(name)
    store = kit.opened(folder)

    async def own() -> None:
        try:
            await store.run()
        except StoreError as error:
            outcome.broken = f"{type(error).__name__}: {error}"
            kit.power_cut(folder, folder.with_name(name + "-cut"))

    async def perform() -> None:
        try:
            await store.perform(lambda scene: Decision())
        except StoreError as error:
            outcome.performed = str(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(own)
        ann, bob = await kit.members(store, 2)
        outcome.node = bob.node
        for _ in range(3):
            outcome.told.append((await ann.post([bob.uid], b"before")).msgid)
        arm(**fault)
        await work(store, ann, bob.uid, outcome)
        arm("", "", times=0)
        await perform()
        if outcome.broken:
            try:
                await store.submit(ann.post_job([bob.uid]))
            except StoreError as error:
                outcome.submitted = str(error)
        else:
            answer = await ann.post([bob.uid], b"after")
            outcome.after = str(answer.error)
            outcome.told.append(answer.msgid)
        store.close()
    store._database.connection.close()
    return outcome


EIO, ENOSPC = errno.EIO, errno.ENOSPC
SCENARIOS: dict[str, tuple[Work, dict[str, Any]]] = {
    "log-sync": (post_much, {"types": "s", "part": "-wal", "after": 3, "times": 1, "error": EIO}),
    "log-sync-for-good": (post_much, {"types": "s", "part": "-wal", "after": 3, "error": EIO}),
    "log-write": (post_much, {"types": "w", "part": "-wal", "after": 9, "times": 1, "error": EIO}),
    "log-write-half": (
        post_much,
        {"types": "w", "part": "-wal", "after": 9, "times": 2, "error": EIO, "partial": True},
    ),
    "database-sync": (post_much, {"types": "s", "part": "pocket.db", "after": 9, "error": EIO}),
    "database-write": (
        post_much,
        {"types": "w", "part": "/pocket.db", "after": 70, "times": 1, "error": EIO},
    ),
    "spill-write": (spill_and_post, {"types": "w", "part": "-wal", "after": 30, "error": EIO}),
    "log-full": (post_much, {"types": "w", "part": "-wal", "after": 9, "times": 3, "error": ENOSPC}),
    "log-full-half": (
        post_much,
        {"types": "w", "part": "-wal", "after": 9, "times": 3, "error": ENOSPC, "partial": True},
    ),
    "database-full": (
        spill_and_post,
        {"types": "w", "part": "/pocket.db", "after": 60, "times": 40, "error": ENOSPC},
    ),
    "index-full": (grow_log, {"types": "w", "part": "-shm", "times": 2, "error": ENOSPC}),
    "blob-write": (upload_much, {"types": "w", "part": "/blobs/", "after": 1, "error": EIO}),
    "blob-sync": (upload_much, {"types": "s", "part": "/blobs/incoming", "after": 1, "error": EIO}),
    "blob-name": (upload_much, {"types": "r", "part": "/blobs/", "after": 1, "error": EIO}),
    "blob-folder-sync": (upload_much, {"types": "s", "part": "/blobs/", "after": 3, "error": EIO}),
    "blob-full": (
        upload_much,
        {"types": "w", "part": "/blobs/", "after": 1, "error": ENOSPC, "partial": True},
    ),
    "blob-folder-full": (upload_much, {"types": "d", "part": "/blobs/", "after": 1, "error": ENOSPC}),
}


if __name__ == "__main__":
    database.CHECKPOINT_OCTETS = 60_000
    disk.BALLAST_OCTETS = 4096
    for scenario_name, (its_work, its_fault) in SCENARIOS.items():
        at = Path(sys.argv[1]) / scenario_name
        print(json.dumps(asdict(trio.run(scenario, at, scenario_name, its_work, its_fault))), flush=True)
