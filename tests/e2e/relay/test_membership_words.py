"""`pocket membership`, `pocket mail`: a person keeps a membership at another site; two real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit import Box, Client, Refused
from tests.kit.box import COMMAND
from tests.session.oidc_provider import LoginProvider

from .house import CONFIG, House, Membership, pocket, remote, until, words

ANN, ALIAS = "Ann Smith", "Ann at the club"


@pytest.fixture(scope="module")
def site() -> Iterator[Box]:
    with remote() as site:
        yield site


@pytest.fixture(scope="module")
def house(site: Box) -> Iterator[House]:
    house = House(config=CONFIG + "metered_stay_s = 1\n")
    try:
        house.member(ANN)
        yield house
    finally:
        house.close()


def typed(box: Box, *said: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    """A command as a person types it."""
    done = subprocess.run(
        [*COMMAND, *said, "--data", str(box.data)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == code, (said, done.stdout, done.stderr)
    return done


def adopted(house: House, site: Box, name: str) -> tuple[Client, Any]:
    """An account that Ann has, which the box keeps from now on: her laptop there, and what the box says."""
    laptop = Client.register(site, alias=f"Ann as {name}")
    node = laptop.add_node("box").node
    done = typed(
        house.box, "membership", "adopt", ANN, words(site), "--uid", laptop.uid, "--name", name, "--json",
        stdin=node + "\n",
    )  # fmt: skip
    assert node not in done.stdout + done.stderr
    return laptop, json.loads(done.stdout)


def test_from_adding_a_membership_to_finding_and_exporting_a_message(
    house: House, site: Box, tmp_path: Path
) -> None:
    box = house.box
    said = typed(box, "membership", "add", ANN, words(site), "--name", "Club", "--alias", ALIAS)
    assert f"SHA256:{site.fingerprint}" in said.stderr
    assert "Club is membership" in said.stdout and ": online" in said.stdout
    made = pocket(box, "device", "add", ANN, "phone", "--membership", "Club")
    assert set(made) == {"addresses", "uid", "node", "fingerprint"}
    club = Membership(house, ANN, "Club", ALIAS, site)
    (tablet,) = club.devices("tablet")
    bob = Client.register(site, alias="Bob at the club")
    tablet.post(b"Hello from the tablet", bob)
    assert bob.find("delivery", from_=tablet).data == b"Hello from the tablet"
    head = json.dumps({"threadid": "", "alias": "Bob at the club", "subject": "Summer camp"}).encode()
    bob.post(head + b"Pack a torch for the summer camp", tablet, datahead=len(head))
    tablet.find("delivery", from_=bob)
    found = until(lambda: pocket(box, "mail", "search", ANN, "torch")["found"], "the message is found")
    assert [(hit["archive"], hit["alias"], hit["subject"]) for hit in found] == [
        ("Club", "Bob at the club", "Summer camp")
    ]
    shown = typed(box, "mail", "show", ANN, found[0]["msgid"]).stdout
    assert "Pack a torch for the summer camp" in shown
    assert (
        typed(box, "mail", "search", ANN, "from:bob", "torch", "--membership", "Club").stdout.count("torch")
        == 1
    )
    assert pocket(box, "mail", "export", ANN, "--to", str(tmp_path / "ann"))["messages"] == 2
    records = [
        json.loads(line)
        for file in (tmp_path / "ann" / "messages").iterdir()
        for line in file.read_text().splitlines()
    ]
    assert {record["subject"] for record in records} == {"", "Summer camp"}
    late = club.device("late", "--history", "1d")
    late.login()
    assert late.find("delivery", from_=tablet).data == b"Hello from the tablet"
    assert late.find("delivery", from_=bob).data.endswith(b"summer camp")
    status = box.control("status")
    assert status["memberships"] | {"kept": 1, "online": 1, "halted": 0, "outbox": 0} == status["memberships"]
    assert status["archives"]["messages"] == 2
    assert status["nodes"] == 3
    listed = typed(box, "device", "list", ANN).stdout
    assert "MEMBERSHIP" in listed and "archive" not in listed


def test_a_site_that_is_not_there_and_what_is_no_address_are_told(house: House) -> None:
    gone = typed(house.box, "membership", "add", ANN, "=127.0.0.1:1", code=1).stderr
    assert "127.0.0.1:1" in gone and "Traceback" not in gone
    assert "write =HOST:PORT" in typed(house.box, "membership", "add", ANN, "127.0.0.1:1", code=1).stderr
    assert "there is no member" in typed(house.box, "membership", "add", "Eve", "=x:1", code=1).stderr


def test_an_account_that_is_there_already_is_adopted_and_dropped(house: House, site: Box) -> None:
    laptop, made = adopted(house, site, "Chess")
    assert (made["uid"], made["state"], made["name"]) == (laptop.uid, "online", "Chess")
    wrong = typed(
        house.box, "membership", "adopt", ANN, words(site), "--uid", laptop.uid, "--name", "x",
        stdin="1" * 40 + "\n", code=1,
    ).stderr  # fmt: skip
    assert "Error" in wrong and "x is membership" not in wrong
    assert "add --yes" in typed(house.box, "membership", "drop", "Chess", code=1).stderr
    assert "dropped Ann Smith/Chess" in typed(house.box, "membership", "drop", "Chess", "--yes").stdout
    assert "Chess" not in [each["name"] for each in pocket(house.box, "membership", "list")]
    with pytest.raises(Refused, match="there is no membership 'Chess'"):
        house.box.control("membership.show", membership="Chess")


def test_another_certificate_is_an_alarm_until_a_person_has_looked(house: House, site: Box) -> None:
    _, made = adopted(house, site, "School")
    number = str(made["membership"])
    wrong = "ab" * 32
    assert "that is the same certificate" in typed(house.box, "membership", "repin", number).stdout
    typed(house.box, "membership", "set", number, "--metered", "30m")
    until(
        lambda: house.box.control("membership.show", membership=number)["state"] == "resting",
        "the box has looked in, and left",
    )
    house.box.control("membership.repin", membership=number, fingerprint=wrong)
    shown = until(
        lambda: (
            (found := house.box.control("membership.show", membership=number))["state"] == "halted" and found
        ),
        "the membership is halted",
    )
    assert shown["offered"] == f"SHA256:{site.fingerprint}"
    assert any("School" in reason for reason in house.box.control("status")["reasons"])
    assert (
        f"pocket membership repin {number}"
        in subprocess.run(
            [*COMMAND, "doctor", "--data", str(house.box.data)], capture_output=True, text=True, check=False
        ).stdout
    )
    said = typed(house.box, "membership", "repin", number, "--fingerprint", site.fingerprint)
    assert f"until now  SHA256:{wrong}\nnow        SHA256:{site.fingerprint}\n" in said.stdout
    assert ": online" in said.stdout
    assert not any("School" in reason for reason in house.box.control("status")["reasons"])
    typed(house.box, "membership", "drop", number, "--yes")


def test_names_of_several_memberships_ask_for_the_number(house: House, site: Box) -> None:
    house.member("Zoe Smith")
    for member in (ANN, "Zoe Smith"):
        typed(house.box, "membership", "add", member, words(site), "--name", "Choir")
    assert "give one of the numbers" in typed(house.box, "membership", "show", "Choir", code=1).stderr
    assert pocket(house.box, "membership", "show", "Zoe Smith/Choir")["member_alias"] == "Zoe Smith"
    again = typed(house.box, "membership", "add", ANN, words(site), "--name", "Choir", code=1).stderr
    assert "already: give another --name" in again
    for member in (ANN, "Zoe Smith"):
        typed(house.box, "membership", "drop", f"{member}/Choir", "--yes")


def test_messages_of_the_own_site_are_kept_for_who_wants_that(house: House) -> None:
    box = house.box
    box.control("pair.open")
    zoe, tom = (Client.register(box, alias=alias) for alias in ("Zoe Miller", "Tom Miller"))
    zoe.post(b"before", tom)
    tom.find("delivery", from_=zoe)
    typed(box, "mail", "archive", "Tom Miller", "on")
    zoe.post(b"a giraffe", tom)
    tom.find("delivery", from_=zoe)
    found = until(lambda: pocket(box, "mail", "search", "Tom Miller", "giraffe")["found"], "it is found")
    assert [hit["archive"] for hit in found] == [""]
    assert pocket(box, "mail", "search", "Zoe Miller", "giraffe")["found"] == []
    typed(box, "mail", "archive", "Tom Miller", "off", "--yes")
    assert pocket(box, "mail", "show", "Tom Miller")["messages"] == 0
    assert pocket(box, "mail", "search", "Tom Miller", "giraffe")["found"] == []


def test_a_site_that_wants_a_login_with_openid_connect_gets_one(house: House, tmp_path: Path) -> None:
    with LoginProvider(tmp_path) as provider:
        config = f"""
[[auth.provider]]
label = "School ID"
login = {{ url = "https://login.example/authorize", params = {{ client_id = "box" }} }}
token = {{ url = "https://login.example/token" }}
issuer = "{provider.issuer}"
audience = "{provider.audience}"
key_set_url = "{provider.key_set_url}"
"""
        with remote("The university", config=config) as site:
            add = ("membership", "add", ANN, words(site), "--name", "University")
            forged = json.dumps(provider.oidc(sub="mallory", aud="another box"))
            assert "register failure" in typed(house.box, *add, stdin=forged + "\n", code=1).stderr
            assert "authentication required" in typed(house.box, *add, "--no-login", code=1).stderr
            done = typed(house.box, *add, stdin=json.dumps(provider.oidc(sub="ann"), indent=2))
            assert "log in at School ID" in done.stderr
            assert "https://login.example/authorize?client_id=box&" in done.stderr
            assert "University is membership" in done.stdout
            assert len(site.control("member.list")) == 1
            typed(house.box, "membership", "drop", "University", "--yes")


def test_a_box_without_other_sites_does_not_load_what_they_need() -> None:
    program = "import sys; import appliance.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    needless = {
        "appliance.relay",
        "appliance.mail",
        "appliance.control.memberships",
        "appliance.control.mail",
    }
    assert needless.isdisjoint(loaded.stdout.split())
