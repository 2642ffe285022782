"""What is told of archives: what is kept, since when; searches that are no questions; the switch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.mail import MailError, SearchError
from appliance.site import Decision
from tests.store import kit as stores

from . import kit


def test_the_state_says_what_is_kept(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path, budget_octets=12345) as home:
            for n in range(3):
                await home.comes("body", f"s{n}")
            await home.found("")
            state = await home.mail.state(home.member)
            octets = home.store.queues.nodes[home.archive].octets
            assert state == {
                "kept": False,
                "messages": 3,
                "octets": octets,
                "oldest": state["oldest"],
                "used": octets + 3 * 1024,
                "budget": 12345,
                "indexed": 3,
                "archives": [
                    {
                        "name": "work",
                        "membership": home.membership,
                        "messages": 3,
                        "octets": octets,
                        "oldest": state["oldest"],
                        "indexed": 3,
                    }
                ],
                "trouble": None,
            }
            assert state["oldest"].startswith("2025-10-09T")
            json.dumps(state)

    stores.run(main)


def test_the_own_site_is_kept_from_when_it_is_switched_on_until_it_is_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            eve = await stores.member(home.store)
            await eve.post([home.device.uid], b"before")
            assert (await home.mail.keep(home.member, True))["kept"]
            await home.mail.keep(home.member, True)
            await eve.post([home.device.uid], b"while")
            await home.device.post([eve.uid], b"own")
            state = await home.mail.state(home.member)
            assert [(a["name"], a["messages"]) for a in state["archives"]] == [("", 2), ("work", 0)]
            found = (await home.mail.search(home.member, "", membership=0))["found"]
            assert [hit["snippet"] for hit in found] == ["own", "while"]
            state = await home.mail.keep(home.member, False)
            assert not state["kept"] and state["messages"] == 0
            assert (await home.mail.search(home.member, "while"))["found"] == []
            with pytest.raises(MailError, match="no such member"):
                await home.mail.keep(99, True)

    stores.run(main)


def test_a_result_is_json_and_has_pages(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            for n in range(5):
                await home.comes("the body with words", f"s{n}")
            found, after = [], ""
            while True:
                result: dict[str, Any] = await home.mail.search(home.member, "words", after=after, limit=2)
                assert json.loads(json.dumps(result))["indexed"]
                found += [hit["subject"] for hit in result["found"]]
                after = result["next"]
                if not after:
                    break
            assert found == ["s4", "s3", "s2", "s1", "s0"]
            [hit] = (await home.mail.search(home.member, "words subject:s4"))["found"]
            assert [hit["snippet"][a:b] for a, b in hit["marks"]] == ["words"]
            assert hit["archive"] == "work" and hit["id"] == "0" * 14 + "69"

    stores.run(main)


def test_a_message_is_shown_by_the_id_here_or_there(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await home.comes("the *body*", "s", files=[("f", b"123")])
            [hit] = (await home.mail.search(home.member, ""))["found"]
            for number in (hit["msgid"], hit["id"], f" {hit['id'].upper()} "):
                shown = await home.mail.show(home.member, number)
                assert shown["body"] == "the *body*" and shown["attachments"][0]["size"] == 3
            bob = (await stores.member(home.store)).member
            with pytest.raises(MailError, match="none of the member's archives"):
                await home.mail.show(bob, hit["msgid"])
            for junk in ("", "12", "f" * 16, "zzzzzzzzzzzzzzzz"):
                with pytest.raises(MailError, match="no id of a message"):
                    await home.mail.show(home.member, junk)

    stores.run(main)


def test_what_is_no_question_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            with pytest.raises(SearchError, match="no word"):
                await home.mail.search(home.member, "?!")
            with pytest.raises(SearchError, match="newest or best"):
                await home.mail.search(home.member, "x", order="oldest")  # type: ignore[arg-type]
            assert len((await home.mail.search(home.member, "x", limit=-5))["found"]) == 0

    stores.run(main)


def test_it_ends_without_a_word_when_the_store_has_ended(tmp_path: Path) -> None:
    async def main() -> None:
        ended = trio.Event()
        async with (
            kit.home(tmp_path, running=False, index_every_s=0.01) as home,
            trio.open_nursery() as nursery,
        ):

            async def run() -> None:
                await home.mail.run()
                ended.set()

            nursery.start_soon(run)
            await home.comes("body", "s")
            assert await home.found("body") == ["s"]
            home.store.close()
            with trio.fail_after(5):
                await ended.wait()

    stores.run(main)


def test_a_search_does_not_wait_for_an_index_that_is_far_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.mail.mail.FRESH_S", 0.05)

    async def main() -> None:
        async with kit.home(tmp_path, running=False) as home:
            await home.comes("body", "s")
            result = await home.mail.search(home.member, "body")
            assert result == {"found": [], "next": "", "indexed": False}

    stores.run(main)


def test_nothing_is_decided_by_looking(tmp_path: Path) -> None:
    async def main() -> None:
        async with kit.home(tmp_path) as home:
            await home.comes("body", "s")
            await stores.flush(home.store)
            entries = home.store.entries
            await home.found("body")
            await home.mail.page(home.member, {})
            await home.mail.state(home.member)
            await home.store.perform(lambda scene: Decision())
            assert home.store.entries == entries

    stores.run(main)
