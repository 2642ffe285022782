"""`pocket membership` and devices of memberships: what they ask, what people see, what programs get."""

from __future__ import annotations

import json

import pytest

from appliance.control import ControlError
from tests.cli.test_words import PHONE

OLD, NEW = "SHA256:" + "ab" * 32, "SHA256:" + "cd" * 32
SEEN = {"address": "=club.example:4433", "site": "Club", "name": "Club 2", "fingerprint": NEW,
        "pinned": None, "auth": None, "authby": None}  # fmt: skip
CLUB = {"membership": 12, "name": "Club", "member": "UID1", "member_alias": "Ann Smith", "site": "The Club",
        "address": "=club.example:4433", "uid": "UIDTHERE", "alias": "Ann at the club", "fingerprint": OLD,
        "state": "online", "since_s": 75.2, "next_try_s": None, "halted": None, "trouble": None,
        "offered": None, "metered_s": None, "devices": 2, "outbox": 0, "outbox_octets": 0,
        "outbox_oldest_s": 0, "archived": 1500, "archived_octets": 3 << 20, "boxes": 1}  # fmt: skip
WORK = CLUB | {"membership": 13, "name": "Wo\x1b[2Jrk", "address": "+work.example:443", "state": "offline",
               "since_s": 7325, "next_try_s": 30, "trouble": "the site cannot be reached", "devices": 0,
               "outbox": 3, "outbox_octets": 2048, "outbox_oldest_s": 90, "metered_s": 1800}  # fmt: skip
LOGIN = {"site": "The Club", "membership": "Club", "alias": "Ann at the club", "device": 17, "label": "phone",
         "uid": "UIDTHERE", "node": "SECRET", "addresses": ["=192.168.1.5:4433", "=192.168.1.6:4433"],
         "fingerprint": "SHA256:11", "uri": "tmtp://x"}  # fmt: skip


@pytest.fixture
def person(monkeypatch):
    """Somebody who can be asked sits in front."""
    monkeypatch.setattr("appliance.cli.certificates.at_terminal", lambda: True)
    monkeypatch.setattr("appliance.cli.memberships.at_terminal", lambda: True)
    monkeypatch.setattr("appliance.cli.prompts.at_terminal", lambda: True)


def test_a_membership_is_added_when_the_certificate_was_seen(pocket):
    pocket.answers(membership_look=SEEN, membership_add=CLUB)
    said = pocket("membership", "add", "Ann Smith", "=club.example:4433", "--alias", "Ann at the club")
    assert pocket.asked == [
        ("membership.look", {"member": "Ann Smith", "address": "=club.example:4433"}),
        ("membership.add", {"member": "Ann Smith", "address": "=club.example:4433", "fingerprint": NEW,
                            "name": "Club 2", "alias": "Ann at the club", "oidc": None}),
    ]  # fmt: skip
    assert f"certificate  {NEW}: compare with what the site's people say\n" in pocket.stderr
    assert said.splitlines() == [
        "Club is membership 12: online for 1 min 15 s",
        'give it a device with   pocket device add "Ann Smith" LABEL --membership Club',
    ]


def test_a_person_says_whether_the_certificate_is_the_right_one(pocket, person):
    pocket.answers(membership_look=SEEN, membership_add=CLUB)
    pocket("membership", "add", "Ann Smith", "=club.example:4433", stdin="n\n", code=1)
    assert [word for word, _ in pocket.asked] == ["membership.look"]
    pocket("membership", "add", "Ann Smith", "=club.example:4433", stdin="y\n")
    pocket("membership", "add", "Ann Smith", "=club.example:4433", "--yes")
    assert [word for word, _ in pocket.asked].count("membership.add") == 2


def test_a_certificate_that_an_authority_vouches_for_is_no_question(pocket, person):
    pocket.answers(membership_look=SEEN | {"fingerprint": None}, membership_add=CLUB)
    pocket("membership", "add", "Ann Smith", "+club.example:4433")
    assert "an authority vouches for it" in pocket.stderr


def test_another_certificate_than_expected_ends_it_before_anything_is_done(pocket):
    pocket.answers(membership_look=SEEN, membership_add=CLUB)
    pocket("membership", "add", "Ann Smith", "=club.example:4433", "--fingerprint", OLD, code=1)
    assert "Somebody may be in between: nothing was done" in pocket.stderr
    assert [word for word, _ in pocket.asked] == ["membership.look"]
    shouted = ":".join(NEW[7:].upper()[at : at + 2] for at in range(0, 64, 2))
    pocket("membership", "add", "Ann Smith", "=club.example:4433", "--fingerprint", shouted)


def test_an_alias_that_the_site_refused_is_told(pocket):
    pocket.answers(membership_look=SEEN, membership_add=CLUB | {"trouble": "no alias: taken\x07"})
    said = pocket("membership", "add", "Ann Smith", "=club.example:4433")
    assert "  ! no alias: taken\\u0007\n" in said


def test_what_comes_of_adding_is_one_object_for_programs(pocket):
    pocket.answers(membership_look=SEEN, membership_add=CLUB)
    assert json.loads(pocket("membership", "add", "Ann Smith", "=club.example:4433", "--json")) == CLUB


ADOPT = ("membership", "adopt", "Ann Smith", "=club.example:4433", "--uid", "UIDTHERE")


def test_adopting_takes_the_password_from_the_standard_input_and_shows_it_nowhere(pocket):
    pocket.answers(membership_look=SEEN, membership_adopt=CLUB)
    said = pocket(*ADOPT, "--name", "Club", stdin="PASSWORD\n")
    assert pocket.asked[1] == (
        "membership.adopt",
        {"member": "Ann Smith", "address": "=club.example:4433", "fingerprint": NEW, "name": "Club",
         "alias": None, "uid": "UIDTHERE", "node": "PASSWORD"},
    )  # fmt: skip
    assert "PASSWORD" not in said + pocket.stderr
    pocket(*ADOPT, code=1)
    assert "no password of the new node was given: type it when it is asked for" in pocket.stderr


def test_adopting_asks_a_person_for_the_password_unseen(pocket, person):
    pocket.answers(membership_look=SEEN, membership_adopt=CLUB)
    said = pocket(*ADOPT, "--yes", stdin="PASSWORD\n")
    assert pocket.asked[1][1]["node"] == "PASSWORD"
    assert "PASSWORD" not in said + pocket.stderr


def test_memberships_are_a_table(pocket):
    pocket.answers(membership_list=[CLUB, WORK])
    assert pocket("membership", "list").splitlines() == [
        "NUMBER  MEMBER     NAME           ADDRESS             STATE"
        "                                    DEVICES  TO SEND   KEPT",
        "    12  Ann Smith  Club           =club.example:4433  online for 1 min 15 s"
        "                          2        0  1,500",
        "    13  Ann Smith  Wo\\u001b[2Jrk  +work.example:443   offline for 2 h 2 min, next try in 30 s"
        "        0        3  1,500",
    ]
    pocket("membership", "list", "Ann Smith")
    assert pocket.asked == [("membership.list", {}), ("membership.list", {"member": "Ann Smith"})]


def test_without_memberships_the_list_says_how_to_make_one(pocket):
    pocket.answers(membership_list=[])
    assert pocket("membership", "list").startswith(
        "no memberships yet: make one with   pocket membership add"
    )


def test_show_tells_what_is_wrong_and_what_waits(pocket):
    pocket.answers(membership_show=WORK | {"device_list": []})
    said = pocket("membership", "show", "Work")
    assert "certificate  an authority vouches for it\n" in said
    assert "problem      the site cannot be reached\n" in said
    assert "connects     every 30 min\n" in said
    assert "to send      3 requests, 2.00 KiB, the oldest waiting for 1 min 30 s\n" in said
    assert "no devices yet: give it a device with   pocket device add" in said


def test_show_has_the_devices_of_the_membership(pocket):
    pocket.answers(membership_show=CLUB | {"device_list": [PHONE | {"membership": "Club"}]})
    said = pocket("membership", "show", "12")
    assert f"certificate  {OLD}\n" in said
    assert "DEVICE  LABEL  ONLINE" in said


def test_dropping_says_what_is_lost_and_asks(pocket, person):
    pocket.answers(membership_show=WORK, membership_drop=WORK)
    said = pocket("membership", "drop", "Work", stdin="n\n", code=1)
    assert "3 requests that were not sent yet, 1,500 kept messages and 0 devices, for good?" in said
    assert [word for word, _ in pocket.asked] == ["membership.show"]
    said = pocket("membership", "drop", "Work", stdin="y\n")
    assert "gone are 3 requests that were not sent yet" in said
    assert pocket.asked[-1] == ("membership.drop", {"membership": "13"})


def test_dropping_without_a_person_needs_a_yes(pocket, monkeypatch):
    pocket.answers(membership_show=WORK, membership_drop=WORK)
    pocket("membership", "drop", "Work", code=1)
    assert "3 requests that were not sent yet" in pocket.stderr
    assert "add --yes" in pocket.stderr
    pocket("membership", "drop", "Work", "--yes")
    monkeypatch.setenv("POCKET_CONFIRMED", "1")
    pocket("membership", "drop", "Work")
    assert [word for word, _ in pocket.asked].count("membership.drop") == 2


@pytest.mark.parametrize(
    ("words", "minutes", "said"),
    [
        (("--metered", "30m"), 30, "connects every 30 min"),
        (("--metered", "2h"), 120, "connects every 2 h"),
        (("--always",), 0, "connects always"),
    ],
)
def test_how_often_the_box_connects_can_be_set(pocket, words, minutes, said):
    pocket.answers(membership_set=CLUB)
    assert pocket("membership", "set", "Club", *words) == f"Ann Smith/Club {said}\n"
    assert pocket.asked == [("membership.set", {"membership": "Club", "metered_min": minutes})]


@pytest.mark.parametrize(
    "words", [(), ("--always", "--metered", "30m"), ("--metered", "soon"), ("--metered", "8d")]
)
def test_how_often_is_said_once_and_within_bounds(pocket, words):
    pocket("membership", "set", "Club", *words, code=2)
    assert pocket.asked == []


def test_resume_says_how_it_is_then(pocket):
    pocket.answers(membership_resume=CLUB)
    assert pocket("membership", "resume", "Club") == "Ann Smith/Club: online for 1 min 15 s\n"


def test_repinning_shows_both_certificates_and_asks(pocket, person):
    pocket.answers(membership_look=SEEN | {"pinned": OLD}, membership_repin=CLUB)
    said = pocket("membership", "repin", "Club", stdin="n\n", code=1)
    assert f"until now  {OLD}\nnow        {NEW}\n" in said
    assert [word for word, _ in pocket.asked] == ["membership.look"]
    pocket("membership", "repin", "Club", stdin="y\n")
    assert pocket.asked[-1] == ("membership.repin", {"membership": "Club", "fingerprint": NEW})


def test_repinning_without_a_person_needs_the_very_fingerprint(pocket):
    pocket.answers(membership_look=SEEN | {"pinned": OLD}, membership_repin=CLUB)
    pocket("membership", "repin", "Club", code=1)
    assert "add it with --fingerprint" in pocket.stderr
    pocket("membership", "repin", "Club", "--fingerprint", OLD, code=1)
    assert "nothing was changed" in pocket.stderr
    assert "membership.repin" not in [word for word, _ in pocket.asked]
    pocket("membership", "repin", "Club", "--fingerprint", NEW)
    assert pocket.asked[-1][0] == "membership.repin"


def test_a_device_of_a_membership_is_four_things_for_programs(pocket):
    pocket.answers(device_add=LOGIN)
    words = ("device", "add", "Ann Smith", "phone", "--membership", "Club")
    assert json.loads(pocket(*words, "--json")) == {
        "addresses": LOGIN["addresses"], "uid": "UIDTHERE", "node": "SECRET", "fingerprint": "SHA256:11",
    }  # fmt: skip
    assert "membership   Club\n" in pocket(*words)
    pocket(*words, "--history", "90d")
    assert pocket.asked[-1] == (
        "device.add",
        {"member": "Ann Smith", "label": "phone", "membership": "Club", "history_s": 90 * 86400},
    )


def test_history_is_of_a_membership_only(pocket):
    pocket("device", "add", "Ann Smith", "phone", "--history", "90d", code=2)
    pocket("device", "add", "Ann Smith", "phone", "--membership", "x", "--history", "ever", code=2)


def test_devices_of_memberships_have_a_column_in_the_list(pocket):
    pocket.answers(device_list=[PHONE, PHONE | {"device": 17, "membership": "Club"}])
    assert pocket("device", "list").splitlines() == [
        "DEVICE  MEMBER     MEMBERSHIP  LABEL  ONLINE  QUEUED  SIZE  OLDEST",
        "     7  Ann Smith  -           phone  yes          0   0 B       -",
        "    17  Ann Smith  Club        phone  yes          0   0 B       -",
    ]


def test_memberships_and_their_devices_are_completed(pocket):
    devices = [PHONE, PHONE | {"device": 17, "membership": "Club"}]
    other = CLUB | {"member": "UID2", "member_alias": "Bob Smith", "name": "School"}
    pocket.answers(membership_list=[CLUB, other], device_list=devices)

    assert pocket.complete("pocket membership show ", 3) == ["plain,Ann Smith/Club", "plain,Bob Smith/School"]
    assert pocket.complete("pocket device add 'Bob Smith' phone --membership S", 6) == ["plain,School"]
    assert pocket.complete("pocket device drop A", 3) == [
        "plain,Ann Smith/phone",
        "plain,Ann Smith/Club/phone",
    ]


@pytest.mark.parametrize("word", ["show", "drop", "resume", "repin"])
def test_the_box_says_which_membership_is_not_there(pocket, word):
    no = ControlError("there is no membership 'x'")
    pocket.answers(membership_show=no, membership_resume=no, membership_look=no)
    pocket("membership", word, "x", code=1)
    assert pocket.stderr == "Error: there is no membership 'x'\n"
