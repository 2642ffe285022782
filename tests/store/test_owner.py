"""Whose box it is lasts, and the journal proves it; data from before there were owners goes on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from appliance import site
from appliance.site import Decision, Scene, facts
from appliance.store import Store, verify
from tests.store import kit


async def add(store: Store, alias: str, label: str | None = None) -> int:
    decision = await store.perform(
        partial(site.add_member, alias=alias, label=label, fresh=kit.Credentials.make())
    )
    assert decision.error is None, decision.error
    return decision.member


def test_the_owner_is_the_same_after_a_restart(tmp_path: Path) -> None:
    owners = []

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            ann = await add(store, "ann smith")
            bob = await add(store, "bob smith", "phone")
            owners.append((store.site.owner, ann))
            await store.perform(partial(site.set_owner, member=bob))
        async with kit.running(tmp_path) as store:
            owners.append((store.site.owner, bob))
            await add(store, "eve smith")
            owners.append((store.site.owner, bob))

    kit.run(main)
    assert all(owner == expected for owner, expected in owners)
    assert verify(tmp_path)["problems"] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE meta SET value = 32 WHERE key = 'owner'", "owner"),
        ("DELETE FROM meta WHERE key = 'owner'", "owner"),
        ("UPDATE meta SET value = value - 16 WHERE key = 'last_number'", "highest number"),
    ],
)
def test_the_journal_proves_who_it_is(tmp_path: Path, change: str, problem: str) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            await add(store, "ann smith")
            await add(store, "bob smith")

    kit.run(main)
    assert verify(tmp_path)["ok"]
    assert kit.change(tmp_path, change) == 1
    (found,) = verify(tmp_path)["problems"]
    assert problem in found


def test_data_from_before_there_were_owners(tmp_path: Path) -> None:
    """As the first version wrote it: an account and its node, and nobody is the owner."""

    def register(scene: Scene, fresh: kit.Credentials) -> Decision:
        member = scene.mint.number(scene.site.last_number)
        node = scene.mint.number(member)
        return Decision(
            lasting=[
                facts.MemberAdded(member, fresh.uid, scene.now_ms),
                facts.NodeAdded(node, member, "laptop", fresh.secret, scene.now_ms),
            ]
        )

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            for _ in range(2):
                await store.perform(partial(register, fresh=kit.Credentials.make()))
        assert kit.rows(tmp_path, "SELECT * FROM meta WHERE key = 'owner'") == []
        assert verify(tmp_path)["ok"]
        async with kit.running(tmp_path) as store:
            assert store.site.owner == 0
            await store.perform(site.find_owner)
            assert store.site.owner == min(store.site.members)
        async with kit.running(tmp_path) as store:
            assert store.site.owner == min(store.site.members)
            before = store.entries
            await store.perform(site.find_owner)
            assert store.entries == before

    kit.run(main)
    assert verify(tmp_path)["problems"] == []
