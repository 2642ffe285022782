"""A new device of a membership: with what is pending, or with history as far as it is kept."""

from __future__ import annotations

from tests.kit import Client, before_curtain, settle
from tests.kit.upstream import Upstream

from .house import Membership, until

DAY_S = 86400


def texts(client: Client) -> list[bytes]:
    return [frame.data for frame in before_curtain(client)[0] if frame.op == "delivery"]


def test_a_new_device_begins_with_what_is_pending_or_with_history(club: Upstream, ann: Membership) -> None:
    laptop, phone = ann.devices("laptop", "phone")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, phone, bob)
    bob.post(b"read by all", ann.uid)
    laptop.post(b"written", bob)
    assert (texts(laptop), texts(phone)) == ([b"read by all"], [b"read by all", b"written"])
    phone.log_out()
    bob.post(b"not yet by the phone", ann.uid)
    assert texts(laptop) == [b"not yet by the phone"]
    until(lambda: min(d["queued"] for d in ann.show()["device_list"]) == 0, "the laptop's acks are in")
    watch = ann.device("watch")
    watch.login()
    assert texts(watch) == [b"not yet by the phone"]
    tablet = ann.device("tablet", history_s=90 * DAY_S)
    tablet.login()
    assert texts(tablet) == [b"read by all", b"written", b"not yet by the phone"]
    phone.login()
    assert texts(phone) == [b"not yet by the phone"]


def test_a_device_that_another_device_adds_begins_with_what_is_pending_for_that_one(
    club: Upstream, ann: Membership
) -> None:
    laptop, phone = ann.devices("laptop", "phone")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, phone, bob)
    asked = club.asked("UserEdit", ann.uid)
    laptop.auto_ack = False
    number = bob.post(b"pending", ann.uid)["msgid"]
    settled = phone.expect("delivery", from_=bob, data=b"pending")
    assert settled["id"] == number
    laptop.edit_user(newnode="watch")
    password = phone.find("user", newnode="watch")["nodeid"]
    watch = laptop.other_node(password)
    watch.login()
    assert texts(watch) == [b"pending"]
    assert club.asked("UserEdit", ann.uid) == asked, "the site heard of it"
