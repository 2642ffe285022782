"""What a pairing code is good for, and what nobody gets without one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.pairing import Code, Given, Impostor, PairingError, Refused, Shared
from tests.kit import Box, Client, HungUp, Quit, Raw, framed, fresh, pocket
from tests.kit import Refused as WordRefused
from tests.kit.line import Line
from tests.kit.pairing import (
    PairingLine,
    address_of,
    code_for,
    devices,
    in_between,
    pair,
    refusal,
    wrong,
)


@pytest.fixture
def box(box: Box) -> Box:
    """The shared box, without the codes of other tests."""
    box.control("pair.close")
    return box


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
