"""What a box answers about memberships, with links that are only played."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.control import ControlError
from appliance.control.finding import find_device, find_membership
from appliance.control.mail import MailWords
from appliance.control.memberships import MembershipWords, parse_pin
from appliance.control.people import PeopleWords
from appliance.relay import EnrolmentFailed
from appliance.site import add_membership, set_archive
from appliance.store import Store
from tests.store import kit
from tests.store.test_relay import UID, come, membership, perform

PIN = "ab" * 32


class Links:
    """Every site is the same one; ``states`` are how the links are."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked: list[Any] = []
        self.states: dict[int, dict[str, Any]] = {}
        self.error: Exception | None = None

    async def look(self, address: str, pin: str = "") -> Any:
        if self.error:
            raise self.error
        return SimpleNamespace(site="wo\x07rk", pin=PIN, auth=0, authby=[])

    async def add(self, member: int, name: str, address: str, *rest: Any) -> int:
        if self.error:
            raise self.error
        self.asked.append((address, *rest))
        number = (await perform(self.store, add_membership, member, name, {"uid": "THERE"})).node
        self.states[number] = {"online": True, "online_s": 1.26, "last_error": ""}
        return number

    adopt = add

    def state(self, number: int) -> dict[str, Any]:
        return self.states.get(number, {"online": False})

    async def resume(self, number: int, pin: str | None = None) -> None:
        self.asked.append(("resume", number, pin))
        self.states[number] = {"online": True, "online_s": 0.0, "last_error": ""}


class Words:
    """The words of a box with a member who has a membership with two devices."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number = store, number
        self.links = Links(store)
        place = SimpleNamespace(addresses=lambda: ["=192.168.1.5:4433"], fingerprint=f"SHA256:{PIN}")
        company = SimpleNamespace(is_online=lambda node: False)
        service: Any = SimpleNamespace(store=store, place=place, company=company, name="Home")
        self.handlers = {
            **PeopleWords(service).handlers,
            **MembershipWords(service, self.started, lambda: self.links).handlers,
        }
        self.member = store.site.members[store.site.memberships[number].member]

    async def started(self) -> Links:
        return self.links

    async def __call__(self, word: str, **args: Any) -> Any:
        return await self.handlers[word](args)

    async def refuses(self, text: str, word: str, **args: Any) -> None:
        with pytest.raises(ControlError, match=text):
            await self(word, **args)


def with_words(folder: Path, body: Any) -> None:
    async def main() -> None:
        async with kit.running(folder) as store:
            number, _ = await membership(store)
            await body(Words(store, number))

    kit.run(main)


def test_a_site_is_looked_at_and_a_name_proposed_that_is_free(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        seen = await words("membership.look", member=words.member.uid, address="=club.example:4433")
        assert (seen["name"], seen["site"], seen["fingerprint"]) == ("work 2", "wo\x07rk", f"SHA256:{PIN}")
        assert seen["pinned"] is None
        words.links.error = EnrolmentFailed("nobody answers")
        await words.refuses("^nobody answers$", "membership.look", member=words.member.uid, address="=a:1")

    with_words(tmp_path, body)


def test_what_cannot_be_is_refused_before_an_account_is_made(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        given: dict[str, Any] = {
            "member": words.member.uid,
            "address": "=a:1",
            "fingerprint": f"SHA256:{PIN}",
        }
        await words.refuses("already: give another --name", "membership.add", name="work", **given)
        await words.refuses("at most 64 characters", "membership.add", name="x" * 65, **given)
        await words.refuses("at most 64 characters", "membership.add", name="a\x07", **given)
        await words.refuses("name is missing", "membership.add", **given)
        await words.refuses("oidc a token answer", "membership.add", name="club", oidc="x", **given)
        await words.refuses("no fingerprint", "membership.add", name="x", **given | {"fingerprint": "12"})
        await words.refuses("there is no member", "membership.add", name="x", **given | {"member": "Eve"})
        await words.refuses("node is missing", "membership.adopt", name="x", uid="U", **given)
        assert words.links.asked == []

    with_words(tmp_path, body)


def test_an_account_is_made_with_the_certificate_that_was_seen_and_no_other(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        given: dict[str, Any] = {
            "member": words.member.uid,
            "address": "=a:1",
            "fingerprint": f"SHA256:{PIN}",
        }
        made = await words("membership.add", name="club", alias="Ann", oidc={"id_token": "x"}, **given)
        assert words.links.asked == [("=a:1", "Ann", {"id_token": "x"}, PIN)]
        assert (made["name"], made["state"], made["since_s"], made["uid"]) == ("club", "online", 1.3, "THERE")
        await words("membership.adopt", name="chess", uid="U", node="P", **given)
        assert words.links.asked[1] == ("=a:1", "U", "P", "", PIN)
        words.links.error = EnrolmentFailed("registration is closed there")
        await words.refuses("^registration is closed there$", "membership.add", name="x", **given)

    with_words(tmp_path, body)


@pytest.mark.parametrize(
    ("state", "fields", "told"),
    [
        ({"online": False}, {}, "starting"),
        ({"online": False, "last_error": "gone"}, {}, "offline"),
        ({"online": False, "last_error": ""}, {"metered_min": "30"}, "resting"),
        ({"online": False, "last_error": "gone"}, {"metered_min": "30"}, "offline"),
        ({"online": True, "last_error": ""}, {}, "online"),
        ({"online": True, "last_error": ""}, {"halted": "login failed"}, "halted"),
        ({"online": False, "last_error": "", "halted": "login failed"}, {}, "halted"),
    ],
)
def test_how_a_membership_is(tmp_path: Path, state: Any, fields: dict[str, str], told: str) -> None:
    async def body(words: Words) -> None:
        words.links.states[words.number] = state
        words.store.site.memberships[words.number].fields.update(fields)
        assert (await words("membership.list"))[0]["state"] == told
        assert (await words("membership.show", membership="work"))["state"] == told

    with_words(tmp_path, body)


def test_how_often_it_connects_and_when_it_is_tried_again_is_said(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        fields = words.store.site.memberships[words.number].fields
        assert (await words("membership.set", membership="work", metered_min=30))["metered_s"] == 1800
        assert fields["metered_min"] == "30"
        assert (await words("membership.set", membership="work", metered_min=0))["metered_s"] is None
        assert fields["metered_min"] == ""
        for wrong in (-1, 10_081, True, "5", None):
            await words.refuses(
                "metered_min must be 0", "membership.set", membership="work", metered_min=wrong
            )
        await words("membership.resume", membership="work")
        await words("membership.repin", membership="work", fingerprint=PIN)
        number = words.number
        assert words.links.asked == [("resume", number, None), ("resume", number, PIN)]
        fields["address"] = "+a:1"
        await words.refuses("an authority vouches", "membership.repin", membership="work", fingerprint=PIN)

    with_words(tmp_path, body)


def test_what_is_dropped_is_gone_with_its_devices(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        await come(words.store, words.number, 7, b"hello")
        shown = await words("membership.drop", membership=str(words.number))
        assert (shown["archived"], shown["archived_octets"], shown["devices"]) == (1, 5, 2)
        assert not words.store.site.memberships
        assert [device["membership"] for device in await words("device.list")] == [None]
        await words.refuses("there is no membership 'work'", "membership.show", membership="work")

    with_words(tmp_path, body)


def test_a_device_logs_in_here_with_the_uid_that_the_member_has_there(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        uid = words.member.uid
        made = await words("device.add", member=uid, label="tablet", membership="work")
        assert (made["uid"], made["membership"], made["addresses"]) == (UID, "work", ["=192.168.1.5:4433"])
        assert len(made["node"]) == 40 and made["fingerprint"] == f"SHA256:{PIN}"
        assert (await words("device.show", device=str(made["device"])))["node"] is None
        listed = await words("device.list", member=uid)
        assert [device["label"] for device in listed if device["membership"]] == ["phone", "laptop", "tablet"]
        await words.refuses(
            "there is no membership 'club' of", "device.add", member=uid, label="x", membership="club"
        )
        await words.refuses("name it with --membership", "device.add", member=uid, label="x", history_s=60)
        for wrong in (0, -1, "90d", True):
            await words.refuses(
                "history_s must be", "device.add", member=uid, label="x", membership="work", history_s=wrong
            )

    with_words(tmp_path, body)


def test_a_new_device_begins_with_what_the_fullest_waits_for_or_with_history(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        store, uid = words.store, words.member.uid
        phone, _ = store.site.memberships[words.number].devices
        await come(store, words.number, 7, nodes=[phone])
        await come(store, words.number, 8, b"kept")

        async def begins_with(**more: Any) -> int:
            made = await words("device.add", member=uid, label=f"d{len(more)}", membership="work", **more)
            return int(made["device"] and store.queues.nodes[made["device"]].count)

        assert await begins_with() == 2
        assert await begins_with(history_s=3600) == 1

    with_words(tmp_path, body)


def test_which_is_the_fullest_is_seen_when_it_is_decided(tmp_path: Path) -> None:
    """Not before: until then the one may have fetched everything, and the other have got more."""

    async def body(words: Words) -> None:
        store, uid = words.store, words.member.uid
        phone, laptop = store.site.memberships[words.number].devices
        await come(store, words.number, 7, nodes=[phone])
        decide = store.perform

        async def late(decision: Any) -> Any:
            store.perform = decide  # type: ignore[method-assign]
            for msgid in await kit.pending_ids(store, phone):
                store.ack(phone, msgid)
            await kit.flush(store)
            for upid in (8, 9):
                await come(store, words.number, upid, nodes=[laptop])
            return await decide(decision)

        store.perform = late  # type: ignore[method-assign, assignment]
        made = await words("device.add", member=uid, label="tablet", membership="work")
        assert await kit.pending_ids(store, made["device"]) == await kit.pending_ids(store, laptop)

    with_words(tmp_path, body)


def test_queues_that_no_device_has_are_no_devices(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        store, of = words.store, words.store.site.memberships[words.number]
        await perform(store, set_archive, words.member.number, True)
        for node in (of.out, of.archive, words.member.archive):
            await words.refuses("there is no device", "device.drop", device=str(node))
        await come(store, words.number, 7, nodes=[of.archive])
        assert await store.oldest() == 0
        assert await store.oldest(of.archive) > 0
        await come(store, words.number, 8)
        assert await store.oldest() == await store.oldest(of.devices[0])

    with_words(tmp_path, body)


def test_memberships_and_their_devices_go_by_several_names(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        site, uid = words.store.site, words.member.uid
        other = (
            await perform(words.store, add_membership, (await kit.member(words.store)).member, "work", {})
        ).node
        find = find_membership
        assert find(site, {"membership": str(other)}).number == other
        assert find(site, {"membership": f"{uid}/work"}).number == words.number
        assert find(site, {"membership": "work"}, words.member).number == words.number
        with pytest.raises(ControlError, match=f"give one of the numbers {words.number}, {other}"):
            find(site, {"membership": "work"})
        with pytest.raises(ControlError, match="there is no membership '99999'"):
            find(site, {"membership": "99999"})
        assert find_device(site, {"device": "/".join((uid, "work", "phone"))}).label == "phone"

    with_words(tmp_path, body)


def test_words_about_archives_are_checked_before_they_are_passed_on(tmp_path: Path) -> None:
    async def body(words: Words) -> None:
        async def never() -> Any:
            raise AssertionError("this is no question")

        service: Any = SimpleNamespace(store=words.store)
        handlers = MailWords(service, never).handlers
        uid = words.member.uid
        questions: list[tuple[str, dict[str, Any], str | None]] = [
            ("mail.search", {}, "words is missing"),
            ("mail.search", {"words": "x", "limit": -1}, "limit must be"),
            ("mail.search", {"words": "x", "after": 5}, "are texts"),
            ("mail.search", {"words": "x", "membership": "club"}, "there is no membership 'club' of"),
            ("mail.page", {"after": []}, None),
            ("mail.page", {"after": {"1.0": 5}}, "what the last page said"),
            ("mail.piece", {"message": "x", "node": "1"}, "node must be"),
            ("mail.archive", {"on": "yes"}, "on must be true or false"),
            ("mail.message", {}, "message is missing"),
        ]
        for word, args, said in questions:
            with pytest.raises(ControlError if said else AssertionError, match=said or "no question"):
                await handlers[word]({"member": uid, **args})

    with_words(tmp_path, body)


@pytest.mark.parametrize("text", [f"SHA256:{PIN}", PIN.upper(), ":".join(["ab"] * 32), f" {PIN} "])
def test_a_fingerprint_may_be_written_in_several_ways(text: str) -> None:
    assert parse_pin(text) == PIN


@pytest.mark.parametrize("text", ["", "SHA256:", PIN[1:], PIN + "a", "g" * 64])
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ControlError, match="is no fingerprint"):
        parse_pin(text)
