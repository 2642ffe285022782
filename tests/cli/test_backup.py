"""`pocket backup`, `restore` and `recovery-key`: what they ask, and what people see."""

from __future__ import annotations

import json
import time

import pytest

from appliance.cli import backup
from appliance.control import ControlError

KEY = "0123 4567 89AB CDEF GHJK MNPQ RSTV WXYZ 0123"
IDLE = {"running": None, "problem": None, "result": None, "phase": None}
MADE = {"folder": "/media/stick/pocket-backup/ab/cd", "octets": 5 << 20, "messages": 1234, "attachments": 7,
        "anew": False, "took_s": 65.2}  # fmt: skip
PROVEN = {"folder": "/media/stick", "site": "Home\x07", "made": 0.0, "octets": 5 << 20, "members": 3,
          "messages": 12, "attachments": 7}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(backup, "LOOK_EVERY_S", 0.01)


def states(*more):
    """What the box says, one after the other, the last one again and again."""
    left = list(more)
    return lambda args: left.pop(0) if len(left) > 1 else left[0]


def working(**what):
    return {
        **IDLE,
        "running": "make",
        "octets": 0,
        "octets_total": 0,
        "entries": 0,
        "entries_total": 0,
        **what,
    }


def test_how_far_a_backup_is_and_what_it_came_to_is_shown(pocket):
    pocket.answers(
        backup_make={},
        backup_state=states(
            working(phase="beginning"),
            working(phase="journals", entries=10, entries_total=2000),
            working(phase="attachments", octets=1 << 20, octets_total=4 << 20),
            working(phase="checking"),
            {**IDLE, "result": MADE},
        ),
    )
    told = pocket("backup", "make", "--to", "/media/stick")
    assert pocket.asked[0] == ("backup.make", {"folder": "/media/stick"})
    assert pocket.stderr.splitlines() == [
        "backing up: beginning",
        "backing up: 10 of 2,000 journal entries",
        "backing up: 1.00 MiB of 4.00 MiB",
        "backing up: reading back",
    ]
    assert told.splitlines() == [
        "backed up what was new, in 1 min 5 s, and read back",
        "folder    /media/stick/pocket-backup/ab/cd",
        "size      5.00 MiB",
        "messages  1,234, 7 attachments",
    ]


def test_a_backup_for_programs_is_json_and_nothing_else(pocket):
    pocket.answers(backup_make={}, backup_state=states(working(phase="checking"), {**IDLE, "result": MADE}))
    assert json.loads(pocket("backup", "make", "--json")) == MADE
    assert pocket.stderr == "" and pocket.asked[0] == ("backup.make", {"folder": None})


def test_a_backup_that_fails_ends_the_command_with_the_reason(pocket):
    pocket.answers(backup_make={}, backup_state={**IDLE, "problem": "there is no room left on the stick"})
    pocket("backup", "make", code=1)
    assert "no room left" in pocket.stderr


def test_a_backup_that_was_proven_is_described(pocket):
    pocket.answers(backup_verify={}, backup_state={**IDLE, "result": {**PROVEN, "made": time.time() - 7200}})
    told = pocket("backup", "verify", "/media/stick", "--key", KEY)
    assert pocket.asked[0] == ("backup.verify", {"folder": "/media/stick", "key": KEY})
    assert "3 members, 12 messages that wait, 5.00 MiB" in told and "2 h" in told
    assert "\x07" not in told


def test_the_list_says_which_stick_has_what(pocket):
    one = {"made": time.time() - 86400, "octets": 1 << 20, "box": "3F2A", "own": True, "key": "abcd",
           "folder": "/media/stick/pocket-backup/ab/cd"}  # fmt: skip
    listed = {"backups": [one], "automatic": True, "at": "03:00", "made": one["made"], "last_problem": "full"}
    pocket.answers(backup_list=states(listed, {**listed, "backups": [], "automatic": False, "made": 0}))
    told = pocket("backup", "list")
    assert "3F2A (this one)" in told and "1 d" in told and "every day at 03:00" in told and "full" in told
    told = pocket("backup", "list", "/media/stick")
    assert "no backup on any stick" in told and "pocket backup auto on" in told and "never" in told


def test_automatic_backups_are_switched(pocket):
    pocket.answers(backup_auto=lambda args: {"automatic": args["on"], "at": "03:00"})
    assert "every day at 03:00" in pocket("backup", "auto", "on")
    assert "no backups" in pocket("backup", "auto", "off")
    assert [args for _, args in pocket.asked] == [{"on": True}, {"on": False}]


def test_the_recovery_key_is_shown_with_what_it_is_worth(pocket):
    pocket.answers(recovery_show={"key": KEY, "id": "ab"}, recovery_new={"key": KEY, "id": "cd"})
    told = pocket("recovery-key", "show")
    assert KEY in told and "without it a backup is worthless" in told
    pocket("recovery-key", "new", stdin="n\n", code=1)
    assert "recovery.new" not in dict(pocket.asked)
    assert KEY in pocket("recovery-key", "new", stdin="y\n")


@pytest.mark.parametrize("confirmed", [True, False])
def test_what_is_restored_is_shown_before_it_is(pocket, tmp_path, monkeypatch, confirmed):
    def restore(args):
        return PROVEN if args.get("look") else {**PROVEN, "box": "NEW"}

    status = {"state": "serving", "box": "NEW", "site": "Home", "members": 3, "copies": 1, "address": "=a:1"}
    pocket.answers(restore=restore, peer_list={"joining": None, "box": "NEW"}, status=status)
    (tmp_path / "key").write_text(KEY + "\n")
    told = pocket(
        "restore", "/media/stick", "--key-file", str(tmp_path / "key"),
        stdin="y\n" if confirmed else "n\n", code=0 if confirmed else 1,
    )  # fmt: skip
    assert "3 members" in pocket.stderr and "pocket peer join" in pocket.stderr
    asked = [args for word, args in pocket.asked if word == "restore"]
    assert asked[0] == {"folder": "/media/stick", "key": KEY, "look": True}
    assert asked[1:] == ([{"folder": "/media/stick", "key": KEY}] if confirmed else [])
    assert ("serves Home" in told) == confirmed


def test_a_key_that_is_wrong_ends_the_command(pocket):
    pocket.answers(restore=ControlError("the recovery key was mistyped"))
    pocket("restore", "/media/stick", stdin="0123\n", code=1)
    assert "mistyped" in pocket.stderr and pocket.asked[0][1]["key"] == "0123"


def test_status_tells_of_backups_where_there_are_any(pocket):
    from tests.cli.test_words import STATUS

    last = {"made": time.time() - 2 * 86400 - 3601, "octets": 3 << 30, "automatic": True}
    pocket.answers(
        status=states({**STATUS, "backup": last}, {**STATUS, "backup": {**last, "made": 0}}, STATUS)
    )
    assert "backup        2 d 1 h ago, 3.00 GiB, every day\n" in pocket("status")
    assert "backup        none yet, every day\n" in pocket("status")
    assert "backup" not in pocket("status")
