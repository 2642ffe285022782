"""All boxes of a site are gone, and a stick is left: a blank box becomes what was backed up."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_peers import until
from tests.kit import Box, Client, Refused, pocket
from tests.kit.box import COMMAND

NewBox = Callable[..., Box]


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path = tmp_path / "media" / "stick"
    path.mkdir(parents=True)
    return path


def writes(stick: Path) -> str:
    """The configuration of a box that backs up to a folder that is no stick."""
    return f'[backup]\nfolder = "{stick}"\nsearch = []\n'


def looks(stick: Path) -> str:
    """And that of one that looks for sticks there."""
    return f'[backup]\nsearch = ["{stick.parent}"]\n'


def back_up(box: Box, stick: Path) -> str:
    """What a person does; returns the recovery key."""
    key = json.loads(pocket(box, "recovery-key", "show", "--json"))["key"]
    assert key in pocket(box, "recovery-key", "show")
    made = json.loads(pocket(box, "backup", "make", "--to", str(stick), "--json"))
    assert str(stick) in made["folder"]
    return str(key)


def restore(box: Box, stick: Path, key: str, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, "restore", str(stick), "--yes"],
        input=key + "\n", capture_output=True, text=True, timeout=90, check=False,
        env={**os.environ, "POCKET_DATA": str(box.data)},
    )  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr, box.words())
    return done.stdout if code == 0 else done.stderr


def at(box: Box, client: Client) -> Client:
    """The same node, at another box."""
    found = Client(box, uid=client.uid, node=client.node, alias=client.alias)
    found.login()
    return found


def serves(box: Box) -> Any:
    return box.control("status")["state"] in ("serving", "warning") and box.control("status")["members"]


def test_a_blank_box_is_restored_and_members_go_on_as_if_nothing_had_been(
    new_box: NewBox, tmp_path: Path, stick: Path
) -> None:
    home = new_box(config=writes(stick))
    ann = Client.register(home, alias="ann smith")
    bob = Client.register(home, alias="bob smith")
    bob.close()
    large = os.urandom(300_000)
    ann.post(b"supper at six", to=bob)
    ann.post(large, to=bob)
    key = back_up(home, stick)
    ann.post(b"in the second backup", to=bob)
    assert "backed up what was new" in pocket(home, "backup", "make", "--to", str(stick))
    assert "as it was written" in pocket(home, "backup", "verify", str(stick))
    listed = pocket(home, "backup", "list")
    assert str(stick) in listed and "this one" in listed
    assert "backup" in pocket(home, "status")
    ann.post(b"after the last backup", to=bob)
    ann.close()
    home.kill9()

    other = new_box(config=looks(stick), name="somebody else's")
    until(lambda: any("pocket restore" in reason for reason in other.control("status")["reasons"]))
    wrong = ("2" if key[0] == "1" else "1") + key[1:]
    assert "mistyped" in restore(other, stick, wrong, code=1)
    assert home.name in restore(other, stick, key)
    status = other.control("status")
    assert status["fingerprint"].removeprefix("SHA256:") == home.fingerprint
    assert status["members"] == 2
    other.fingerprint, other.name = home.fingerprint, home.name
    bob = at(other, bob)
    assert [bytes(bob.find("delivery").data) for _ in range(3)] == [
        b"supper at six", large, b"in the second backup",
    ]  # fmt: skip
    ann = at(other, ann)
    ann.post(b"and on we go", to=bob)
    assert bob.find("delivery").data == b"and on we go"
    ann.close()
    bob.close()
    assert other.control("journal.verify")["problems"] == []
    boxes = {one["box"]: one["state"] for one in other.control("peer.list")["boxes"]}
    assert sorted(boxes.values())[-1] == "revoked" and len(boxes) == 2
    assert "this box has a site of its own" in restore(other, stick, key, code=1)
    (tmp_path / "another").mkdir()
    assert back_up(other, tmp_path / "another") == key


def test_killed_at_any_moment_of_a_backup_or_a_restore_it_goes_on(
    new_box: NewBox, tmp_path: Path, stick: Path
) -> None:
    home = new_box(config=writes(stick))
    ann = Client.register(home, alias="ann smith")
    bob = Client.register(home, alias="bob smith")
    bob.close()
    sent = [os.urandom(2_000_000) for _ in range(12)]
    for data in sent:
        ann.post(data, to=bob)
    key = back_up(home, stick)
    sent.append(os.urandom(2_000_000))
    ann.post(sent[-1], to=bob)
    for delay in (0.02, 0.2):
        home.control("backup.make", folder=str(stick))
        time.sleep(delay)
        home.kill9()
        home.start()
        pocket(home, "backup", "verify", str(stick))
    back_up(home, stick)
    home.kill9()

    other = new_box(config=looks(stick))
    new = str(other.control("restore", folder=str(stick), key=key)["box"])
    for delay in (0.4, 0.8, 1.2):
        time.sleep(delay)
        other.kill9()
        other.launch()
    until(lambda: serves(other))
    assert other.control("status")["box"] == new
    lines = (other.folder / "stdout").read_text().splitlines()
    address = next(line.split("=")[1] for line in reversed(lines) if line.startswith("address ="))
    other.address, other.fingerprint = (address.split(":")[0], int(address.split(":")[1])), home.fingerprint
    bob = at(other, bob)
    assert [bytes(bob.find("delivery").data) for _ in sent] == sent
    bob.close()
    assert other.control("journal.verify")["problems"] == []


def test_a_blank_box_restores_by_itself_when_the_key_lies_beside_the_backup(
    new_box: NewBox, tmp_path: Path, stick: Path
) -> None:
    home = new_box(config=writes(stick))
    Client.register(home, alias="ann smith").close()
    key = back_up(home, stick)
    home.kill9()
    (stick / "recovery-key.txt").write_text(key.lower() + "\n")
    other = new_box(config=looks(stick))
    until(lambda: serves(other))
    assert [member["aliases"] for member in other.control("member.list")] == [["ann smith"]]


def test_a_backup_is_made_by_itself_when_it_is_due(new_box: NewBox, tmp_path: Path, stick: Path) -> None:
    home = new_box(config=writes(stick))
    Client.register(home, alias="ann smith").close()
    assert "every day" in pocket(home, "backup", "auto", "on")
    until(lambda: home.control("status")["backup"]["made"])
    assert any("recovery-key show" in reason for reason in home.control("status")["reasons"])
    back_up(home, stick)
    until(lambda: not home.control("status")["reasons"])
    home.restart()
    assert home.control("backup.list")["automatic"]
    assert home.control("status")["backup"]["made"]


def test_what_cannot_be_done_is_said(new_box: NewBox, tmp_path: Path, stick: Path) -> None:
    home = new_box(config=looks(stick))
    assert "no stick is mounted" in pocket(home, "backup", "make", code=1)
    assert "is the stick plugged in" in pocket(home, "backup", "make", "--to", str(stick), code=1)
    nowhere = tmp_path / "nowhere"
    assert "is the stick plugged in" in pocket(home, "backup", "make", "--to", str(nowhere), code=1)
    assert "there is no backup" in pocket(home, "backup", "list")
    with pytest.raises(Refused, match="from the root"):
        home.control("backup.make", folder="stick")
    key = home.control("recovery.show")["key"]
    with pytest.raises(Refused, match="there is no backup"):
        home.control("restore", folder=str(stick), key=key, look=True)
    new = pocket(home, "recovery-key", "new", "--yes")
    assert key not in new and home.control("recovery.show")["key"] in new


def test_a_box_that_cannot_be_restored_is_blank_again_and_says_why(new_box: NewBox, stick: Path) -> None:
    home = new_box(config=writes(stick))
    Client.register(home, alias="ann smith").close()
    key = back_up(home, stick)
    (segment,) = stick.rglob("journal-*")
    octets = segment.read_bytes()
    segment.write_bytes(octets[:100] + bytes([octets[100] ^ 1]) + octets[101:])
    assert "damaged" in pocket(home, "backup", "verify", code=1)
    home.kill9()
    (stick / "recovery-key.txt").write_text(key)
    other = new_box(config=looks(stick))
    until(lambda: any("was not restored" in reason for reason in other.control("status")["reasons"]))
    tried = other.words().count("joining given up")
    assert "was not restored" in restore(other, stick, key, code=1)
    assert other.words().count("joining given up") == tried + 1 == 2
    assert other.control("status")["members"] == 0
    segment.write_bytes(octets)
    restore(other, stick, key)
    assert other.control("status")["members"] == 1
