"""A name that is lost while a box is filled anew is told to its member, as at any other time."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance import wire
from appliance.peering import naming
from appliance.peering.copying import Copying
from appliance.peering.folder import Joining
from appliance.peering.naming import FILE, Lost, find_lost, tell_noted
from appliance.site import EMPTY, Limits, Site
from appliance.site.facts import AliasAdded, GroupAdded, MemberAdded, RoleSet
from appliance.store import DiskFull, Store, StoreSettings
from appliance.store.journal import KEY_NAME
from tests.peering.test_tail import introduce, ship
from tests.store import kit
from tests.store.kit import Device, members, pending, running


async def takes(device: Device, alias: str, gid: str, friend: str) -> None:
    """Take a name, and make a group."""
    assert (await device.alias(alias)).error is None
    own = f"{device.uid} itself"
    assert (await device.alias(own)).error is None
    invite = wire.GroupInvite(id="i", gid=gid, from_=own, to=friend)
    assert (await device.ask(invite, (EMPTY,))).error is None


class Apart:
    """Two boxes where the same names were taken while they did not see each other, at ``a`` first. The other
    one's data are in ``folder``; ``bob`` is its member.
    """

    bob: Device

    def __init__(self, a: Store, folder: Path) -> None:
        self.a = a
        self.folder = folder

    async def prepare(self) -> None:
        a = self.a
        await introduce(a, a.key, "attic")
        async with running(self.folder) as b:
            await introduce(a, b.key, "kitchen")
            b.replica.trusted[a.replica.own] = a.key.public
            ann, carl = await members(a, 2)
            await carl.alias("carl smith")
            await ship(a, b)
        async with running(self.folder) as b:
            (self.bob,) = await members(b, 1)
            for device in (ann, self.bob):
                await takes(device, "the same name", "the same group", "carl smith")
            await self.bob.alias("another name")
            await ship(b, a)

    @asynccontextmanager
    async def copying(self) -> AsyncIterator[Store]:
        copy = self.folder / "copy"
        copy.mkdir(exist_ok=True)
        shutil.copyfile(self.folder / KEY_NAME, copy / KEY_NAME)
        store = Store.open(copy, StoreSettings(**kit.SETTINGS), Limits(), True)
        store.replica.trusted[self.a.replica.own] = self.a.key.public
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            await ship(self.a, store)
            yield store
            store.close()

    async def letters(self, store: Store) -> list[str]:
        """What waits for bob that is a letter."""
        queue = [(message.data or b"").decode() for message in await pending(store, self.bob.node)]
        return [text for text in queue if '"subject"' in text]


def run(test: Callable[[Apart], Awaitable[None]], folder: Path) -> None:
    async def main() -> None:
        async with running(folder / "a") as a:
            apart = Apart(a, folder / "b")
            await apart.prepare()
            await test(apart)

    kit.run(main)


def test_names_that_are_lost_in_a_copy_are_told_when_the_box_serves_again(tmp_path: Path) -> None:
    async def test(apart: Apart) -> None:
        async with apart.copying() as copy:
            assert await apart.letters(copy) == [], "a copy says nothing"
            facts = Joining("Home", 1, apart.a.replica.own, [], again=True)
            copying = Copying(apart.folder, facts, lambda folder: copy)
            copying._open(apart.folder)
            await copying._settle()
        (apart.folder / "copy" / FILE).write_bytes((apart.folder / FILE).read_bytes())
        async with running(apart.folder / "copy") as b:
            await tell_noted(apart.folder / "copy", b)
            name, group = await apart.letters(b)
            assert "The name the same name is not yours any more" in name
            assert "The group the same group is no more" in group
            assert not (apart.folder / "copy" / FILE).exists()
            await tell_noted(apart.folder / "copy", b)
            assert len(await apart.letters(b)) == 2

    run(test, tmp_path)


def test_what_was_noted_and_is_not_so_is_told_to_nobody(tmp_path: Path) -> None:
    async def test(apart: Apart) -> None:
        async with running(apart.folder) as b:
            group = b.site.groups["the same group"]
            noted = [
                Lost("another name", 0, [apart.bob.uid, "nobody"]),
                Lost("the same group", group.at, [apart.bob.uid]),
            ]
            (apart.folder / FILE).write_bytes(msgspec.json.encode(noted))
            await tell_noted(apart.folder, b)
            assert await apart.letters(b) == [] and not (apart.folder / FILE).exists()
            (apart.folder / FILE).write_text("{")
            await tell_noted(apart.folder, b)
            assert await apart.letters(b) == []

    run(test, tmp_path)


def test_who_cannot_be_told_for_want_of_room_is_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "RETRY_S", 0.01)

    async def test(apart: Apart) -> None:
        async with running(apart.folder) as b:
            noted = [Lost("taken by another", 0, [apart.bob.uid])]
            (apart.folder / FILE).write_bytes(msgspec.json.encode(noted))
            refused: list[Any] = []
            real = b._database.commit

            def commit(write: Any) -> Any:
                if not refused:
                    refused.append(write)
                    raise DiskFull("the disk is full")
                return real(write)

            monkeypatch.setattr(b._database, "commit", commit)
            await tell_noted(apart.folder, b)
            assert refused and len(await apart.letters(b)) == 1

    run(test, tmp_path)


def site_of(*facts: MemberAdded | AliasAdded | GroupAdded | RoleSet) -> Site:
    site = Site()
    for fact in facts:
        site.apply(fact)
    return site


def test_only_what_was_taken_at_that_box_is_its_business() -> None:
    both = [MemberAdded(1, "ann", 1), MemberAdded(2, "bob", 1)]
    old = site_of(
        *both,
        AliasAdded("here", 2, 16 + 3),
        AliasAdded("there", 2, 32 + 4),
        AliasAdded("kept by", 2, 48 + 3),
        GroupAdded("group", 64 + 3, 2),
        RoleSet("group", 2, "here", "joined", 1, 64 + 3),
        RoleSet("group", 1, "x", "invited", 1, 64 + 3),
    )
    taken = [AliasAdded(name, 1, 1) for name in ("here", "there", "group")]
    new = site_of(*both, *taken, AliasAdded("kept by", 2, 51))
    assert find_lost(old, 3, new) == [Lost("here", 0, ["bob"]), Lost("group", 67, ["bob"])]
    assert [lost.name for lost in find_lost(old, 4, new)] == ["there"]
