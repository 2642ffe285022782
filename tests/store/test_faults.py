"""Errors of the disk: whoever is told that it is done can rely on it; a store that does not know stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.store import verify
from tests.store import faulty, kit, shim

Outcomes = dict[str, dict[str, Any]]
ENDS = [
    "log-sync",
    "log-sync-for-good",
    "log-write",
    "log-write-half",
    "database-sync",
    "database-write",
    "spill-write",
]
GOES_ON = [name for name in faulty.SCENARIOS if name not in ENDS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> Outcomes:
    """One process goes through all scenarios."""
    if shim.COMPILER is None:
        pytest.skip("there is no C compiler")
    results = shim.run("faulty", shim.build(folder), folder)
    return {outcome["name"]: outcome for outcome in results}


def found(folder: Path, node: int) -> list[int]:
    """What is pending after the next start, which finds everything clean."""
    ids: list[int] = []

    async def main() -> None:
        async with kit.running(folder) as store:
            ids.extend(await kit.pending_ids(store, node))

    assert verify(folder)["problems"] == []
    kit.run(main)
    assert verify(folder)["problems"] == []
    return ids


@pytest.mark.parametrize("name", ENDS)
def test_a_read_write_or_sync_that_fails_ends_the_store_and_loses_nothing(
    outcomes: Outcomes, folder: Path, name: str
) -> None:
    outcome = outcomes[name]
    assert outcome["broken"].startswith("StoreBroken: the database does not work"), outcome
    assert outcome["performed"] and outcome["submitted"], "whoever comes later is told"
    for place in (folder / name, folder / f"{name}-cut"):
        ids = found(place, outcome["node"])
        assert set(outcome["told"]) <= set(ids)
        # of a commit that broke nobody knows whether it happened, so nobody was told anything
        assert len(ids) - len(outcome["told"]) <= outcome["unanswered"]
        assert ids == sorted(set(ids))


@pytest.mark.parametrize("name", GOES_ON)
def test_a_full_disk_or_a_lost_attachment_ends_nothing(outcomes: Outcomes, folder: Path, name: str) -> None:
    outcome = outcomes[name]
    assert not outcome["broken"] and outcome["after"] == "None", outcome
    assert outcome["unanswered"] == 0
    assert found(folder / name, outcome["node"]) == sorted(outcome["told"])


@pytest.mark.parametrize("name", ["log-full", "log-full-half", "index-full"])
def test_a_full_disk_is_told_as_such(outcomes: Outcomes, name: str) -> None:
    assert outcomes[name]["refused"]
    assert all("disk is full" in error for error in outcomes[name]["refused"])


@pytest.mark.parametrize("name", [name for name in faulty.SCENARIOS if name.startswith("blob-")])
def test_an_attachment_that_cannot_be_stored_is_told_as_such(
    outcomes: Outcomes, folder: Path, name: str
) -> None:
    uploads = outcomes[name]["uploads"]
    wanted = "DiskFull: disk full" if name.endswith("-full") else "StoreBroken: a file could not be written"
    assert any(upload.startswith(wanted) for upload in uploads), uploads
    assert uploads[-2:] == ["None", "None"]
    assert kit.unfinished(folder / name) == []
