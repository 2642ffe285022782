"""What a box tells of other sites and archives, and that neither is there before it has something to do."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from appliance.app import mail_waiting
from appliance.config import Config
from appliance.control.mail import MailWords
from appliance.control.memberships import MembershipWords
from appliance.elsewhere import MAIL_WORDS, MEMBERSHIP_WORDS, Elsewhere, has_archives
from appliance.health import Health
from appliance.site import set_archive, set_membership
from appliance.store import Store
from tests.store import kit
from tests.store.test_relay import come, membership, perform


class Far:
    """A relay whose links are as a test says."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.told = state

    def state(self, number: int) -> dict[str, Any]:
        return self.told


def of(store: Store, boxes: list[tuple[int, bool]] | None = None) -> Any:
    """``boxes``: slot and whether it is linked, of the others; this one has slot 2."""
    others = [SimpleNamespace(slot=slot, linked=linked) for slot, linked in boxes or []]
    standing = SimpleNamespace(
        own="own",
        known={"own": SimpleNamespace(slot=2)},
        others=others,
        describe=lambda box: {"linked": box.linked},
    )
    peering = SimpleNamespace(standing=standing, out_of_service=False)
    service: Any = SimpleNamespace(store=store)
    return Elsewhere(Config(), service, Health(), peering, SimpleNamespace(hub=None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "fields", "light"),
    [
        ({"online": True, "last_error": ""}, {}, "online"),
        ({"online": False, "last_error": "gone"}, {}, "offline"),
        ({"online": False, "last_error": ""}, {}, "offline"),
        ({"online": False, "last_error": ""}, {"metered_min": "30"}, "online"),
        ({"online": False, "last_error": "gone"}, {"metered_min": "30"}, "offline"),
        ({"online": True, "last_error": ""}, {"halted": "login failed"}, "offline"),
        ({"online": False, "last_error": "", "halted": "no"}, {"metered_min": "30"}, "offline"),
    ],
)
def test_the_relay_light_is_on_when_all_that_should_be_online_are(
    tmp_path: Any, state: dict[str, Any], fields: dict[str, str], light: str
) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            elsewhere = of(store)
            assert elsewhere._state() == "none"
            number, _ = await membership(store)
            elsewhere.relay = Far(state)
            await perform(store, set_membership, number, **fields)
            assert elsewhere._state() == light

    kit.run(main)


def test_the_figures_count_what_waits_and_what_is_kept_and_name_nobody(tmp_path: Any) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            elsewhere = of(store)
            none = elsewhere.figures()
            assert set(none["memberships"].values()) | set(none["archives"].values()) == {0}
            number, _ = await membership(store, "work")
            elsewhere.relay = Far({"online": True, "last_error": ""})
            out = store.site.memberships[number].out
            await come(store, number, 7, b"hello")
            await come(store, number, 8, b"to be sent", nodes=[out])
            await elsewhere._look_for_oldest()
            found = elsewhere.figures()
            oldest_s = found["memberships"].pop("outbox_oldest_s")
            assert 0 <= oldest_s < 10
            assert found == {
                "memberships": {"kept": 1, "online": 1, "halted": 0, "outbox": 1},
                "archives": {"messages": 1, "octets": 5},
            }
            assert "work" not in json.dumps(found)

    kit.run(main)


def test_a_device_that_gets_nothing_more_is_told_of_until_it_has_fetched_something(tmp_path: Any) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            store.scene.limits = replace(store.scene.limits, relay_octets_per_device=1000)
            elsewhere = of(store)
            number, (phone, _) = await membership(store, "work")
            await come(store, number, 7, b"x" * 900)
            elsewhere._look_at_queues()
            assert not elsewhere._health.reasons
            await come(store, number, 8, b"x" * 80)
            elsewhere._look_at_queues()
            assert [reason.split(":")[0] for reason in elsewhere._health.reasons] == [
                f"{label} of membership work has so much waiting that it gets little more, or nothing"
                for label in ("phone", "laptop")
            ]
            for msgid in await kit.pending_ids(store, phone):
                store.ack(phone, msgid)
            await kit.flush(store)
            elsewhere._look_at_queues()
            (reason,) = elsewhere._health.reasons
            assert reason.startswith("laptop")

    kit.run(main)


@pytest.mark.parametrize(
    ("boxes", "leads"),
    [
        ([], True),
        ([(1, False)], True),
        ([(1, True)], False),
        ([(3, True)], True),
        ([(1, False), (3, True)], True),
    ],
)
def test_of_the_boxes_in_reach_the_one_with_the_lowest_slot_leads(
    tmp_path: Any, boxes: list[tuple[int, bool]], leads: bool
) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            assert of(store, boxes).leads() is leads

    kit.run(main)


def test_what_is_kept_and_what_is_to_be_sent_is_no_mail_that_waits(tmp_path: Any) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            number, _ = await membership(store)
            of_membership = store.site.memberships[number]
            await come(store, number, 7, nodes=[of_membership.out, of_membership.archive])
            assert mail_waiting(store) == 0
            await come(store, number, 8)
            assert mail_waiting(store) == 2

    kit.run(main)


def test_an_archive_of_anybody_is_something_to_do(tmp_path: Any) -> None:
    async def main() -> None:
        async with kit.running(tmp_path) as store:
            device = await kit.member(store)
            assert not has_archives(store.site)
            await perform(store, set_archive, device.member, True)
            assert has_archives(store.site)

    kit.run(main)


def test_every_word_of_the_rooms_can_be_said() -> None:
    service: Any = SimpleNamespace(store=SimpleNamespace(site=None))

    async def nobody() -> Any:
        raise AssertionError

    memberships = MembershipWords(service, nobody, lambda: None).handlers
    assert set(memberships) == {f"membership.{word}" for word in MEMBERSHIP_WORDS}
    assert set(MailWords(service, nobody).handlers) == {f"mail.{word}" for word in MAIL_WORDS}


def test_a_full_disk_ends_links_for_a_while_and_not_the_box(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance.store import DiskFull, StoreBroken

    monkeypatch.setattr("appliance.elsewhere.AGAIN_S", 0.01)
    turns = iter([DiskFull("full"), ExceptionGroup("", [DiskFull("full")]), StoreBroken("broken")])

    async def run() -> None:
        await trio.lowlevel.checkpoint()
        raise next(turns)

    async def main() -> None:
        async with kit.running(tmp_path) as store:
            with pytest.raises(ExceptionGroup) as caught:
                await of(store)._always(run)
            assert caught.group_contains(StoreBroken)

    kit.run(main)
