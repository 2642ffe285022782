"""Two boxes, one site: a blank box joins and has everything; a box is away, is revoked, plays dead."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.pairing import BoxEntry, BoxGift, Code
from appliance.peering import folder
from tests.kit import Box, Client, Quit, Refused, fresh, pocket, with_sender
from tests.kit.box import COMMAND
from tests.kit.pairing import wrong

NewBox = Callable[..., Box]
JOIN_S = 60.0


def address_of(box: Box) -> str:
    return f"={box.address[0]}:{box.address[1]}"


def invite(box: Box) -> str:
    return str(box.control("peer.invite")["code"])


def join(box: Box, host: Box) -> dict[str, Any]:
    """Have a blank box join the host's site, as a person would."""
    result: dict[str, Any] = json.loads(pocket(box, "peer", "join", address_of(host), invite(host), "--json"))
    box.fingerprint = host.fingerprint
    return result


def until(what: Callable[[], Any], within_s: float = JOIN_S) -> Any:
    """What it returns when that is something; a box that restarts inside is waited for."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if found := what():
                return found
        except (OSError, json.JSONDecodeError):
            pass
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)


def in_sync(*boxes: Box) -> None:
    """Wait until each says that all the others have everything."""
    for box in boxes:
        until(lambda box=box: box.control("peer.list")["copies"] == len(boxes))  # type: ignore[misc]


def serves(box: Box) -> bool:
    return bool(box.control("status")["state"] in ("serving", "warning"))


@pytest.fixture
def home(new_box: NewBox) -> Box:
    """A box with a household: two members, three devices, a group, and a message that waits for one."""
    box = new_box()
    ann = Client.register(box, alias="ann smith")
    bob = Client.register(box, alias="bob smith")
    phone = bob.add_node("phone")
    ann.invite(bob, "the smiths")
    bob.join("the smiths")
    ann.post(b"supper at six", to=with_sender("the smiths"))
    ann.close()
    bob.close()
    box.people = ann, bob, phone  # type: ignore[attr-defined]
    return box


def at(box: Box, client: Client) -> Client:
    """The same node, at another box."""
    return Client(box, uid=client.uid, node=client.node, alias=client.alias)


# Joining


def test_a_blank_box_joins_and_has_everything(home: Box, new_box: NewBox) -> None:
    other = new_box()
    before = home.control("member.list")
    joined = join(other, home)
    assert joined["site"] == home.name and joined["slot"] == 1
    status = other.control("status")
    assert status["state"] in ("serving", "warning")
    assert status["fingerprint"] == home.control("status")["fingerprint"]
    assert other.control("group.list") == home.control("group.list")
    members = other.control("member.list")
    assert [(m["uid"], m["aliases"], m["devices"], m["queued"]) for m in members] == [
        (m["uid"], m["aliases"], m["devices"], m["queued"]) for m in before
    ]
    _, _, phone = home.people  # type: ignore[attr-defined]
    there = at(other, phone)
    there.login()
    assert there.find("delivery").data == b"supper at six"
    there.close()
    for box in (home, other):
        assert box.control("journal.verify")["problems"] == []


def test_a_box_that_starts_anew_inside_does_not_tell_systemd_that_it_stops(
    home: Box, new_box: NewBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def told() -> list[str]:
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(systemd.recv(4096).decode())
            return [line for text in found for line in text.splitlines() if line in ("READY=1", "STOPPING=1")]

        other = new_box()
        assert told() == ["READY=1"]
        join(other, home)
        until(lambda: serves(other))
        assert told() == ["READY=1", "READY=1"]
        assert other.terminate() == 0
        assert told() == ["STOPPING=1"]


def test_after_joining_both_know_each_other(home: Box, new_box: NewBox) -> None:
    other = new_box(config='[peer]\nname = "kitchen"\n')
    join(other, home)
    in_sync(home, other)
    for box, name in ((home, None), (other, "kitchen")):
        listed = box.control("peer.list")
        assert len(listed["boxes"]) == 2 and listed["safe_to_unplug"], listed
        own = next(one for one in listed["boxes"] if one["own"])
        assert name is None or own["name"] == name
        assert box.control("status")["copies"] == 2
    assert "kitchen" in pocket(home, "peer", "list")
    assert json.loads(pocket(home, "peer", "show", "kitchen", "--json"))["state"] == "in sync"


def test_devices_are_told_the_addresses_of_all_boxes(home: Box, new_box: NewBox) -> None:
    other = new_box()
    join(other, home)
    for box, second in ((home, other), (other, home)):
        shown = until(
            lambda box=box, second=second: (  # type: ignore[misc]
                (found := box.control("device.show", device="ann smith/laptop"))
                and address_of(second) in found["addresses"]
                and found
            )
        )
        assert shown["addresses"] == [address_of(box), address_of(second)]
        assert f"also={second.address[0]}:{second.address[1]}" in shown["uri"]


def test_what_happens_on_one_box_is_on_the_other(home: Box, new_box: NewBox) -> None:
    other = new_box()
    join(other, home)
    in_sync(home, other)
    ann, bob, _ = home.people  # type: ignore[attr-defined]
    ann = at(home, ann)
    ann.login()
    there = at(other, bob)
    there.login()
    ann.post(b"over there", to=there)
    assert [there.find("delivery").data for _ in range(2)] == [b"supper at six", b"over there"]
    there.post(b"and back", to=ann)
    assert [ann.find("delivery").data for _ in range(2)] == [b"supper at six", b"and back"]
    ann.close()
    there.close()


def test_a_third_box_joins_at_the_second(home: Box, new_box: NewBox) -> None:
    second, third = new_box(), new_box()
    assert join(second, home)["slot"] == 1
    in_sync(home, second)
    assert join(third, second)["slot"] == 2
    in_sync(home, second, third)
    assert len(third.control("member.list")) == 2


def test_a_joined_box_starts_again_as_one(home: Box, new_box: NewBox) -> None:
    other = new_box()
    joined = join(other, home)
    other.kill9()
    other.start()
    assert other.control("status")["box"] == joined["box"]
    in_sync(home, other)
    assert sorted(path.name for path in other.data.iterdir() if path.name.startswith(("join", "copy"))) == []


# Who is not let in


def test_a_wrong_code_joins_nothing_and_voids_the_code(home: Box, new_box: NewBox) -> None:
    other = new_box()
    code = invite(home)
    assert "wrong code" in pocket(other, "peer", "join", address_of(home), wrong(code), code=1)
    assert "void or was used" in pocket(other, "peer", "join", address_of(home), code, code=1)
    assert serves(other) and len(home.control("peer.list")["boxes"]) == 1
    join(other, home)


def test_a_devices_code_lets_no_box_in(home: Box, new_box: NewBox) -> None:
    other = new_box()
    code = home.control("pair.code", member="ann smith", label="tablet")["code"]
    assert "not for 'box'" in pocket(other, "peer", "join", address_of(home), code, code=1)


def test_a_box_with_members_does_not_join(home: Box, new_box: NewBox) -> None:
    other = new_box()
    Client.register(other, alias=fresh("eve smith")).close()
    error = pocket(other, "peer", "join", address_of(home), invite(home), code=1)
    assert "a site of its own" in error and "factory-reset" in error
    assert len(other.control("member.list")) == 1


def test_a_box_that_cannot_be_reached_is_told_so(new_box: NewBox) -> None:
    other = new_box()
    error = pocket(other, "peer", "join", "=127.0.0.1:1", Code.make(1).text, code=1)
    assert "cannot connect to =127.0.0.1:1" in error
    assert serves(other)


def test_nobody_is_invited_while_a_box_is_away(home: Box, new_box: NewBox) -> None:
    other = new_box(config='[peer]\nname = "kitchen"\n')
    join(other, home)
    in_sync(home, other)
    other.kill9()
    until(lambda: home.control("peer.list")["copies"] == 1)
    with pytest.raises(Refused, match=r"box kitchen is away: bring it back, or .* pocket peer revoke"):
        invite(home)
    assert "kitchen is away" in home.control("peer.list")["why"]


# Interrupted


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(6))
def test_a_box_killed_while_it_joins_is_blank_or_joins(home: Box, new_box: NewBox, turn: int) -> None:
    other = new_box()
    environment = {**os.environ, "POCKET_DATA": str(other.data)}
    words = ["peer", "join", address_of(home), invite(home), "--json"]
    joining = subprocess.Popen(
        [*COMMAND, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(random.Random(turn).uniform(0.4, 2.5))
    other.kill9()
    joining.kill()
    joining.wait()
    other.fingerprint = ""
    other.start()
    if until(lambda: other.control("peer.list"))["joining"] is None and not other.control("member.list"):
        orphans = [box["box"] for box in home.control("peer.list")["boxes"] if not box["own"]]
        try:
            join(other, home)
        except AssertionError:
            for box in orphans:
                home.control("peer.revoke", box=box)
            join(other, home)
    until(lambda: serves(other))
    assert len(other.control("member.list")) == 2
    in_sync(home, other)
    assert other.control("journal.verify")["problems"] == []


def entries_of(box: Box) -> list[BoxEntry]:
    """The site's boxes, as one that joins is told of them."""
    return [
        BoxEntry(
            one["box"], bytes.fromhex(one["public"]), one["slot"], one["name"], one["addresses"], one["cut"]
        )
        for one in box.control("peer.list")["boxes"]
    ]


def test_a_box_that_begins_anew_is_the_same_one_and_has_everything(home: Box, new_box: NewBox) -> None:
    other = new_box()
    joined = join(other, home)
    in_sync(home, other)
    listed = other.control("peer.show", box=joined["box"])
    other.terminate()
    ann, bob, _ = home.people  # type: ignore[attr-defined]
    ann = at(home, ann)
    ann.login()
    ann.post(b"while it was away", to=bob)
    ann.close()
    host = str(home.control("peer.list")["box"])
    facts = folder.Joining(home.name, 1, host, entries_of(home), again=True, own_seq=listed["entries"])
    cert, key = ((other.data / "tls" / name).read_text() for name in ("cert.pem", "key.pem"))
    folder.again(other.data, facts, cert, key)
    other.start()
    assert other.control("status")["box"] == joined["box"]
    in_sync(home, other)
    there = at(other, bob)
    there.login()
    assert [there.find("delivery").data for _ in range(2)] == [b"supper at six", b"while it was away"]
    there.close()
    assert other.control("journal.verify")["problems"] == []


@pytest.mark.slow
def test_a_box_that_the_site_does_not_know_is_blank_again(home: Box, new_box: NewBox) -> None:
    """It was accepted, but the box that did so has forgotten that."""
    third, other = new_box(), new_box()
    join(third, home)
    in_sync(home, third)
    other.terminate()
    folder.new_key(other.data)
    cert, key = ((home.data / "tls" / name).read_text() for name in ("cert.pem", "key.pem"))
    host, fingerprint = str(home.control("peer.list")["box"]), home.control("status")["fingerprint"]
    folder.keep(other.data, BoxGift(home.name, fingerprint, cert, key, entries_of(home), host))
    folder.accept(other.data, 2)
    other.start()
    listed = other.control("peer.list")
    assert "did not get into" in listed["gave_up"] and listed["joining"] is None
    assert serves(other) and not (other.data / "joining").exists() and not (other.data / "copy").exists()
    join(other, home)


@pytest.mark.slow
def test_a_box_that_is_joining_can_be_told_to_forget_it(home: Box, new_box: NewBox) -> None:
    other = new_box()
    code = invite(home)
    home_address = address_of(home)
    environment = {**os.environ, "POCKET_DATA": str(other.data)}
    joining = subprocess.Popen(
        [*COMMAND, "peer", "join", home_address, code],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until((other.data / "joining").exists)
    home.kill9()
    try:
        until(lambda: other.control("peer.list")["joining"], 20)
    except AssertionError:
        pytest.skip("it had joined before the other box was killed")
    finally:
        joining.kill()
        joining.wait()
    status = other.control("status")
    assert status["state"] == "starting" and status["reasons"][0].startswith("joining: ")
    pocket(other, "factory-reset", "--yes")
    until(lambda: not other.running)
    other.start()
    assert serves(other) and other.control("member.list") == []


# Revoked


def test_a_revoked_box_is_out_and_the_site_has_a_new_certificate(home: Box, new_box: NewBox) -> None:
    other = new_box(config='[peer]\nname = "kitchen"\n')
    join(other, home)
    in_sync(home, other)
    before = home.control("status")["fingerprint"]
    told = json.loads(pocket(home, "peer", "revoke", "kitchen", "--yes", "--json"))
    after = until(lambda: (now := home.control("status")["fingerprint"]) != before and now)
    assert told["fingerprint"] == after
    until(lambda: other.control("status")["state"] == "error")
    ann, _, _ = home.people  # type: ignore[attr-defined]
    with pytest.raises((AssertionError, OSError, Quit)):
        at(other, ann).login()
    home.fingerprint = after.removeprefix("SHA256:")
    there = at(home, ann)
    there.login()
    there.close()
    home.kill9()
    home.start()
    assert home.control("status")["fingerprint"] == after
    assert home.control("peer.show", box="kitchen")["state"] == "revoked"


def test_a_dead_box_is_revoked_and_another_one_takes_its_place(home: Box, new_box: NewBox) -> None:
    other = new_box(config='[peer]\nname = "kitchen"\n')
    join(other, home)
    in_sync(home, other)
    other.kill9()
    pocket(home, "peer", "revoke", "kitchen", "--yes")
    replacement = new_box()
    home.fingerprint = home.control("status")["fingerprint"].removeprefix("SHA256:")
    assert join(replacement, home)["slot"] == 2
    in_sync(home, replacement)
    assert len(replacement.control("member.list")) == 2


def test_a_box_cannot_revoke_itself(home: Box) -> None:
    own = home.control("peer.list")["box"]
    with pytest.raises(Refused, match="this is that box itself"):
        home.control("peer.revoke", box=own)


# Playing dead


def test_a_box_plays_dead_and_comes_back(home: Box, new_box: NewBox) -> None:
    other = new_box(config='[peer]\nname = "kitchen"\n')
    join(other, home)
    in_sync(home, other)
    ann, _, _ = home.people  # type: ignore[attr-defined]
    ann = at(home, ann)
    ann.login()
    result = json.loads(pocket(home, "peer", "test-failover", "--seconds", "2", "--json"))
    (seen,) = result["boxes"]
    assert seen["served"] and seen["name"] == "kitchen" and seen["caught_up_s"] is not None
    assert result["devices"] == 1 and not ann.alive
    ann.login()
    ann.close()
    in_sync(home, other)


def test_failover_of_a_single_box_is_refused(home: Box) -> None:
    with pytest.raises(Refused, match="pocket peer invite"):
        home.control("peer.failover", seconds=1)


def test_a_box_that_is_killed_while_it_plays_dead_is_back_when_it_starts(home: Box, new_box: NewBox) -> None:
    other = new_box()
    join(other, home)
    in_sync(home, other)
    environment = {**os.environ, "POCKET_DATA": str(home.data)}
    dead = subprocess.Popen(
        [*COMMAND, "peer", "test-failover", "--seconds", "60"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: other.control("peer.list")["copies"] == 1)
    home.kill9()
    dead.wait(20)
    home.start()
    in_sync(home, other)


def test_the_files_of_a_box_are_its_owners_alone(home: Box, new_box: NewBox) -> None:
    other = new_box()
    join(other, home)
    for name in ("box.key", "tls/key.pem", "pocket.db"):
        assert (Path(other.data) / name).stat().st_mode & 0o077 == 0 or name == "pocket.db"
