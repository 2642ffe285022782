"""`pocket peer`: what it asks, what people see, what programs get."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import ExitStack

import pytest

from appliance.cli import following
from appliance.control import ControlError
from appliance.discovery import Found
from tests.cli.conftest import Pocket

OWN = {"box": "3F2A%%%%", "name": "living room", "slot": 0, "own": True, "state": "here", "linked": True,
       "addresses": ["=192.168.1.5:4433", "=[fd00::5]:4433"], "behind_entries": 0, "behind_s": 0,
       "seen_s": 0, "cut": None, "entries": 2000, "public": "00ff"}  # fmt: skip
KITCHEN = {"box": "7G1B%%%%", "name": "kitchen", "slot": 1, "own": False, "state": "behind", "linked": True,
           "addresses": ["=192.168.1.6:4433"], "behind_entries": 1200, "behind_s": 75.2, "seen_s": 0.4,
           "cut": None, "entries": 1000, "public": "11ff"}  # fmt: skip
STOLEN = KITCHEN | {"box": "ABCD%%%%", "name": "sto\x1b[2Jlen", "slot": 2, "state": "revoked",
                    "linked": False, "addresses": [], "seen_s": None, "cut": 17}  # fmt: skip
LISTED = {"site": "Home", "box": "3F2A%%%%", "announced": "0af70af7", "copies": 1, "one_copy_acks": 1234,
          "safe_to_unplug": False, "why": "kitchen has yet to get 1,200 entries", "joining": None,
          "boxes": [OWN, KITCHEN, STOLEN]}  # fmt: skip
INVITED = {"code": "1482-1396", "number": 1, "open_s": 300.0, "addresses": OWN["addresses"]}
STATUS = {"site": "Home", "box": "7G1B%%%%", "state": "serving", "members": 2, "copies": 2, "address": "=x:1"}
JOINED = {"site": "Home", "box": "7G1B%%%%", "slot": 1, "host": "3F2A%%%%"}


@pytest.fixture(autouse=True)
def looks_often(monkeypatch):
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)


def test_invite_shows_the_very_line_to_type_on_the_other_box(pocket):
    pocket.answers(peer_invite=INVITED)
    assert pocket("peer", "invite").splitlines() == [
        "code       1482-1396",
        "addresses  =192.168.1.5:4433, =[fd00::5]:4433",
        "good for 5 min and one guess. On the other box type:",
        "  pocket peer join 1482-1396",
        "or, when that does not find this box:",
        "  pocket peer join =192.168.1.5:4433 1482-1396",
    ]
    assert json.loads(pocket("peer", "invite", "--json")) == INVITED


@pytest.mark.parametrize(("state", "code"), [("paired", 0), ("void", 1), ("lost", 1), ("expired", 1)])
def test_invite_waits_for_what_becomes_of_it(pocket, state, code):
    turns = iter([[{"number": 1, "state": "open"}], [{"number": 1, "state": state}]])
    pocket.answers(peer_invite=INVITED, pair_show=lambda args: {"codes": next(turns)})
    said = pocket("peer", "invite", "--wait", code=code)
    assert "box" in said.splitlines()[-1] or state == "expired"


def test_join_tells_how_far_it_is_and_returns_when_all_is_here(pocket):
    turns = iter(
        [
            LISTED | {"joining": {"site": "Home", "text": "joining: 12 %"}},
            LISTED | {"joining": {"site": "Home", "text": "joining: 12 %"}},
            LISTED | {"joining": {"site": "Home", "text": "joining: 99 %"}},
            LISTED | {"box": "7G1B%%%%"},
        ]
    )
    pocket.answers(peer_join=JOINED, peer_list=lambda args: next(turns), status=STATUS)
    said = pocket("peer", "join", "192.168.1.5", "1482 1396")
    assert pocket.asked[0] == ("peer.join", {"addresses": ["192.168.1.5"], "code": "14821396"})
    assert pocket.stderr.splitlines() == [
        "paired with Home: fetching everything", "joining: 12 %", "joining: 99 %",
    ]  # fmt: skip
    assert said == "done in 0 s: this box has everything and serves Home\n"


def test_join_as_json_is_one_object(pocket):
    pocket.answers(peer_join=JOINED, peer_list=LISTED | {"box": "7G1B%%%%"}, status=STATUS)
    result = json.loads(pocket("peer", "join", "box.local", "1482-1396", "--json"))
    assert result | JOINED | STATUS == result


def test_a_join_that_was_given_up_says_why(pocket):
    pocket.answers(
        peer_join=JOINED, peer_list=LISTED | {"gave_up": "the site does not know this box"}, status=STATUS
    )
    pocket("peer", "join", "box.local", "1482-1396", code=1)
    assert "Error: the site does not know this box\n" in pocket.stderr


@pytest.mark.parametrize("code", ["1482-1397", "1482", "123456789", "abc"])
def test_a_slip_of_the_finger_costs_no_guess(pocket, code):
    pocket("peer", "join", "box.local", code, code=2)
    pocket("peer", "join", "a", "b", "1482-1396", code=2)
    pocket("peer", "join", "host:99999", "1482-1396", code=2)


def found(name, pairing, address="192.168.1.5", id="12345678"):
    return Found(name, f"{name}.local", (address,), 4433, id, "0.1", pairing)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([], "no box in this network has an invitation open"),
        ([found("home", False)], "no box in this network has an invitation open"),
        ([found("self", True, id="0af70af7")], "no box in this network has an invitation open"),
        (
            [found("home", True), found("work", True, "fd00::7", "abcdabcd")],
            "type the address too. home at =192.168.1.5:4433, work at =[fd00::7]:4433",
        ),
    ],
)
def test_without_an_address_exactly_one_box_must_invite(pocket, monkeypatch, boxes, said):
    monkeypatch.setattr("appliance.discovery.find_now", lambda seconds: boxes)
    pocket.answers(peer_list=LISTED)
    pocket("peer", "join", "1482-1396", code=1)
    assert said in pocket.stderr
    assert [word for word, _ in pocket.asked] == ["peer.list"]


def test_the_box_that_invites_is_found(pocket, monkeypatch):
    boxes = [found("self", True, id="0af70af7"), found("other", False, id="33333333"), found("home", True)]
    monkeypatch.setattr("appliance.discovery.find_now", lambda seconds: boxes)
    pocket.answers(peer_join=JOINED, peer_list=LISTED | {"box": "7G1B%%%%"}, status=STATUS)
    pocket("peer", "join", "1482-1396")
    assert ("peer.join", {"addresses": ["=192.168.1.5:4433"], "code": "14821396"}) in pocket.asked


def test_list_says_what_only_a_box_that_is_away_can_have(pocket):
    pocket.answers(peer_list=LISTED | {"missing": "what is in 2 messages has yet to come"})
    assert pocket("peer", "list").splitlines()[-1] == "! what is in 2 messages has yet to come"


def test_list_says_who_has_what_and_whether_this_box_may_go(pocket):
    pocket.answers(peer_list=LISTED)
    assert pocket("peer", "list").splitlines() == [
        "BOX                     ID        STATE    BEHIND                     ADDRESS            SEEN",
        "living room (this one)  3F2A%%%%  here     -                          =192.168.1.5:4433  -",
        "kitchen                 7G1B%%%%  behind   1,200 entries, 1 min 15 s  =192.168.1.6:4433  now",
        "sto\\u001b[2Jlen         ABCD%%%%  revoked  -                          -                  -",
        "copies          1",
        "one-copy acks   1,234 since the start",
        "safe to unplug  no: kitchen has yet to get 1,200 entries",
    ]
    assert json.loads(pocket("peer", "list", "--json")) == LISTED


def test_the_list_says_how_far_a_box_is_that_joins(pocket):
    joining = KITCHEN | {"state": "joining", "copied": [300, 1200]}
    pocket.answers(peer_list=LISTED | {"boxes": [OWN, joining]})
    assert "joining, 25%" in pocket("peer", "list")


def test_show_says_what_is_wrong_with_a_box(pocket):
    pocket.answers(peer_show=KITCHEN | {"state": "refused", "problem": "it has two histories"})
    assert "problem    it has two histories\n" in pocket("peer", "show", "kitchen")


def test_the_list_of_a_single_box_says_how_to_get_another(pocket):
    pocket.answers(peer_list=LISTED | {"boxes": [OWN]})
    assert "pocket peer invite" in pocket("peer", "list").splitlines()[-1]


def test_the_list_of_a_box_that_joins_says_how_far_it_is(pocket):
    joining = {"site": "Home", "text": "joining: 12 %, 1.2 GiB"}
    pocket.answers(peer_list=LISTED | {"joining": joining})
    assert pocket("peer", "list").startswith("joining Home: joining: 12 %, 1.2 GiB\n")


def test_show_tells_all_of_one_box(pocket):
    pocket.answers(peer_show=STOLEN)
    said = pocket("peer", "show", "ABCD%%%%")
    assert pocket.asked == [("peer.show", {"box": "ABCD%%%%"})]
    assert "revoked    its entries count up to 17\n" in said


def test_revoke_is_confirmed_by_typing_the_boxs_name(pocket):
    pocket.answers(
        peer_show=KITCHEN, peer_revoke=KITCHEN | {"fingerprint": "SHA256:00", "to_do": ["look here"]}
    )
    for wrong in ("", "y", "yes", "kitche"):
        pocket("peer", "revoke", "kitchen", stdin=f"{wrong}\n", code=1)
    assert "peer.revoke" not in [word for word, _ in pocket.asked]
    said = pocket("peer", "revoke", "7G1B%%%%", stdin="kitchen\n")
    assert pocket.asked[-1] == ("peer.revoke", {"box": "7G1B%%%%"})
    assert (
        "revoked kitchen\n" in said and "the certificate is now SHA256:00" in said and "  ! look here" in said
    )


def test_revoke_can_be_said_by_programs(pocket):
    pocket.answers(peer_revoke={"name": "kitchen", "fingerprint": "SHA256:00"})
    assert json.loads(pocket("peer", "revoke", "kitchen", "--yes", "--json"))["name"] == "kitchen"


def keepalived(pocket, *options, boxes=(OWN, KITCHEN, STOLEN), code=0):
    pocket.answers(peer_list=LISTED | {"boxes": list(boxes)})
    return pocket("peer", "keepalived", "--interface", "eth0", *options, code=code)


def test_keepalived_is_told_all_boxes_and_what_health_is(pocket, tmp_path):
    text = keepalived(pocket, "--address", "192.168.1.250/24")
    assert "unicast_src_ip 192.168.1.5\n" in text
    assert "    unicast_peer {\n        192.168.1.6    # kitchen\n    }" in text
    assert "192.168.1.250/24 dev eth0" in text
    assert f"status --check --data {tmp_path}" in text
    assert 'addresses = ["=192.168.1.250:4433", "=192.168.1.5:4433"]' in text


def test_the_boxes_agree_on_the_router_and_not_on_the_priority(pocket, tmp_path):
    mine = keepalived(pocket, "--address", "192.168.1.250/24")
    with ExitStack() as stack:
        other = Pocket(tmp_path / "other", stack)
        (tmp_path / "other").mkdir()
        swapped = [OWN | {"own": False}, KITCHEN | {"own": True}]
        other.answers(peer_list=LISTED | {"boxes": swapped})
        theirs = other(
            "peer", "keepalived", "--interface", "eth0", "--address", "192.168.1.250/24",
            "--data", str(tmp_path / "other"),
        )  # fmt: skip

    def line(text, word):
        return next(line for line in text.splitlines() if line.strip().startswith(word))

    assert line(mine, "virtual_router_id") == line(theirs, "virtual_router_id")
    assert line(mine, "priority") != line(theirs, "priority")
    assert line(theirs, "unicast_src_ip").endswith("192.168.1.6")


@pytest.mark.parametrize("shared", ["192.168.1.250", "192.168.1.0/24", "192.168.1.255/24", "x/24", "::1/64"])
def test_keepalived_needs_an_address_with_its_prefix(pocket, shared):
    keepalived(pocket, "--address", shared, code=2)


def test_keepalived_suggests_an_address(pocket):
    keepalived(pocket, code=2)
    assert "as in --address 192.168.1.250/24" in pocket.stderr


def test_keepalived_of_boxes_in_different_networks_is_refused(pocket):
    keepalived(pocket, "--address", "10.0.0.250/24", code=1)
    assert "living room has no address in 10.0.0.0/24" in pocket.stderr


def test_keepalived_is_of_no_use_to_a_single_box(pocket):
    keepalived(pocket, "--address", "192.168.1.250/24", boxes=[OWN, STOLEN], code=1)
    assert "pocket peer invite" in pocket.stderr


@pytest.mark.skipif(shutil.which("keepalived") is None, reason="keepalived is not installed")
def test_keepalived_takes_it(pocket, tmp_path):
    text = keepalived(pocket, "--address", "192.168.1.250/24").replace("eth0", "lo")
    (tmp_path / "keepalived.conf").write_text(text)
    done = subprocess.run(
        ["keepalived", "--config-test", "--use-file", str(tmp_path / "keepalived.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Unknown keyword" not in done.stderr + done.stdout


ALIVE = {"name": "kitchen", "served": True, "answered_ms": 12, "entries": 34, "caught_up_s": 0.5}
FAILOVER = {"boxes": [ALIVE], "devices": 3, "host": "home.local", "host_taken_s": 1.2}


def test_failover_tells_what_the_others_did(pocket):
    pocket.answers(peer_failover=FAILOVER)
    said = pocket("peer", "test-failover", "--seconds", "2")
    assert pocket.asked == [("peer.failover", {"seconds": 2.0})]
    assert pocket.stderr == "asking this box to play dead for 2 s\n"
    assert said.splitlines() == [
        "BOX      SERVED  ANSWERED  WROTE  CAUGHT UP AFTER",
        "kitchen  yes     12 ms     34     0 s",
        "devices  3 were logged in here and were cut off",
        "name     home.local led to another box after 1.2 s",
    ]


def test_failover_with_nobody_to_go_on_fails(pocket):
    dead = {"name": "kitchen", "served": False, "why": "no answer", "answered_ms": None, "entries": 0}
    pocket.answers(peer_failover=FAILOVER | {"boxes": [dead]})
    assert "no: no answer" in pocket("peer", "test-failover", "--seconds", "2", code=1)
    assert "no other box served" in pocket.stderr


@pytest.mark.parametrize("state", ["serving", "warning", "error", "starting", "stopping"])
def test_status_can_be_checked_by_programs(pocket, state):
    pocket.answers(status={"state": state})
    assert pocket("status", "--check", code=0 if state in ("serving", "warning") else 1) == ""


def test_boxes_are_completed_by_name_and_id(pocket):
    pocket.answers(peer_list=LISTED)
    result = pocket.complete("pocket peer revoke ", 3)
    assert "plain,kitchen" in result and "plain,7G1B%%%%" in result
    assert "plain,living room" not in result


def test_a_refusal_is_told_in_the_boxs_words(pocket):
    no = "this box has a site of its own: factory reset first"
    pocket.answers(peer_join=ControlError(no))
    pocket("peer", "join", "box.local", "1482-1396", code=1)
    assert pocket.stderr == f"Error: {no}\n"
