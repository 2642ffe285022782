"""An export is whole at any instant, goes on where it was, and has what the archives have."""

from __future__ import annotations

import errno
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.mail import Export, ExportError, MailError, pages
from appliance.mail.export import Progress
from appliance.site.relaying import trim
from tests.store import kit as stores

from . import kit

LARGE = bytes(range(256)) * 6000


class Stopped(Exception):
    """Somebody pulled the plug."""


def asks(
    home: kit.Home, stop_after: int = 1 << 60, asked: list[str] | None = None
) -> Callable[[str, Mapping[str, Any]], Any]:
    """As the control socket would: everything is text in between. After so many questions it breaks."""
    left = [stop_after]

    async def answer(word: str, args: dict[str, Any]) -> Any:
        if word == "mail.page":
            return await home.mail.page(home.member, args["after"], args.get("membership"))
        assert word == "mail.piece"
        return await home.mail.piece(
            home.member, args["node"], args["message"], args["offset"], args["octets"]
        )

    def ask(word: str, args: Mapping[str, Any]) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        if asked is not None:
            asked.append(word)
        return json.loads(json.dumps(trio.from_thread.run(answer, word, json.loads(json.dumps(dict(args))))))

    return ask


async def exported(
    home: kit.Home, folder: Path, stop_after: int = 1 << 60, asked: list[str] | None = None
) -> Progress:
    return await trio.to_thread.run_sync(Export(folder, asks(home, stop_after, asked), {}).run)


def records(folder: Path) -> list[dict[str, Any]]:
    """All lines that are there; every file that they name is whole."""
    found = []
    for part in sorted((folder / "messages").glob("*.jsonl")):
        text = part.read_text()
        assert text.endswith("\n")
        for line in text.splitlines():
            record = json.loads(line)
            for attachment in record["attachments"]:
                if attachment["file"] is not None:
                    octets = (folder / attachment["file"]).read_bytes()
                    assert len(octets) == attachment["size"]
                    assert hashlib.sha256(octets).hexdigest() == attachment["sha256"]
            found.append(record)
    return found


def test_everything_is_in_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            await home.comes("Hello *Bob*", "first", cc=[{"who": "Eve", "whouid": "E"}], threadid="7", x=[1])
            await home.comes(
                "see", "second", files=[("../a:b.txt", b"12345"), ("film.mp4", LARGE), ("e", b"")]
            )
            folder = tmp_path / "out"
            progress = await exported(home, folder)
            first, second = records(folder)
            assert first == {
                "archive": "work",
                "membership": home.membership,
                "msgid": first["msgid"],
                "id": "0" * 14 + "65",
                "op": "delivery",
                "posted": first["posted"],
                "from": kit.UID,
                "alias": "Ann of Work",
                "subject": "first",
                "thread": "7",
                "cc": [{"name": "Eve", "uid": "E"}],
                "body": "Hello *Bob*",
                "body_octets": 11,
                "attachments": [],
                "size": first["size"],
                "kept": first["size"],
                "problem": "",
                "head": first["head"],
                "details": first["details"],
            }
            assert first["head"]["from"] == kit.UID and first["details"]["x"] == [1]
            base = "/".join(("files", "work", second["msgid"]))
            assert [a["file"] for a in second["attachments"]] == [
                f"{base}/1-a_b.txt",
                f"{base}/2-film.mp4",
                f"{base}/3-e",
            ]
            assert (folder / base / "2-film.mp4").read_bytes() == LARGE
            assert progress.messages == progress.total == 2 and progress.octets > len(LARGE)
            assert json.loads((folder / "export.json").read_text())["complete"]
            assert not list(folder.rglob("*.part"))

    stores.run(main)


def test_a_stop_at_any_question_leaves_a_whole_export_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_MESSAGES", 3)

    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            octets = random.Random(1).randbytes(pages.PIECE_OCTETS + 1)
            for n in range(8):
                files = [("f", octets), ("g", octets)] if n in (1, 5) else []
                await home.comes(f"body {n}", f"s{n}", files=files)
            await exported(home, tmp_path / "whole")
            whole = records(tmp_path / "whole")
            folder = tmp_path / "out"
            stops, before = 0, 0
            asked: list[str] = []
            while True:
                try:
                    await exported(home, folder, 3, asked)
                    break
                except Stopped:
                    stops += 1
                now = records(folder)
                assert now == whole[: len(now)] and len(now) >= before
                before = len(now)
                assert stops < 30
            assert records(folder) == whole and stops >= 3
            assert asked.count("mail.piece") == 8
            for attachment in whole[1]["attachments"] + whole[5]["attachments"]:
                assert (folder / attachment["file"]).read_bytes() == octets
            assert {p.relative_to(folder) for p in folder.rglob("*")} == {
                p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*")
            }

    stores.run(main)


def test_the_same_again_adds_what_has_come_since(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            folder = tmp_path / "out"
            assert (await exported(home, folder)).messages == 0
            await home.comes("body", "one")
            await exported(home, folder)
            await exported(home, folder)
            await home.comes("body", "two")
            progress = await exported(home, folder)
            assert [record["subject"] for record in records(folder)] == ["one", "two"]
            assert progress.messages == 2

    stores.run(main)


def test_a_long_or_strange_body_is_a_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            long, strange = "long " * 20_000, b"not \xff text"
            await home.comes(long, "long")
            await home.comes(strange, "strange")
            await home.comes("", "empty")
            folder = tmp_path / "out"
            await exported(home, folder)
            one, two, three = records(folder)
            assert one["body"] is two["body"] is None
            assert (folder / one["body_file"]).read_text() == long
            assert (folder / two["body_file"]).read_bytes() == strange
            assert three["body"] == "" and "body_file" not in three

    stores.run(main)


def test_what_the_archive_has_let_go_of_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            sent = await home.comes("body", "s", files=[("f", bytes(100_000))])
            [message] = await stores.pending(home.store, home.archive)
            page = await home.mail.page(home.member, {})
            await home.store.perform(lambda scene: trim(scene, home.archive, sent.msgid, b"", None))
            piece = await home.mail.piece(home.member, home.archive, page["records"][0]["msgid"], 0, 10)
            assert piece == {"data": "", "gone": True}
            asked = iter([page])

            def ask(word: str, args: Mapping[str, Any]) -> Any:
                return next(asked) if word == "mail.page" else piece

            folder = tmp_path / "out"
            await trio.to_thread.run_sync(Export(folder, ask, {}).run)
            [record] = records(folder)
            assert record["attachments"][0]["file"] is None and not list(folder.rglob("*.part"))
            assert message.size == record["size"]

    stores.run(main)


def test_no_password_gets_into_an_export(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            head = b'{"from":"x","id":"00000000000000ff","newnode":"phone","NodeID":"secret","op":"delivery"}'
            await kit.relayed(home.store, home.membership, 255, b"%04x" % len(head) + head, b"")
            folder = tmp_path / "out"
            await exported(home, folder)
            assert records(folder)[0]["head"]["newnode"] == "phone"
            assert "secret" not in (folder / "messages" / "000001.jsonl").read_text()

    stores.run(main)


def test_pages_are_small_whatever_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_OCTETS", 100_000)

    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            for n in range(6):
                await home.comes("x" * 40_000, f"s{n}")
            after: dict[str, str] = {}
            sizes = []
            while True:
                page = await home.mail.page(home.member, after)
                after = page["after"]
                sizes.append(len(page["records"]))
                if page["done"]:
                    break
            assert sizes[:2] == [3, 3] and sum(sizes) == 6
            page = await home.mail.page(home.member, {}, limit=2)
            first, second = page["records"]
            assert page["after"] == {f"{home.archive}.0": second["msgid"]} and not page["done"]
            assert first["msgid"] < second["msgid"]

    stores.run(main)


def test_who_asks_for_what_is_not_theirs_gets_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path / "box") as home:
            await home.comes("body", "s")
            page = await home.mail.page(home.member, {})
            bob = (await stores.member(home.store)).member
            [record] = page["records"]
            with pytest.raises(MailError, match="no such archive"):
                await home.mail.piece(bob, record["node"], record["msgid"], 0, 10)
            assert (await home.mail.page(bob, {}))["records"] == []
            with pytest.raises(MailError, match="no such member"):
                await home.mail.page(99, {})
            for after in ({"x": "1"}, {"1.2": "z"}, {"1.2": "f" * 16}, {"1.2": 5}):
                with pytest.raises(MailError, match="begin anew"):
                    await home.mail.page(home.member, after)  # type: ignore[arg-type]
            for offset, octets in ((-1, 1), (0, 0), (0, pages.PIECE_OCTETS + 1), (1 << 60, 1)):
                with pytest.raises(MailError, match="a piece has"):
                    await home.mail.piece(home.member, record["node"], record["msgid"], offset, octets)
            with pytest.raises(MailError, match="no id of a message"):
                await home.mail.piece(home.member, record["node"], "zz", 0, 1)

    stores.run(main)


def page(uid: str = "u", **more: Any) -> dict[str, Any]:
    return {"records": [], "after": {}, "done": True, "total": 0, "uid": uid, **more}


def test_a_folder_with_other_things_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ExportError, match="other things"):
        Export(tmp_path, lambda word, args: page(), {}).run()
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_nothing_is_written_before_the_box_has_answered(tmp_path: Path) -> None:
    def ask(word: str, args: Mapping[str, Any]) -> Any:
        raise Stopped

    with pytest.raises(Stopped):
        Export(tmp_path / "out", ask, {}).run()
    assert not (tmp_path / "out").exists()


def test_an_export_of_somebody_or_something_else_is_not_added_to(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    Export(folder, lambda word, args: page(), {"member": "ann"}).run()
    with pytest.raises(ExportError, match="another member"):
        Export(folder, lambda word, args: page("v"), {"member": "bob"}).run()
    with pytest.raises(ExportError, match="other archives"):
        Export(folder, lambda word, args: page(), {"membership": 3}).run()
    later = (folder / "export.json").read_bytes().replace(b'"format": 1', b'"format": 99')
    for octets in (b"junk", b"[]", later, b'{"format": 1}'):
        (folder / "export.json").write_bytes(octets)
        with pytest.raises(ExportError, match="name another folder"):
            Export(folder, lambda word, args: page(), {}).run()


def test_a_full_stick_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("appliance.mail.export.os.fsync", full)
    with pytest.raises(ExportError, match="no room is left"):
        Export(tmp_path / "out", lambda word, args: page(), {}).run()
    monkeypatch.undo()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExportError, match="cannot be written"):
        Export(tmp_path / "file" / "out", lambda word, args: page(), {}).run()
