"""Boxes of neighbouring versions: what one does not understand it keeps, passes on, and understands later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.site import LASTING, TRAFFIC, add_box, decode_facts, facts, replace_box, set_owner
from appliance.store import Arrival, Store, verify
from appliance.store.journal import GENESIS, BoxKey
from tests.store import kit


async def ship(source: Store, to: Store) -> None:
    """Everything that the one has and the other lacks."""
    after = {box: at.seq for box, at in to.replica.positions().items()}
    await to.replica.absorb(await source.replica.read(after, 1 << 20), source.replica.own)


async def introduce(store: Store, key: BoxKey) -> None:
    """Make a box one of the site."""
    decision = await store.perform(lambda scene: add_box(scene, key.box, key.public, "another"))
    assert decision.error is None


def newer(store: Store, key: BoxKey) -> list[Arrival]:
    """What a box of a later version says: a kind of entry, and facts, that are not known here."""
    bodies = [
        (9, b"anything at all"),
        (LASTING, msgspec.msgpack.encode([["later", 1, "x"], facts.OwnerSet(16, 1 << 62)])),
        (TRAFFIC, msgspec.msgpack.encode([["much later", [1, 2]]])),
    ]
    arrivals: list[Arrival] = []
    clock, prev = store.replica.clock, GENESIS
    for seq, (kind, body) in enumerate(bodies, 1):
        entry = key.sign(seq, clock + 16 * seq, kind, prev, body)
        prev = entry.digest()
        arrivals.append(Arrival.of(entry))
    return arrivals


def test_what_is_not_understood_is_kept_and_passed_on(tmp_path: Path) -> None:
    async def main() -> None:
        third = BoxKey.load_or_create(tmp_path / "third.key")
        async with kit.running(tmp_path / "a") as a, kit.running(tmp_path / "b") as b:
            await kit.members(a, 2)
            for store in (a, b):
                await introduce(a, store.key)
            await introduce(a, third)
            b.replica.trusted[a.replica.own] = a.key.public
            await ship(a, b)
            await a.replica.absorb(newer(a, third), third.box)
            assert a.site.owner == 16, "what is understood of it counts"
            await ship(a, b)
            assert b.replica.positions()[third.box] == a.replica.positions()[third.box]
            assert b.site.owner == 16
            assert await a.replica.state_digest() == await b.replica.state_digest()
        for name in ("a", "b"):
            assert verify(tmp_path / name)["problems"] == []

    kit.run(main)


def test_a_later_version_understands_what_an_earlier_one_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_owner(body: bytes) -> list[Any]:
        return [fact for fact in decode_facts(body) if not isinstance(fact, facts.OwnerSet)]

    async def main() -> None:
        async with kit.running(tmp_path / "a") as a:
            ann, bob = await kit.members(a, 2)
            (tmp_path / "b").mkdir()
            for name in ("a", "b"):
                await introduce(a, BoxKey.load_or_create(tmp_path / name / "box.key"))
            member = a.site.nodes[bob.node].member
            await a.perform(lambda scene: set_owner(scene, member))
            message = await ann.post([bob.uid], b"on its way")
            with monkeypatch.context() as patch:
                patch.setattr("appliance.store.taking.decode_facts", without_owner)
                patch.setattr("appliance.site.facts.KNOWN_TAGS", facts.KNOWN_TAGS - {"owner"})
                async with kit.running(tmp_path / "b") as b:
                    b.replica.trusted[a.replica.own] = a.key.public
                    await ship(a, b)
                    assert b.site.owner == 0, "that version knows nothing of owners"
            async with kit.running(tmp_path / "b") as b:
                assert b.site.owner == member
                assert await a.replica.state_digest() == await b.replica.state_digest()
                assert message.msgid in await kit.pending_ids(b, bob.node)
        for name in ("a", "b"):
            assert verify(tmp_path / name)["problems"] == []

    kit.run(main)


def test_tables_of_the_version_before_know_afterwards_what_a_box_was(tmp_path: Path) -> None:
    """That version kept the entry, and had no place for it in its tables."""

    async def main() -> None:
        async with kit.running(tmp_path / "a") as a:
            await kit.members(a, 2)
            key = BoxKey.load_or_create(tmp_path / "new.key")
            await introduce(a, a.key)
            own = a.replica.own
            decision = await a.perform(lambda scene: replace_box(scene, own, key.box, key.public))
            assert decision.error is None
            before = await a.replica.state_digest()
        kit.change(tmp_path / "a", "ALTER TABLE peer DROP COLUMN was")
        kit.change(tmp_path / "a", "DELETE FROM _sqlite_migrations WHERE name = 'tables_3'")
        kit.change(tmp_path / "a", "PRAGMA user_version = 2")
        async with kit.running(tmp_path / "a") as a:
            assert a.site.boxes[key.box].of == own and len(a.site.members) == 2
            assert await a.replica.state_digest() == before
        assert verify(tmp_path / "a")["problems"] == []

    kit.run(main)
