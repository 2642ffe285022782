"""Who gets in, by what a person does at the box: members and devices added, and pairing by code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from appliance.pairing import Code, Guest
from appliance.pairing.uri import parse
from tests.kit import Box, Client, Quit, Raw, before_curtain, fresh, pocket, settle
from tests.kit import Refused as WordRefused
from tests.kit.line import Line
from tests.kit.pairing import (
    address_of,
    client_of,
    code_for,
    devices,
    pair,
    refusal,
    wrong,
)


@pytest.fixture
def box(box: Box) -> Box:
    """The shared box, without the codes of other tests."""
    box.control("pair.close")
    return box


# By word


def test_a_device_that_was_added_logs_in_as_any_other(box: Box) -> None:
    name = fresh("ann smith")
    login = box.control("member.add", alias=name, label="laptop")
    assert login["uri"] and login["addresses"] == [f"={address_of(box)}"]
    ann = client_of(box, login).come_back()
    ann.round_trip()
    phone = client_of(box, box.control("device.add", member=name, label="phone"))
    phone.come_back()
    ann.expect("login", from_=ann, node="tbd")
    ann.post(b"for all my devices")
    assert [frame.data for frame in before_curtain(phone)[0]] == [b"for all my devices"]
    assert devices(box, ann) == ["laptop", "phone"]
    ann.close()
    phone.close()


def test_what_is_scanned_is_what_logs_in(box: Box) -> None:
    name = fresh("ann smith")
    login = json.loads(pocket(box, "member", "add", name, "--device", "phone", "--json"))
    scanned = parse(login["uri"])
    assert scanned.addresses == (address_of(box),)
    assert scanned.fingerprint == f"SHA256:{box.fingerprint}" == login["fingerprint"]
    assert scanned.site == box.name
    assert scanned.uid is not None and scanned.password is not None
    Client(box, uid=scanned.uid, node=scanned.password, alias=name).come_back().close()


def test_a_password_is_told_once(box: Box) -> None:
    name = fresh("ann smith")
    login = box.control("member.add", alias=name, label="phone")
    shown = box.control("device.show", device=f"{name}/phone")
    assert shown["node"] is None and shown["uid"] == login["uid"] and shown["device"] == login["device"]
    assert parse(shown["uri"]).password is None
    assert login["node"] not in json.dumps([shown, box.control("member.show", member=name)])


def test_a_member_without_a_device_gets_the_first_one_later(box: Box) -> None:
    name = fresh("ann smith")
    assert box.control("member.add", alias=name)["node"] is None
    assert box.control("member.show", member=name)["device_list"] == []
    client_of(box, box.control("device.add", member=name, label="phone")).come_back().close()


@pytest.mark.parametrize(
    ("word", "args"),
    [
        ("member.add", {}),
        ("member.add", {"alias": "short"}),
        ("member.add", {"alias": 17}),
        ("member.add", {"alias": "ann smith", "label": ""}),
        ("member.add", {"alias": "ann smith", "label": " "}),
        ("device.add", {"member": "nobody at all", "label": "phone"}),
        ("device.add", {"label": "phone"}),
        ("device.show", {"device": "nobody/phone"}),
        ("member.owner", {"member": "nobody at all"}),
        ("pair.code", {"member": "nobody at all", "label": "phone"}),
        ("pair.code", {}),
    ],
)
def test_words_that_cannot_be_carried_out_are_refused(box: Box, word: str, args: dict[str, Any]) -> None:
    members = len(box.control("member.list"))
    with pytest.raises(WordRefused):
        box.control(word, **args)
    assert len(box.control("member.list")) == members


def test_a_name_is_given_once(box: Box) -> None:
    name = fresh("ann smith")
    box.control("member.add", alias=name)
    with pytest.raises(WordRefused, match="in use already"):
        box.control("member.add", alias=name, label="phone")


def test_the_first_member_becomes_the_owner_and_may_name_another(new_box: Callable[..., Box]) -> None:
    box = new_box()

    def owners() -> list[str]:
        return [member["uid"] for member in box.control("member.list") if member["owner"]]

    ann = Client.register(box, alias=fresh("ann smith"))
    bob = box.control("member.add", alias="bob smith", label="phone")
    assert owners() == [ann.uid]
    ann.close()
    box.control("member.owner", member="bob smith")
    assert owners() == [bob["uid"]]
    box.kill9()
    box.start()
    assert owners() == [bob["uid"]]
    assert box.control("journal.verify")["problems"] == []


# Lost devices


def test_a_dropped_device_is_out_within_a_second(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    connected = client_of(box, box.control("device.add", member=ann.alias, label="connected")).come_back()
    away = client_of(box, box.control("device.add", member=ann.alias, label="away"))
    ann.post(b"waits for the one that is away")
    assert box.control("device.show", device=f"{ann.alias}/away")["queued"] == 1
    for label in ("connected", "away"):
        began = time.monotonic()
        box.control("device.drop", device=f"{ann.alias}/{label}")
        while label == "connected" and connected.alive:
            assert time.monotonic() - began < 1
        assert time.monotonic() - began < 1
    for client in (connected, away):
        with pytest.raises(Quit, match="login failed"):
            client.login()
    assert devices(box, ann) == ["laptop"]
    ann.close()


def test_what_waited_for_a_dropped_device_is_deleted(new_box: Callable[..., Box]) -> None:
    box = new_box()
    ann = Client.register(box, alias=fresh("ann smith"))
    box.control("device.add", member=ann.alias, label="away")
    ann.post(bytes(100_000))
    waiting = box.control("device.show", device=f"{ann.alias}/away")
    assert (waiting["queued"], waiting["queued_octets"]) == (1, 100_000)
    box.control("device.drop", device=f"{ann.alias}/away")
    settle(ann)
    deadline = time.monotonic() + 10
    while (left := box.control("status")["queues"])["messages"]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    ann.close()


# Outside the window


@pytest.mark.parametrize("mode", ["pairing", "closed", "open"])
def test_outside_the_window_nobody_gets_in(new_box: Callable[..., Box], mode: str) -> None:
    box = new_box(registration=mode)
    box.control("member.add", alias="ann smith")
    for number in range(1, 10):
        guess = f"{number}000000"
        with Line(box) as line:
            guest = Guest(Code(guess), f"SHA256:{box.fingerprint}")
            line.send(guest.begin())
            line.expect_quit("no such code is out: ask for one at the box, with   pocket pair code")
    assert devices(box, "ann smith") == []
    if mode == "closed":
        with pytest.raises(WordRefused, match="closed by the configuration"):
            code_for(box, "ann smith")
    if mode == "pairing":
        code_for(box, "ann smith")
        with Raw(box) as raw:
            raw.greet().say({"op": 1, "newnode": "laptop"})
            assert raw.frame().op == "quit", "a code opens no window for strangers"


# What is never written


def test_no_name_password_or_code_gets_into_the_log(new_box: Callable[..., Box]) -> None:
    box = new_box(registration="pairing", config='[log]\nlevel = "debug"\n')
    secrets = [
        "Annabel Archer",
        "Bartholomew Baker",
        "Carolus Carver",
        "her-tablet",
        "his-phone",
        "its-watch",
    ]
    login = box.control("member.add", alias="Annabel Archer", label="his-phone")
    secrets.append(login["node"])
    secrets.append(box.control("device.add", member="Annabel Archer", label="her-tablet")["node"])
    phone = client_of(box, login).come_back()
    box.control("pair.open", minutes=1)
    bart = Client.register(box, alias="Bartholomew Baker", label="its-watch")
    phone.edit_user(newalias="Carolus Carver")
    phone.ping("hello", bart)
    secrets.append(phone.add_node("her-tablet").node)
    for turn in ("right", "wrong"):
        code = code_for(box, "Annabel Archer", "her-tablet")
        secrets += [code, code.replace("-", ""), wrong(code), wrong(code).replace("-", "")]
        if turn == "right":
            secrets.append(pair(box, code).node)
        else:
            refusal(box, wrong(code))
    with pytest.raises(Quit):
        Client(box, uid=phone.uid, node="B" * 40).login()
    secrets.append("B" * 40)
    with Raw(box) as raw:
        raw.greet().say({"op": 1, "newnode": "its-watch", "newalias": "Annabel Archer"})
        assert raw.frame()["error"]
    for word, args in (
        ("member.add", {"alias": "Annabel Archer"}),
        ("device.show", {"device": "Carolus Carver/x"}),
    ):
        with pytest.raises(WordRefused):
            box.control(word, **args)
    box.control("member.owner", member="Carolus Carver")
    box.control("device.drop", device="Annabel Archer/his-phone")
    bart.close()
    phone.close()
    said = json.dumps(box.control("log", lines=2000)) + box.words(1 << 20)
    box.terminate()
    said += box.words(1 << 20)
    for event in ("device paired", "pairing refused", "member added", "device dropped", "login failed"):
        assert event in said, "the log tells what happened"
    assert [secret for secret in secrets if secret in said] == []
