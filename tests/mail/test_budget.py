"""What archives let go of: oldest attachments first, then bodies, then all; never what a device waits for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from appliance.mail import MailSettings, budget
from appliance.mail.budget import HEAD_OCTETS, Budget
from appliance.site.relaying import add_relay_device
from appliance.store import verify
from appliance.store.disk import Disk, Room
from appliance.wire import INLINE_MAX
from tests.store import kit as stores

from . import kit

FILE = 10_000
BODY = 2_000


async def filled(home: kit.Home, count: int = 8) -> None:
    for n in range(count):
        await home.comes(f"b{n} ".ljust(BODY, "x"), f"s{n}", files=[(f"f{n}.bin", bytes(FILE))])
    assert len(await home.found("")) == count


async def look(home: kit.Home, limit: int | None = None) -> None:
    settings = MailSettings(budget_percent=100, budget_octets=limit or home.mail._budget.used(home.member))
    mail = home.mail
    await Budget(home.store, mail._shelf, settings, mail._indexer, lambda: True).look()
    await stores.flush(home.store)


async def shape(home: kit.Home) -> list[tuple[str, str]]:
    """What is there of each message: its subject, and of which parts something."""
    return [
        (said.subject, ("body " if said.body_kept else "") + ("files" if said.files_kept else ""))
        for said in await home.kept()
    ]


ALL, BODIES = "body files", "body "


def test_within_the_budget_nothing_goes(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await filled(home)
            await look(home)
            assert [parts for _, parts in await shape(home)] == [ALL] * 8

    stores.run(main)


def test_the_oldest_attachments_go_first_and_no_more_than_is_needed(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await filled(home)
            used = home.mail._budget.used(home.member)
            await look(home, used - 2 * FILE)
            kept = await shape(home)
            assert [parts for _, parts in kept] == [BODIES] * 3 + [ALL] * 5
            assert [subject for subject, _ in kept] == [f"s{n}" for n in range(8)]
            said = (await home.kept())[0]
            assert said.body.startswith("b0 ") and said.attachments[0].name == "f0.bin"
            assert home.mail._budget.used(home.member) <= used - 2 * FILE
            await look(home, used - 2 * FILE)
            assert await shape(home) == kept

    stores.run(main)


def test_bodies_go_when_there_are_no_attachments_left_and_heads_last(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await filled(home)
            await look(home, 8 * (HEAD_OCTETS + 400) + 4 * BODY)
            kept = [parts for _, parts in await shape(home)]
            assert kept == [""] * kept.count("") + [BODIES] * kept.count(BODIES) and 3 <= kept.count("") <= 5
            await look(home, 4 * (HEAD_OCTETS + 400))
            kept_subjects = [subject for subject, _ in await shape(home)]
            assert kept_subjects == [f"s{n}" for n in range(8 - len(kept_subjects), 8)]
            assert 2 <= len(kept_subjects) <= 4

    stores.run(main)


def test_what_is_left_is_found_as_it_is_now(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await filled(home)
            await look(home, 8 * (HEAD_OCTETS + 400) + 4 * BODY)
            assert await home.found("b0") == [] and await home.found("b7") == ["s7"]
            assert await home.found("f0 subject:s0") == ["s0"]
            state = await home.mail.state(home.member)
            assert state["indexed"] == state["messages"] == 8
            shown = await home.mail.show(home.member, "0" * 14 + "65")
            assert shown["subject"] == "s0" and not shown["attachments"][0]["kept"]

    stores.run(main)


def test_what_a_device_waits_for_is_left_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await filled(home, 4)
            number = home.membership
            fresh = stores.Credentials.make()
            added = await home.store.perform(lambda s: add_relay_device(s, number, "phone", fresh, 0, 1))
            waiting = await stores.pending_ids(home.store, added.node)
            assert len(waiting) == 4
            await filled_more(home, range(4, 8))
            await stores.Device(home.store, added.node).acks(*waiting[:2])
            await stores.spill(home.store)
            await look(home, 8 * HEAD_OCTETS)
            kept = await shape(home)
            assert kept == [(f"s{n}", ALL) for n in range(2, 8)]
            assert set(waiting[2:]) <= set(await stores.pending_ids(home.store, added.node))

    stores.run(main)


async def filled_more(home: kit.Home, numbers: Iterable[int]) -> None:
    for n in numbers:
        await home.comes(f"b{n} ".ljust(BODY, "x"), f"s{n}", files=[(f"f{n}.bin", bytes(FILE))])
    await home.found("")


def test_a_large_body_stays_whole_and_the_file_with_the_attachment_goes(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            body = "long " * INLINE_MAX
            await home.comes(body, "s0", files=[("f.bin", bytes(300_000))])
            await home.comes("b", "s1", files=[("f.bin", bytes(300_000))])
            await home.found("")
            await look(home, len(body) * 6 // 5)
            kept = await home.kept()
            assert [said.body_kept for said in kept] == [len(body), 1]
            assert [said.files_kept for said in kept] == [0, 0]
            await stores.spill(home.store)
            await stores.until(lambda: len(stores.blob_files(tmp_path)) == 1)
            await look(home, 3 * HEAD_OCTETS)
            assert [said.body_kept for said in await home.kept()] == [0, 1]
            await stores.spill(home.store)
            await stores.until(lambda: not stores.blob_files(tmp_path))
        assert verify(tmp_path)["ok"]

    stores.run(main)


def test_each_member_has_a_budget_of_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            bob = await stores.member(home.store)
            club = await kit.membership(home.store, bob.member, "club")
            head, data = kit.frame(5, "body", "bobs", [("f", bytes(FILE))])
            await kit.relayed(home.store, club, 5, head, data)
            await filled(home)
            await look(home, 4 * FILE)
            archive = home.store.site.memberships[club].archive
            assert home.store.queues.nodes[archive].octets == len(data)
            assert [parts for _, parts in await shape(home)].count(ALL) < 4

    stores.run(main)


def test_a_full_disk_costs_attachments_of_who_keeps_most_but_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await filled(home)
            room = Room(free=1 << 20, total=1 << 30, reserve=1 << 20, missing=0)
            monkeypatch.setattr(Disk, "room", lambda disk: room)
            await look(home)
            assert [parts for _, parts in await shape(home)] == [BODIES] * 8

    stores.run(main)


def test_what_has_just_come_goes_too_where_it_is_too_much(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await home.found("")
            for n in range(8):
                await home.comes("", f"s{n}", files=[("f.bin", bytes(FILE))])
            await stores.flush(home.store)
            await look(home, home.mail._budget.used(home.member) - 2 * FILE)
            assert [parts for _, parts in await shape(home)].count("files") <= 6

    stores.run(main)


def test_only_the_box_that_leads_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LOOK_EVERY_S", 0.01)

    async def main() -> None:
        async with kit.home(tmp_path, budget_octets=1) as home:
            home.leads[0] = False
            await home.comes("body", "s")
            await home.found("")
            await stores.flush(home.store)
            await trio.sleep(0.1)
            assert len(await shape(home)) == 1
            home.leads[0] = True
            await stores.until(lambda: home.store.queues.nodes[home.archive].count == 0)

    stores.run(main)


def test_a_mistake_of_ours_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LOOK_EVERY_S", 0.01)

    async def main() -> None:
        async with kit.home(tmp_path, budget_octets=1) as home:
            monkeypatch.setattr(budget, "_enough", None)
            await home.comes("body", "s")
            await home.found("")
            await trio.sleep(0.1)
            assert len(await shape(home)) == 1
            monkeypatch.undo()
            monkeypatch.setattr(budget, "LOOK_EVERY_S", 0.01)
            await stores.until(lambda: home.store.queues.nodes[home.archive].count == 0)

    stores.run(main)


def test_what_two_boxes_trimmed_at_once_is_there_once_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            head, data = kit.frame(7, "body", "s", [("f", bytes(FILE))])
            for kept in (data[:-FILE], data, data[:-FILE]):
                await kit.relayed(home.store, home.membership, 7, head, kept, [home.archive])
            assert await home.found("") == ["s"] * 3
            await home.mail._budget.drop_copies()
            assert await home.found("") == ["s"] and [p for _, p in await shape(home)] == [ALL]

    stores.run(main)


def test_the_budget_is_a_share_of_the_disk_and_has_a_cap(tmp_path: Path) -> None:
    store = SimpleNamespace(disk=SimpleNamespace(room=lambda: Room(0, 1000, 0, 0)))
    for percent, octets, limit in ((20, 1 << 40, 200), (50, 300, 300), (0, 300, 0)):
        settings = MailSettings(budget_percent=percent, budget_octets=octets)
        assert Budget(store, None, settings, None, lambda: True).limit() == limit  # type: ignore[arg-type]
