"""The care of a link: metered, refused, a site with another certificate, an account taken over."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.kit import Client, Refused, before_curtain, settle
from tests.kit.upstream import Refuse, Upstream

from .house import CONFIG, House, Membership, come_back, until

PAUSE_S = 1.5
"""Longer than the pauses between tries are here."""


def test_a_metered_membership_looks_in_and_leaves(new_house: Callable[..., House], club: Upstream) -> None:
    house = new_house(config=CONFIG + "metered_stay_s = 1\n")
    ann = house.add(house.member(), club, "club", "Ann at the club")
    (laptop,) = ann.devices("laptop")
    bob = Client.register(club, alias="Bob at the club")
    settle(laptop, bob)
    house.box.control("membership.set", membership=ann.words, metered_min=60)
    until(lambda: not club.linked(ann.uid), "the box leaves")
    assert ann.show()["state"] == "resting"
    bob.post(b"waits there", ann.uid)
    laptop.expect_nothing(0.3)
    assert club.record.find("Quit", ann.uid), "it left without a word"
    house.box.control("membership.resume", membership=ann.words)
    laptop.find("delivery", **{"from": bob.uid})
    until(lambda: not club.linked(ann.uid), "the box leaves again")
    house.box.control("membership.set", membership=ann.words, metered_min=0)
    until(lambda: club.linked(ann.uid), "the box stays there again")


def test_a_refused_login_is_shown_and_not_tried_for_ever(
    club: Upstream, ann: Membership, house: House
) -> None:
    member = club.accounts.members[ann.uid]
    password, member.nodes[0].password = member.nodes[0].password, "B" * 40
    club.cut(ann.uid)
    until(lambda: ann.show()["state"] == "halted", "the box gives up")
    assert "login failed" in ann.show()["trouble"]
    tried = club.record.counts["Login"]
    time.sleep(PAUSE_S)
    assert club.record.counts["Login"] == tried <= 6
    assert any("club" in line.lower() or "login failed" in line for line in problems(house)), problems(house)
    member.nodes[0].password = password
    house.box.control("membership.resume", membership=ann.words)
    ann.is_online()


def problems(house: House) -> list[str]:
    """What status says is wrong."""
    return [str(problem) for problem in house.box.control("status")["reasons"]]


def test_another_certificate_is_an_alarm_and_nothing_is_said_to_who_has_it(
    club: Upstream, ann: Membership, house: House
) -> None:
    before = ann.show()["fingerprint"]
    (laptop,) = ann.devices("laptop")
    club.renew_certificate()
    said = dict(club.record.counts)
    club.cut(ann.uid)
    until(lambda: ann.show()["state"] == "halted", "the box gives up")
    assert "certificate" in ann.show()["trouble"]
    assert ann.show()["fingerprint"] == before
    assert any("certificate" in problem for problem in problems(house)), problems(house)
    time.sleep(PAUSE_S)
    assert {op: club.record.counts[op] for op in ("TmtpRev", "Login")} == {
        op: said.get(op, 0) for op in ("TmtpRev", "Login")
    }
    with pytest.raises(Refused):
        house.box.control("membership.repin", membership=ann.words, fingerprint="nonsense")
    house.box.control("membership.repin", membership=ann.words, fingerprint=f"SHA256:{club.fingerprint}")
    ann.is_online()
    laptop.post(b"again")


def test_a_site_that_refuses_for_a_while_is_tried_again(club: Upstream, ann: Membership) -> None:
    club.on("login", Refuse("the database is being mended"), times=4)
    club.cut(ann.uid)
    ann.is_online()
    (laptop,) = ann.devices("laptop")
    laptop.post(b"x")


def test_an_account_is_taken_over_from_a_device_that_adds_the_box(house: House, club: Upstream) -> None:
    old = Client.register(club, alias="Ann at the club", label="old phone")
    bob = Client.register(club, alias="Bob at the club")
    box = old.add_node("the box at home")
    bob.post(b"before", old)
    member = house.member("Adopted Ann")
    seen = house.box.control("membership.look", member=member, address=club.words)
    house.box.control(
        "membership.adopt",
        member=member,
        address=club.words,
        fingerprint=seen["fingerprint"],
        name="adopted",
        uid=old.uid,
        node=box.node,
    )
    ann = Membership(house, member, "adopted", old.alias, club)
    ann.is_online()
    assert ann.uid == old.uid
    laptop = ann.device("laptop", history_s=86400)
    come_back(laptop)
    bob.post(b"after", old)
    assert [f.data for f in before_curtain(laptop)[0] if f.op == "delivery"] == [b"before", b"after"]
    laptop.post(b"from the box", bob)
    old.find("delivery", **{"from": old.uid})
    with pytest.raises(Refused, match="login failed"):
        house.box.control(
            "membership.adopt",
            member=member,
            address=club.words,
            fingerprint=seen["fingerprint"],
            name="guessed",
            uid=old.uid,
            node="B" * 40,
        )
    ann.drop()
    for client in (old, bob, laptop):
        client.close()
