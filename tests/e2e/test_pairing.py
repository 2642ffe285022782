"""Who gets in, by what a person does at the box: members and devices added, and pairing by code."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.pairing import Code, Given, Guest, Impostor, PairingError, Refused, Shared
from appliance.pairing.uri import parse
from tests.kit import Box, Client, HungUp, Quit, Raw, before_curtain, framed, fresh, settle
from tests.kit import Refused as WordRefused
from tests.kit.box import COMMAND
from tests.kit.line import Line
from tests.kit.pairing import PairingLine, in_between, pair, refusal, wrong


@pytest.fixture
def box(box: Box) -> Box:
    """The shared box, without the codes of other tests."""
    box.control("pair.close")
    return box


def code_for(box: Box, member: Client | str, label: str = "tablet") -> str:
    name = member if isinstance(member, str) else member.alias
    made: dict[str, Any] = box.control("pair.code", member=name, label=label)
    return str(made["code"])


def client_of(box: Box, login: dict[str, Any]) -> Client:
    """What logs in with that, not logged in yet."""
    return Client(box, uid=login["uid"], node=login["node"], alias=login["alias"])


def address_of(box: Box) -> str:
    host, port = box.address
    return f"{host}:{port}"


def devices(box: Box, member: Client | str) -> list[str]:
    name = member if isinstance(member, str) else member.uid
    return [device["label"] for device in box.control("device.list", member=name)]


def pocket(box: Box, *words: str, code: int = 0) -> str:
    """The command, as a process of its own."""
    environment = {**os.environ, "POCKET_DATA": str(box.data)}
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


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


def test_after_closing_a_code_is_no_good(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    with PairingLine(box, code) as early:
        early.begin()
        box.control("pair.close")
        assert "no such code" in refusal(box, code)
        early.say(early.guest.prove())
        with pytest.raises(Refused, match="void or was used"):
            early.event()
    assert devices(box, ann) == ["laptop"]
    ann.close()


# Codes


def test_a_code_works_once(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    gift = pair(box, code)
    assert (gift.uid, gift.site) == (ann.uid, box.name)
    assert gift.addresses == [f"={address_of(box)}"]
    tablet = ann.other_node(gift.node).come_back()
    ann.expect("login", from_=ann, node="tbd")
    assert devices(box, ann) == ["laptop", "tablet"]
    assert "void or was used" in refusal(box, code)
    assert devices(box, ann) == ["laptop", "tablet"]
    ann.close()
    tablet.close()


def test_pair_join_is_the_other_end(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    address = f"={address_of(box)}"
    login = json.loads(pocket(box, "pair", "join", address, code_for(box, ann), "--json"))
    assert set(login) >= {"addresses", "uid", "node", "fingerprint", "uri"}
    ann.other_node(login["node"]).come_back().close()
    assert "no such code" in pocket(box, "pair", "join", address, Code.make(3).text, code=1)
    ann.close()


def test_three_wrong_guesses_end_it(new_box: Callable[..., Box]) -> None:
    box = new_box(registration="pairing")
    box.control("member.add", alias="ann smith")
    codes = []
    for _ in range(3):
        codes.append(code_for(box, "ann smith"))
        assert "wrong code" in refusal(box, wrong(codes[-1]))
        assert "void or was used" in refusal(box, codes[-1])
    with pytest.raises(WordRefused, match="pocket pair open"):
        code_for(box, "ann smith")
    assert [code["state"] for code in box.control("pair.show")["codes"]] == ["void"] * 3
    for code in codes:
        refusal(box, code)
    assert devices(box, "ann smith") == []
    box.control("pair.open", minutes=1)
    pair(box, code_for(box, "ann smith"))
    assert devices(box, "ann smith") == ["tablet"]


def test_a_recorded_exchange_is_useless(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    with PairingLine(box, code) as recorded:
        recorded.pair()
    again = code_for(box, ann, "another")
    assert Code.parse(again).number == Code.parse(code).number, "the recording is for this one"
    with PairingLine(box, code) as replay:
        replay.guest.begin()
        replay.send(recorded.sent[0])
        assert isinstance(replay.event(), Shared)
        for frame in recorded.sent[1:]:
            replay.send(frame)
        replay.guest.prove()
        with pytest.raises(Refused, match="wrong code"):
            replay.event()
    assert devices(box, ann) == ["laptop", "tablet"]
    ann.close()


def test_somebody_in_between_gets_nothing(box: Box, tmp_path: Path) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    with in_between(box, tmp_path) as address:
        assert "wrong code" in pocket(box, "pair", "join", address, code, code=1)
    assert devices(box, ann) == ["laptop"]
    assert "void or was used" in refusal(box, code)
    ann.close()


def test_a_box_that_does_not_know_the_code_is_found_out(new_box: Callable[..., Box]) -> None:
    """Somebody plays the box: the guest proves nothing that helps, and believes nothing."""
    other = new_box(registration="pairing")
    other.control("member.add", alias="eve smith")
    code = code_for(other, "eve smith")
    with PairingLine(other, wrong(code)) as line:
        line.begin()
        line.say(line.guest.prove())
        with pytest.raises((Refused, Impostor)):
            line.event()


def test_a_device_is_in_force_only_when_it_has_its_password(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    with PairingLine(box, code_for(box, ann)) as line:
        line.begin()
        line.say(line.guest.prove())
        gift = line.event().gift
    time.sleep(0.3)
    assert devices(box, ann) == ["laptop"]
    with pytest.raises(Quit, match="login failed"):
        ann.other_node(gift.node).login()
    assert "lost" in [code["state"] for code in box.control("pair.show")["codes"]]
    ann.close()


def test_a_code_is_for_what_it_was_made_for(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    assert "'peer'" in refusal(box, code, kind="peer")
    pair(box, code)
    ann.close()


def test_a_member_with_all_devices_gets_no_code(new_box: Callable[..., Box]) -> None:
    box = new_box(config="[limits]\nnodes_per_member = 2\n")
    box.control("member.add", alias="ann smith", label="laptop")
    first, second = code_for(box, "ann smith"), code_for(box, "ann smith", "second")
    pair(box, first)
    assert "at most 2 nodes" in refusal(box, second)
    with pytest.raises(WordRefused, match="at most 2 nodes"):
        code_for(box, "ann smith", "third")
    assert devices(box, "ann smith") == ["laptop", "tablet"]


# Abuse


@pytest.mark.parametrize("step", ["hello", "half", "begin", "gift"])
def test_who_stops_half_way_is_gone_after_five_seconds(box: Box, step: str) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    with PairingLine(box, code) as line:
        began = time.monotonic()
        if step == "half":
            line.send(line.guest.begin()[:40])
        elif step != "hello":
            line.begin()
            began = time.monotonic()
        if step == "gift":
            line.say(line.guest.prove())
            line.event()
            began = time.monotonic()
        line.expect_closed(8)
        assert 4 < time.monotonic() - began < 7
    assert devices(box, ann) == ["laptop"]
    ann.close()


def test_who_begins_and_waits_keeps_nobody_out(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    code = code_for(box, ann)
    waiting = [PairingLine(box, code) for _ in range(9)]
    for line in waiting:
        line.say(line.guest.begin())
    began = time.monotonic()
    pair(box, code)
    assert time.monotonic() - began < 4
    for line in waiting:
        line.event()
        line.say(line.guest.prove())
        with pytest.raises(Refused, match="void or was used"):
            line.event()
        line.close()
    assert devices(box, ann) == ["laptop", "tablet"]
    ann.close()


def test_a_flood_of_guests_harms_no_link(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    for _ in range(3):
        code_for(box, ann)
    lines = []
    slowest = 0.0
    for turn in range(60):
        line = PairingLine(box, Code.make(turn % 3 + 1).text)
        line.send(line.guest.begin())
        lines.append(line)
        began = time.monotonic()
        ann.round_trip()
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1
    refused = 0
    for line in lines:
        try:
            line.event()
        except PairingError:
            refused += 1
        line.close()
    assert refused == 30, "ten beginnings for each code, then it is void"
    assert devices(box, ann) == ["laptop"]
    ann.close()


@pytest.mark.parametrize(
    "header",
    [
        '{"code":1,"kind":"node","op":100,"share":"%+","version":1}',
        '{"op":100,"code":1}',
        '{"op":100,',
        '{"op":101,"proof":"%+"}',
        '{"op":"pair"}',
        '[100,{"op":100,"a":1}]',
    ],
)
def test_what_is_no_frame_of_a_pairing_ends_the_link(box: Box, header: str) -> None:
    with Line(box) as line:
        line.send(framed(header))
        try:
            assert line.frame().op == "quit"
        except HungUp:
            return
        line.expect_closed()


def test_a_guest_may_send_its_frames_in_pieces(box: Box) -> None:
    ann = Client.register(box, alias=fresh("ann smith"))
    with PairingLine(box, code_for(box, ann)) as line:
        for octet in line.guest.begin():
            line.send(bytes([octet]))
        assert isinstance(line.event(), Shared)
        proof = line.guest.prove()
        line.send(proof[:10])
        time.sleep(0.05)
        line.send(proof[10:])
        assert isinstance(line.event(), Given)
    ann.close()


def test_a_client_may_send_its_first_frame_in_pieces(raw: Raw) -> None:
    hello = b'0013{"op":0,"id":"1"  }'
    for octet in hello:
        raw.send(bytes([octet]))
        time.sleep(0.005)
    raw.expect("tmtprev", id="1")


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
